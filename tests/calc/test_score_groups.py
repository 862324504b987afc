"""What can be answered, and scores by kind of question, against counting by hand."""

import pytest
from datasets import Dataset

from hf_calc import CalculatorQAProcessor
from hf_calc.score_groups import BATCH, reach, scores_by

PASSAGE = "Anna has 816 nuts and gave 224 away. 100"
ANSWERS = {"816": "span", "Anna": "span", "592": "calculation", "1040": "calculation", "Carl": "none", "3": "none"}


@pytest.fixture(scope="module")
def rows():
    answers = [[answer] for answer in ANSWERS] * (1 + BATCH // len(ANSWERS)) + [["Carl", "592"]]
    texts = {"question": ["How many nuts?"] * len(answers), "passage": [PASSAGE] * len(answers)}
    return Dataset.from_dict(texts | {"answer": answers, "kind": ["ab"[len(answer[0]) > 3] for answer in answers]})


def test_reach(processor, rows):
    ways = reach(processor, rows)
    assert ways == [ANSWERS[answers[0]] for answers in rows["answer"][:-1]] + ["calculation"]


def test_every_candidate_counts_over_the_ceiling(processor, tokenizer_dir, rows):
    pieces = CalculatorQAProcessor.from_pretrained(tokenizer_dir, digit_tokens=False)
    pieces.calculator.max_candidates = 1
    assert reach(pieces, rows) == reach(processor, rows)


def test_windows_are_one_example(processor, rows):
    small = CalculatorQAProcessor(processor.tokenizer, stride=8, result_tokens=460)
    rows = rows.select([0, 2]).map(lambda row: {"passage": "nuts " * 30 + row["passage"]})
    assert reach(small, rows)[0] == "span"


def test_several_steps_are_refused(processor, rows):
    with pytest.raises(ValueError, match="got num_steps=2"):
        reach(CalculatorQAProcessor(processor.tokenizer, num_steps=2), rows)


def test_scores_by(processor, rows):
    def score(answers, part):  # the share of right ones
        right = [found["answer"] in answer for found, answer in zip(answers, part["answer"], strict=True)]
        return {"exact_match": 100 * sum(right) / len(right), "f1": 50.0, "other": 1.0}

    answers = [{"answer": "592"}] * len(rows)
    groups = scores_by("kind", rows, reach(processor, rows), answers, score)
    assert [*groups] == ["a", "b"]
    for kind, group in groups.items():
        mine = [answer for answer, other in zip(rows["answer"], rows["kind"], strict=True) if other == kind]
        assert group["examples"] == len(mine)
        assert group["exact_match"] == 100 * sum("592" in answer for answer in mine) / len(mine)
        assert group["f1"] == 50.0
        reachable = [any(ANSWERS[text] != "none" for text in answer) for answer in mine]
        assert group["reachable"] == 100 * sum(reachable) / len(mine)
        assert group.keys() == {"examples", "reachable", "exact_match", "f1"}
