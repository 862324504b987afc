"""The Hub for tests: first its laws, request by request, then that the real clients take it for the Hub."""

import base64
import hashlib
import http.client
import json
import socket

import pytest

from tests.hub_server import HubServer

REPO = "models/user/name"


def ask(hub, request, body=b"", token="rw", **headers):
    """Status, headers and content of the answer to a request such as "GET /api/whoami-v2"."""
    method, path = request.split()
    connection = http.client.HTTPConnection("127.0.0.1", hub.server_port, timeout=10)
    try:
        connection.request(method, path, body, {**headers, **({"Authorization": f"Bearer {token}"} if token else {})})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def raw(hub, request):
    """The bytes that come back for the bytes of a request after which the client sends no more."""
    with socket.create_connection(("127.0.0.1", hub.server_port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile("rb").read()


def create(hub, name, **options):
    organization, name = name.split("/")
    options |= {"organization": organization, "name": name}
    return ask(hub, "POST /api/repos/create", json.dumps(options))[0]


def file(path, data):
    return {"key": "file", "value": {"path": path, "content": base64.b64encode(data).decode(), "encoding": "base64"}}


def lines(*operations, **header):
    header = {"key": "header", "value": {"summary": "change", "description": "", **header}}
    return "".join(json.dumps(line) + "\n" for line in [header, *operations])


def commit(hub, *operations, branch="main", **header):
    return ask(hub, f"POST /api/{REPO}/commit/{branch}", lines(*operations, **header))[0]


def upload(hub, data):
    """Upload an LFS object the way the clients do, and return its sha256."""
    oid = hashlib.sha256(data).hexdigest()
    wanted = json.dumps({"objects": [{"oid": oid, "size": len(data)}]})
    (found,) = json.loads(ask(hub, "POST /user/name.git/info/lfs/objects/batch", wanted)[2])["objects"]
    if "actions" in found:
        assert ask(hub, f"PUT {found['actions']['upload']['href'].removeprefix(hub.endpoint)}", data)[0] == 200
    return oid


def content(hub, revision="main"):
    return {path: file.data for path, file in hub.repos[REPO].at(revision).files.items()}


@pytest.fixture
def hub():
    """A Hub with the repository user/name, which has one file."""
    with HubServer() as hub:
        assert create(hub, "user/name") == 200
        assert commit(hub, file("a.txt", b"one")) == 200
        yield hub


@pytest.mark.parametrize(
    ("status", "operations", "header", "branch"),
    [
        (400, [{"key": "lfsFile", "value": {"path": "w.bin", "oid": "0" * 64, "algo": "sha256"}}], {}, "main"),
        (404, [{"key": "deletedFile", "value": {"path": "b.txt"}}], {}, "main"),
        (404, [{"key": "deletedFolder", "value": {"path": "a/"}}], {}, "main"),
        (412, [], {"parentCommit": "0" * 40}, "main"),
        (404, [], {}, "other"),
    ],
)
def test_a_commit_is_all_or_nothing(hub, status, operations, header, branch):
    before = hub.repos[REPO].at("main")
    assert commit(hub, file("c.txt", b"new"), *operations, branch=branch, **header) == status
    assert hub.repos[REPO].at("main") is before
    assert content(hub) == {"a.txt": b"one"}


def test_half_a_request_changes_nothing(hub):
    body = lines(file("c.txt", b"new")).encode()
    head = f"POST /api/{REPO}/commit/main HTTP/1.1\r\nAuthorization: Bearer rw\r\nContent-Length: "
    assert raw(hub, f"{head}{len(body) + 1}\r\n\r\n".encode() + body) == b""
    assert content(hub) == {"a.txt": b"one"}
    assert b"commitOid" in raw(hub, f"{head}{len(body)}\r\n\r\n".encode() + body)
    assert content(hub) == {"a.txt": b"one", "c.txt": b"new"}


def test_an_uploaded_object_is_unseen_until_it_is_committed(hub):
    oid = hashlib.sha256(b"weights").hexdigest()
    assert ask(hub, f"PUT /user/name/lfs/{oid}", b"weight")[0] == 400
    pointer = {"key": "lfsFile", "value": {"path": "sub/w.bin", "oid": oid, "algo": "sha256", "size": 7}}
    assert commit(hub, pointer) == 400
    assert upload(hub, b"weights") == oid
    assert len(json.loads(ask(hub, f"GET /api/{REPO}/tree/main?recursive=true")[2])) == 1
    assert ask(hub, "GET /user/name/resolve/main/sub/w.bin")[0] == 404
    assert commit(hub, pointer) == 200
    assert ask(hub, "GET /user/name/resolve/main/sub/w.bin")[2] == b"weights"
    uploads = len(hub.requests)
    assert upload(hub, b"weights") == oid
    assert len(hub.requests) == uploads + 1  # asked, but not sent again


def test_a_revision_names_a_snapshot(hub):
    first = hub.repos[REPO].at("main").sha
    assert ask(hub, f"POST /api/{REPO}/branch/a%2Fb", "{}")[0] == 200
    assert commit(hub, file("a.txt", b"two"), file("b/c.txt", b"")) == 200
    assert ask(hub, f"POST /api/{REPO}/tag/main", '{"tag": "v1"}')[0] == 200
    assert commit(hub, {"key": "deletedFolder", "value": {"path": "b/"}}) == 200
    assert commit(hub, file("d.txt", b"aside"), branch="a%2Fb") == 200
    expected = {
        first: {"a.txt": b"one"},
        "v1": {"a.txt": b"two", "b/c.txt": b""},
        "main": {"a.txt": b"two"},
        "a/b": {"a.txt": b"one", "d.txt": b"aside"},
    }
    assert {revision: content(hub, revision) for revision in expected} == expected
    for name in ("v1", first):  # they never move
        assert commit(hub, file("e.txt", b""), branch=name) == 404
    assert ask(hub, f"POST /api/{REPO}/tag/main", '{"tag": "v1"}')[0] == 409
    assert ask(hub, f"POST /api/{REPO}/branch/main", "{}")[0] == 409


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/models/user/name/revision/other", "RevisionNotFound"),
        ("/api/models/user/name/tree/other", "RevisionNotFound"),
        ("/user/name/resolve/other/a.txt", "RevisionNotFound"),
        ("/api/models/user/name/tree/main/b", "EntryNotFound"),
        ("/user/name/resolve/main/b.txt", "EntryNotFound"),
        ("/api/models/user/other", "RepoNotFound"),
        ("/user/other/resolve/main/a.txt", "RepoNotFound"),
        ("/datasets/user/name/resolve/main/a.txt", "RepoNotFound"),
    ],
)
def test_what_is_not_there_has_a_code(hub, path, code):
    status, headers, _ = ask(hub, f"GET {path}")
    assert (status, headers["X-Error-Code"]) == (404, code)


