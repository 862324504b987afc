"""Newsgroups: posts on baseball (0) and hockey (1) from 20 Newsgroups, sorted by date.

    data_dir    20news/train.jsonl.gz and test.jsonl.gz, objects of id, label and text, the posts as they were sent
    archive     http://qwone.com/~jason/20Newsgroups/20news-bydate.tar.gz
    repository  SetFit/20_newsgroups, which has all groups and is stripped already

Headers, quotes and footers give the group away and are removed as scikit-learn does. Nothing is left of 3% of the
posts; `min_words=1` leaves those out. There is no development split; `validation_share` of the training posts become
one.

Jain and Wallace keep posts of more than 6 and fewer than 500 words, `min_words=7, max_words=499`, and divide all posts
at random, where here the later ones are for testing.

    python -m dataset_scripts.newsgroups.newsgroups --output DIR --data_dir DIR
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import datasets

from dataset_scripts.text_classification import DevelopmentSplitConfig, TextClassification, main
from hub import errors_in_a_line

MEMBER = re.compile(r"20news-bydate-(train|test)/([^/]+)/(\d+)$")
QUOTE = re.compile(r"writes in|writes:|wrote:|says:|said:|^In article|^Quoted from|^\||^>")


def strip_headers(text: str) -> str:
    """What follows the first blank line of a post, as `strip_newsgroup_header` of scikit-learn.

    Example:
        >>> strip_headers("From: anna\\nSubject: game\\n\\nWho won?")
        'Who won?'
    """
    return text.partition("\n\n")[2]


def strip_footers(text: str) -> str:
    """What precedes the last line that is blank or of hyphens, as `strip_newsgroup_footer` of scikit-learn.

    All of the text if there is no such line. A post without a signature loses its last paragraph.

    Example:
        >>> strip_footers("Who won?\\n--\\nAnna\\n")
        'Who won?'
    """
    lines = text.strip().split("\n")
    last = max((number for number, line in enumerate(lines) if not line.strip().strip("-")), default=0)
    return "\n".join(lines[:last]) if last else text


def strip_quotes(text: str) -> str:
    """The lines that neither are quotes nor introduce one, as `strip_newsgroup_quoting` of scikit-learn.

    Example:
        >>> strip_quotes("Carl writes:\\n> They won.\\nThey lost.")
        'They lost.'
    """
    return "\n".join(line for line in text.split("\n") if not QUOTE.search(line))


STRIPS = {"headers": strip_headers, "footers": strip_footers, "quotes": strip_quotes}


@dataclass
class NewsgroupsConfig(DevelopmentSplitConfig):
    """Adds to `DevelopmentSplitConfig` what is removed from a post.

    Args:
        remove: any of "headers", "footers" and "quotes".
    """

    FOLDER: ClassVar = "20news"
    repository: str = "SetFit/20_newsgroups"
    remove: tuple[str, ...] = tuple(STRIPS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.remove, list | tuple):
            raise TypeError(f"remove must be a list or tuple of strings, got {self.remove!r}.")
        if not {*self.remove} <= STRIPS.keys():
            raise ValueError(f"remove must be among {[*STRIPS]}, got {self.remove!r}.")
        if self.from_hub and {*self.remove} != STRIPS.keys():
            raise ValueError(
                f"remove={self.remove!r} needs data_dir or archive: the Hub's copy is stripped of all three."
            )


class Newsgroups(TextClassification):
    """Builder of the two newsgroups, see `TextClassification`."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = NewsgroupsConfig
    LABELS = ("rec.sport.baseball", "rec.sport.hockey")
    COUNTS: ClassVar = {"train": (597, 600), "test": (397, 399)}
    HUB_LABEL = "label_text"
    CARD_DATA: ClassVar = {"pretty_name": "20 Newsgroups, baseball and hockey", "license": "unknown"}
    CARD = """
# 20 Newsgroups, baseball and hockey

Posts to rec.sport.baseball (0) and rec.sport.hockey (1), sorted by date: the later ones are for testing. The
validation split was taken from the training posts.

Collected by Ken Lang, "NewsWeeder: Learning to Filter Netnews", ICML 1995; this version is of Jason Rennie,
http://qwone.com/~jason/20Newsgroups. No license is stated.
"""

    def member_rows(self, path: str, content: bytes) -> Iterator[tuple[str, dict, str]]:
        match = MEMBER.search(path)
        if match and match[2] in self.LABELS:
            # Latin-1, as scikit-learn reads them.
            yield (
                match[1],
                {"id": match[3], "text": content.decode("latin-1"), "label": self.LABELS.index(match[2])},
                path,
            )

    def hub_rows(self, split: str, dataset: datasets.Dataset) -> Iterator[tuple[str, dict, str]]:
        for _, row, place in super().hub_rows(split, dataset):
            if row["label"] in self.LABELS:
                yield split, row | {"label": self.LABELS.index(row["label"])}, place

    def clean(self, text: str) -> str:
        if not self.config.from_hub:
            for part, strip in STRIPS.items():  # in scikit-learn's order, whatever that of `remove`
                text = strip(text) if part in self.config.remove else text
        return text


if __name__ == "__main__":
    with errors_in_a_line():
        main(Newsgroups)
