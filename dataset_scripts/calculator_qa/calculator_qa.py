"""CalculatorQA: who has more, how many has the one who has more, and what if somebody gave something away?

Synthetic reading comprehension after section 5, table 2 and footnotes 8 and 9 of Yoshikawa, Heinzerling and Inui, in
the plain digits of figure 2. A passage lists what people own and, in the transfer configs, one gift. A question asks
for the larger of two people's amounts (`max`, answered by a number) or for its owner (`argmax`, answered by a name).

A and B are the two people asked for. With a transfer, A gives to or receives from a third person C, so A's amount has
to be calculated and B's can be read off. Without one, nothing tells A from B.

What is unusual is how little a shortcut earns. A row belongs to a cell: does A win, does A give or receive, which of
the two does the question name first, which does the passage name first, which question is it? A block of `BLOCK_ROWS`
rows has equally many in each cell, so none of these tells anything about another, exactly. Names, items and the places
of the owners are uniform. Numbers are drawn uniformly, and again until the cell's conditions hold, so they are uniform
given these: A wins or loses as the cell says, without a tie, and nobody gives more than he owns. Numbers that meet
them exist in every cell and with any number of digits.

In the `flip` configs, which the paper does not have, A has more than B before giving and less before receiving:
    A gives t:    a > b, and half of the rows have a - t > b (no flip), half a - t < b (flip);
    A receives t: a < b, and half of the rows have a + t > b (flip), half a + t < b (no flip).
So A's role alone says who has more at first, and given the role A wins half of the time: a solver that ignores the
transfer is right in exactly 50% of the argmax rows. In the other transfer configs it is right in 76% of them.

Rows follow from the parameters and the seed alone. A block has its own generator, so any number of processes makes the
same rows. Whoever changes what is made raises `VERSION`, by which the cache tells new from old.

    builder = CalculatorQA(config_name="max_transfer", owners=5, digits=3, train_size=2_000)
    builder.download_and_prepare(num_proc=2)
    train = builder.as_dataset(split="train")

    python -m dataset_scripts.calculator_qa.calculator_qa --output DIR --configs max_transfer --owners 5 --digits 3
"""

import argparse
import math
from dataclasses import dataclass
from typing import ClassVar

import datasets
import numpy as np
import pyarrow as pa

# By name, because datasets replaces `np` in a builder's file by a copy without the parts that numpy imports lazily.
from numpy.random import Generator, default_rng
from numpy.strings import str_len

from dataset_scripts.export import errors_in_a_line, export, parse

VERSION = datasets.Version("1.0.0")
SPLITS = ("train", "validation")
BLOCK_ROWS = 512  # a multiple of 32, the largest number of cells
TABLE_BLOCKS = 16  # in a table, which becomes a row group of a Parquet file: 5 MB, read by one request
QUESTIONS = {
    "max": "What is the maximum number of {} owned either by {} or {}?",
    "argmax": "Who has more {}: {} or {}?",
}
FEATURES = datasets.Features(
    {
        **dict.fromkeys(("id", "passage", "question", "answer", "question_type"), datasets.Value("string")),
        # Every number of the passage in reading order, the transferred one last, with its span of characters.
        "quantities": [
            {"value": datasets.Value("int64"), "start": datasets.Value("int32"), "end": datasets.Value("int32")}
        ],
        # Two quantities: A's and the transferred one, or without a transfer those of A and B in reading order.
        "gold_arguments": [datasets.Value("int32")],
        "has_transfer": datasets.Value("bool"),
        "target": datasets.Value("int64"),  # the larger amount, whatever the question
    }
)

# Each is one piece of bert-base-uncased's vocabulary, which the oranges of figure 2 are not.
NAMES = tuple(
    """
    Aaron Adam Alan Alexander Alice Amanda Amy Andrew Angela Anna Anthony Ashley Barbara Benjamin Betty Brandon Brenda
    Brian Carl Carol Catherine Charles Charlotte Christine Christopher Cynthia Daniel David Deborah Dennis Diane Donald
    Donna Dorothy Douglas Edward Elizabeth Emily Emma Eric Evelyn Frank Gary George Grace Gregory Hannah Harold Heather
    Helen Henry Jacob James Janet Jason Jeffrey Jennifer Jessica John Johnny Jonathan Joseph Joshua Joyce Judith Julia
    Julie Justin Karen Katherine Kathleen Kenneth Kevin Kyle Larry Laura Lauren Linda Lisa Margaret Maria Mark Martha
    Mary Matthew Megan Melissa Michael Michelle Nancy Natalie Nathan Nicholas Nicole Olivia Pamela Patricia Patrick
    Paul Peter Rachel Raymond Rebecca Richard Robert Ronald Ruth Ryan Samantha Samuel Sandra Sarah Scott Sharon Shirley
    Sophia Stephanie Stephen Steven Susan Thomas Timothy Tyler Walter William Zachary
    """.split()  # noqa: SIM905, a literal would fill a line a name
)
ITEMS = tuple(
    """
    apples bananas beads beans berries books bottles buttons cakes candles cards coins cookies dolls eggs flowers
    grapes keys nuts onions pens potatoes roses seeds shells stamps stones tickets tomatoes toys
    """.split()  # noqa: SIM905
)