def test_etags_are_those_of_git_and_lfs(hub):
    assert commit(hub, file("hello", b"hello\n")) == 200
    status, headers, _ = ask(hub, "HEAD /user/name/resolve/main/hello")
    assert (status, headers["Content-Length"]) == (200, "6")
    assert raw(hub, b"HEAD /user/name/resolve/main/hello HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")  # no content
    assert (
        headers["ETag"] == '"ce013625030ba8dba906f756967f9e9ca394464a"'
    )  # printf 'hello\n' | git hash-object --stdin
    assert headers["X-Repo-Commit"] == hub.repos[REPO].at("main").sha
    assert "X-Linked-Etag" not in headers
    oid = upload(hub, b"weights")
    assert commit(hub, {"key": "lfsFile", "value": {"path": "w.bin", "oid": oid}}) == 200
    headers = ask(hub, "HEAD /user/name/resolve/main/w.bin")[1]
    assert headers["X-Linked-Etag"] == headers["ETag"] == f'"{oid}"'
    assert headers["X-Linked-Size"] == "7"


@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 9), (3, 5), (9, 9), (4, None), (0, None), (7, 99)])
def test_a_range_is_a_slice(hub, first, last):
    assert commit(hub, file("digits", b"0123456789")) == 200
    wanted = f"bytes={first}-{'' if last is None else last}"
    status, headers, data = ask(hub, "GET /user/name/resolve/main/digits", Range=wanted)
    assert (status, data) == (206, b"0123456789"[first : None if last is None else last + 1])
    assert headers["Content-Range"] == f"bytes {first}-{first + len(data) - 1}/10"


