"""Export of a builder's configs as Parquet files with a card, a folder that `load_dataset` reads, and its publication.

The rows go straight from the builder to the files: each of `num_proc` processes writes its own, and holds no more than
the table that it writes. What is unusual: the folder appears when all of it is there, or not at all, and a repository
gets all of it in one commit. No script is published, since no client would run it.

    python -m dataset_scripts.calculator_qa.calculator_qa --output DIR --num_proc 2 --push_to_hub user/name
    python -m dataset_scripts.export DIR user/name
"""

import argparse
import re
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import CommitInfo, DatasetCard, DatasetCardData, HfApi

from hub import CARD, check_target, commit_files, errors_in_a_line


def parse(parser: argparse.ArgumentParser, arguments: list[str] | None) -> tuple[dict, dict]:
    """Parse a builder's command line, to which the options of `export` are added.

    Args:
        parser: with the parameters of the builder.
        arguments: words of the command line, by default those of the process.

    Returns:
        parameters of the builder and options of `export`, keyword arguments both.
    """
    add = parser.add_argument_group("export").add_argument
    actions = [
        add("--output", type=Path, required=True, help="folder to write to, new or empty"),
        add("--num_proc", type=int, help="processes that make and write rows, by default 1"),
        add("--max_shard_size", help="of a file before compression, such as 100MB, by default 500MB"),
        add("--push_to_hub", metavar="USER/NAME", help="also publish the folder there"),
        add("--private", action="store_true", default=None, help="if the repository is new"),
    ]
    parameters = vars(parser.parse_args(arguments))
    return parameters, {action.dest: parameters.pop(action.dest) for action in actions}


def shown(value: object) -> object:
    """A parameter as a card shows it: words in a line, of a path the last part, since the rest says nothing elsewhere.

    Example:
        >>> shown(("pens", "books")), shown(7), shown("/usr/bin")
        ('pens books', 7, 'bin')
    """
    if isinstance(value, list | tuple):
        return " ".join(value)
    return Path(value).name if isinstance(value, str | Path) and Path(value).exists() else value


def write_splits(builder: datasets.DatasetBuilder, scratch: Path, folder: Path, **options: int | str | None) -> None:
    """Write a builder's rows as Parquet files.

    Args:
        builder: knows its splits afterwards.
        scratch: folder for a while, new, on the same disk.
        folder: of the files, new.
        options: `num_proc` and `max_shard_size`, see `download_and_prepare`.

    Raises:
        OSError: a row could not be made or written.
    """
    try:
        builder.download_and_prepare(scratch, file_format="parquet", **options)
    except datasets.exceptions.DatasetGenerationError as error:
        # It is the last of a chain. The first says what happened, in another process as a part of the text.
        reason = re.search(r"^[\w.]+Error: .+", "".join(traceback.format_exception(error)), re.MULTILINE)
        raise OSError(f"no rows were exported, because of {reason[0]}") from error
    folder.mkdir(parents=True)
    for split in builder.info.splits:
        shards = sorted(scratch.glob(f"{builder.dataset_name}-{split}[-.]*"))
        for number, shard in enumerate(shards):
            shard.rename(folder / f"{split}-{number:05d}-of-{len(shards):05d}.parquet")


def write_card(
    folder: Path, builders: dict[str, datasets.DatasetBuilder], parameters: dict, card: Callable[..., str], data: dict
) -> None:
    """Write the card of a folder to which `write_splits` wrote configs, {name: builder}; the rest as in `export`."""
    infos, files = DatasetInfosDict(), MetadataConfigs()
    for name, builder in builders.items():
        infos[name] = builder.info
        infos[name].download_size = sum(path.stat().st_size for path in (folder / name).iterdir())
        files[name] = {"data_files": [{"split": split, "path": f"{name}/{split}-*"} for split in builder.info.splits]}
        if name == builder.DEFAULT_CONFIG_NAME:
            files[name]["default"] = True
    first, builder = next(iter(builders.items()))
    version = str(builder.info.version)
    parameters = {name: shown(value) for name, value in parameters.items() if value is not None}
    head = DatasetCardData(builder=type(builder).__name__, version=version, parameters=parameters, **data)
    infos.to_dataset_card_data(head)
    files.to_dataset_card_data(head)
    (row,) = next(pq.ParquetFile(min((folder / first).glob("train-*"))).iter_batches(batch_size=1)).to_pylist()
    lines = "\n".join(f"- {name}: {value}" for name, value in parameters.items())
    text = card(version=version, parameters=lines, **row)
    (folder / CARD).write_text(f"---\n{head}\n---\n{text}", encoding="utf-8")


