"""replace_numbers against a reader of the texts that shares nothing with it."""

import itertools

import pytest
from datasets import Dataset
from numpy.random import default_rng

from dataset_scripts.calculator_qa.calculator_qa import FEATURES, CalculatorQABuilderConfig, make_table
from dataset_scripts.calculator_qa.replaced_numbers import replace_numbers, replace_row


def make_rows(split="validation", **parameters):
    config = CalculatorQABuilderConfig(name="rows", train_size=300, validation_size=300, **parameters)
    return Dataset(make_table(config, split, 0))


def answer(row):
    """By splitting the text at its commas and spaces; None of a text that cannot be."""
    owned, gifts = {}, []
    for clause in row["passage"].removesuffix(".").split(", "):
        name, verb, number, _, *to = clause.split(" ")
        if verb == "has":
            owned[name] = int(number)
        else:
            gifts.append((name, int(number), to[1]))
    for giver, number, receiver in gifts:
        if number > owned[giver]:
            return None
        owned[giver] -= number
        owned[receiver] += number
    words = row["question"].replace("?", "").replace(":", "").split(" ")
    first, second = words[-3], words[-1]
    if owned[first] == owned[second]:
        return None
    winner = first if owned[first] > owned[second] else second
    return winner if words[0] == "Who" else str(owned[winner])


@pytest.mark.parametrize("digits", [1, 3, 15])
@pytest.mark.parametrize("settings", [{}, {"transfers": 1}, {"transfers": 2}, {"transfers": 1, "flip": True}], ids=str)
def test_every_number_and_every_answer_is_another_and_the_text_is_possible(settings, digits):
    rows = make_rows(owners=4, digits=digits, question_types=("max", "argmax"), **settings)
    replaced = replace_numbers(rows)
    assert replaced.features == FEATURES
    assert len(replaced) == len(rows)
    for old, new in zip(rows, replaced, strict=True):
        assert old["answer"] == answer(old)
        assert new["answer"] == answer(new) not in (None, old["answer"])
        if new["question_type"] == "argmax":
            assert {old["answer"], new["answer"]} == {*new["question"].removesuffix("?").split(" ")[-3::2]}
        assert new["target"] == int(answer(new | {"question": new["question"].replace("Who has more", "The most")}))
        assert [q["end"] - q["start"] for q in new["quantities"]] == [digits] * len(old["quantities"])
        for before, after in zip(old["quantities"], new["quantities"], strict=True):
            assert after["value"] == int(new["passage"][after["start"] : after["end"]]) != before["value"]
        # Nothing else is another.
        texts = []
        for row in (old, new):
            characters = list(row["passage"])
            for quantity in row["quantities"]:
                characters[quantity["start"] : quantity["end"]] = "#" * digits
            texts.append("".join(characters))
        assert texts[0] == texts[1]
        kept = FEATURES.keys() - {"passage", "answer", "quantities", "target"}
        assert {name: old[name] for name in kept} == {name: new[name] for name in kept}


def test_a_text_is_left_out_if_no_numbers_of_its_lengths_change_the_answer():
    rows = make_rows("train", owners=3, digits=3, question_types=("argmax",), transfers=1, generalization=True)

    def can_change(row):
        """Whether some numbers of the same lengths have another winner, by the bounds of what each can own."""
        ranges = []
        for quantity in row["quantities"]:
            length = quantity["end"] - quantity["start"]
            ends = {10 ** (length - 1), 10**length - 1}
            # An extreme of a difference of amounts is at the ends; what is given may also be all that its owner has.
            ranges.append(
                sorted(
                    ends
                    | {10 ** (q["end"] - q["start"]) - 1 for q in row["quantities"]} & {*range(*sorted(ends)), *ends}
                )
            )
        for numbers in itertools.product(*ranges):
            passage = list(row["passage"])
            for quantity, number in zip(row["quantities"], numbers, strict=True):
                passage[quantity["start"] : quantity["end"]] = str(number)
            if answer(row | {"passage": "".join(passage)}) not in (None, row["answer"]):
                return True
        return False

    possible = [row["id"] for row in rows if can_change(row)]
    assert 0 < len(possible) < len(rows)
    assert replace_numbers(rows)["id"] == possible


def test_where_nothing_fits_no_row_is_left():
    rows = make_rows(owners=3, digits=3)
    replaced = replace_numbers(rows.select([]))
    assert (len(replaced), replaced.features) == (0, rows.features)


def test_the_same_seed_makes_the_same_numbers_and_another_others():
    rows = make_rows(owners=3, digits=4)
    texts = [replace_numbers(rows, seed)["passage"] for seed in (0, 0, 1)]
    assert texts[0] == texts[1]
    assert sum(a == b for a, b in zip(texts[0], texts[2], strict=True)) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "7"}, "is not '7' by"),
        ({"passage": "Nobody has anything."}, "needed question and passage of CalculatorQA"),
        ({"question": "How many?"}, "needed question and passage of CalculatorQA"),
    ],
)
def test_a_text_that_cannot_be_read_is_told(change, message):
    row = make_rows(owners=2, digits=2)[0]
    with pytest.raises(ValueError, match=message):
        replace_row(row | change, default_rng(0))


def test_rows_of_other_data_are_told():
    with pytest.raises(ValueError, match="needed question and passage of CalculatorQA, got 'How many"):
        replace_row({"question": "How many?", "passage": "7 pens", "answer": "7"}, default_rng(0))
