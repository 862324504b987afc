"""best_spans against a naive search over all spans of all windows."""

import itertools
import math
import random

import pytest
import torch

from hf_calc.modeling_calculator_qa import CalculatorQAModelOutput
from hf_calc.span_decoding import best_spans

WIDTH = 25  # of a row


def random_outputs(examples):
    """Logits as the model gives them, for rows of the given examples with two results; lengths of every kind."""
    generator = random.Random(2)
    segments = []
    for _ in examples:
        question, passage, padding, result, second = (generator.randint(0, 4) for _ in range(5))
        row = [-1, *[0] * question, -1, *[1] * passage, *[-1] * (padding + 1), *[2] * result, -1, *[2] * second, -1]
        segments.append(row + [-1] * (WIDTH - len(row)))
    segments[-1] = [-1] * WIDTH  # a row without any text
    segments = torch.tensor(segments)
    start_logits, end_logits = (
        (3 * torch.randn(segments.shape)).masked_fill(segments < 0, torch.finfo(torch.float32).min) for _ in range(2)
    )
    return CalculatorQAModelOutput(
        start_logits=start_logits,
        end_logits=end_logits,
        segment_ids=segments,
        argument_index=torch.randint(-1, 50, (len(examples),)),
        position_ids=torch.stack([torch.randperm(100)[:WIDTH] for _ in examples]),
        example_ids=torch.tensor(examples),
    )


@pytest.mark.parametrize(("top_k", "longest"), [(1, 30), (3, 2), (100, 30), (500, 3)])
def test_best_spans_equal_a_naive_search(top_k, longest):
    examples = [0, 0, 1, 2, 2, 2, 3, 7, 8]  # numbered as they like, the windows of one side by side
    outputs = random_outputs(examples)
    best = best_spans(outputs, top_k, longest)
    top_k *= 3 if top_k > 1 else 1  # the windows of the third example
    assert best.window.shape == (len(set(examples)), min(top_k, WIDTH * WIDTH))
    for place, example in enumerate(sorted(set(examples))):
        rows = [row for row, other in enumerate(examples) if other == example]
        weights = {}
        for row in rows:
            segments = outputs.segment_ids[row].tolist()
            starts, ends = outputs.start_logits[row].double().exp(), outputs.end_logits[row].double().exp()
            for i, j in itertools.product(range(WIDTH), repeat=2):
                if i <= j < i + longest and min(segments[i : j + 1]) >= 0:
                    where = [outputs.position_ids[row, k].item() for k in (i, j)]
                    span = (rows.index(row), *where, outputs.argument_index[row].item())
                    weights[span] = (starts[i] * ends[j]).item()
        total = sum(
            (outputs.start_logits[row].double().exp().sum() * outputs.end_logits[row].double().exp().sum()).item()
            for row in rows
        )
        expected = sorted(weights, key=weights.get, reverse=True)[:top_k]
        log_p, *found = (field[place] for field in best)
        exact = [math.log(weights[span] / total) for span in expected]
        assert log_p.tolist() == pytest.approx(exact + [-math.inf] * (len(log_p) - len(exact)), abs=1e-4)
        assert list(zip(*(field.tolist() for field in found), strict=True))[: len(expected)] == expected
        assert log_p.exp().sum() <= 1 + 1e-5


def test_best_spans_without_a_calculator():
    outputs = random_outputs([0, 1, 2])
    outputs.argument_index = None
    assert best_spans(outputs).argument_index.tolist() == [[-1]] * 3
