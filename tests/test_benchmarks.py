"""What the benchmarks share, and that the ways which one of them times compute the same."""

import json

import pytest
import torch
from datasets import Dataset

from benchmarks import calculator_baselines
from benchmarks.calculator_baselines import answer_as_stated
from benchmarks.common import in_turn
from benchmarks.drop import old_answers
from benchmarks.estimators import estimator_figure
from benchmarks.relevance_step import make_losses
from hf_relevance import BiLSTMAttentionConfig, BiLSTMAttentionForClassification


def test_ways_are_timed_in_turn_and_held_against_the_first_of_their_round(monkeypatch):
    now, calls = 0, []
    durations = {"a": iter([9, 1, 2, 4]), "b": iter([9, 3, 2, 40])}

    def way(name):
        nonlocal now
        calls.append(name)
        now += next(durations[name])

    monkeypatch.setattr("benchmarks.common.time.perf_counter", lambda: now)
    timed = in_turn({"a": lambda: way("a"), "b": lambda: way("b")}, rounds=3, warm_up=1)
    assert timed == {"seconds": {"a": 2, "b": 3}, "ratio": {"a": 1, "b": 3}}
    assert calls == ["a", "b"] * 4


def test_the_ways_of_a_step_have_the_same_loss_where_they_should(tmp_path):
    sizes = {"vocab_size": 40, "embedding_size": 6, "hidden_size": 8, "attention_size": 5, "initializer_range": 1.0}
    model = BiLSTMAttentionForClassification(BiLSTMAttentionConfig(**sizes))
    ids = torch.randint(1, 40, (4, 7))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.tensor([0, 1, 0, 1])}
    found = {}
    for way, loss in make_losses(model, str(tmp_path)).items():
        model.zero_grad()
        value = loss(batch)
        value.backward()
        found[way] = [value.item(), *(parameter.grad.clone() for parameter in model.parameters())]
    torch.testing.assert_close(found["autograd"], found["closed form"], rtol=1e-4, atol=1e-5)
    losses = [found[way][0] for way in ("cross entropy", "closed form", "embedding gradient")]
    assert losses[0] == pytest.approx(model(**batch).loss.item(), rel=1e-5)
    assert losses[0] < min(losses[1:])
    assert losses[1] != pytest.approx(losses[2], rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "question"),
    [("max", "What is the maximum number of nuts owned either by"), ("argmax", "Who has more nuts:")],
)
def test_an_answer_that_ignores_transfers_is_of_the_amounts_as_stated(kind, question):
    passage = "Mark has 907 nuts, Anna has 816 nuts, Carl has 702 nuts, Anna gave 224 nuts to Mark."
    row = {"passage": passage, "question": f"{question} Carl or Anna?", "question_type": kind}
    assert answer_as_stated(row) == {"max": "816", "argmax": "Anna"}[kind]


def test_the_baseline_of_rows_is_written_once_for_all_runs_on_them(tmp_path, monkeypatch):
    sizes = {"dataset_config": "max_plain", "owners": 3, "digits": 2, "dataset_seed": 0}
    sizes |= {"train_size": 10, "validation_size": 20}
    (tmp_path / "calc").mkdir()
    for name, settings in (("one", sizes), ("two", sizes), ("drop", {"dataset": "drop"})):
        (tmp_path / "calc" / f"{name}.json").write_text(json.dumps({"settings": settings}))
    monkeypatch.setattr(calculator_baselines, "RESULTS", tmp_path)
    calculator_baselines.main(["--output", str(tmp_path / "baselines.json")])
    found = json.loads((tmp_path / "baselines.json").read_text())["rows"]
    assert found == [{"data": sizes, "right": {"train": 100.0, "validation": 100.0}}]


def test_old_answers_are_scored_by_the_new_ones():
    """Halves of names count by the words they share; passages are counted before their numbers differ."""
    rows = [
        ("1", "comparison", "a", ["the German people"], "a b", ["Irish people"]),
        ("2", "comparison", "a", ["Irish"], "b a", ["German"]),
        ("3", "difference", "c", ["12", "twelve"], "d", ["7"]),
        ("4", "other", "e", ["1"], None, None),
    ]
    names = ("id", "question_type", "passage", "answer")
    old = Dataset.from_list([dict(zip(names, row[:4], strict=True)) for row in rows])
    new = Dataset.from_list([dict(zip(names, (*row[:2], *row[4:]), strict=True)) for row in rows[:3]])
    assert old_answers(old, new) == {
        "comparison": {"examples": 2, "passages": 1, "exact_match": 0, "f1": 25},
        "difference": {"examples": 1, "passages": 1, "exact_match": 0, "f1": 0},
    }


def test_bars_of_estimators_are_their_numbers():
    figure = estimator_figure(["one", "two"], [0.75, 1.0], [0.0, 3.0])
    lengths = [[bar.get_width() for bar in axes.patches] for axes in figure.axes]
    assert lengths == [[0.25, 0.0], [0.0, 3.0]]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["one", "two"]
    assert figure.axes[0].get_ylim()[0] > figure.axes[0].get_ylim()[1]  # the first on top
