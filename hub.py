"""Files that arrive all together or not at all, in a folder or on the Hub, and one clear error for what goes wrong.

Nothing here knows what the files are. What is unusual: `HfApi.upload_folder` would send a large folder in several
commits, and its client would wait forever for a server that hangs. Here all files go in one commit, which the Hub
refuses if another one came in between, and silence for `TIMEOUT` seconds is an error.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, get_session, get_token
from huggingface_hub.errors import HfHubHTTPError, HTTPError  # the latter is of whichever httpx the client uses

CARD = "README.md"
TIMEOUT = 60  # seconds; the client tries again what it may, so it can take six times as long


@contextmanager
def errors_in_a_line(failure: str = "error") -> Iterator[None]:
    """Let a command end with what went wrong in a line, without a traceback."""
    try:
        yield
    except (OSError, ValueError) as error:
        sys.exit(f"{failure}: {' '.join(str(error).split())}")


@contextmanager
def replace_files(folder: Path) -> Iterator[Path]:
    """An empty folder whose files go to `folder` at the end; after an error, such as of a full disk, none does."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="unfinished-") as new:
        yield Path(new)
        for path in Path(new).iterdir():
            os.replace(path, folder / path.name)


def check_target(repo_id: str, token: str | None = None) -> None:
    """Find out what can be known of a push before there is anything to push.

    Raises:
        ValueError: the name is not `user/name`.
        PermissionError: there is no token.
    """
    if repo_id.count("/") != 1 or not all(repo_id.split("/")):
        raise ValueError(f"the repository must be named user/name, got {repo_id!r}")
    if (token or get_token()) is None:
        raise PermissionError("there is no token of the Hub: run `hf auth login`, or set HF_TOKEN")


@contextmanager
def errors_of_the_hub(repo_id: str) -> Iterator[None]:
    """Tell what goes wrong in a talk with the Hub of a repository, see `commit_files`; what is no such thing stays."""
    try:
        yield
    except (HTTPError, OSError, RuntimeError) as error:
        # What goes wrong in the upload of a file is the cause of a RuntimeError.
        reason = (isinstance(error, RuntimeError) and error.__cause__) or error
        if isinstance(reason, OSError) and reason.filename is not None:  # of this machine's disk
            raise reason from None
        if not isinstance(reason, HfHubHTTPError):
            raise ConnectionError(f"the Hub broke off, {repo_id} is as it was, try again: {reason}") from error
        status, said = reason.response.status_code, reason.server_message
        if status in (401, 403):
            raise PermissionError(f"the token may not write to {repo_id} ({status}): {said}") from error
        raise ConnectionError(f"the Hub answered {status}, {repo_id} is as it was: {said}") from error


def open_repository(
    repo_id: str,
    repo_type: str,
    check_repository: Callable[[HfApi, set[str]], None],
    private: bool | None = None,
    token: str | None = None,
) -> tuple[str, set[str]]:
    """The newest commit of a repository that may be written to, and the names of its files; made if there is none.

    Arguments and errors as of `commit_files`.
    """
    check_target(repo_id, token)
    sdk = "static" if repo_type == "space" else None
    api = HfApi(token=token)
    get_session().timeout = TIMEOUT
    with errors_of_the_hub(repo_id):
        api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True, space_sdk=sdk)
        head = api.repo_info(repo_id, repo_type=repo_type, timeout=TIMEOUT)
        published = {sibling.rfilename for sibling in head.siblings} - {".gitattributes"}
        if published:
            check_repository(api, published)
        return head.sha, published


def commit_files(
    files: dict[str, Path | bytes],
    repo_id: str,
    repo_type: str,
    check_repository: Callable[[HfApi, set[str]], None],
    message: str,
    private: bool | None = None,
    token: str | None = None,
) -> CommitInfo:
    """Publish files in one commit of a repository, which is made if there is none.

    What was published before under the same endings, cards apart, and is no longer among the files goes in the same
    commit.

    Args:
        files: by name in the repository, where they lie or what they hold.
        repo_id: `user/name`.
        repo_type: "model", "dataset" or "space".
        check_repository: raises ValueError if a repository with files of these names must not be written to.
        message: of the commit.
        private: of a new repository; by default as the account says.
        token: by default the one of `hf auth login` or HF_TOKEN.

    Raises:
        ValueError: the name is none, or taken by something else.
        PermissionError: no token, or one without the right to write there.
        ConnectionError: the Hub refused or broke off; the repository is as it was.
        OSError: a file cannot be read.
    """
    head, published = open_repository(repo_id, repo_type, check_repository, private, token)
    endings = {Path(name).suffix for name in files} - {Path(CARD).suffix}
    gone = sorted(name for name in published.difference(files) if Path(name).suffix in endings)
    with errors_of_the_hub(repo_id):
        return HfApi(token=token).create_commit(
            repo_id,
            [
                *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=file) for name, file in sorted(files.items())),
                *(CommitOperationDelete(path_in_repo=name) for name in gone),
            ],
            repo_type=repo_type,
            commit_message=message,
            parent_commit=head,
        )
