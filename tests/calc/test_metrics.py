"""The metrics against the official rules of DROP, their own definitions, and the faces of evaluate."""

import gzip
import json
import os
from pathlib import Path

import evaluate
import numpy as np
import pytest

from hf_calc.metrics.drop_f1.drop_f1 import score_answer

METRICS = Path(__file__).parents[2] / "hf_calc" / "metrics"


@pytest.fixture
def drop_f1():
    return evaluate.load(str(METRICS / "drop_f1"))


@pytest.fixture
def argument_accuracy():
    return evaluate.load(str(METRICS / "argument_accuracy"))


@pytest.fixture
def chain_accuracy():
    return evaluate.load(str(METRICS / "chain_accuracy"))


# Prediction, one annotation, exact match and F1 as the official evaluator gives them.
OFFICIAL = [
    # Case, articles, punctuation, spaces
    ("Bears", "bears", 1, 1),
    ("the Bears", "Bears", 1, 1),
    ("an the a", "", 1, 1),
    ("theory", "ory", 0, 0),
    ("A. Smith", "Smith", 1, 1),
    ("U.S.", "us", 1, 1),
    ("John's", "johns", 1, 1),
    ("  two \t words\n", "two words", 1, 1),
    ("one\nline", "one line", 1, 1),
    ("naïve", "naive", 0, 0),
    ("!", "?", 1, 1),
    ("", "59", 0, 0),
    ("59", "", 0, 0),
    # Hyphens split words and hide signs, other dashes do neither
    ("59-yard", "59 yard", 1, 1),
    ("-59", "59", 1, 1),
    ("3-2", "3 2", 1, 1),
    ("--59--", "59", 1, 1),
    ("\N{MINUS SIGN}59", "59", 0, 0),
    ("59\N{EN DASH}yard", "59 yard", 0, 0),
    # Numbers are compared by value once their punctuation is gone
    ("59.0", "59", 1, 1),
    ("059", "59", 1, 1),
    ("1,200", "1200", 1, 1),
    ("1_000", "1000", 1, 1),
    ("1e3", "1000", 1, 1),
    (".5", "0.50", 1, 1),
    ("+5", "5", 1, 1),
    ("$3.5", "3.5", 0, 0),
    ("$3.5", "35", 1, 1),
    ("75.9%", "759", 1, 1),
    ("10th", "10", 0, 0),
    ("½", "0.5", 0, 0),
    ("fifty nine", "59", 0, 0),
    ("NaN", "nan", 1, 1),
    # F1 of sets of words: order and repetition do not count
    ("yards 59", "59 yards", 0, 1),
    ("go go go", "go", 0, 1),
    ("red green", "green blue", 0, 0.5),
    ("Tony Romo and Shaun Hill", "Romo", 0, 0.33),
    # A gold span with numbers gives nothing to a span without one of them; a gold span without numbers does not mind
    ("60 yards", "59 yards", 0, 0),
    ("yards", "59 yards", 0, 0),
    ("59 yards", "yards", 0, 0.67),
    ("59 60 yards", "59 yards", 0, 0.8),
    # Several spans: the best pairing, averaged over the longer side
    (["Hill", "Romo"], ["Romo", "Hill"], 1, 1),
    (["Romo"], ["Romo", "Hill"], 0, 0.5),
    (["Romo", "Hill", "Owens"], "Hill", 0, 0.33),
    (["Tony Romo", "Hill"], ["Shaun Hill", "Tony Romo"], 0, 0.83),
    (["a b", "b c"], ["b c d", "b"], 0, 0.9),
    (["Romo", "Romo"], ["Romo"], 0, 0.5),
    (["Romo", "Romo", "Hill"], ["Romo", "Hill", "Hill"], 1, 0.67),
    (["59", "60"], ["60.0", "-59"], 1, 1),
    (["x", "y", "z", "v", "w", "u", "59"], ["59"], 0, 0.14),
    (["59 yards"], "59-yard", 0, 0.5),
    # A missing prediction
    (None, "59", 0, 0),
    ([], "59", 0, 0),
]


@pytest.mark.parametrize(("prediction", "gold", "exact_match", "f1"), OFFICIAL)
def test_score_answer_follows_the_official_rules(prediction, gold, exact_match, f1):
    assert score_answer(prediction, gold) == (exact_match, f1)


@pytest.mark.skipif("DROP_DATA_DIR" not in os.environ, reason="DROP_DATA_DIR, with metric_cases.jsonl.gz, not set")
def test_score_answer_equals_the_official_evaluator():
    with gzip.open(Path(os.environ["DROP_DATA_DIR"]) / "metric_cases.jsonl.gz", "rt", encoding="utf-8") as lines:
        cases = [json.loads(line) for line in lines]
    assert cases
    assert [score_answer(case["prediction"], case["gold"]) for case in cases] == [
        (case["em"], case["f1"]) for case in cases
    ]


def test_score_answer_rejects_what_is_no_text():
    with pytest.raises(TypeError, match="Got the answer 59, needed a string"):
        score_answer("59", 59)
    with pytest.raises(TypeError, match="write numbers as text"):
        score_answer(["59", 60], "59")