def test_no_range_is_all_and_a_range_outside_is_refused(hub):
    assert commit(hub, file("digits", b"0123456789")) == 200
    assert ask(hub, "GET /user/name/resolve/main/digits")[::2] == (200, b"0123456789")
    status, headers, _ = ask(hub, "GET /user/name/resolve/main/digits", Range="bytes=10-")
    assert (status, headers["Content-Range"]) == (416, "bytes */10")


@pytest.mark.parametrize(
    ("request_", "token", "status"),
    [
        ("GET /user/name/resolve/main/a.txt", None, 200),
        ("GET /user/name/resolve/main/a.txt", "ro", 200),
        ("GET /user/name/resolve/main/a.txt", "unknown", 401),
        ("GET /user/hidden/resolve/main/a.txt", None, 401),
        ("GET /user/hidden/resolve/main/a.txt", "ro", 404),  # the repository is seen, and has no such file
        ("POST /api/models/user/hidden/paths-info/main", None, 401),
        ("GET /api/models/user/hidden", None, 401),
        ("GET /api/models/user/hidden", "ro", 200),
        ("GET /api/models/user/missing", None, 401),
        ("GET /api/models/user/missing", "ro", 404),
        ("POST /api/models/user/name/branch/new", None, 401),
        ("POST /api/models/user/name/branch/new", "ro", 403),
        ("POST /api/models/user/name/branch/new", "rw", 200),
        ("POST /api/models/user/name/preupload/main", "ro", 403),
        ("POST /user/name.git/info/lfs/objects/batch", "ro", 403),
        ("POST /api/models/someone/name/commit/main", "rw", 403),
        ("GET /api/nothing/of/the/kind", "rw", 404),
    ],
)
def test_who_may_do_what(hub, request_, token, status):
    assert create(hub, "user/hidden", visibility="private") == 200
    assert ask(hub, request_, "{}", token)[0] == status


def test_a_name_is_taken_once_for_each_kind(hub):
    options = {"name": "name", "organization": None, "type": "model"}
    status, _, answer = ask(hub, "POST /api/repos/create", json.dumps(options))
    assert (status, json.loads(answer)["url"]) == (409, f"{hub.endpoint}/user/name")
    assert create(hub, "user/name", type="dataset") == 200
    assert create(hub, "someone/name") == 403
    assert set(hub.repos) == {"models/user/name", "datasets/user/name"}
    assert content(hub) == {"a.txt": b"one"}


def test_faults_strike_the_requests_they_name_and_no_others(hub):
    path = "/user/name/resolve/main/a.txt"
    hub.fail("GET .*a.txt", 503, times=2)
    hub.fail("GET .*a.txt", lambda data: data[::-1])
    hub.fail("POST .*/commit/", "close")
    assert ask(hub, f"HEAD {path}")[0] == 200
    assert [ask(hub, f"GET {path}")[0] for _ in range(2)] == [503, 503]
    assert ask(hub, f"GET {path}")[::2] == (200, b"eno")
    assert ask(hub, f"GET {path}")[::2] == (200, b"one")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        commit(hub, file("a.txt", b"two" * 1000))
    assert content(hub) == {"a.txt": b"one"}
    assert commit(hub, file("a.txt", b"two")) == 200
    hub.fail("GET .*a.txt", "close")
    with pytest.raises(http.client.IncompleteRead):
        ask(hub, f"GET {path}")
    assert hub.requests[-1] == f"GET {path} 200"


