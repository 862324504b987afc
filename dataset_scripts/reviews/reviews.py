"""Reviews: made texts of which one opinion decides, and where its words are.

A review is a few clauses about a place in any order. Two have an opinion. The writer's decides the label: a word for
good or bad, turned around in a quarter of the reviews by a "not" before it. These words are the `rationale`. The
hearsay of a relative ("called it") does not count, and neither does the "not" of a neutral clause.

    we did not book ahead , i found the hotel not very good , my aunt called it great , it is near the station .
    label 0 (neg), rationale [10, 12] (not, good)

What is unusual is how little a shortcut earns. Hearsay, place, pair of words (bad or good, awful or great), negation
and label make a cell, and every cell gets as many reviews: given any of these, the labels are even. Taken at its word,
the writer's opinion is right in three of four; who only counts words confuses it with the hearsay, which uses the same
words, and is right in five of eight. All else is drawn without a look at the cell, and no text is made twice.

    python -m dataset_scripts.reviews.reviews --output DIR --train_size 4000
"""

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import datasets

from dataset_scripts.export import export, parse
from hub import errors_in_a_line

VERSION = datasets.Version("1.0.0")
SPLITS = ("train", "validation", "test")
FEATURES = datasets.Features(
    {
        "text": datasets.Value("string"),  # words and marks in lower case, separated by spaces
        "label": datasets.ClassLabel(names=["neg", "pos"]),
        "rationale": datasets.List(datasets.Value("int32")),  # indices into text.split()
    }
)

OPINIONS = (("bad", "awful", "poor", "terrible", "disappointing"), ("good", "great", "nice", "pleasant", "impressive"))
PLACES = ("hotel", "library", "museum", "restaurant", "theater")
RELATIVES = ("aunt", "brother", "father", "mother", "sister", "uncle")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DECIDING = ("the {place} was", "i found the {place}", "to me the {place} seemed", "in the end the {place} was")
ADVERBS = ("", "very", "really")
NEUTRAL = (
    "we came on a {day}",
    "we did not book ahead",
    "we paid in cash",
    "i took the early bus",
    "my {relative} drove us there",
    "my {relative} did not come",
    "a friend showed us around",
    "the {place} opens at nine",
    "the walls are painted green",
    "it is near the station",
    "it rained all {day}",
)
# Hearsay, place, pair of words, negation, label. The last varies fastest: reviews too few for all cells are still even
# in the label, then in the negation. With half of them negated no word at all would tell the label, and a model would
# take much longer to begin to learn.
CELLS = tuple(product((0, 1), PLACES, range(len(OPINIONS[0])), (False, False, False, True), (0, 1)))

CARD = """
# Reviews

Made reviews of places, negative (0) or positive (1), with the words that decide.

> {text}

Here the label is {label} and the `rationale`, the indices of the deciding words among those of the text, {rationale}.

The writer's opinion decides, a word for good or bad, turned around where "not" is before it in its clause. What a
relative called the place does not count, nor does the "not" of another clause.
Made by version {version} of `reviews.py` with

{parameters}
"""


@dataclass
class ReviewsConfig(datasets.BuilderConfig):
    """What to make.

    Args:
        train_size, validation_size, test_size: reviews, exactly balanced if a multiple of 400.
        seed: seed of all reviews.

    Raises:
        TypeError, ValueError: if an argument is wrong.
    """

    version: datasets.Version = VERSION
    train_size: int = 2_000
    validation_size: int = 400
    test_size: int = 400
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, low in {"train_size": 1, "validation_size": 1, "test_size": 1, "seed": 0}.items():
            value = getattr(self, name)
            if type(value) is not int:  # a bool is an int, too
                raise TypeError(f"{name} must be an integer, got {value!r}.")
            if value < low:
                raise ValueError(f"{name} must be at least {low}, got {value}.")


def make_review(rng: random.Random, hearsay: int, place: str, pair: int, negated: bool, label: int) -> dict:
    """A review of a cell, see `CELLS`, as a row with the columns of `FEATURES`."""
    opinion = OPINIONS[label ^ negated][pair]
    deciding = f"{rng.choice(DECIDING)} {'not' * negated} {rng.choice(ADVERBS)} {opinion}"
    clauses = [deciding, f"my {{relative}} called it {rng.choice(OPINIONS[hearsay])}"]
    clauses += rng.sample(NEUTRAL, rng.randint(2, 4))
    rng.shuffle(clauses)
    words, rationale = [], []
    for clause in clauses:
        for word in clause.format(place=place, relative=rng.choice(RELATIVES), day=rng.choice(DAYS)).split():
            if clause == deciding and word in ("not", opinion):
                rationale.append(len(words))
            words.append(word)
        words.append(",")
    return {"text": " ".join([*words[:-1], "."]), "label": label, "rationale": rationale}


class Reviews(datasets.GeneratorBasedBuilder):
    """Builder of the reviews. Keyword arguments are those of `ReviewsConfig`, which checks them."""

    BUILDER_CONFIG_CLASS = ReviewsConfig

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=FEATURES, license="apache-2.0")

    def _split_generators(self, dl_manager) -> list[datasets.SplitGenerator]:
        splits, seen = {}, set()
        for split in reversed(SPLITS):  # training last, so that its size changes no other split
            rng = random.Random(f"{self.config.seed} {split}")
            cells = [CELLS[index % len(CELLS)] for index in range(getattr(self.config, f"{split}_size"))]
            splits[split] = []
            for cell in rng.sample(cells, len(cells)):
                row = make_review(rng, *cell)
                while row["text"] in seen:
                    row = make_review(rng, *cell)
                seen.add(row["text"])
                splits[split].append(row)
        return [datasets.SplitGenerator(name=split, gen_kwargs={"rows": splits[split]}) for split in SPLITS]

    def _generate_examples(self, rows: list[dict]) -> Iterator[tuple[int, dict]]:
        yield from enumerate(rows)


def main(arguments: list[str] | None = None) -> None:
    """Write the reviews as Parquet files with a card, which `load_dataset(output)` reads, and publish them.

    Args:
        arguments: words of the command line, by default those of the process.

    Raises:
        OSError, ValueError: as `export` says.
    """
    parser = argparse.ArgumentParser(description="Export Reviews as Parquet files with a card.")
    for name in (*(f"{split}_size" for split in SPLITS), "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(ReviewsConfig, name), help="see ReviewsConfig")
    parameters, options = parse(parser, arguments)
    export(
        Reviews,
        ["default"],
        parameters,
        card=CARD.format,
        language="en",
        license="apache-2.0",
        pretty_name="Reviews",
        task_categories=["text-classification"],
        **options,
    )


if __name__ == "__main__":
    with errors_in_a_line():
        main()
