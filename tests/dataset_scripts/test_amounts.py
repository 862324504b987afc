"""Calculations of several steps against brute force and enumeration, with nothing read but the text."""

import itertools
from collections import Counter
from functools import cache

import numpy as np
import pytest

from tests.dataset_scripts import test_calculator_qa

prepare, understand, fits = test_calculator_qa.prepare, test_calculator_qa.understand, test_calculator_qa.fits
SMALL = test_calculator_qa.SMALL


@cache
def brute_force(*goals):
    """All chains by which the numbers become the goals, whatever is calculated with what.

    A goal and a number of a step are coefficients of the numbers at first.
    """

    def go_on(numbers, chain):
        if sorted(numbers) == sorted(goals):
            found.append(chain)
        for x, y in itertools.combinations(numbers, 2):
            rest = [number for number in numbers if number not in (x, y)]
            for p, q in ((1, 1), (1, -1), (-1, 1)):
                result = tuple(p * k + q * m for k, m in zip(x, y, strict=True))
                go_on([*rest, result], (*chain, (x, y)))

    found = []
    go_on([tuple(row) for row in np.eye(len(goals[0]), dtype=int).tolist()], ())
    return found


def results(numbers, chain):
    """The numbers that may be left of `numbers` after a chain of texts, none if it takes what is not there."""
    if not chain:
        return {tuple(sorted(numbers))}
    x, y = map(int, chain[0])
    rest = Counter(numbers)
    rest.subtract([x, y])
    if min(rest.values()) < 0:
        return set()
    return set().union(*(results([*rest.elements(), result], chain[1:]) for result in (x + y, x - y, y - x)))


@pytest.mark.parametrize(
    ("config_name", "lengths"),
    [
        ("max_argmax_two_transfers", {3, 5}),
        ("max_argmax_split_transfers", {2}),
        ("together", {3}),
        ("together_transfer", {18, 40}),
    ],
)
def test_gold_chains_are_all_that_lead_to_the_changed_amounts_or_to_the_answer(prepare, config_name, lengths):
    assert {len(chains) for chains in prepare(config_name, **SMALL)["train"]["gold_chains"]} == lengths
    for row in prepare(config_name, **SMALL)["train"].select(range(256)):
        text = understand(row)
        together = text.question_type == "together"
        people = text.asked if together else list(dict.fromkeys(gift.one for gift in text.gifts))
        numbers = [text.at_first[name] for name in people] + [gift.moved for gift in text.gifts]
        forms = [[int(name == one) for name in people] for one in people]
        for gift in text.gifts:
            for one, form in zip(people, forms, strict=True):
                form.append(int(gift.one == one) * (-1 if gift.gives else 1))
        reached = [text.in_the_end[one] for one in people]
        if together:
            forms, reached = [[p - q - r for p, q, r in zip(*forms, strict=True)]], [row["target"]]
        expected = {
            tuple(tuple(sorted(str(np.dot(form, numbers)) for form in step)) for step in chain)
            for chain in brute_force(*map(tuple, forms))
        }
        assert {tuple(tuple(sorted(step)) for step in chain) for chain in row["gold_chains"]} == expected
        for chain in row["gold_chains"]:
            assert len(chain) == len(numbers) - len(reached)
            assert tuple(sorted(reached)) in results(numbers, chain)
        first = {str(row["quantities"][index]["value"]) for index in row["gold_arguments"]}
        assert set(row["gold_chains"][0][0]) == first


@pytest.mark.parametrize("config_name", ["argmax_two_transfers", "argmax_split_transfers"])
@pytest.mark.parametrize(("ignored", "expected"), [((0,), 0.76), ((1,), 0.76), ((0, 1), 0.71)])
def test_ignoring_one_of_two_transfers_scores_three_quarters_too(prepare, config_name, ignored, expected):
    right, rows = [], prepare(config_name, train_size=4096)["train"]
    for text in map(understand, rows.select_columns(["passage", "question"])):
        amounts = dict(text.in_the_end)
        for gift in (text.gifts[index] for index in ignored):
            amounts[gift.one] += gift.moved if gift.gives else -gift.moved
        right.append(amounts[text.winner] > amounts[text.loser])
    assert np.mean(right) == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 4096))


@pytest.mark.parametrize(
    "config_name", ["argmax_two_transfers", "argmax_split_transfers", "together", "together_transfer"]
)
def test_numbers_of_several_steps_are_uniform_given_the_conditions(prepare, config_name):
    drawn = {}
    rows = prepare(config_name, owners=5, digits=1, train_size=8192)["train"]
    for text in map(understand, rows.select_columns(["passage", "question"])):
        people = list(text.asked)
        if len(people) == 2:
            people.sort(key=lambda name: name != text.a)
        form = tuple((people.index(gift.one), gift.gives) for gift in text.gifts)
        amounts = [text.at_first[name] for name in [*people, *(gift.partner for gift in text.gifts)]]
        numbers = [*amounts, *(gift.moved for gift in text.gifts)]
        drawn.setdefault((form, text.winner == people[0]), []).append(numbers)
    for (form, wins), numbers in drawn.items():
        asked = len(numbers[0]) - 2 * len(form)
        grid = np.stack(np.meshgrid(*[np.arange(1, 10)] * len(numbers[0]))).reshape(len(numbers[0]), -1)
        amounts, possible = grid[:asked].copy(), True
        for index, (one, gives) in enumerate(form):
            owned, moved = grid[asked + index], grid[asked + len(form) + index]
            possible &= moved <= (amounts[one] if gives else owned)
            amounts[one] += -moved if gives else moved
        ahead = amounts[0] - amounts[1:].sum(axis=0)
        for values, all_values in zip(np.transpose(numbers), grid, strict=True):
            expected = all_values[possible & ((ahead > 0) if wins else (ahead < 0))]
            assert fits(Counter(values.tolist()), Counter(expected.tolist())), (form, wins)