CARD = """
# CalculatorQA

Synthetic questions that compare two amounts, one of which may first have to be calculated, after section 5 of
Yoshikawa, Heinzerling and Inui, "End-to-End 学習可能な記号処理層の検討と数量推論への応用における課題の分析".

> {passage} **{question}** {answer}

- `*_plain`: amounts only. `*_transfer`: one of the two people asked for gave or received some.
- `*_transfer_flip`: the transfer changes who has more in half of the rows, so ignoring it scores 50 on `argmax`.
- `*_generalization`: with a transfer; fewer digits for training than for validation, which asks `argmax` alone.

`quantities` are the numbers of the passage in reading order, the transferred one last, with their spans of characters.
`gold_arguments` are the two to calculate with, as indices: the amount that the transfer changes and the transferred
number, or without a transfer the two amounts asked for. `target` is the larger amount in the end.

The winner, the role in the transfer, and the order of the names in question and passage are balanced against each
other; names, items and places are uniform. Nobody gives more than he owns, and there are no ties.
Made by version {version} of `calculator_qa.py` with

{parameters}
"""


@dataclass
class CalculatorQABuilderConfig(datasets.BuilderConfig):
    """What to make. The defaults are the paper's sizes.

    Args:
        question_types: the questions, "max", "argmax" or both, equally often.
        transfer: whether A gives or receives something.
        flip: whether the transfer changes who has more in exactly half of the rows.
        generalization: table 4: train on numbers of 1 to `digits` - 1 digits and validate on argmax with `digits`.
        owners: people in a passage.
        digits: digits of every number in a passage.
        train_size, validation_size: rows.
        seed: seed of all rows.
        items, names: single words to draw from.
    """

    version: datasets.Version = VERSION
    question_types: tuple[str, ...] = ("max",)
    transfer: bool = False
    flip: bool = False
    generalization: bool = False
    owners: int = 10
    digits: int = 7
    train_size: int = 20_000
    validation_size: int = 2_000
    seed: int = 0
    items: tuple[str, ...] = ITEMS
    names: tuple[str, ...] = NAMES

    def validate(self) -> None:
        """Check every parameter.

        Raises:
            TypeError: if a parameter has the wrong type.
            ValueError: if no rows can be made with its value.
        """
        for field in ("transfer", "flip", "generalization"):
            if not isinstance(getattr(self, field), bool):
                raise TypeError(f"{field} must be True or False, got {getattr(self, field)!r}.")
        for field in ("question_types", "items", "names"):
            words = getattr(self, field)
            if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
                raise TypeError(f"{field} must be a list or tuple of strings, got {words!r}.")
            if not words or len({word.lower() for word in words}) < len(words) or not all(map(str.isalpha, words)):
                raise ValueError(f"{field} must be one or more distinct words of letters alone, got {words!r}.")
        if unknown := set(self.question_types) - set(QUESTIONS):
            raise ValueError(f"question_types must be among {sorted(QUESTIONS)}, got {sorted(unknown)}.")
        if self.flip and not self.transfer:
            raise ValueError("flip=True needs transfer=True: without a transfer nothing changes who has more.")
        bounds = {
            "owners": (2 + self.transfer, len(self.names), "A, B, with a transfer C, and a name for each"),
            "digits": (1 + self.generalization, 15, "generalization trains with fewer; more are not exact as floats"),
            "train_size": (1, math.inf, "a split has rows"),
            "validation_size": (1, math.inf, "a split has rows"),
            "seed": (0, math.inf, "numpy takes no other seed"),
        }
        for field, (low, high, reason) in bounds.items():
            value = getattr(self, field)
            if type(value) is not int:  # a bool is an int, too
                raise TypeError(f"{field} must be an integer, got {value!r}.")
            if not low <= value <= high:
                raise ValueError(f"{field} must be from {low} to {high} here ({reason}), got {value}.")


