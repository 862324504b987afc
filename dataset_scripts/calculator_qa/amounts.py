"""The amounts of CalculatorQA, drawn under the conditions of a cell, and all right ways to calculate with them.

The calculator takes two numbers at a time to their sum or one of their differences. A chain is a list of steps, a step
the two numbers that the calculator is given. Which of the two comes first does not matter, because it writes the
difference both ways. A step takes numbers of the text or results of steps before it, and a chain takes each once.
"""

from collections import defaultdict
from itertools import combinations

import numpy as np
import pyarrow as pa
from numpy.random import Generator


def uniform_numbers(rng: Generator, shape: tuple[int, ...], lengths: tuple[int, int]) -> np.ndarray:
    """int64 by the two-stage sampling of footnote 9: d ~ U{lengths[0], lengths[1]}, v ~ U[10^(d-1), 10^d - 1]."""
    digits = rng.integers(lengths[0], lengths[1] + 1, size=shape)
    return rng.integers(10 ** (digits - 1), 10**digits)


def compared_numbers(
    rng: Generator, lengths: tuple[int, int], flip: bool, a_wins: np.ndarray, gives: np.ndarray, changed: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers that a cell puts conditions on, drawn again until these hold.

    Args:
        rng, lengths: as in `uniform_numbers`.
        flip: whether A has more than B before giving and less before receiving.
        a_wins: (rows,) bool, or None where A is to have more than B and C together.
        gives: (rows, transfers) whether the one asked for gives.
        changed: (rows, transfers) who of the people asked for that is, from 0 for A.

    Returns:
        int64 amounts at first (rows, people) of those asked for and then the partners of the transfers, transferred
        numbers (rows, transfers), and the target (rows,).
    """
    (rows, transfers), asked = gives.shape, 3 if a_wins is None else 2
    people = asked + max(transfers, 1)  # numbers for one transfer are drawn even where there is none
    numbers, missing = np.empty((2 * people - asked + 1, rows), dtype=np.int64), np.ones(rows, dtype=bool)
    # Conditions on many numbers seldom hold, and a round costs about the same with more draws for each row.
    pending = np.repeat(np.arange(rows), 16 if asked + transfers > 3 else 1)
    while pending.size:
        drawn = uniform_numbers(rng, (len(numbers) - 1, pending.size), lengths)
        amounts, fits = drawn[:asked].copy(), np.ones(pending.size, dtype=bool)
        for transfer in range(transfers):
            giving, one = gives[pending, transfer], (changed[pending, transfer], np.arange(pending.size))
            partners_amount, moved = drawn[asked + transfer], drawn[people + transfer]
            fits &= np.where(giving, amounts[one], partners_amount) >= moved
            amounts[one] += np.where(giving, -moved, moved)
        if a_wins is None:
            target = amounts[0] - amounts[1] - amounts[2]
            fits &= target > 0
        else:
            target = amounts.max(axis=0)
            fits &= np.where(a_wins[pending], amounts[0] > amounts[1], amounts[0] < amounts[1])
        if flip:
            fits &= np.where(gives[pending, 0], drawn[0] > drawn[1], drawn[0] < drawn[1])
        done = pending[fits]
        numbers[:-1, done], numbers[-1, done] = drawn[:, fits], target[fits]
        missing[done] = False
        pending = pending[missing[pending]]
    return numbers[: asked + transfers].T, numbers[people : people + transfers].T, numbers[-1]


def chains(terms: list[tuple]) -> list[list[tuple]]:
    """All chains after which one number is left of each group of terms, its sum, as lists of steps.

    Args:
        terms: (group, sign, value) each, which stands for sign * value in the sum of its group. The values may be
            arrays, and are then those of the steps.

    >>> chains([("A", 1, 816), ("A", -1, 224), ("A", -1, 100)])
    [[(816, 224), (592, 100)], [(816, 100), (716, 224)], [(224, 100), (324, 816)]]
    >>> chains([("A", 1, 816), ("A", -1, 224), ("B", 1, 300), ("B", 1, 45)])
    [[(816, 224), (300, 45)], [(300, 45), (816, 224)]]
    >>> chains([("A", 1, 816), ("A", 1, 224), ("A", -1, 100)])[-2:]  # 224 - 100 is added, or 100 - 224 subtracted
    [[(224, 100), (124, 816)], [(224, 100), (-124, 816)]]
    """
    pairs = [pair for pair in combinations(range(len(terms)), 2) if terms[pair[0]][0] == terms[pair[1]][0]]
    if not pairs:
        return [[]] if all(sign > 0 for _, sign, _ in terms) else []  # the calculator has no minus for one number
    found = []
    for i, j in pairs:
        (group, sign, x), (_, other_sign, y) = terms[i], terms[j]
        results = [(sign, x + y)] if sign == other_sign else [(sign, x - y), (other_sign, y - x)]
        rest = [term for k, term in enumerate(terms) if k not in (i, j)]
        found += [[(x, y), *chain] for result in results for chain in chains([(group, *result), *rest])]
    return found


def gold_chains(
    amounts: np.ndarray, moved: np.ndarray, gives: np.ndarray, changed: np.ndarray, together: bool
) -> pa.Array:
    """The chains of each row as lists of chains of steps of two strings.

    Args:
        amounts: (rows, people) int64, at first, of the people asked for.
        moved: (rows, transfers) int64, the transferred numbers.
        gives: (rows, transfers) whether the one asked for gives.
        changed: (rows, transfers) who of the people asked for that is.
        together: whether the first one's amount minus those of the others is asked for, and not one of them.
    """
    forms = defaultdict(list)  # rows with the same signs have the same chains but for the values
    for row, form in enumerate(zip(map(tuple, gives.tolist()), map(tuple, changed.tolist()), strict=True)):
        forms[form].append(row)
    parts = []
    for (given, who), rows in forms.items():
        terms = [
            (0, -1 if person else 1, values) if together else (person, 1, values)
            for person, values in enumerate(amounts[rows].T)
        ]
        gifts = [
            (terms[person][0], -terms[person][1] if gift else terms[person][1], values)
            for gift, person, values in zip(given, who, moved[rows].T, strict=True)
        ]
        # The first chain begins with the first transfer, or without one with what is subtracted.
        first = terms.pop(who[0] if who else -1)
        values = np.moveaxis(np.array(chains([first, *gifts, *terms[::-1]])), -1, 0)  # (rows, chains, steps, 2)
        part = pa.array(values.ravel()).cast(pa.string())
        for width in values.shape[:0:-1]:
            part = pa.ListArray.from_arrays(np.arange(0, len(part) + 1, width, dtype=np.int32), part)
        parts.append(part)
    return pa.concat_arrays(parts).take(np.argsort(np.concatenate(list(forms.values()))))
