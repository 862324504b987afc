"""CalculatorQA: who has more, how many has the one who has more, and what if somebody gave something away?

Synthetic reading comprehension after section 5, table 2 and footnotes 8 and 9 of Yoshikawa, Heinzerling and Inui, in
the plain digits of figure 2. A passage lists what people own and, in the transfer configs, one gift. A question asks
for the larger of two people's amounts (`max`, answered by a number) or for its owner (`argmax`, answered by a name).

A and B are the two people asked for. With a transfer, A gives to or receives from a third person C, so A's amount has
to be calculated and B's can be read off. Without one, nothing tells A from B.

Calculations of several steps, which the paper does not have:
    `two_transfers`: both gifts change A's amount, in two steps.
    `split_transfers`: one gift changes A's amount and one B's, each in a step of its own.
    `together`: how many more A has than B and C together, in two steps. A has more: the answer is at least 1.
    `together_transfer`: a gift changes the amount of A, B or C, in three steps.
Each gift has a partner of its own, who is not asked for.

What is unusual is how little a shortcut earns. A row belongs to a cell: does A win, does A give or receive, whose
amount does each gift change, which of the two does the question name first, in which order does the passage name those
asked for, which question is it? All cells have equally many rows, the rest of a division apart, so none of these tells
anything about another. Names, items and the places of the owners are uniform. Numbers are drawn uniformly, and again
until the cell's conditions hold, so they are uniform given these: A wins or loses as the cell says, without a tie, and
nobody gives more than he owns by then. Numbers that meet them exist in every cell and with any number of digits.

In the `flip` configs, which the paper does not have, A has more than B before giving and less before receiving:
    A gives t:    a > b, and half of the rows have a - t > b (no flip), half a - t < b (flip);
    A receives t: a < b, and half of the rows have a + t > b (flip), half a + t < b (no flip).
So A's role alone says who has more at first, and given the role A wins half of the time: a solver that ignores the
transfer is right in exactly 50% of the argmax rows. In the other configs of one transfer it is right in 76% of them,
with 7 digits. With two transfers of 7 digits a solver that ignores one of them is right in 76% or 77%, and one that
ignores both in 70% to 72%.

Rows follow from the parameters and the seed alone. A block has its own generator, so any number of processes makes the
same rows. Whoever changes what is made raises `VERSION`, by which the cache tells new from old.

    builder = CalculatorQA(config_name="max_transfer", owners=5, digits=3, train_size=2_000)
    builder.download_and_prepare(num_proc=2)
    train = builder.as_dataset(split="train")

    python -m dataset_scripts.calculator_qa.calculator_qa --output DIR --configs max_transfer --owners 5 --digits 3
"""

import argparse
import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import datasets
import numpy as np
import pyarrow as pa

# By name, because datasets replaces `np` in a builder's file by a copy without the parts that numpy imports lazily.
from numpy.random import default_rng
from numpy.strings import str_len

from dataset_scripts.calculator_qa.amounts import compared_numbers, gold_chains, uniform_numbers
from dataset_scripts.export import export, parse
from hub import errors_in_a_line

VERSION = datasets.Version("1.1.0")
SPLITS = ("train", "validation")
BLOCK_ROWS = 512
TABLE_BLOCKS = 16  # in a table, which becomes a row group of a Parquet file: 5 MB, read by one request
QUESTIONS = {
    "max": "What is the maximum number of {} owned either by {} or {}?",
    "argmax": "Who has more {}: {} or {}?",
    "together": "How many more {} does {} have than {} and {} together?",
}
FEATURES = datasets.Features(
    {
        **dict.fromkeys(("id", "passage", "question", "answer", "question_type"), datasets.Value("string")),
        # Every number of the passage in reading order, the transferred one last, with its span of characters.
        "quantities": [
            {"value": datasets.Value("int64"), "start": datasets.Value("int32"), "end": datasets.Value("int32")}
        ],
        # Two quantities: A's and the transferred one, or without a transfer those of A and B in reading order. With
        # several steps those of a right first one: what the first gift changes and its number, in `together` B and C.
        "gold_arguments": [datasets.Value("int32")],
        "has_transfer": datasets.Value("bool"),
        "target": datasets.Value("int64"),  # the larger amount, whatever the question, and in `together` the answer
    }
)
# Where there are several steps, also all chains of them that are right, as `amounts` says, with the values as strings.
# They end in the amounts that the gifts change, also if the larger one is B's, which can be read off; in `together` in
# the answer.
CHAIN_FEATURES = datasets.Features({**FEATURES, "gold_chains": [[[datasets.Value("string")]]]})

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
- `*_two_transfers`: two gifts change the amount of one of the two people asked for.
- `*_split_transfers`: two gifts, each of which changes the amount of another one of them.
- `together`, `together_transfer`: how many more one has than two others together, with a transfer of one of the three.

