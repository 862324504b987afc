"""How often a calculator was given the right numbers step by step, as an evaluate metric."""

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
Chain accuracy of a model that calls a calculator in several steps: the percentage of questions for which its steps are
a right chain from the first to the last, and for each step the percentage for which it is right up to there.

A chain is the list of steps that calculate, a step the two numbers that the calculator was given. Which of the two
comes first does not matter. A question may have several right chains, such as two independent steps in either order.
The paper has one step; for that, argument accuracy says the same.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (`list` of chains, each a `list` of steps):
        The steps of each question. A step is the values of its two numbers as strings, which are compared as they are:
        write a value the same way everywhere. A step without a calculation (`None` or an empty list) is left out, and
        a missing prediction (`None` or an empty list) is a chain without steps.
    references (`list` of `list` of chains):
        All right chains of each question. A question with an empty list has none and is not counted. One that has
        `[[]]` is right without a calculation.

Returns:
    `dict`:

    - **chain_accuracy** (`float`): between 0 and 100, over the counted questions; 0.0 if none is counted.
    - **step_1_accuracy**, **step_2_accuracy** and so on (`float`): the percentage of questions for which the first,
      the first two steps and so on begin a right chain, over those that have a right chain of so many steps.
    - **counted** (`int`): the number of counted questions. The accuracy means nothing where this is 0.

Raises:
    ValueError: If a step is not a list of two numbers or none.

Examples:

    >>> import evaluate
    >>> chain_accuracy = evaluate.load("hf_calc/metrics/chain_accuracy")
    >>> right = [[["816", "224"], ["592", "100"]], [["816", "100"], ["716", "224"]]]
    >>> predictions = [[["224", "816"], ["100", "592"]], [["816", "100"], [], ["816", "224"]]]
    >>> chain_accuracy.compute(predictions=predictions, references=[right, right])
    {'chain_accuracy': 50.0, 'step_1_accuracy': 100.0, 'step_2_accuracy': 50.0, 'counted': 2}
"""


def _chain(steps):
    """The steps that calculate, each as its two numbers in the order of their text."""
    chain = []
    for step in () if steps is None else steps:
        pair = np.asarray([] if step is None else step)
        if pair.shape not in ((0,), (2,)):
            raise ValueError(f"Got the step {step!r}, needed a list of two numbers, or an empty list without one.")
        if pair.size:
            chain.append(sorted(str(number) for number in pair.tolist()))
    return chain


def _percentage(right):
    return 100 * sum(right) / max(len(right), 1)


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class ChainAccuracy(evaluate.Metric):
    def _info(self):
        chain = datasets.List(datasets.List(datasets.Value("string")))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": chain, "references": datasets.List(chain)}),
        )

    def add_batch(self, *, predictions=None, references=None):
        """Adds the chosen chain and the right chains of each question."""
        right = [[_chain(chain) for chain in chains] for chains in references]
        super().add_batch(predictions=[*map(_chain, predictions)], references=right)

    def add(self, *, prediction=None, reference=None, **kwargs):
        """Adds the chosen chain and the right chains of one question."""
        row = {"predictions": prediction, "references": reference, **kwargs}  # evaluate.combine passes these names
        self.add_batch(**{name: [value] for name, value in row.items()})

    def _compute(self, predictions, references):
        counted = [(chosen, right) for chosen, right in zip(predictions, references, strict=True) if right]
        scores = {"chain_accuracy": _percentage([chosen in right for chosen, right in counted])}
        longest = max((len(chain) for _, right in counted for chain in right), default=0)
        for steps in range(1, longest + 1):
            begun = [
                any(chosen[:steps] == chain[:steps] for chain in chains)
                for chosen, right in counted
                if (chains := [chain for chain in right if len(chain) >= steps])
            ]
            scores[f"step_{steps}_accuracy"] = _percentage(begun)
        return scores | {"counted": len(counted)}