@pytest.mark.parametrize(
    ("prediction", "annotations", "exact_match", "signed_exact_match"),
    [
        ("-59", ["59"], 100, 0),
        ("59", ["-59"], 100, 0),
        ("-59", ["-59.0"], 100, 100),
        ("-59", ["59", "-59"], 100, 100),
        ("-1,200", ["(-1200)"], 100, 100),
        ("-$.5", ["$.5"], 100, 0),
        ("-0", ["0.0"], 100, 100),
        ("59-yard", ["59 yard"], 100, 100),
        ("3-2", ["3 - 2"], 100, 100),
        ("from -5 to 5", ["from 5 to -5"], 100, 0),
        (["-5", "3"], [["3", "-5"]], 100, 100),
        (["-5", "3"], [["-3", "5"]], 100, 0),
        ("minus 59", ["-59"], 0, 0),
        ("-58", ["-59"], 0, 0),
    ],
)
def test_signed_exact_match(drop_f1, prediction, annotations, exact_match, signed_exact_match):
    scores = drop_f1.compute(predictions=[prediction], references=[annotations])
    assert (scores["exact_match"], scores["signed_exact_match"]) == (exact_match, signed_exact_match)


def test_every_answer_matches_itself_and_loses_only_its_sign(drop_f1):
    numbers = np.random.default_rng(0).integers(1, 10**7, 500).tolist()
    texts = [f"{number:,}" if number % 2 else str(number) for number in numbers]
    negatives = ["-" + text for text in texts]
    for predictions, references, signed_exact_match in ((negatives, negatives, 100.0), (negatives, texts, 0.0)):
        scores = drop_f1.compute(predictions=predictions, references=[[text] for text in references])
        assert scores == {"exact_match": 100.0, "f1": 100.0, "signed_exact_match": signed_exact_match}


def test_drop_f1_takes_the_best_annotation_for_each_score(drop_f1):
    # The first annotation is an exact match with F1 .67, the second is none with F1 .75.
    annotations = [["Romo", "Hill", "Hill"], ["Romo", "Romo", "Hill", "Owens"]]
    scores = drop_f1.compute(predictions=[["Romo", "Romo", "Hill"]], references=[annotations])
    assert scores == {"exact_match": 100.0, "f1": 75.0, "signed_exact_match": 100.0}


def test_drop_f1_mixes_strings_lists_and_missing_predictions(drop_f1):
    predictions = ["59", ["Romo", "Hill"], None, [], ["59"]]
    references = [["59"], [("Hill", "Romo")], ["59"], ["59"], ["60", ["59", "60"]]]
    scores = drop_f1.compute(predictions=predictions, references=references)
    assert scores == pytest.approx({"exact_match": 40.0, "f1": 50.0, "signed_exact_match": 40.0})


def test_drop_f1_leaves_out_blank_annotations(drop_f1):
    # Without this rule "the" would match the blank annotations.
    scores = drop_f1.compute(predictions=["the", "the", "the"], references=[["", " "], [[]], []])
    assert scores == {"exact_match": 0.0, "f1": 0.0, "signed_exact_match": 0.0}


def test_drop_f1_rejects_what_evaluate_would_misread(drop_f1):
    with pytest.raises(TypeError, match="wrap it in a list"):
        drop_f1.add_batch(predictions=["59", "60"], references=[["59"], "60"])
    with pytest.raises(TypeError, match="write numbers as text"):
        drop_f1.add_batch(predictions=["59", 60], references=[["59"], ["60"]])


@pytest.mark.parametrize(
    ("predictions", "references", "accuracy", "counted"),
    [
        ([[0, 3]], [[3, 0]], 100, 1),
        ([[0, 3], [0, 3], [0, 3], [3, 3]], [[0, 3], [0, 4], [1, 2], [0, 3]], 25, 4),
        ([[], None, [0, 3]], [[0, 3], [0, 3], []], 0, 2),
        ([[], [0, 3]], [[], [0, 3]], 100, 1),
        ([["72", "23"], ["7.5", "72"]], [["23", "72"], ["72", "7.50"]], 50, 2),
        (np.array([[0, 3], [1, 2]]), np.array([[3, 0], [2, 3]]), 50, 2),
        ([[0, 3]], [[]], 0, 0),
        ([], [], 0, 0),
    ],
)
def test_argument_accuracy(argument_accuracy, predictions, references, accuracy, counted):
    scores = argument_accuracy.compute(predictions=predictions, references=references)
    assert scores == {"argument_accuracy": accuracy, "counted": counted}


@pytest.mark.parametrize("row", [[1], [1, 2, 3], "72", [[1, 2]]])
def test_argument_accuracy_rejects_what_is_no_pair(argument_accuracy, row):
    with pytest.raises(ValueError, match="needed a list of two mentions"):
        argument_accuracy.add_batch(predictions=[[0, 3], row], references=[[0, 3], [0, 3]])


# All right chains of 816 - 224 - 100, and those of 5 + 1 beside 7 - 2.
IN_TURN = [[["816", "224"], ["592", "100"]], [["816", "100"], ["716", "224"]], [["224", "100"], ["816", "324"]]]
APART = [[["5", "1"], ["7", "2"]], [["7", "2"], ["5", "1"]]]