`quantities` are the numbers of the passage in reading order, the transferred one last, with their spans of characters.
`gold_arguments` are the two to calculate with, as indices: the amount that the transfer changes and the transferred
number, or without a transfer the two amounts asked for. `target` is the larger amount in the end. For calculations of
several steps they are a right first one (in `together` the two that are added), `target` is in `together` the answer,
and `gold_chains` has every right chain of steps with a calculator that adds and subtracts: lists of two values each,
which may be results of former steps. They lead to what the transfers change, or in `together` to the answer.

The winner, the role in the transfer, and the order of the names in question and passage are balanced against each
other; names, items and places are uniform. Nobody gives more than he owns, and there are no ties.
Made by version {version} of `calculator_qa.py` with

{parameters}
"""


@dataclass
class CalculatorQABuilderConfig(datasets.BuilderConfig):
    """What to make. The defaults are the paper's sizes.

    Args:
        question_types: the questions, "max", "argmax" or both, equally often, or "together".
        transfers: how many times somebody who is asked for gives or receives something.
        flip: whether the one transfer changes who has more in exactly half of the rows.
        split: whether the second of two transfers changes the amount of the other person.
        generalization: table 4: train on numbers of 1 to `digits` - 1 digits and validate on argmax with `digits`.
        owners: people in a passage.
        digits: digits of every number in a passage.
        train_size, validation_size: rows.
        seed: seed of all rows.
        items, names: single words to draw from.
    """

    version: datasets.Version = VERSION
    question_types: tuple[str, ...] = ("max",)
    transfers: int = 0
    flip: bool = False
    split: bool = False
    generalization: bool = False
    owners: int = 10
    digits: int = 7
    train_size: int = 20_000
    validation_size: int = 2_000
    seed: int = 0
    items: tuple[str, ...] = ITEMS
    names: tuple[str, ...] = NAMES

    @property
    def together(self) -> bool:
        return "together" in self.question_types

    @property
    def asked(self) -> int:
        """How many people the question asks for."""
        return 3 if self.together else 2

    @property
    def features(self) -> datasets.Features:
        """Columns: those of one step, and where there are more the chains of steps."""
        return CHAIN_FEATURES if self.together or self.transfers > 1 else FEATURES

    def validate(self) -> None:
        """Check every parameter.

        Raises:
            TypeError: if a parameter has the wrong type.
            ValueError: if no rows can be made with its value.
        """
        for field in ("flip", "split", "generalization"):
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
        if self.together and (len(self.question_types) > 1 or self.flip or self.generalization):
            raise ValueError("question_types with together has no other one, and neither flip nor generalization.")
        if self.transfers not in range(2 if self.together else 3):
            raise ValueError(f"transfers must be 0, 1 or, without together, 2, got {self.transfers!r}.")
        if self.flip and self.transfers != 1:
            raise ValueError(f"flip=True needs transfers=1, the one that changes who has more, got {self.transfers}.")
        if self.split and self.transfers != 2:
            raise ValueError(f"split=True needs transfers=2, one for each of the two people, got {self.transfers}.")
        bounds = {
            "owners": (self.asked + self.transfers, len(self.names), "those asked for, a partner a transfer, named"),
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


def _passages(
    names: np.ndarray, givers: np.ndarray, receivers: np.ndarray, quantities: np.ndarray, items: np.ndarray
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Texts of clauses such as "Anna has 12 grapes", and where their numbers start and end.

    From names of owners (rows, owners), givers and receivers (rows, transfers), (rows, clauses) int64 numbers and an
    item (rows,) to texts and (rows, clauses) int32 starts and ends.
    """
    owners, transfers = names.shape[1], givers.shape[1]
    text = ", ".join(["%s has %d %s"] * owners + ["%s gave %d %s to %s"] * transfers) + "."
    subjects = np.column_stack([names, givers])
    words = [[subject, number, items] for subject, number in zip(subjects.T, quantities.T, strict=True)]
    words[owners:] = [[*gave, to] for gave, to in zip(words[owners:], receivers.T, strict=True)]
    passages = [text % row for row in zip(*[word.tolist() for clause in words for word in clause], strict=True)]
    before = str_len(subjects) + ([len(" has ")] * owners + [len(" gave ")] * transfers)
    width = str_len(quantities.astype(str))
    clause = before + width + len(" ") + str_len(items)[:, None] + len(", ")
    clause[:, owners:] += len(" to ") + str_len(receivers)
    start = clause.cumsum(axis=1) - clause + before
    return passages, start.astype(np.int32), (start + width).astype(np.int32)


