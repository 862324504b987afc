"""The metrics against their definitions, scipy one text at a time, and the faces of evaluate."""

from pathlib import Path

import evaluate
import numpy as np
import pytest
import torch
from scipy import stats

METRICS = Path(__file__).parents[2] / "hf_relevance" / "metrics"


@pytest.fixture
def accuracy_f1():
    return evaluate.load(str(METRICS / "accuracy_f1"))


@pytest.fixture
def attention_agreement():
    return evaluate.load(str(METRICS / "attention_agreement"))


@pytest.mark.parametrize(
    ("predictions", "references", "accuracy", "macro_f1", "binary_f1"),
    [
        ([1, 1, 1, 0], [1, 1, 0, 0], 75, 220 / 3, 80),
        ([0, 0, 0, 0], [0, 0, 0, 1], 75, 300 / 7, 0),
        ([0, 0], [0, 0], 100, 100, 0),
        ([1, 1], [0, 0], 0, 0, 0),
        ([0, 1, 2, 2], [0, 2, 2, 2], 75, 60, 0),
        ([4, 1, 1], [4, 1, 4], 200 / 3, 200 / 3, 200 / 3),  # a class that does not occur is no class
        ([], [], 0, 0, 0),
        (np.array([1, 0]), torch.tensor([1, 1]), 50, 100 / 3, 200 / 3),
    ],
)
def test_accuracy_f1(accuracy_f1, predictions, references, accuracy, macro_f1, binary_f1):
    scores = accuracy_f1.compute(predictions=predictions, references=references)
    assert scores == pytest.approx({"accuracy": accuracy, "macro_f1": macro_f1, "binary_f1": binary_f1})


@pytest.mark.parametrize("num_labels", [2, 5])
def test_accuracy_f1_equals_its_definition(accuracy_f1, num_labels):
    references = np.random.default_rng(0).integers(num_labels, size=300)
    predictions = np.where(np.arange(300) % 3, references, np.roll(references, 1))
    f1 = []
    for k in range(num_labels):
        pairs = list(zip(predictions == k, references == k, strict=True))
        right, false, missed = pairs.count((True, True)), pairs.count((True, False)), pairs.count((False, True))
        precision, recall = right / (right + false), right / (right + missed)
        f1.append(200 * precision * recall / (precision + recall))
    scores = accuracy_f1.compute(predictions=predictions, references=references)
    assert scores["macro_f1"] == pytest.approx(np.mean(f1))
    assert scores["binary_f1"] == pytest.approx(f1[1])


@pytest.mark.parametrize("wrong", [[0.9, 0.1], [None, 1], ["1", "0"], [[0.2, 0.8], [0.9, 0.1]], [0, -100]])
def test_accuracy_f1_rejects_what_is_no_class(accuracy_f1, wrong):
    for row in ({"predictions": wrong, "references": [0, 1]}, {"predictions": [0, 1], "references": wrong}):
        with pytest.raises(ValueError, match="needed whole numbers from 0"):
            accuracy_f1.add_batch(**row)


@pytest.fixture
def texts():
    """Attention and importance of 60 texts of 0 to 12 tokens, with ties, signs, zeros and constant sides."""
    rng = np.random.default_rng(1)
    attentions = [rng.dirichlet(np.full(length, 0.3)) for length in rng.integers(1, 13, 60)]
    importances = [np.round(rng.normal(size=len(row)) + 2 * row, 1) for row in attentions]
    attentions[:4] = [np.full(5, 0.2), np.array([]), np.array([0.2, 0.3, 0.5]), np.array([0.0, 1.0, 0.0, 0.0])]
    importances[:4] = [np.arange(5.0), np.array([]), np.zeros(3), np.array([-2.0, 2.0, 2.0, -2.0])]
    return attentions, importances


def entropy(weights):
    """Normalized, from its definition; 0 log 0 is 0."""
    p = np.abs(weights) / np.abs(weights).sum()
    return -sum(x * np.log(x) for x in p if x > 0) / np.log(len(p))


