"""Rows of a dataset in, a padded batch out; tokenizing on the way costs less than storing every pair's result."""

from dataclasses import dataclass
from typing import Any


@dataclass
class CalculatorQADataCollator:
    """Makes batches for `BertForCalculatorQA` from rows with `question`, `passage` and, for training, `answer`.

    Args:
        processor: a `CalculatorQAProcessor`.
        comparisons: whether to add what a model with `search_comparisons` learns from.
    """

    processor: Any
    comparisons: bool = False

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Tensors of `CalculatorQAProcessor.__call__`; labels only if every row has an `answer`."""
        answers = [row["answer"] for row in rows] if all("answer" in row for row in rows) else None
        texts = [row["question"] for row in rows], [row["passage"] for row in rows]
        return dict(self.processor(*texts, answers, comparisons=self.comparisons))