def test_huggingface_hub_does_all_it_can(hub, tmp_path):
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# A card\n")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "sub" / "deep" / "notes.txt").write_text("deep")
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)) * 100)
    (tmp_path / "large.txt").write_bytes(b"x" * (10 * 2**20 + 1))
    code = """
        import filecmp, os
        from pathlib import Path
        from huggingface_hub import HfApi, hf_hub_download, snapshot_download
        from huggingface_hub.errors import (
            HfHubHTTPError, RemoteEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
        )

        api, folder, repo = HfApi(), Path(os.environ["FOLDER"]), "user/model"
        names = ["README.md", "config.json", "large.txt", "model.safetensors", "sub/deep/notes.txt"]

        def read(name, revision=None):
            return Path(hf_hub_download(repo, name, revision=revision)).read_bytes()

        def error(function, *arguments, **options):
            try:
                function(*arguments, **options)
            except Exception as error:
                return type(error), error.response.status_code
            raise AssertionError("no error")

        assert api.whoami()["name"] == "user"
        for kind in ("model", "dataset"):
            assert api.create_repo(repo, repo_type=kind).repo_id == repo
        api.create_repo("user/app", repo_type="space", space_sdk="static")
        assert error(api.create_repo, repo) == (HfHubHTTPError, 409)
        assert api.create_repo(repo, exist_ok=True).repo_id == repo

        first = api.upload_folder(repo_id=repo, folder_path=folder).oid
        assert api.upload_folder(repo_id=repo, folder_path=folder).oid == first  # nothing new is no commit
        api.create_branch(repo, branch="dev/one")
        api.create_tag(repo, tag="v1", tag_message="the first")
        second = api.upload_file(repo_id=repo, path_or_fileobj=b"[]", path_in_repo="config.json").oid
        api.upload_file(repo_id=repo, path_or_fileobj=b"dev", path_in_repo="config.json", revision="dev/one")
        api.create_branch(repo, branch="old", revision=first)
        api.create_tag(repo, tag="v0", revision="old")
        api.delete_file("large.txt", repo)
        api.delete_folder("sub", repo)

        assert [read("config.json", revision) for revision in (None, second, first, "v1", "dev/one")] == [
            b"[]", b"[]", b"{}", b"{}", b"dev"
        ]
        snapshot = snapshot_download(repo, revision="v1")
        assert filecmp.cmpfiles(snapshot, folder, names, shallow=False) == (names, [], [])
        assert api.list_repo_files(repo) == ["README.md", "config.json", "model.safetensors"]
        assert api.file_exists(repo, "config.json") and not api.file_exists(repo, "large.txt")

        refs = api.list_repo_refs(repo)
        assert [branch.name for branch in refs.branches] == ["main", "dev/one", "old"]
        assert {tag.ref: tag.target_commit for tag in refs.tags} == {"refs/tags/v1": first, "refs/tags/v0": first}
        assert [one.commit_id for one in api.list_repo_commits(repo, revision=second)][:2] == [second, first]

        tree = list(api.list_repo_tree(repo, revision="v1"))
        assert [one.path for one in tree] == ["README.md", "config.json", "large.txt", "model.safetensors", "sub"]
        assert [one.lfs is not None for one in tree[:4]] == [False, False, True, True]
        tree = {one.path: one for one in api.list_repo_tree(repo, recursive=True, expand=True, revision="dev/one")}
        assert sorted(tree) == sorted([*names, "sub", "sub/deep"])
        assert tree["README.md"].last_commit.oid == first != tree["config.json"].last_commit.oid
        assert [one.path for one in api.list_repo_tree(repo, "sub/deep", revision="v1")] == ["sub/deep/notes.txt"]
        assert [one.path for one in api.get_paths_info(repo, ["sub", "no", "large.txt"], revision=first)] == [
            "sub", "large.txt"
        ]
        info = api.model_info(repo, revision="v1", files_metadata=True)
        assert (info.id, info.sha, info.private) == (repo, first, False)
        assert {one.rfilename: one.size for one in info.siblings}["model.safetensors"] == 25600
        assert api.dataset_info(repo).id == repo and api.space_info("user/app").id == "user/app"

        assert error(read, "no.txt") == (RemoteEntryNotFoundError, 404)
        assert error(read, "config.json", "v2") == (RevisionNotFoundError, 404)
        assert error(api.model_info, "user/no") == (RepositoryNotFoundError, 404)
        assert error(api.list_repo_files, repo, revision="v2") == (RevisionNotFoundError, 404)
        assert error(api.delete_file, "no.txt", repo) == (RemoteEntryNotFoundError, 404)
        assert error(api.create_tag, repo, tag="v1") == (HfHubHTTPError, 409)
        stale = dict(repo_id=repo, path_or_fileobj=b"", path_in_repo="x", parent_commit=first)
        assert error(api.upload_file, **stale) == (HfHubHTTPError, 412)

        api.create_repo("user/private", private=True)
        for token, create, write, see in (
            (False, (HfHubHTTPError, 401), (HfHubHTTPError, 401), (RepositoryNotFoundError, 401)),
            ("ro", (HfHubHTTPError, 403), (HfHubHTTPError, 403), None),
            ("unknown", (HfHubHTTPError, 401), (HfHubHTTPError, 401), (HfHubHTTPError, 401)),
        ):
            change = dict(path_or_fileobj=b"", path_in_repo="x", token=token)
            assert error(api.create_repo, "user/mine", token=token) == create
            assert error(api.upload_file, repo_id=repo, **change) == write
            if see:
                assert error(api.model_info, "user/private", token=token) == see
            else:
                assert api.model_info("user/private", token=token).private
        """
    hub.run(code, FOLDER=str(tmp_path))
    kinds = ["models/user/name", "models/user/model", "datasets/user/model", "spaces/user/app", "models/user/private"]
    assert list(hub.repos) == kinds


