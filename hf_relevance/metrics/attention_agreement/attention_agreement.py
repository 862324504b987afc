"""How far attention agrees with another measure of what each token is worth, as an evaluate metric.

A correlation says little by itself: two nearly uniform distributions correlate as well as two peaked ones. So the
entropy of both sides stands beside it, and so does the number of texts for which there is no correlation.
"""

import datasets
import evaluate
import numpy as np
from scipy import stats

_CITATION = """\
@inproceedings{jain-wallace-2019-attention,
    title = {Attention is not Explanation},
    author = {Jain, Sarthak and Wallace, Byron C.},
    booktitle = {Proceedings of the 2019 Conference of the North American Chapter of the Association for
                 Computational Linguistics: Human Language Technologies, Volume 1 (Long and Short Papers)},
    pages = {3543--3556},
    year = {2019},
}
"""

_DESCRIPTION = """\
Rank correlation of attention weights with the magnitudes of another measure of importance (gradients, leave-one-out),
text by text, after Jain and Wallace (2019): Kendall's tau-b and Spearman's rho, both with ties.

Texts under 3 tokens are left out and counted. A text of which one side is constant has no correlation and is counted
too. The entropy of a side is that of its weights, scaled to sum to 1, over the logarithm of their number: 1 is
uniform, 0 is one token alone. Read it beside the correlation: near 1 there are hardly any differences to agree on.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (`list` of `list[float]`):
        The attention weights of each text, at least 0, one a token, without padding.
    references (`list` of `list[float]`):
        The importance of the same tokens; of signed numbers the magnitude counts.

Returns:
    `dict`, a number being 0.0 if it has no text to be the mean of:

    - **kendall_tau**, **spearman_rho** (`float`): means over the counted texts, -1 to 1.
    - **kendall_tau_std**, **spearman_rho_std** (`float`): standard deviations over them (of the population).
    - **kendall_tau_significant**, **spearman_rho_significant** (`float`): the share of them with p <= 0.05, 0 to 1. Of
      rho p is an approximation, too small in texts under some 10 tokens: rely on that of tau there.
    - **kendall_tau_histogram** (`list` of 40 `int`): counted texts in equal bins of tau from -1 to 1.
    - **attention_entropy**, **importance_entropy** (`float`): means of the normalized entropies, 0 to 1, over the
      texts of 3 tokens or more, constant ones among them; a text whose weights are all 0 has no entropy.
    - **counted** (`int`): texts with a correlation.
    - **too_short** (`int`): texts under 3 tokens.
    - **constant** (`int`): longer texts of which one side is constant.

Raises:
    ValueError: If a text has not as many weights on both sides, one that is not finite, or negative attention.

Examples:

    >>> import evaluate
    >>> attention_agreement = evaluate.load("hf_relevance/metrics/attention_agreement")
    >>> results = attention_agreement.compute(
    ...     predictions=[[0.1, 0.2, 0.3, 0.4], [0.5, 0.3, 0.2], [1.0]],
    ...     references=[[0.0, -0.2, 0.1, 3.0], [1, 1, 1], [2]],
    ... )
    >>> {name: round(results[name], 2) for name in ("kendall_tau", "kendall_tau_std", "kendall_tau_significant")}
    {'kendall_tau': 0.67, 'kendall_tau_std': 0.0, 'kendall_tau_significant': 0.0}
    >>> results["counted"], results["too_short"], results["constant"]
    (1, 1, 1)
"""

_MINIMUM_LENGTH = 3


def _entropy(weights):
    """Of weights of at least 0, H(p) / log n with p the n weights over their sum; NaN if that is 0."""
    total = weights.sum()
    return stats.entropy(weights) / np.log(len(weights)) if total > 0 else np.nan


def text_agreement(attention, importance):
    """Agreement of attention and importance in one text.

    Args:
        attention (`list[float]`): The attention weights of n tokens.
        importance (`list[float]`): Their importance, of which the magnitude counts.

    Returns:
        `tuple` of `float`: Kendall's tau-b and its p, Spearman's rho and its p, and the normalized entropies of
        attention and importance. What is not defined is NaN: everything of a text under 3 tokens, correlations where
        one side is constant, the entropy of weights that are all 0.

    Example:
        >>> tau, _, rho, _, *_ = text_agreement([0.1, 0.2, 0.3, 0.4], [0.0, -0.2, 0.1, 3.0])
        >>> round(tau, 3), round(rho, 3)
        (0.667, 0.8)
    """
    attention, importance = np.asarray(attention), np.abs(importance)
    if len(attention) < _MINIMUM_LENGTH:
        return (np.nan,) * 6
    correlations = (np.nan,) * 4
    if np.ptp(attention) > 0 and np.ptp(importance) > 0:
        correlations = (*stats.kendalltau(attention, importance), *stats.spearmanr(attention, importance))
    return tuple(float(value) for value in (*correlations, _entropy(attention), _entropy(importance)))


def _weights(rows, name):
    """The weights of each text as a list of floats."""
    rows = [np.asarray(row, dtype=float) for row in rows]
    for index, row in enumerate(rows):
        if row.ndim != 1 or not np.isfinite(row).all():
            raise ValueError(f"Got the {name} {row.tolist()} of text {index}, needed a list of finite numbers.")
    return [row.tolist() for row in rows]


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class AttentionAgreement(evaluate.Metric):
    def _info(self):
        weights = datasets.List(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": weights, "references": weights}),
            reference_urls=["https://aclanthology.org/N19-1357"],
        )

    # A mistake is told with the number of its text, which nobody could find among the collected ones.
    def add_batch(self, *, predictions=None, references=None):
        """Adds attention and importance of each text."""
        attentions, importances = _weights(predictions, "attention"), _weights(references, "importance")
        for index, (attention, importance) in enumerate(zip(attentions, importances, strict=False)):
            if len(attention) != len(importance):
                raise ValueError(
                    f"Text {index} has {len(attention)} attention weights and {len(importance)} of importance, needed "
                    "one of each a token: leave padding out of both."
                )
            if min(attention, default=0) < 0:
                raise ValueError(f"Got the attention weight {min(attention)} in text {index}, needed at least 0.")
        super().add_batch(predictions=attentions, references=importances)

    def add(self, *, prediction=None, reference=None, **kwargs):
        """Adds attention and importance of one text."""
        row = {"predictions": prediction, "references": reference, **kwargs}  # evaluate.combine passes these names
        self.add_batch(**{name: [value] for name, value in row.items()})

    def _compute(self, predictions, references):
        texts = [pair for pair in zip(predictions, references, strict=True) if len(pair[0]) >= _MINIMUM_LENGTH]
        values = np.array([text_agreement(*pair) for pair in texts]).reshape(-1, 6)
        counted = values[~np.isnan(values[:, 0])]

        def mean(numbers):
            return float(numbers.mean()) if numbers.size else 0.0

        results = {}
        for name, column in (("kendall_tau", 0), ("spearman_rho", 2)):
            results[name] = mean(counted[:, column])
            results[f"{name}_std"] = mean((counted[:, column] - results[name]) ** 2) ** 0.5
            results[f"{name}_significant"] = mean(counted[:, column + 1] <= 0.05)
        for name, column in (("attention_entropy", 4), ("importance_entropy", 5)):
            results[name] = mean(values[~np.isnan(values[:, column]), column])
        return results | {
            "kendall_tau_histogram": np.histogram(counted[:, 0], 40, (-1, 1))[0].tolist(),
            "counted": len(counted),
            "too_short": len(predictions) - len(texts),
            "constant": len(texts) - len(counted),
        }