def make_table(config: CalculatorQABuilderConfig, split: str, block: int) -> pa.Table:
    """One block of rows, balanced as the top of this file says.

    Args:
        config: a valid config.
        split: "train" or "validation".
        block: rows `block * BLOCK_ROWS` and following, `BLOCK_ROWS` of them or what is left of the split.

    Returns:
        Table with the columns of `config.features`.
    """
    first_row = block * BLOCK_ROWS
    rows = np.arange(min(BLOCK_ROWS, getattr(config, f"{split}_size") - first_row))
    rng = default_rng([config.seed, SPLITS.index(split), block])
    question_types, lengths = config.question_types, (config.digits, config.digits)
    if config.generalization and split == "train":
        lengths = (1, config.digits - 1)
    elif config.generalization:
        question_types = ("argmax",)

    asked, transfers, together = config.asked, config.transfers, config.together
    # Whose amounts the transfers change: A's, with `split` one each, in `together` that of anybody who is asked for.
    who = [*itertools.product(range(asked), repeat=transfers)] if together else [(0, int(config.split))[:transfers]]
    orders = np.array(list(itertools.permutations(range(asked)))[::-1])
    # The first axis varies fastest, so rows too few for all cells are still balanced in the winner, then in the role.
    two = 1 if together else 2  # in `together` A wins and is named first
    cells = (two, 2**transfers, len(who), two, len(orders), len(question_types))
    cell = rng.permutation((first_row + rows) % math.prod(cells))
    a_wins, roles, who_id, a_asked_first, order, type_id = np.unravel_index(cell, cells, order="F")
    gives, changed = roles[:, None] >> np.arange(transfers) & 1, np.array(who, dtype=np.int64)[who_id]

    places = rng.permuted(np.tile(np.arange(config.owners), (len(rows), 1)), axis=1)
    each = rows[:, None]
    people = np.sort(places[:, :asked])[each, orders[order]]  # (rows, asked), the places of A, B and in `together` C
    partners = places[:, asked : asked + transfers]
    shuffled = rng.permuted(np.tile(np.arange(len(config.names)), (len(rows), 1)), axis=1)
    names = np.array(config.names)[shuffled[:, : config.owners]]
    items = np.array(config.items)[rng.integers(len(config.items), size=len(rows))]
    quantities = uniform_numbers(rng, names.shape, lengths)
    wins = None if together else a_wins == 1
    amounts, moved, target = compared_numbers(rng, lengths, config.flip, wins, gives == 1, changed)
    quantities[each, np.column_stack([people, partners])] = amounts
    quantities = np.column_stack([quantities, moved])
    giver, receiver = np.where(gives, (people[each, changed], partners), (partners, people[each, changed]))
    gold_arguments = np.sort(people[:, -2:])
    if transfers:
        gold_arguments = np.column_stack([people[rows, changed[:, 0]], np.full(len(rows), config.owners)])

    passages, start, end = _passages(names, names[each, giver], names[each, receiver], quantities, items)
    spans = pa.StructArray.from_arrays([quantities.ravel(), start.ravel(), end.ravel()], ["value", "start", "end"])
    types = np.array(question_types)[type_id]
    named = names[each, people if together else np.where(a_asked_first[:, None], people, people[:, ::-1])]
    columns = {
        "id": [f"{config.name}-{split}-{first_row + row}" for row in rows],
        "passage": passages,
        "question": [QUESTIONS[kind].format(*words) for kind, *words in zip(types, items, *named.T, strict=True)],
        "answer": np.where(types == "argmax", names[rows, np.where(a_wins, *people.T[:2])], target.astype(str)),
        "question_type": types,
        "quantities": pa.ListArray.from_arrays(np.append(rows, len(rows)) * quantities.shape[1], spans),
        "gold_arguments": list(gold_arguments),
        "has_transfer": np.full(len(rows), transfers > 0),
        "target": target,
    }
    if "gold_chains" in config.features:
        columns["gold_chains"] = gold_chains(amounts[:, :asked], moved, gives, changed, together)
    return pa.table(columns, schema=config.features.arrow_schema)


class CalculatorQA(datasets.ArrowBasedBuilder):
    """Builder of all configs. Keyword arguments replace parameters of `CalculatorQABuilderConfig`, which it checks.

    Raises:
        TypeError, ValueError: at construction, if a parameter is wrong.
    """

    BUILDER_CONFIG_CLASS = CalculatorQABuilderConfig
    BUILDER_CONFIGS: ClassVar[list[CalculatorQABuilderConfig]] = [
        CalculatorQABuilderConfig(name=f"{name}{variant}", question_types=tuple(name.split("_")), **settings)
        for variant, names, settings in (
            ("_plain", ("argmax", "max", "max_argmax"), {}),
            ("_transfer", ("argmax", "max", "max_argmax"), {"transfers": 1}),
            ("_transfer_flip", ("argmax", "max", "max_argmax"), {"transfers": 1, "flip": True}),
            ("_generalization", ("argmax", "max_argmax"), {"transfers": 1, "generalization": True}),
            ("_two_transfers", ("argmax", "max", "max_argmax"), {"transfers": 2}),
            ("_split_transfers", ("argmax", "max", "max_argmax"), {"transfers": 2, "split": True}),
            ("", ("together",), {}),
            ("_transfer", ("together",), {"transfers": 1}),
        )
        for name in names
    ]
    DEFAULT_CONFIG_NAME = "max_transfer"
    DEFAULT_WRITER_BATCH_SIZE = TABLE_BLOCKS * BLOCK_ROWS

    def _info(self) -> datasets.DatasetInfo:
        self.config.validate()  # not in the config's constructor, because datasets sets keyword arguments after it
        return datasets.DatasetInfo(features=self.config.features, license="apache-2.0")

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