def test_huggingface_hub_meets_every_fault(hub):
    downloads = {name: name.encode() * 50_000 for name in ("whole", "close", "hang", "short", "changed", "error")}
    uploads = [f"{request}-{how}" for request in ("commit", "put") for how in ("error", "close", "hang")]
    pointers = [{"path": f"{name}.bin", "oid": upload(hub, data)} for name, data in downloads.items()]
    assert commit(hub, *({"key": "lfsFile", "value": pointer} for pointer in pointers)) == 200
    for how, fault in (("error", 500), ("close", "close"), ("hang", "hang")):
        assert create(hub, f"user/commit-{how}") == create(hub, f"user/put-{how}") == 200
        hub.fail(f"POST .*/commit-{how}/commit/", fault)
        hub.fail(f"PUT .*/put-{how}/", fault)
    hub.fail("GET .*/close.bin", "close")
    hub.fail("GET .*/hang.bin", "hang")
    hub.fail("GET .*/short.bin", lambda data: data[:-1])
    hub.fail("GET .*/changed.bin", lambda data: b"!" + data[1:])
    hub.fail("GET .*/error.bin", 403)
    code = """
        import hashlib, json, os
        from concurrent.futures import ThreadPoolExecutor
        from pathlib import Path

        from huggingface_hub import HfApi, get_session, hf_hub_download, set_client_factory

        Client = type(get_session())
        set_client_factory(lambda: Client(timeout=3))  # the client's own waits forever

        def upload(name):
            HfApi().upload_file(repo_id=f"user/{name}", path_in_repo="w.bin", path_or_fileobj=name.encode() * 50_000)
            return "published"

        def download(name):
            return hashlib.sha256(Path(hf_hub_download("user/name", f"{name}.bin")).read_bytes()).hexdigest()

        def outcome(function, name):
            try:
                return function(name)
            except Exception as error:
                return type(error).__name__

        with ThreadPoolExecutor(16) as pool:
            jobs = {name: pool.submit(outcome, upload, name) for name in os.environ["UPLOADS"].split()}
            jobs |= {name: pool.submit(outcome, download, name) for name in os.environ["DOWNLOADS"].split()}
            print(json.dumps({name: job.result() for name, job in jobs.items()}))
        """
    names = {"UPLOADS": " ".join(uploads), "DOWNLOADS": " ".join(downloads)}
    outcome = json.loads(hub.run(code, HF_HUB_DOWNLOAD_TIMEOUT="1", **names))
    assert not any(hub.faults.values())  # each has struck
    expected = {name: hashlib.sha256(data).hexdigest() for name, data in downloads.items()}  # cut off and resumed too
    expected["short"] = "OSError"
    expected["changed"] = hashlib.sha256(b"!" + downloads["changed"][1:]).hexdigest()  # the client does not compare
    expected["error"] = expected["commit-error"] = "HfHubHTTPError"
    expected["commit-hang"] = "ReadTimeout"
    expected |= dict.fromkeys(["put-error", "put-close", "put-hang"], "published")  # sent again
    assert outcome.pop("commit-close") in ("RemoteProtocolError", "ReadError")  # by what the client sees first
    assert outcome == expected
    for name in uploads:
        files = hub.repos[f"models/user/{name}"].at("main").files
        assert [file.data for file in files.values()] == [name.encode() * 50_000] * name.startswith("put")


