"""Reading lines, archives and the Hub, with errors that name the file and say what to do."""

import gzip
import json
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets


@contextmanager
def clear_errors(path: Path | str) -> Iterator[None]:
    """Make errors of reading a file name it and say what to do.

    Raises:
        FileNotFoundError: if it is missing.
        ConnectionError: if it is on the Hub, which cannot be reached.
        ValueError: if it is cut off or otherwise not of its format.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} is missing: correct the path, or put the file there.") from error
    except ConnectionError as error:
        raise ConnectionError(f"{error}: connect to it, or read local files by data_dir or archive.") from error
    except (EOFError, UnicodeDecodeError, gzip.BadGzipFile, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is cut off or damaged ({error}): copy or download it again.") from error


def stamped(config_kwargs: dict, files: Iterable[Path]) -> dict:
    """The arguments of a builder, with the sizes and times of those of `files` that are there."""
    stamps = sorted((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file())
    return config_kwargs | ({"stamps": stamps} if stamps else {})


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Read a UTF-8 file, unpacked if its name ends in .gz.

    Yields:
        the place of a line, for messages, and the line.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if it is cut off or damaged.
    """
    # Not by gzip.open, which datasets replaces in a builder's file by one that leaves the file open.
    with clear_errors(path), open(path, "rb") as file:
        for number, line in enumerate(gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file, start=1):
            if not line.endswith(b"\n"):
                raise ValueError(f"{path} is cut off in line {number}, which does not end: copy it again.")
            yield f"{path}, line {number}", line.decode("utf-8").rstrip("\r\n")


def read_objects(path: Path, columns: Iterable[str]) -> Iterator[tuple[str, dict]]:
    """Read a file of JSON Lines, unpacked if its name ends in .gz.

    Yields:
        the place of a line, for messages, and its object.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if it is cut off or damaged, or a line is no object of these columns alone.
    """
    for place, line in read_lines(path):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{place} is not JSON ({error}): copy the file again.") from error
        if not isinstance(row, dict) or row.keys() != {*columns}:
            raise ValueError(f"{place} must be an object of {', '.join(columns)}, got {line[:80]!r}.")
        yield place, row


def read_repository(config: datasets.BuilderConfig, split: str, columns: Iterable[str]) -> datasets.Dataset:
    """Load a split of a config's `repository`.

    Raises:
        ConnectionError: if the Hub cannot be reached.
        ValueError: if the repository lacks one of the columns.
    """
    with clear_errors(config.repository):
        rows = datasets.load_dataset(config.repository, split=split)
    if missing := {*columns} - {*rows.column_names}:
        raise ValueError(
            f"{config.repository} has the columns {rows.column_names} and lacks {sorted(missing)}: choose a "
            f"repository with the columns of {type(config).repository}."
        )
    return rows


def read_archive(path: str) -> Iterator[tuple[str, bytes]]:
    """Read a .zip or .tar.gz file to its end, where its checksum is: unlike `iter_archive` this misses no damage.

    Yields:
        the path of a member and its content.
    """
    with open(path, "rb") as file:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                yield from ((name, archive.read(name)) for name in archive.namelist())
        else:
            file.seek(0)
            unpacked = gzip.GzipFile(fileobj=file)
            with tarfile.open(fileobj=unpacked, mode="r|") as archive:
                yield from ((member.name, archive.extractfile(member).read()) for member in archive if member.isfile())
            unpacked.read()
