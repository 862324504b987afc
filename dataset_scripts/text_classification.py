"""What the builders of sst2, imdb and newsgroups share: where they read from, checks, the development split, export.

A corpus is read from plain files (`data_dir`), from its original archive (`archive`), which is not unpacked, or else
from the Hub (`repository`). All three give the same texts, the Hub without ids. They must be as many of each label as
were published, so that half a file does not pass for a corpus.

What is unusual is the development split of a corpus that brings none. A text is chosen for it by a hash of the text
and not by its place among the rows, so the split is the same wherever the corpus was read from.

    builder = Imdb(data_dir="data", validation_share=0.1)
    builder.download_and_prepare()
    train = builder.as_dataset(split="train")

    python -m dataset_scripts.imdb.imdb --output DIR --archive aclImdb_v1.tar.gz
"""

import argparse
import hashlib
import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import ClassVar, get_args

import datasets

from dataset_scripts.export import export, parse, shown
from dataset_scripts.reading import clear_errors, read_archive, read_objects, read_repository, stamped

WORD = re.compile(r"\w+")
MADE = """
Made by version {version} of the builder `{builder}` from {origin} with

{parameters}
"""

logger = logging.getLogger(__name__)


@dataclass
class TextClassificationConfig(datasets.BuilderConfig):
    """Where a corpus is read from and what is kept of it.

    Args:
        data_dir: folder that holds the corpus's folder of plain files, which its builder describes.
        archive: the original archive, a file or an address.
        repository: what is read if neither is given, the corpus on the Hub or a local folder like it.
        check_counts: whether the texts of each split and label must be as many as were published.
        min_words, max_words: texts with fewer or more words, which are runs of letters and digits, are left out of
            every split, and a warning says how many. By default all are kept, empty ones too.

    Raises:
        TypeError, ValueError: if an argument is wrong.
    """

    FOLDER: ClassVar[str]  # of the plain files
    archive: str | None = None
    repository: str = ""
    check_counts: bool = True
    min_words: int = 0
    max_words: int | float = math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data_dir and self.archive:
            raise ValueError(f"data_dir={self.data_dir!r} and archive={self.archive!r} exclude each other: give one.")
        if not isinstance(self.check_counts, bool):
            raise TypeError(f"check_counts must be True or False, got {self.check_counts!r}.")
        for field in ("min_words", "max_words"):
            value = getattr(self, field)
            if type(value) is not int and value != math.inf:  # a bool is an int, too
                raise TypeError(f"{field} must be an integer, got {value!r}.")
        if not 0 <= self.min_words <= self.max_words:
            raise ValueError(f"0 <= min_words <= max_words must hold, got {self.min_words} and {self.max_words}.")

    @property
    def from_hub(self) -> bool:
        """Whether the corpus is read from `repository`."""
        return not self.data_dir and not self.archive

    @property
    def source(self) -> str:
        """What the corpus is read from."""
        return str(self.data_dir or self.archive or self.repository)

    def create_config_id(self, config_kwargs: dict, custom_features: datasets.Features | None = None) -> str:
        """Key of the cache, with the sizes and times of the files to read: changed files are read again."""
        root = Path(self.data_dir, self.FOLDER) if self.data_dir else Path(self.source)
        files = (root, *root.glob("*"), *root.glob("*/*"))
        return super().create_config_id(stamped(config_kwargs, files), custom_features)


@dataclass
class DevelopmentSplitConfig(TextClassificationConfig):
    """Adds the development split, for a corpus that brings none.

    Args:
        validation_share: share of the training texts of each label that go to the development split. The default is
            Jain and Wallace's.
        seed: which ones.
    """

    validation_share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.validation_share, float):
            raise TypeError(f"validation_share must be a float, got {self.validation_share!r}.")
        if not 0 < self.validation_share < 1:
            raise ValueError(f"validation_share must be between 0 and 1, got {self.validation_share}.")
        if type(self.seed) is not int:
            raise TypeError(f"seed must be an integer, got {self.seed!r}.")


