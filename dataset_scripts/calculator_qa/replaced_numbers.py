"""The same questions with other numbers and another answer, as in table 1 of Yoshikawa, Heinzerling and Inui.

A model that reads the text follows the numbers; one that goes by anything else, such as who is named first, keeps its
answer. So every number of a passage of CalculatorQA becomes another one of as many digits and the answer is computed
anew: of an `argmax` question it is now the other person, of a `max` question another number. What made the first text
possible holds of the second: nobody gives more than he owns, and there are no ties.

Nothing here comes from the generator but its sentences: who owns what and who gave what is read from the passage. The
paper changed 300 texts by hand, where we change all of them.
"""

import re

import datasets
import numpy as np
from numpy.random import Generator, default_rng

CLAUSE = re.compile(r"(?P<name>\w+) (?:has|gave) (?P<number>\d+) \w+(?: to (?P<receiver>\w+))?")
ASKED = re.compile(r"(\w+) or (\w+)\?$")
DRAWS = 4096  # of which the first that fits is taken


def final_amounts(clauses: list[re.Match], numbers: np.ndarray, asked: tuple[str, str]) -> np.ndarray:
    """What two people own in the end, -1 for both where somebody gives more than he owns.

    Args:
        clauses: matches of `CLAUSE` in reading order.
        numbers: (..., clauses) a number for each clause.
        asked: the two.

    Returns:
        (..., 2) int64.
    """
    owned, possible = {}, np.True_
    for clause, number in zip(clauses, np.moveaxis(numbers, -1, 0), strict=True):
        name, receiver = clause["name"], clause["receiver"]
        if receiver is None:
            owned[name] = number
        else:
            possible = possible & (owned[name] >= number)
            owned[name], owned[receiver] = owned[name] - number, owned[receiver] + number
    return np.where(np.expand_dims(possible, -1), np.stack([owned[name] for name in asked], -1), -1)


def read_row(row: dict) -> tuple[list[re.Match], tuple[str, str]]:
    """The matches of `CLAUSE` in a passage of CalculatorQA, in reading order, and the two people asked for.

    Raises:
        ValueError: a text that is none of CalculatorQA's, or of a question that does not ask for one of two.
    """
    question, passage = row["question"], row["passage"]
    clauses, asked = [*CLAUSE.finditer(passage)], ASKED.search(question)
    if asked is None or not {*asked.groups()} <= {clause["name"] for clause in clauses}:
        raise ValueError(f"needed question and passage of CalculatorQA, got {question!r} and {passage!r}")
    return clauses, asked.groups()


def replace_row(row: dict, rng: Generator) -> dict | None:
    """A row of CalculatorQA with other numbers and another answer; None if `DRAWS` draws had none that fit.

    Raises:
        ValueError: a text that is none of CalculatorQA's, or whose answer is not what it says.
    """
    clauses, asked = read_row(row)
    question, passage, kind = row["question"], row["passage"], row["question_type"]
    old = np.array([int(clause["number"]) for clause in clauses])
    before = final_amounts(clauses, old, asked)
    if row["answer"] != (asked[before.argmax()] if kind == "argmax" else str(before.max())):
        raise ValueError(f"the answer to {question!r} is not {row['answer']!r} by {passage!r}")

    low = 10 ** np.array([len(clause["number"]) - 1 for clause in clauses])
    drawn = rng.integers(low, 10 * low, size=(DRAWS, len(clauses)))
    after = final_amounts(clauses, drawn, asked)
    fits = (drawn != old).all(-1) & (after[:, 0] != after[:, 1])
    fits &= after.argmax(-1) != before.argmax() if kind == "argmax" else after.max(-1) != before.max()
    if not fits.any():
        return None
    numbers, after = drawn[fits.argmax()].tolist(), after[fits.argmax()]
    passage = [*passage]
    for clause, number in zip(clauses, numbers, strict=True):
        passage[slice(*clause.span("number"))] = str(number)
    spans = [dict(zip(("start", "end"), clause.span("number"), strict=True)) for clause in clauses]
    return row | {
        "passage": "".join(passage),
        "answer": asked[after.argmax()] if kind == "argmax" else str(after.max()),
        "quantities": [{"value": number} | span for number, span in zip(numbers, spans, strict=True)],
        "target": int(after.max()),
    }


def replace_numbers(rows: datasets.Dataset, seed: int = 0) -> datasets.Dataset:
    """CalculatorQA with every number replaced and every answer changed; the same for the same seed.

    A row that `replace_row` finds no numbers for is left out. There are such rows only where the numbers of a text
    differ in length (training rows of the generalization configs): who owns 5 never has more than who owns 500.

    Args:
        rows: with the columns of CalculatorQA; `gold_chains`, which are of the numbers that were, are left out.
        seed: of the numbers.
    """
    rows = rows.remove_columns({"gold_chains"}.intersection(rows.column_names))
    rng = default_rng(seed)
    replaced = [row for row in (replace_row(row, rng) for row in rows) if row is not None]
    # By columns, which there are even where no row is left.
    columns = {name: [row[name] for row in replaced] for name in rows.features}
    return datasets.Dataset.from_dict(columns, features=rows.features)
