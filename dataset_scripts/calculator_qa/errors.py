"""Where answers to CalculatorQA go wrong: by what is compared, and whether the calculator or the reading is to blame.

Nothing here comes from the generator but its sentences and the column of right arguments: what the two people who are
asked for own in the end is read from the passage, see `replaced_numbers`.
"""

import itertools

import datasets
import numpy as np

from dataset_scripts.calculator_qa.replaced_numbers import final_amounts, read_row

SUMS = {2: [(0, 1)], 6: [(0, 2), (1, 4)]}  # arguments that may change places, by how many there are: a + t is t + a


def asked_numbers(row: dict) -> list[int]:
    """Which numbers of a passage tell of the two people asked for: what they have, and what one gave or received.

    Returns:
        Indices into the row's `quantities`, in reading order.

    Raises:
        ValueError: a text that is none of CalculatorQA's, see `read_row`.
    """
    clauses, asked = read_row(row)
    return [place for place, clause in enumerate(clauses) if {clause["name"], clause["receiver"]} & {*asked}]


def right_arguments(row: dict, num_arguments: int) -> list[int | None]:
    """Which numbers of a passage a function should take.

    Args:
        row: of CalculatorQA.
        num_arguments: 2 for the calculator, whose pair the row has; 6 for `changed_comparison`, which takes what the
            first and the second of the people asked for have, and what the first received or gave, or else the second.

    Returns:
        Indices into the row's `quantities`, None for what is left out before another.

    Raises:
        ValueError: a text that is none of CalculatorQA's, see `read_row`.
    """
    if num_arguments == 2:
        return row["gold_arguments"]
    clauses, asked = read_row(row)
    owned = {clause["name"]: place for place, clause in enumerate(clauses) if clause["receiver"] is None}
    right = [owned[name] for name in asked]
    for place in asked_numbers(row):
        if clauses[place]["receiver"]:
            parties = [clauses[place]["receiver"], clauses[place]["name"]]
            changed = next(name for name in asked if name in parties)
            right += [*[None] * (2 * asked.index(changed) + parties.index(changed)), place]
    return right


def compared(amounts: tuple[int, int]) -> str:
    """What tells two amounts apart: a length, or the first digit that differs, counted from the left.

    >>> compared((592, 1040)), compared((592, 5)), compared((592, 512))
    ('length by 1', 'length by 2', 'digit 2')
    """
    first, second = map(str, amounts)
    if len(first) != len(second):
        return f"length by {abs(len(first) - len(second))}"
    return f"digit {next(k for k, pair in enumerate(zip(first, second, strict=True), 1) if pair[0] != pair[1])}"


def error_analysis(rows: datasets.Dataset, answers: list[dict], num_arguments: int = 2) -> dict:
    """Counts of right and wrong answers to `max` and `argmax` questions.

    Args:
        rows: of CalculatorQA, each with two right arguments.
        answers: to each of them, with `answer` and `operands`, as `CalculatorQAProcessor.decode_spans` has them.
        num_arguments: how many the function takes, see `right_arguments`.

    Returns:
        For each question type `examples`; `wrong`, how many answers are; `other`, how many of these name the other one
        of the two people asked for, or his amount; and `by`, for what tells the two amounts in the end apart (see
        `compared`) the same with, if any answer has operands, `wrong_arguments`, how many of all took wrong ones, and
        `wrong_reading`, how many of the wrong answers took the right ones. An answer is right if it is equal in lower
        case; arguments are known by their place in the passage, and the two of a sum may stand in either order.

    Raises:
        ValueError: rows of another kind, see `read_row`.
    """
    has_operands = any(answer["operands"] for answer in answers)
    names = ("examples", "wrong", "other", *(("wrong_arguments", "wrong_reading") if has_operands else ()))
    counts = {}
    for row, found in zip(rows, answers, strict=True):
        clauses, asked = read_row(row)
        amounts = final_amounts(clauses, np.array([int(clause["number"]) for clause in clauses]), asked)
        texts = asked if row["question_type"] == "argmax" else [*map(str, amounts)]
        given, loser = found["answer"].strip().lower(), texts[amounts.argmin()].lower()
        is_wrong = given != row["answer"].lower()
        right = right_arguments(row, num_arguments)
        gold = [None if k is None else row["quantities"][k]["start"] for k in right]
        taken = [o and (o["start"] if o["segment"] == "passage" else -1) for o in found["operands"]]
        for arguments, (one, other) in itertools.product((gold, taken), SUMS[num_arguments]):
            if len(arguments) > other and arguments[other] is not None:
                arguments[one], arguments[other] = sorted((arguments[one], arguments[other]))
        count = (1, is_wrong, given == loser, taken != gold, is_wrong and taken == gold)
        by = counts.setdefault(row["question_type"], {})
        so_far = by.setdefault(compared(amounts), dict.fromkeys(names, 0))
        by[compared(amounts)] = {name: so_far[name] + int(more) for name, more in zip(names, count, strict=False)}
    return {
        kind: {name: sum(one[name] for one in by.values()) for name in names} | {"by": dict(sorted(by.items()))}
        for kind, by in counts.items()
    }
