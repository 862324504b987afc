"""IMDB: the Large Movie Review Dataset (Maas et al. 2011).

    data_dir    imdb/train.jsonl.gz and test.jsonl.gz, objects of id, label and text
    archive     https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz
    repository  stanfordnlp/imdb

An id such as neg/7_3 is a file of the archive, the negative review number 7, which gives 3 of 10 stars. There is no
development split; `validation_share` of the training reviews become one.

Jain and Wallace keep reviews of more than 6 and fewer than 400 words, and test on a fifth of what is left for testing:
`min_words=7, max_words=399`.

    python -m dataset_scripts.imdb.imdb --output DIR --data_dir DIR
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import datasets

from dataset_scripts.text_classification import DevelopmentSplitConfig, TextClassification, main
from hub import errors_in_a_line

MEMBER = re.compile(r"(train|test)/((neg|pos)/\d+_\d+)\.txt")
BREAKS = re.compile(r"(\s*<br\s*/?>\s*)+")


@dataclass
class ImdbConfig(DevelopmentSplitConfig):
    """Adds to `DevelopmentSplitConfig` what becomes of markup.

    Args:
        strip_markup: whether line breaks written as <br /> become line breaks. They are in 6 of 10 reviews and are no
            words; other markup is rare and stays.
    """

    FOLDER: ClassVar = "imdb"
    repository: str = "stanfordnlp/imdb"
    strip_markup: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.strip_markup, bool):
            raise TypeError(f"strip_markup must be True or False, got {self.strip_markup!r}.")


class Imdb(TextClassification):
    """Builder of IMDB, see `TextClassification`."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = ImdbConfig
    LABELS = ("neg", "pos")
    COUNTS: ClassVar = {"train": (12_500, 12_500), "test": (12_500, 12_500)}
    CARD_DATA: ClassVar = {"pretty_name": "Large Movie Review Dataset", "license": "other"}
    CARD = """
# Large Movie Review Dataset

Movie reviews, negative (0, at most 4 of 10 stars) or positive (1, at least 7). The validation split was taken from the
training reviews.

Whoever uses it cites Maas, Daly, Pham, Huang, Ng and Potts, "Learning Word Vectors for Sentiment Analysis", ACL 2011,
https://ai.stanford.edu/~amaas/data/sentiment.
"""

    def member_rows(self, path: str, content: bytes) -> Iterator[tuple[str, dict, str]]:
        if match := MEMBER.search(path):
            split, name, label = match.groups()
            yield split, {"id": name, "text": content.decode("utf-8"), "label": self.LABELS.index(label)}, path

    def clean(self, text: str) -> str:
        return BREAKS.sub("\n", text) if self.config.strip_markup else text


if __name__ == "__main__":
    with errors_in_a_line():
        main(Imdb)
