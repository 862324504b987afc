"""SST-2: the sentences of the Stanford Sentiment Treebank (Socher et al. 2013) that are not neutral.

    data_dir    sst2/sst2_train.tsv, sst2_dev.tsv and sst2_test.tsv, tables of label and sentence
    archive     https://nlp.stanford.edu/sentiment/trainDevTestTrees_PTB.zip
    repository  SetFit/sst2

The text is the treebank's, its words separated by spaces, with -LRB- and the like read as what they stand for. GLUE's
SST-2 (stanfordnlp/sst2 on the Hub) is another: it trains on 67,349 phrases and withholds the labels of its test split.

Jain and Wallace train on sentences of more than 5 words: `min_words=6`.

    python -m dataset_scripts.sst2.sst2 --output DIR --data_dir DIR
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import datasets

from dataset_scripts.reading import read_lines
from dataset_scripts.text_classification import TextClassification, TextClassificationConfig, main
from hub import errors_in_a_line

FILES = {"train": "train", "validation": "dev", "test": "test"}  # split -> name in plain files and archive
HEADER = "label\tsentence"
LEAF = re.compile(r"\([0-4] ([^() ]+)\)")
ESCAPES = {"-LRB-": "(", "-RRB-": ")", r"\/": "/", r"\*": "*"}
ESCAPE = re.compile("|".join(map(re.escape, ESCAPES)))


def read_tree(tree: str) -> tuple[int, str]:
    """Read a tree of the treebank.

    Args:
        tree: nested `(sentiment part part)`, the innermost part a word.

    Returns:
        sentiment of the whole, from 0 (very negative) to 4 (very positive), and its words.

    Raises:
        ValueError: if the brackets do not match.

    Example:
        >>> read_tree(r"(3 (2 (1 -LRB-) (3 (2 a) (3 (2 writer\\/director) (3 -RRB-)))) (3 shines))")
        (3, '( a writer/director ) shines')
    """
    words = LEAF.findall(tree)
    if not re.match(r"\([0-4] ", tree) or tree.count("(") != tree.count(")") or not words:
        raise ValueError(f"{tree[:80]!r} is not a whole tree: copy or download the file again.")
    return int(tree[1]), ESCAPE.sub(lambda match: ESCAPES[match[0]], " ".join(words))


@dataclass
class Sst2Config(TextClassificationConfig):
    """See `TextClassificationConfig`."""

    FOLDER: ClassVar = "sst2"
    repository: str = "SetFit/sst2"


class Sst2(TextClassification):
    """Builder of SST-2, see `TextClassification`."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = Sst2Config
    LABELS = ("negative", "positive")
    COUNTS: ClassVar = {"train": (3310, 3610), "validation": (428, 444), "test": (912, 909)}
    HAS_IDS = False
    CARD_DATA: ClassVar = {"pretty_name": "Stanford Sentiment Treebank, binary", "license": "unknown"}
    CARD = """
# Stanford Sentiment Treebank, binary

Sentences from movie reviews, negative (0) or positive (1); the neutral ones are left out. Words are split by spaces.

Socher, Perelygin, Wu, Chuang, Manning, Ng and Potts, "Recursive Deep Models for Semantic Compositionality Over a
Sentiment Treebank", EMNLP 2013, https://nlp.stanford.edu/sentiment. No license is stated.
"""

    def folder_rows(self, folder: Path) -> Iterator[tuple[str, dict, str]]:
        for split, name in FILES.items():
            path = folder / f"sst2_{name}.tsv"
            lines = read_lines(path)
            _, header = next(lines, (path, ""))
            if header != HEADER:
                raise ValueError(f"{path} must start with the columns {HEADER!r}, got {header[:80]!r}.")
            for place, line in lines:
                label, *texts = line.split("\t")
                if len(texts) != 1:
                    raise ValueError(f"{place} must have the columns {HEADER!r}, got {line[:80]!r}.")
                yield split, {"text": texts[0], "label": int(label) if label.isdecimal() else label}, place

    def member_rows(self, path: str, content: bytes) -> Iterator[tuple[str, dict, str]]:
        for split, name in FILES.items():
            if Path(path).name == f"{name}.txt":
                for number, tree in enumerate(content.decode("utf-8").strip().split("\n"), start=1):
                    sentiment, text = read_tree(tree)
                    if sentiment != 2:
                        yield split, {"text": text, "label": int(sentiment > 2)}, f"{path}, line {number}"


if __name__ == "__main__":
    with errors_in_a_line():
        main(Sst2)
