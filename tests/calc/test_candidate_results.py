"""The ceiling: over it the candidates that score best are kept, and all else is as without one."""

import logging
import pickle

import pytest
import torch

from hf_calc import CalculatorQAPipeline, SymbolicFunction, find_quantities
from hf_calc.symbolic_function import total


@pytest.fixture
def many():
    """A text with ten numbers, 45 pairs, and one with three; and the sum of any two of them as a function."""

    def make_function(max_candidates):
        name, numbers = "sum_of_two", [find_quantities] * 2
        return SymbolicFunction(lambda a, b: f"{a + b}", numbers, name, unordered=True, max_candidates=max_candidates)

    return make_function, (["how many pens?"] * 2, ["3 14 15 92 65 35 89 79 32 38", "7 20 5"], ["157", "27"])


@pytest.mark.parametrize("facts", [{}, {"share_encoder": False}])
@pytest.mark.parametrize("ceiling", [1, 2, 7, 44, 45, 1000])
def test_over_the_ceiling_the_best_by_score_are_kept(load, make_model, many, ceiling, facts):
    make_function, texts = many
    unlimited = load(make_function(1000), result_tokens=8)
    model = make_model(unlimited, **facts).double().eval()
    full = unlimited(*texts)
    expected = model(**full)
    batch = load(make_function(ceiling), result_tokens=8)(*texts)
    assert ("candidate_results" in batch) == (ceiling < 45)
    output = model(**batch)
    lowest = torch.finfo(torch.float64).min
    for row, count in enumerate((45, 3)):
        scores = expected.argument_logits[row, :count]
        best = set(scores.topk(min(ceiling, count)).indices.tolist())
        kept = output.argument_logits[row] > lowest
        assert set(kept.nonzero()[:, 0].tolist()) == best
        torch.testing.assert_close(output.argument_logits[row][kept], expected.argument_logits[row][kept])
    assert output.argument_logits.shape == expected.argument_logits.shape
    assert output.argument_index.equal(expected.argument_index)
    count = min(expected.result_ids.shape[1], output.result_ids.shape[1])
    assert output.result_ids[:, :count].equal(expected.result_ids[:, :count])
    tokens = batch["input_ids"].shape[1] + count
    torch.testing.assert_close(output.start_logits[:, :tokens], expected.start_logits[:, :tokens])


def test_losses_over_the_ceiling(load, make_model, many):
    """Nothing but the kept: with all 45 as without a ceiling, with fewer as by a mask, and labels may get lost."""
    make_function, texts = many
    unlimited = load(make_function(1000))
    model = make_model(unlimited).double().eval()
    full = unlimited(*texts)
    assert full["argument_labels"].sum(1).tolist() == [1, 1]
    scores = model(**full).argument_logits
    for ceiling in (3, 20, 44):
        batch = load(make_function(ceiling))(*texts)
        kept = torch.zeros_like(scores, dtype=torch.bool).scatter(1, scores.topk(ceiling).indices, True)
        masked = full | {
            "candidate_ids": full["candidate_ids"] * kept.unsqueeze(-1),
            "argument_labels": full["argument_labels"] * kept,
        }
        for name in ("loss", "end_loss", "argument_loss"):
            torch.testing.assert_close(model(**batch)[name], model(**masked)[name])
    model.train()
    for estimator in ("straight_through_gumbel", "reinforce", "marginal"):
        model.zero_grad()
        output = model(**batch, estimator=estimator)
        output.loss.backward()
        assert model.argument_scorer.score.weight.grad.abs().sum() > 0
        chosen = output.argument_logits[0, output.argument_index[::2]]  # the row of 45
        assert (chosen > torch.finfo(torch.float64).min).all()


def test_the_ceiling_is_told_once(load, many, caplog):
    make_function, texts = many
    processor = load(make_function(7))
    with caplog.at_level(logging.WARNING, "hf_calc.symbolic_function"):
        processor(*texts)
        processor("how many?", "1 2 3 4 5 6 7")
    (record,) = caplog.records
    assert "a text has 45 candidates for sum_of_two: of each text the 7 that the model scores best" in str(record.msg)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_answers_over_the_ceiling(load, make_model, many, batch_size):
    make_function, texts = many
    found = []
    for ceiling in (5, 1000):
        processor = load(make_function(ceiling))
        pipe = CalculatorQAPipeline(make_model(processor).double(), processor=processor, device="cpu")
        rows = [{"question": q, "context": c} for q, c in zip(*texts[:2], strict=True)]
        found.append(pipe(rows, batch_size=batch_size, top_k=3))
    for answers, expected in zip(*found, strict=True):
        for answer, other in zip(answers, expected, strict=True):
            assert answer == other | {"score": pytest.approx(other["score"])}
            assert len(answer["operands"]) == 2


def test_a_batch_over_the_ceiling_comes_from_another_process(load):
    """As from the workers of a DataLoader, for a function that can be imported."""
    function = SymbolicFunction(total, [find_quantities] * 3, "sums", unordered=True, optional=1, max_candidates=3)
    batch = load(function)("how many?", "3 14 15 92", "32")
    one, other = (
        results(batch["candidate_arguments"])
        for results in (batch["candidate_results"], pickle.loads(pickle.dumps(batch["candidate_results"])))
    )
    assert one["argument_labels"].sum() == 1
    assert all(one[name].equal(other[name]) for name in one)


def test_results_of_other_rows_are_refused(load, many):
    make_function, texts = many
    batch = load(make_function(3))(*texts)
    with pytest.raises(ValueError, match="arguments of 1 rows for results of 2: run one process a device"):
        batch["candidate_results"](batch["candidate_arguments"][:1])


def test_a_step_over_the_ceiling_moves_every_parameter(load, make_model, make_trainer, many, tmp_path):
    make_function, texts = many
    processor = load(make_function(20))
    model = make_model(processor)
    rows = list(zip(*texts, strict=True)) + [(*pair, "how") for pair in zip(*texts[:2], strict=True)]
    trainer = make_trainer(processor, model, tmp_path, rows)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    trainer.train()
    assert not [key for key, p in model.named_parameters() if torch.equal(before[key], p)]
    assert trainer.evaluate()["eval_loss"] > 0