def _numbers(rng: Generator, shape: tuple[int, ...], lengths: tuple[int, int]) -> np.ndarray:
    """int64 by the two-stage sampling of footnote 9: d ~ U{lengths[0], lengths[1]}, v ~ U[10^(d-1), 10^d - 1]."""
    digits = rng.integers(lengths[0], lengths[1] + 1, size=shape)
    return rng.integers(10 ** (digits - 1), 10**digits)


def _compared_numbers(
    rng: Generator, lengths: tuple[int, int], transfer: bool, flip: bool, a_wins: np.ndarray, a_gives: np.ndarray
) -> np.ndarray:
    """Numbers that a cell puts conditions on, drawn again until these hold.

    From (rows,) bool `a_wins` and `a_gives` to (rows, 5) int64: the amounts of A, B and C at first, the transferred
    number, and the larger of A's and B's amounts in the end.
    """
    numbers = np.empty((len(a_wins), 5), dtype=np.int64)
    pending = np.arange(len(a_wins))
    while pending.size:
        a, b, c, moved = _numbers(rng, (4, pending.size), lengths)
        wins, gives = a_wins[pending], a_gives[pending]
        a_final = np.where(gives, a - moved, a + moved) if transfer else a
        fits = np.where(wins, a_final > b, a_final < b)
        if transfer:
            fits &= np.where(gives, a, c) >= moved
        if flip:
            fits &= np.where(gives, a > b, a < b)
        numbers[pending[fits]] = np.column_stack([a, b, c, moved, np.maximum(a_final, b)])[fits]
        pending = pending[~fits]
    return numbers