def export(
    builder_class: type[datasets.DatasetBuilder],
    config_names: list[str],
    parameters: dict,
    output: Path,
    card: Callable[..., str],
    num_proc: int | None = None,
    max_shard_size: int | str | None = None,
    push_to_hub: str | None = None,
    private: bool | None = None,
    **card_data: object,
) -> None:
    """Write configs of a builder as Parquet files with a card, which `load_dataset(output, config_name)` reads.

    Args:
        builder_class: the builder.
        config_names: those of its configs to write.
        parameters: keyword arguments of the builder, for all of them.
        output: folder to write to, new or empty.
        card: makes the text of the card from the builder's `version`, its `parameters` as a list in Markdown and the
            columns of the first training row, all given as keywords.
        num_proc: processes. The rows and their order are the same with any number.
        max_shard_size: of a file before compression, in bytes or as text, by default 500 MB. Each process writes one
            file at least.
        push_to_hub: `user/name` of a repository to publish the folder in, see `push`; its address is printed.
        private: of a new repository.
        card_data: what the head of the card says, see `DatasetCardData`; how the rows were made, configs, columns and
            splits are added.

    Raises:
        FileExistsError: if the output folder is not empty.
        TypeError, ValueError: if the builder refuses its parameters.
        OSError: if the rows cannot be written, such as on a full disk. In all of these cases nothing is.
        ConnectionError, PermissionError, ValueError: as `push` says; the folder is there.
    """
    if push_to_hub:
        check_target(push_to_hub)
    if output.exists() and any(output.iterdir()):
        raise FileExistsError(f"{output} must be empty, since the card describes one export: choose a new folder.")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f"{output.name}.incomplete-") as scratch:
        scratch, folder = Path(scratch), Path(scratch, "export")
        builders = {name: builder_class(config_name=name, cache_dir=scratch, **parameters) for name in config_names}
        options = {"num_proc": num_proc, "max_shard_size": max_shard_size}
        for name, builder in builders.items():
            write_splits(builder, scratch / f"{name}-written", folder / name, **options)
        write_card(folder, builders, parameters, card, card_data)
        folder.rename(output)
    if push_to_hub:
        print(push(output, push_to_hub, private).commit_url)


def check_folder(folder: Path) -> tuple[DatasetCardData, list[str]]:
    """Find out whether a folder is a whole export.

    Returns:
        the head of its card and the names of its files of rows.

    Raises:
        FileNotFoundError: if it has no card, or a card of another kind.
        ValueError: if a file is missing or damaged.
    """
    path = folder / CARD
    head = DatasetCard.load(path).data if path.is_file() else DatasetCardData()
    if "builder" not in head:
        raise FileNotFoundError(f"{path} is not the card of an export: give a folder that a builder wrote")
    shards = []
    for name, info in DatasetInfosDict.from_dataset_card_data(head).items():
        for split in info.splits.values():
            rows = 0
            for shard in sorted((folder / name).glob(f"{split.name}-*.parquet")):
                try:
                    rows += pq.read_metadata(shard).num_rows
                except pa.ArrowInvalid as error:
                    raise ValueError(f"{shard} is cut off or damaged ({error}): export it again") from error
                shards.append(shard.relative_to(folder).as_posix())
            if rows != split.num_examples:
                counts = f"{rows} rows of {split.name}, by its card {split.num_examples}"
                raise ValueError(f"{folder / name} has {counts}: export it again")
    return head, shards


def push(folder: Path, repo_id: str, private: bool | None = None) -> CommitInfo:
    """Publish an exported folder in one commit.

    A repository that exists is gone on with if it is empty or holds an export of the same builder, which is replaced.

    Args:
        folder: that `export` wrote.
        repo_id: `user/name`.
        private: of a new repository; by default as the account says.

    Raises:
        FileNotFoundError, ValueError: the folder is no whole export, or the name is taken by something else.
        PermissionError: no token, or one without the right to write there.
        ConnectionError: the Hub refused or broke off; the repository is as it was.
    """
    head, shards = check_folder(folder)
    builder = head.get("builder")

    def check_repository(api: HfApi, published: set[str]) -> None:
        if CARD in published:
            text = Path(api.hf_hub_download(repo_id, CARD, repo_type="dataset")).read_text(encoding="utf-8")
            if re.search(f"^builder: {builder}$", text, re.MULTILINE):
                return
        raise ValueError(f"the name {repo_id} is taken by something else than a dataset of {builder}: choose another")

    files = {name: folder / name for name in (*shards, CARD)}
    message = f"Publish {head.pretty_name}"
    return commit_files(files, repo_id, "dataset", check_repository, message, private)


def main(arguments: list[str] | None = None) -> None:
    """Publish a folder that was exported before.

    Args:
        arguments: words of the command line, by default those of the process.

    Raises:
        ConnectionError, FileNotFoundError, PermissionError, ValueError: as `push` says.
    """
    parser = argparse.ArgumentParser(description="Publish an exported dataset on the Hub.")
    parser.add_argument("folder", type=Path, help="that a builder exported")
    parser.add_argument("repository", metavar="user/name", help="new or with a dataset of the same builder")
    parser.add_argument("--private", action="store_true", default=None, help="if the repository is new")
    options = parser.parse_args(arguments)
    print(push(options.folder, options.repository, options.private).commit_url)


if __name__ == "__main__":
    with errors_in_a_line():
        main()
