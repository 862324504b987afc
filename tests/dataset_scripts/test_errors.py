"""Errors by numbers and cause, on answers whose faults are made here."""

import pytest
from datasets import Dataset

from dataset_scripts.calculator_qa.calculator_qa import CalculatorQABuilderConfig, make_table
from dataset_scripts.calculator_qa.errors import asked_numbers, compared, error_analysis, right_arguments

NUMBERS = [100, 7, 20, 5, 30]  # anna, carl, mark, ruth, and what anna gave to mark
CLAUSES = ["Anna has 100 pens", "Carl has 7 pens", "Mark has 20 pens", "Ruth has 5 pens", "Anna gave 30 pens to Mark"]
PASSAGE = ", ".join(CLAUSES) + "."


def make_row(question, answer, kind, gold=(0, 4)):
    quantities, start = [], 0
    for number in NUMBERS:
        start = PASSAGE.index(f" {number} ", start) + 1
        quantities.append({"value": number, "start": start, "end": start + len(str(number))})
    facts = {"question": question, "passage": PASSAGE, "answer": answer, "question_type": kind}
    return facts | {"quantities": quantities, "gold_arguments": list(gold)}


def make_answer(text, row, *arguments):
    quantities = [None if k is None else row["quantities"][k] for k in arguments]
    places = [quantity and {"segment": "passage", "start": quantity["start"]} for quantity in quantities]
    return {"answer": text, "operands": places}


def test_counts_by_hand():
    """Anna ends with 70, Mark with 50, Carl with 7."""
    one = make_row("Who has more pens: Anna or Carl?", "Anna", "argmax")
    two = make_row("Who has more pens: Mark or Anna?", "Anna", "argmax")
    number = make_row("What is the maximum number of pens owned either by Anna or Mark?", "70", "max")
    cases = [
        (one, make_answer("anna", one, 0, 4)),  # right
        (one, make_answer("Anna", one, 0, 1)),  # right by wrong arguments
        (one, make_answer("Carl", one, 4, 0)),  # wrong reading of the right result
        (two, make_answer("Mark", two, 2, 4)),
        (two, make_answer("Ruth", two)),
        (number, make_answer("50", number, 0, 4)),
        (number, make_answer("100", number, 1, 2)),
        (number, make_answer("70", number, 0, 4)),
    ]
    rows, answers = Dataset.from_list([row for row, _ in cases]), [answer for _, answer in cases]
    names = ("examples", "wrong", "other", "wrong_arguments", "wrong_reading")

    def counts(*values):
        return dict(zip(names, values, strict=False))

    length, digit = counts(3, 1, 1, 1, 1), counts(2, 2, 1, 2, 0)
    assert error_analysis(rows, answers) == {
        "argmax": counts(5, 3, 2, 3, 1) | {"by": {"digit 1": digit, "length by 1": length}},
        "max": counts(3, 2, 1, 1, 1) | {"by": {"digit 1": counts(3, 2, 1, 1, 1)}},
    }
    # Without operands there is nobody to blame.
    found = error_analysis(rows, [answer | {"operands": []} for answer in answers])
    assert found["argmax"] == counts(5, 3, 2) | {"by": {"digit 1": counts(2, 2, 1), "length by 1": counts(3, 1, 1)}}


def test_six_arguments_are_right_in_the_order_of_the_question():
    row = make_row("Who has more pens: Carl or Anna?", "Anna", "argmax")
    assert right_arguments(row, 2) == [0, 4]
    assert right_arguments(row, 6) == [1, 0, None, None, None, 4]  # Anna, who is asked for last, gave it away
    cases = [
        ("Anna", 1, 0, None, None, None, 4),
        ("Carl", 1, 0, None, None, None, 4),
        ("Anna", 1, 0, 4),
        ("Carl", 0, 1, 4),
        ("Anna", 1, 0, 0),
        ("Anna", 0, 4),
        ("Anna", 1, 0),
    ]
    answers = [make_answer(name, row, *taken) for name, *taken in cases]
    found = error_analysis(Dataset.from_list([row] * len(cases)), answers, num_arguments=6)["argmax"]
    assert (found["wrong_arguments"], found["wrong_reading"]) == (5, 1)
    lost = make_row("Who has more pens: Anna or Carl?", "Anna", "argmax")
    assert right_arguments(lost, 6) == [0, 1, None, 4]
    gained = make_row("Who has more pens: Carl or Mark?", "Mark", "argmax")
    assert right_arguments(gained, 6) == [1, 2, None, None, 4]
    answers = [make_answer("Mark", gained, *taken, None, None, 4) for taken in [(1, 2), (2, 1), (4, 1)]]
    answers += [make_answer("Mark", gained, *taken) for taken in [(1, 4, None, None, 2), (1, 4, 2)]]  # 30 + 20
    found = error_analysis(Dataset.from_list([gained] * 5), answers, num_arguments=6)["argmax"]
    assert found["wrong_arguments"] == 3
    plain = make_row("Who has more pens: Ruth or Carl?", "Carl", "argmax", (1, 3))
    assert right_arguments(plain, 6) == [3, 1]


def test_asked_numbers_by_hand():
    assert asked_numbers(make_row("Who has more pens: Ruth or Carl?", "Carl", "argmax")) == [1, 3]
    assert asked_numbers(make_row("Who has more pens: Mark or Carl?", "Mark", "argmax")) == [1, 2, 4]


@pytest.mark.parametrize("transfers", [0, 1])
def test_right_answers_have_no_errors_and_gold_arguments_are_asked_for(transfers):
    config = CalculatorQABuilderConfig(
        name="rows", digits=3, owners=4, train_size=60, transfers=transfers, question_types=("max", "argmax")
    )
    rows = Dataset(make_table(config, "train", 0))
    answers = [make_answer(row["answer"], row, *row["gold_arguments"]) for row in rows]
    errors = error_analysis(rows, answers)
    assert sum(found["examples"] for found in errors.values()) == 60
    for found in errors.values():
        assert found["examples"] == sum(one["examples"] for one in found["by"].values())
        assert not any(found[name] for name in ("wrong", "other", "wrong_arguments", "wrong_reading"))
        assert transfers or all(name.startswith("digit") for name in found["by"])
    for row in rows:
        numbers = asked_numbers(row)
        assert {*row["gold_arguments"]} <= {*numbers}
        assert len(numbers) == 2 + transfers


def test_what_tells_amounts_apart():
    assert compared((1, 1000)) == "length by 3"
    assert compared((1234, 1239)) == "digit 4"


def test_other_texts_are_refused():
    with pytest.raises(ValueError, match="needed question and passage of CalculatorQA"):
        asked_numbers({"question": "Who?", "passage": PASSAGE})
