"""Accuracy, macro F1 and binary F1 in one evaluate metric that needs no network, as evaluate's own ones do."""

import datasets
import evaluate
import numpy as np

_CITATION = """\
@article{opitz-burst-2019-macro,
    title = {Macro {F1} and Macro {F1}},
    author = {Opitz, Juri and Burst, Sebastian},
    journal = {arXiv preprint arXiv:1911.03347},
    year = {2019},
}
"""

_DESCRIPTION = """\
Accuracy and F1 of a classifier, equal to scikit-learn's.

The F1 of a class is 2 TP / (2 TP + FP + FN), 0 if the class is neither predicted nor right anywhere. Macro F1 is the
mean of the F1 of all classes that occur, as a prediction or as a reference; of the two definitions of macro F1 (Opitz
and Burst 2019) it is the mean of F1s. Binary F1 is the F1 of class 1 alone.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (`list` of `int`): The predicted class of each text, from 0.
    references (`list` of `int`): The right class of each text.

Returns:
    `dict` of `float` between 0 and 100 (0.0 if there are no texts):

    - **accuracy**: the percentage of texts whose class is right.
    - **macro_f1**: the mean of the F1 of all classes that occur.
    - **binary_f1**: the F1 of class 1, all other classes being negative.

Raises:
    ValueError: If a class is no whole number from 0: of logits, give the argmax.

Examples:

    >>> import evaluate
    >>> accuracy_f1 = evaluate.load("hf_relevance/metrics/accuracy_f1")
    >>> scores = accuracy_f1.compute(predictions=[1, 1, 1, 0], references=[1, 1, 0, 0])
    >>> {name: round(score, 2) for name, score in scores.items()}
    {'accuracy': 75.0, 'macro_f1': 73.33, 'binary_f1': 80.0}
"""


def _classes(values):
    """The same as a list of integers."""
    classes = np.asarray(values)
    if classes.size and (classes.ndim != 1 or classes.dtype.kind not in "iub" or classes.min() < 0):
        raise ValueError(f"Got the classes {values!r}, needed whole numbers from 0: of logits, give the argmax.")
    return classes.astype(int).tolist()


def _f1(is_predicted, is_right):
    return 2 * np.sum(is_predicted & is_right) / max(np.sum(is_predicted) + np.sum(is_right), 1)


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class AccuracyF1(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({name: datasets.Value("int64") for name in ("predictions", "references")}),
        )

    # evaluate would cut 0.9 to 0 and take a missing class for a class, without a word.
    def add_batch(self, *, predictions=None, references=None):
        """Adds the predicted and the right class of each text."""
        super().add_batch(predictions=_classes(predictions), references=_classes(references))

    def add(self, *, prediction=None, reference=None, **kwargs):
        """Adds the predicted and the right class of one text."""
        row = {"predictions": prediction, "references": reference, **kwargs}  # evaluate.combine passes these names
        self.add_batch(**{name: [value] for name, value in row.items()})

    def _compute(self, predictions, references):
        predicted, right = np.array(predictions, int), np.array(references, int)
        class_f1 = [_f1(predicted == k, right == k) for k in np.union1d(predicted, right)]
        texts = max(len(right), 1)
        return {
            "accuracy": float(100 * np.sum(predicted == right) / texts),
            "macro_f1": float(100 * np.sum(class_f1) / max(len(class_f1), 1)),
            "binary_f1": float(100 * _f1(predicted == 1, right == 1)),
        }
