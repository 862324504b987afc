"""How often the calculator was given the right two numbers, as an evaluate metric."""

import datasets
import evaluate
import numpy as np

_CITATION = """\
@inproceedings{yoshikawa-etal-symbolic-layer,
    title = {End-to-End 学習可能な記号処理層の検討と数量推論への応用における課題の分析},
    author = {吉川, 将司 and Heinzerling, Benjamin and 乾, 健太郎},
    booktitle = {言語処理学会年次大会発表論文集},
}
"""

_DESCRIPTION = """\
Argument accuracy of a model that calls a calculator: the percentage of questions for which it chose both of the right
numbers, one point for both and none for one of them. The order of the two does not matter.

A number is meant as one mention in the text: a text may mention a value twice, and only one of the two be right. Where
the value is all that counts, give the values instead, and report that result beside the first.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (`list` of `list[int]` or of `list[str]`):
        The two chosen mentions of each question, as integers that identify a mention (its index, or where it starts),
        or as the values of the two, as strings. Strings are compared as they are: write a value the same way
        everywhere. A missing prediction (`None` or an empty list) is wrong.
    references (`list` of `list[int]` or of `list[str]`):
        The two right mentions of each question. A question with an empty list has no right pair and is not counted.

Returns:
    `dict`:

    - **argument_accuracy** (`float`): between 0 and 100, over the counted questions; 0.0 if none is counted.
    - **counted** (`int`): the number of counted questions. The accuracy means nothing where this is 0.

Raises:
    ValueError: If a row is not a list of two mentions or none.

Examples:

    >>> import evaluate
    >>> argument_accuracy = evaluate.load("hf_calc/metrics/argument_accuracy")
    >>> argument_accuracy.compute(predictions=[[0, 3], [1, 2], [4, 5]], references=[[3, 0], [1, 4], []])
    {'argument_accuracy': 50.0, 'counted': 2}
    >>> argument_accuracy.compute(predictions=[["72", "23"]], references=[["23", "72"]])
    {'argument_accuracy': 100.0, 'counted': 1}
"""


def _pair(mentions):
    """The two mentions as text, so that integers and values are compared alike; an empty list if there are none."""
    pair = np.asarray([] if mentions is None else mentions)
    if pair.shape not in ((0,), (2,)):
        raise ValueError(f"Got the pair {mentions!r}, needed a list of two mentions, or an empty list for no pair.")
    return [str(mention) for mention in pair.tolist()]


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class ArgumentAccuracy(evaluate.Metric):
    def _info(self):
        pairs = datasets.List(datasets.Value("string"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": pairs, "references": pairs}),
        )

    # evaluate would choose between integers and strings by the first row for all others, and that one may be empty.
    def add_batch(self, *, predictions=None, references=None):
        """Adds the chosen and the right pair of each question."""
        super().add_batch(predictions=[*map(_pair, predictions)], references=[*map(_pair, references)])

    def add(self, *, prediction=None, reference=None, **kwargs):
        """Adds the chosen and the right pair of one question."""
        row = {"predictions": prediction, "references": reference, **kwargs}  # evaluate.combine passes these names
        self.add_batch(**{name: [value] for name, value in row.items()})

    def _compute(self, predictions, references):
        counted = [(prediction, gold) for prediction, gold in zip(predictions, references, strict=True) if gold]
        correct = sum(sorted(prediction) == sorted(gold) for prediction, gold in counted)
        return {"argument_accuracy": 100 * correct / max(len(counted), 1), "counted": len(counted)}