def split_development(rows: list[dict], share: float, seed: int) -> tuple[list[dict], list[dict]]:
    """Divide rows into training and development, which gets the same share of each label.

    Args:
        rows: each with a text and a label.
        share: of the development rows, rounded for each label.
        seed: of the hash. The rows of a label are ranked by it and the first are chosen.

    Returns:
        training rows and development rows, in the order of `rows`.
    """
    copies = Counter()  # a copy has a hash of its own, or else all empty texts would fall to one side
    ranks = {row["label"]: [] for row in rows}
    for index, row in enumerate(rows):
        key = row["label"], row["text"]
        copies[key] += 1
        ranks[row["label"]].append((hashlib.sha256(f"{seed} {copies[key]} {row['text']}".encode()).digest(), index))
    chosen = {index for rank in ranks.values() for _, index in sorted(rank)[: round(share * len(rank))]}
    train = [row for index, row in enumerate(rows) if index not in chosen]
    return train, [rows[index] for index in sorted(chosen)]


class TextClassification(datasets.GeneratorBasedBuilder):
    """A corpus of texts with labels. Keyword arguments are those of the config class, which checks them.

    The rows of a source are triples: a split, a dict of the columns, and the row's place for messages.

    Raises:
        TypeError, ValueError: at construction, if an argument is wrong; from `download_and_prepare`, if a file is cut
            off or has other columns, labels or counts.
        FileNotFoundError: from `download_and_prepare`, if a file is missing.
    """

    LABELS: ClassVar[tuple[str, ...]]
    COUNTS: ClassVar[dict[str, tuple[int, ...]]]  # what was published: split -> number of texts of each label
    HAS_IDS: ClassVar[bool] = True  # outside of the Hub
    HUB_LABEL: ClassVar[str] = "label"  # column of the repository
    CARD: ClassVar[str]
    CARD_DATA: ClassVar[dict[str, str]]

    def folder_rows(self, folder: Path) -> Iterator[tuple[str, dict, str]]:
        """Rows of plain files, `<split>.jsonl.gz` with objects of id, label and text."""
        for split in self.COUNTS:
            for place, row in read_objects(folder / f"{split}.jsonl.gz", ("id", "label", "text")):
                yield split, row, place

    def member_rows(self, path: str, content: bytes) -> Iterator[tuple[str, dict, str]]:
        """Rows of a member of the original archive, none if it is not of the corpus; every builder has its own."""
        raise NotImplementedError

    def hub_rows(self, split: str, dataset: datasets.Dataset) -> Iterator[tuple[str, dict, str]]:
        """Rows of a split of the repository."""
        for number, row in enumerate(dataset):
            yield split, {"text": row["text"], "label": row[self.HUB_LABEL]}, f"{split} row {number}"

    def clean(self, text: str) -> str:
        """Preprocess a text."""
        return text

    def keeps(self, text: str) -> bool:
        """Whether a cleaned text has neither too few nor too many words."""
        return self.config.min_words <= len(WORD.findall(text)) <= self.config.max_words

    def prepared(self, texts: Iterable[str]) -> list[str]:
        """Other texts of the kind, cleaned, and of these what the corpus would keep."""
        return [*filter(self.keeps, map(self.clean, texts))]

    def _info(self) -> datasets.DatasetInfo:
        ids = {"id": datasets.Value("string")} if self.HAS_IDS and not self.config.from_hub else {}
        columns = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(self.LABELS))}
        return datasets.DatasetInfo(features=datasets.Features(ids | columns))

    def _rows(self, dl_manager) -> Iterator[tuple[str, dict, str]]:
        config = self.config
        if config.data_dir:
            yield from self.folder_rows(Path(config.data_dir, config.FOLDER))
        elif config.archive:
            with clear_errors(config.archive):
                for path, content in read_archive(dl_manager.download(str(config.archive))):
                    yield from self.member_rows(path, content)
        else:
            for split in self.COUNTS:
                yield from self.hub_rows(split, read_repository(config, split, ("text", self.HUB_LABEL)))

    def _count(self, rows: list[dict]) -> tuple[int, ...]:
        counts = Counter(row["label"] for row in rows)
        return tuple(counts[label] for label in range(len(self.LABELS)))

    def _read(self, dl_manager) -> dict[str, list[dict]]:
        """Rows of each split of the source, checked and cleaned."""
        source = self.config.source
        splits = {split: [] for split in self.COUNTS}
        for split, row, place in self._rows(dl_manager):
            if type(row["label"]) is not int or not 0 <= row["label"] < len(self.LABELS):
                limit = len(self.LABELS) - 1
                raise ValueError(f"{source}, {place}: label must be 0 to {limit}, got {row['label']!r}.")
            if not all(isinstance(row[column], str) for column in row if column != "label"):
                raise ValueError(f"{source}, {place}: text and id must be strings, got {row!r}.")
            splits[split].append(row | {"text": self.clean(row["text"])})
        counts = {split: self._count(rows) for split, rows in splits.items()}
        if self.config.check_counts and counts != self.COUNTS:
            raise ValueError(
                f"{source} has {counts} texts of the labels {self.LABELS}, but {self.COUNTS} were published: "
                "copy or download it again, or accept other counts by check_counts=False (--no-check_counts)."
            )
        return splits

    def _split_generators(self, dl_manager) -> list[datasets.SplitGenerator]:
        # All is read here, because datasets hides what goes wrong in _generate_examples.
        config = self.config
        splits = self._read(dl_manager)
        for split, rows in splits.items():
            kept = [row for row in rows if self.keeps(row["text"])]
            if len(kept) < len(rows):
                left_out = len(rows) - len(kept)
                logger.warning("%s: %d of %d texts of %s left out", type(self).__name__, left_out, len(rows), split)
            splits[split] = kept
        if "validation" not in splits:
            train, validation = split_development(splits["train"], config.validation_share, config.seed)
            splits = {"train": train, "validation": validation, "test": splits["test"]}
        for split, rows in splits.items():
            if 0 in self._count(rows):
                raise ValueError(
                    f"{split} has {self._count(rows)} texts of the labels {self.LABELS} and needs some of each: give "
                    "more texts, or change min_words, max_words or validation_share."
                )
        return [datasets.SplitGenerator(name=split, gen_kwargs={"rows": rows}) for split, rows in splits.items()]

    def _generate_examples(self, rows: list[dict]) -> Iterator[tuple[int, dict]]:
        yield from enumerate(rows)