def _passages(
    subjects: np.ndarray, verbs: list[str], quantities: np.ndarray, items: np.ndarray, endings: list[str]
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Texts of clauses such as "Anna has 12 grapes", and where their numbers start and end.

    From (rows, clauses) names and int64 numbers, a verb for each clause, an item (rows,) and an ending for each row to
    texts and (rows, clauses) int32 starts and ends.
    """
    passages = [
        ", ".join([f"{name} {verb} {value} {item}" for name, verb, value in zip(names, verbs, values, strict=True)])
        for names, values, item in zip(subjects.tolist(), quantities.tolist(), items.tolist(), strict=True)
    ]
    passages = [passage + ending for passage, ending in zip(passages, endings, strict=True)]
    before = str_len(subjects) + [len(f" {verb} ") for verb in verbs]
    width = str_len(quantities.astype(str))
    clause = before + width + len(" ") + str_len(items)[:, None] + len(", ")
    start = clause.cumsum(axis=1) - clause + before
    return passages, start.astype(np.int32), (start + width).astype(np.int32)


def make_table(config: CalculatorQABuilderConfig, split: str, block: int) -> pa.Table:
    """One block of rows, balanced as the top of this file says.

    Args:
        config: a valid config.
        split: "train" or "validation".
        block: rows `block * BLOCK_ROWS` and following, `BLOCK_ROWS` of them or what is left of the split.

    Returns:
        Table with the columns of `FEATURES`.
    """
    first_row = block * BLOCK_ROWS
    rows = np.arange(min(BLOCK_ROWS, getattr(config, f"{split}_size") - first_row))
    rng = default_rng([config.seed, SPLITS.index(split), block])
    question_types, lengths = config.question_types, (config.digits, config.digits)
    if config.generalization and split == "train":
        lengths = (1, config.digits - 1)
    elif config.generalization:
        question_types = ("argmax",)

    # The first axis varies fastest, so rows too few for all cells are still balanced in the winner, then in the role.
    cells = (2, 1 + config.transfer, 2, 2, len(question_types))
    cell = rng.permutation(rows % math.prod(cells))
    a_wins, a_gives, a_asked_first, a_read_first, type_id = np.unravel_index(cell, cells, order="F")

    places = rng.permuted(np.tile(np.arange(config.owners), (len(rows), 1)), axis=1)
    read = np.sort(places[:, :2]).T  # (2, rows), the places of A and B in reading order
    a, b = np.where(a_read_first, read, read[::-1])
    people = rng.permuted(np.tile(np.arange(len(config.names)), (len(rows), 1)), axis=1)
    names = np.array(config.names)[people[:, : config.owners]]
    items = np.array(config.items)[rng.integers(len(config.items), size=len(rows))]
    quantities = _numbers(rng, names.shape, lengths)
    compared = _compared_numbers(rng, lengths, config.transfer, config.flip, a_wins == 1, a_gives == 1)
    quantities[rows, a], quantities[rows, b], target = compared[:, 0], compared[:, 1], compared[:, 4]
    subjects, verbs, endings, gold_arguments = names, ["has"] * config.owners, ["."] * len(rows), read
    if config.transfer:
        c = places[:, 2]
        giver, receiver = names[rows, np.where(a_gives, (a, c), (c, a))]
        quantities[rows, c] = compared[:, 2]
        quantities = np.column_stack([quantities, compared[:, 3]])
        subjects, verbs = np.column_stack([names, giver]), [*verbs, "gave"]
        endings = [f" to {name}." for name in receiver.tolist()]
        gold_arguments = a, np.full_like(a, config.owners)

    passages, start, end = _passages(subjects, verbs, quantities, items, endings)
    spans = pa.StructArray.from_arrays([quantities.ravel(), start.ravel(), end.ravel()], ["value", "start", "end"])
    types = np.array(question_types)[type_id]
    asked = names[rows, np.where(a_asked_first, (a, b), (b, a))]
    winners = names[rows, np.where(a_wins, a, b)]
    columns = {
        "id": [f"{config.name}-{split}-{first_row + row}" for row in rows],
        "passage": passages,
        "question": [QUESTIONS[kind].format(*words) for kind, *words in zip(types, items, *asked, strict=True)],
        "answer": np.where(types == "max", target.astype(str), winners),
        "question_type": types,
        "quantities": pa.ListArray.from_arrays(np.append(rows, len(rows)) * quantities.shape[1], spans),
        "gold_arguments": list(np.column_stack(gold_arguments)),
        "has_transfer": np.full(len(rows), config.transfer),
        "target": target,
    }
    return pa.table(columns, schema=FEATURES.arrow_schema)


class CalculatorQA(datasets.ArrowBasedBuilder):
    """Builder of all configs. Keyword arguments replace parameters of `CalculatorQABuilderConfig`, which it checks.

    Raises:
        TypeError, ValueError: at construction, if a parameter is wrong.
    """

    BUILDER_CONFIG_CLASS = CalculatorQABuilderConfig
    BUILDER_CONFIGS: ClassVar[list[CalculatorQABuilderConfig]] = [
        CalculatorQABuilderConfig(name=f"{name}_{variant}", question_types=tuple(name.split("_")), **settings)
        for variant, names, settings in (
            ("plain", ("argmax", "max", "max_argmax"), {}),
            ("transfer", ("argmax", "max", "max_argmax"), {"transfer": True}),
            ("transfer_flip", ("argmax", "max", "max_argmax"), {"transfer": True, "flip": True}),
            ("generalization", ("argmax", "max_argmax"), {"transfer": True, "generalization": True}),
        )
        for name in names
    ]
    DEFAULT_CONFIG_NAME = "max_transfer"
    DEFAULT_WRITER_BATCH_SIZE = TABLE_BLOCKS * BLOCK_ROWS

    def _info(self) -> datasets.DatasetInfo:
        self.config.validate()  # not in the config's constructor, because datasets sets keyword arguments after it
        return datasets.DatasetInfo(features=FEATURES, license="apache-2.0")

    def _split_generators(self, dl_manager) -> list[datasets.SplitGenerator]:
        blocks = {split: math.ceil(getattr(self.config, f"{split}_size") / BLOCK_ROWS) for split in SPLITS}
        return [  # datasets divides the lists among processes
            datasets.SplitGenerator(name=split, gen_kwargs={"split": split, "blocks": list(range(blocks[split]))})
            for split in SPLITS
        ]

    def _generate_tables(self, split: str, blocks: list[int]):
        for first in range(0, len(blocks), TABLE_BLOCKS):
            tables = [make_table(self.config, split, block) for block in blocks[first : first + TABLE_BLOCKS]]
            yield first, pa.concat_tables(tables)


def main(arguments: list[str] | None = None) -> None:
    """Write configs as Parquet files with a card, which `load_dataset(output, config_name)` reads, and publish them.

    Args:
        arguments: words of the command line, by default those of the process.

    Raises:
        OSError, TypeError, ValueError: as `export` says.
    """
    parser = argparse.ArgumentParser(description="Export CalculatorQA as Parquet files with a card.")
    names = [config.name for config in CalculatorQA.BUILDER_CONFIGS]
    parser.add_argument("--configs", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    for field in ("owners", "digits", "train_size", "validation_size", "seed", "items", "names"):
        default = getattr(CalculatorQABuilderConfig, field)
        kind = {"type": int} if isinstance(default, int) else {"nargs": "+"}
        parser.add_argument(f"--{field}", default=default, help="see CalculatorQABuilderConfig", **kind)
    parameters, options = parse(parser, arguments)
    export(
        CalculatorQA,
        parameters.pop("configs"),
        parameters,
        card=CARD.format,
        language="en",
        license="apache-2.0",
        pretty_name="CalculatorQA",
        task_categories=["question-answering"],
        **options,
    )


if __name__ == "__main__":
    with errors_in_a_line():
        main()