@pytest.mark.parametrize(
    ("prediction", "right", "accuracy", "steps"),
    [
        ([["816", "224"], ["592", "100"]], IN_TURN, 100, [100, 100]),
        ([["100", "224"], ["324", "816"]], IN_TURN, 100, [100, 100]),
        ([["816", "224"], [], None, ["592", "100"], []], IN_TURN, 100, [100, 100]),
        ([["816", "224"], ["716", "224"]], IN_TURN, 0, [100, 0]),  # either step is right, but in another chain
        ([["592", "100"], ["816", "224"]], IN_TURN, 0, [0, 0]),
        ([["816", "224"]], IN_TURN, 0, [100, 0]),
        ([["816", "224"], ["592", "100"], ["492", "1"]], IN_TURN, 0, [100, 100]),
        ([["2", "7"], ["5", "1"]], APART, 100, [100, 100]),
        ([["5", "1"], ["5", "1"]], APART, 0, [100, 0]),
        (None, APART, 0, [0, 0]),
        ([[]], [[]], 100, []),
        ([["5", "1"]], [[]], 0, []),
        ([["5", "1"]], [[["5", "1"]], [["6", "0"], ["5", "1"]]], 100, [100, 0]),
        (np.array([[5, 1], [7, 2]]), np.array(APART), 100, [100, 100]),
    ],
)
def test_chain_accuracy_of_a_question(chain_accuracy, prediction, right, accuracy, steps):
    scores = chain_accuracy.compute(predictions=[prediction], references=[right])
    expected = {f"step_{step}_accuracy": score for step, score in enumerate(steps, 1)}
    assert scores == {"chain_accuracy": accuracy, **expected, "counted": 1}


def test_chain_accuracy_counts_a_question_where_it_has_a_chain_of_so_many_steps(chain_accuracy):
    predictions = [[["5", "1"]], [["5", "1"], ["2", "7"]], [["1", "5"]], [["5", "1"]], None]
    references = [[], APART, APART, [[["5", "1"]]], [[["5", "1"]]]]
    scores = chain_accuracy.compute(predictions=predictions, references=references)
    expected = {"chain_accuracy": 50, "step_1_accuracy": 75, "step_2_accuracy": 50, "counted": 4}
    assert scores == expected
    for prediction, right in zip(predictions, references, strict=True):
        chain_accuracy.add(prediction=prediction, reference=right)
    assert chain_accuracy.compute() == expected
    for predictions, references in (([], []), ([[["5", "1"]]], [[]])):
        scores = chain_accuracy.compute(predictions=predictions, references=references)
        assert scores == {"chain_accuracy": 0, "counted": 0}


def test_argument_accuracy_is_the_chain_accuracy_of_one_step(argument_accuracy, chain_accuracy):
    draw = np.random.default_rng(0).integers(0, 3, (2, 200, 2)).astype(str).tolist()
    pairs = argument_accuracy.compute(predictions=draw[0], references=draw[1])
    chains = chain_accuracy.compute(predictions=[[p] for p in draw[0]], references=[[[p]] for p in draw[1]])
    assert 0 < pairs["argument_accuracy"] == chains["chain_accuracy"] == chains["step_1_accuracy"] < 100


@pytest.mark.parametrize("step", ["72", ["72"], ["1", "2", "3"], [["1", "2"], ["3", "4"]]])
def test_chain_accuracy_rejects_what_is_no_step(chain_accuracy, step):
    with pytest.raises(ValueError, match="needed a list of two numbers"):
        chain_accuracy.add_batch(predictions=[[["1", "2"], step]], references=[[[["1", "2"]]]])
    with pytest.raises(ValueError, match="needed a list of two numbers"):
        chain_accuracy.add_batch(predictions=[[["1", "2"]]], references=[[[["1", "2"], step]]])


def test_all_ways_into_evaluate_give_the_same(drop_f1, argument_accuracy):
    # Pairs of values are answers of two spans too. The first row is empty on purpose: evaluate looks at it alone.
    predictions = [[], ["72", "23"], ["7.5", "-2"], ["1", "2"]]
    references = [[], ["23", "72"], ["2", "7.5"], ["1", "3"]]
    expected = {
        **drop_f1.compute(predictions=predictions, references=references),
        **argument_accuracy.compute(predictions=predictions, references=references),
    }
    assert expected["argument_accuracy"] == pytest.approx(100 / 3)

    combined = evaluate.combine([drop_f1, argument_accuracy])
    assert combined.compute(predictions=predictions, references=references) == expected
    for start in (0, 2):
        combined.add_batch(predictions=predictions[start : start + 2], references=references[start : start + 2])
    assert combined.compute() == expected
    for prediction, reference in zip(predictions, references, strict=True):
        combined.add(prediction=prediction, reference=reference)
    assert combined.compute() == expected
    for prediction, reference in zip(predictions, references, strict=True):
        drop_f1.add(prediction=prediction, reference=reference)
    assert drop_f1.compute().items() <= expected.items()