def test_attention_agreement_equals_scipy_text_by_text(attention_agreement, texts):
    taus, rhos, attention_entropies, importance_entropies, too_short, constant = [], [], [], [], 0, 0
    for attention, importance in zip(*texts, strict=True):
        if len(attention) < 3:
            too_short += 1
            continue
        attention_entropies.append(entropy(attention))
        if importance.any():
            importance_entropies.append(entropy(importance))
        if len(set(attention)) == 1 or len(set(np.abs(importance))) == 1:
            constant += 1
            continue
        taus.append(stats.kendalltau(attention, np.abs(importance)))
        rhos.append(stats.spearmanr(attention, np.abs(importance)))
    assert min(too_short, constant) >= 3
    expected = {
        "attention_entropy": np.mean(attention_entropies),
        "importance_entropy": np.mean(importance_entropies),
        "counted": len(taus),
        "too_short": too_short,
        "constant": constant,
    }
    for name, correlations in (("kendall_tau", taus), ("spearman_rho", rhos)):
        expected[name] = np.mean([correlation.statistic for correlation in correlations])
        expected[f"{name}_std"] = np.std([correlation.statistic for correlation in correlations])
        expected[f"{name}_significant"] = np.mean([correlation.pvalue <= 0.05 for correlation in correlations])
        assert 0 < expected[f"{name}_significant"] < 1
    scores = attention_agreement.compute(predictions=texts[0], references=texts[1])
    histogram = scores.pop("kendall_tau_histogram")
    assert scores == pytest.approx(expected, abs=1e-12)
    edges = np.linspace(-1, 1, 41)
    assert histogram == np.histogram([tau.statistic for tau in taus], edges)[0].tolist()
    assert sum(histogram) == scores["counted"]


def test_attention_agreement_knows_only_ranks_and_magnitudes(attention_agreement, texts):
    attentions, importances = texts
    order = [np.random.default_rng(2).permutation(len(row)) for row in attentions]
    scores = attention_agreement.compute(predictions=attentions, references=importances)
    same = attention_agreement.compute(
        predictions=[7 * row[places] for row, places in zip(attentions, order, strict=True)],
        references=[-3 * row[places] for row, places in zip(importances, order, strict=True)],
    )
    assert same.pop("kendall_tau_histogram") == scores.pop("kendall_tau_histogram")
    assert same == pytest.approx(scores, abs=1e-12)
    itself = attention_agreement.compute(predictions=attentions, references=attentions)
    assert (itself["kendall_tau"], itself["spearman_rho"]) == pytest.approx((1, 1))
    assert itself["kendall_tau_std"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("rows", [[], [[]], [[0.5, 0.5]], [[0.25] * 4], [[0.0] * 4]])
def test_attention_agreement_without_any_correlation_is_not_nan(attention_agreement, rows):
    scores = attention_agreement.compute(predictions=rows, references=rows)
    assert scores["kendall_tau"] == scores["spearman_rho_significant"] == scores["counted"] == 0
    assert scores["too_short"] + scores["constant"] == len(rows)
    assert scores["attention_entropy"] == pytest.approx(float(rows == [[0.25] * 4]))


@pytest.mark.parametrize(
    ("attention", "importance", "message"),
    [
        ([0.5, 0.5], [1.0, 2.0, 3.0], "Text 1 has 2 attention weights and 3 of importance"),
        ([0.5, np.nan], [1.0, 2.0], "Got the attention .*nan.* of text 1, needed a list of finite numbers"),
        ([0.5, 0.5], [np.inf, 1.0], "Got the importance .*inf.* of text 1"),
        ([1.5, -0.5], [1.0, 2.0], "Got the attention weight -0.5 in text 1, needed at least 0"),
        (None, [1.0, 2.0], "Got the attention nan of text 1"),
        ([[0.5, 0.5]], [1.0, 2.0], "of text 1, needed a list"),
    ],
)
def test_attention_agreement_rejects_what_has_no_meaning(attention_agreement, attention, importance, message):
    with pytest.raises(ValueError, match=message):
        attention_agreement.add_batch(predictions=[[1.0], attention], references=[[2.0], importance])


def test_all_ways_into_evaluate_give_the_same(accuracy_f1, attention_agreement, texts):
    classes = {"predictions": [0, 1, 2, 1], "references": [0, 1, 1, 0]}
    weights = {"predictions": texts[0], "references": texts[1]}
    for metric, columns in ((accuracy_f1, classes), (attention_agreement, weights)):
        expected = metric.compute(**columns)
        for start in range(0, len(columns["references"]), 2):
            metric.add_batch(**{name: column[start : start + 2] for name, column in columns.items()})
        assert metric.compute() == expected
        for prediction, reference in zip(*columns.values(), strict=True):
            metric.add(prediction=prediction, reference=reference)
        assert metric.compute() == expected
        combined = evaluate.combine([metric])
        assert combined.compute(**columns) == expected
        for prediction, reference in zip(*columns.values(), strict=True):
            combined.add(prediction=prediction, reference=reference)
        assert combined.compute() == expected
        with pytest.raises(ValueError, match="Mismatch in the number"):
            metric.compute(predictions=columns["predictions"], references=columns["references"][:-1])