def test_datasets_come_back_identical(hub):
    code = """
        import datasets
        from datasets import Dataset, DatasetDict, load_dataset

        datasets.disable_progress_bars()
        rows = [{"text": f"row {i}", "spans": [[i, i + 1]], "number": i / 3} for i in range(1000)]
        data = Dataset.from_list(rows)
        data.push_to_hub("user/data", num_shards=3)
        first = Dataset.from_list(rows).push_to_hub("user/data", "other", num_shards=2).oid
        data.select(range(10)).push_to_hub("user/data", split="test")
        DatasetDict(train=data.select(range(5))).push_to_hub("user/data", revision="short")

        back = load_dataset("user/data")
        assert {split: len(part) for split, part in back.items()} == {"train": 1000, "test": 10}
        assert back["train"].features == data.features and back["train"].to_list() == rows
        assert list(load_dataset("user/data", split="train", streaming=True)) == rows
        assert load_dataset("user/data", "other", split="train[:1%]", num_proc=2).to_list() == rows[:10]
        assert load_dataset("user/data", revision="short", split="train").to_list() == rows[:5]
        assert list(load_dataset("user/data", revision=first)) == ["train"]
        """
    hub.run(code)
    files = hub.repos["datasets/user/data"].at("main").files
    shards = [f"data/train-0000{i}-of-00003.parquet" for i in range(3)]
    shards += ["data/test-00000-of-00001.parquet", *(f"other/train-0000{i}-of-00002.parquet" for i in range(2))]
    assert set(files) == {"README.md", *shards}
    assert all("lfs" in files[shard].entry for shard in shards)


def test_transformers_models_come_back_identical(hub, tmp_path):
    code = """
        import torch
        from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizer

        def same(model, other):
            states = model.state_dict(), other.state_dict()
            return all(torch.equal(states[0][name], states[1][name]) for name in states[0] | states[1])

        sizes = dict(vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
        models = [BertModel(BertConfig(**sizes)) for _ in range(2)]
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world"]
        BertTokenizer(vocab={word: index for index, word in enumerate(words)}).push_to_hub("user/bert")
        first = models[0].push_to_hub("user/bert").oid
        models[1].save_pretrained("local", push_to_hub=True, repo_id="user/bert")

        assert same(AutoModel.from_pretrained("user/bert"), models[1])
        assert same(AutoModel.from_pretrained("user/bert", revision=first), models[0])
        assert not same(*models)
        assert AutoTokenizer.from_pretrained("user/bert")("hello world")["input_ids"] == [2, 5, 6, 3]
        models[0].push_to_hub("user/truncated")
        try:
            AutoModel.from_pretrained("user/truncated")
        except OSError as error:
            assert "Consistency check failed" in str(error)
        else:
            raise AssertionError("a truncated file was read")
        """
    hub.fail("GET .*/truncated/.*/model.safetensors", lambda data: data[:-1])
    hub.run(code, HF_HOME=str(tmp_path))
    files = hub.repos["models/user/bert"].at("main").files
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} == set(files)
    requests = list(hub.requests)
    code = """
        from pathlib import Path
        from huggingface_hub import hf_hub_download
        print(Path(hf_hub_download("user/bert", "config.json")).read_text(), end="")
        """
    assert hub.run(code, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1").encode() == files["config.json"].data
    assert hub.requests == requests