def main(builder_class: type[TextClassification], arguments: list[str] | None = None) -> None:
    """Write a corpus as Parquet files with a card, which `load_dataset(output)` reads, and publish it.

    Args:
        builder_class: of the corpus.
        arguments: words of the command line, by default those of the process.

    Raises:
        OSError, TypeError, ValueError: as the builder and `export` say.
    """
    config_class, title = builder_class.BUILDER_CONFIG_CLASS, builder_class.CARD_DATA["pretty_name"]
    parser = argparse.ArgumentParser(description=f"Export {title} as Parquet files with a card.")
    foreign = {field.name for field in fields(datasets.BuilderConfig)} - {"data_dir"}
    for field in fields(config_class):
        if field.name in foreign:
            continue
        if isinstance(field.default, bool):
            kind = {"action": argparse.BooleanOptionalAction}
        elif isinstance(field.default, tuple):
            kind = {"nargs": "*"}
        else:
            kind = {"type": (*get_args(field.type), field.type)[0]}  # str of str | None
        parser.add_argument(f"--{field.name}", default=field.default, help=f"see {config_class.__name__}", **kind)
    parameters, options = parse(parser, arguments)
    origin = "plain files" if parameters["data_dir"] else shown(parameters["archive"] or parameters["repository"])
    if parameters["data_dir"] or parameters["archive"]:
        del parameters["repository"]  # is not read
    made = partial(MADE.format, builder=builder_class.__name__, origin=origin)
    export(
        builder_class,
        ["default"],
        parameters,
        card=lambda **row: builder_class.CARD + made(**row),
        language="en",
        task_categories=["text-classification"],
        **builder_class.CARD_DATA,
        **options,
    )
