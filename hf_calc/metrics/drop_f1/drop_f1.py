"""DROP's exact match and F1 as an evaluate metric, and an exact match that also minds the minus sign.

The official rules take "-" for a separator of words, so to them "-59" and "59" are the same answer. That suits
passages ("a 59-yard field goal") and hides the one mistake that a subtraction invites: hence `signed_exact_match`.
"""

import re
import string

import datasets
import evaluate
import numpy as np
from scipy.optimize import linear_sum_assignment

_CITATION = """\
@inproceedings{dua-etal-2019-drop,
    title = {{DROP}: A Reading Comprehension Benchmark Requiring Discrete Reasoning Over Paragraphs},
    author = {Dua, Dheeru and Wang, Yizhong and Dasigi, Pradeep and Stanovsky, Gabriel and Singh, Sameer and
              Gardner, Matt},
    booktitle = {Proceedings of the 2019 Conference of the North American Chapter of the Association for
                 Computational Linguistics: Human Language Technologies, Volume 1 (Long and Short Papers)},
    pages = {2368--2378},
    year = {2019},
}
"""

_DESCRIPTION = """\
Exact match and F1 of the DROP benchmark (discrete reasoning over paragraphs), equal to its official evaluator.

Answers are compared after normalization: a span is split at spaces and hyphens; every token is lowercased, loses its
ASCII punctuation unless it reads as a number, is rewritten by `str(float(token))` if it reads as one now, and loses
the words a, an and the. Exact match asks for the same set and the same number of spans. F1 pairs the spans of both
sides one to one in the best way and averages, over the longer side, the F1 of the paired sets of tokens; where the
gold span has numbers, a pair counts only if it shares one. A question keeps its best score over all annotations.

The official rules do not see signs: "-59" is an exact match of "59". `signed_exact_match` is exact match with one more
demand: both answers still match when every sign is read as the word "minus". A sign is a "-" that begins a word (an
opening bracket may stand before it) and is directly followed by a number other than zero, with or without a currency
symbol: "-59", "(-1,200)" and "-$0.5" have one; "10-yard", "3-2", "3 - 2" and "-0" have none.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (`list` of `str`, `list[str]` or `None`):
        One answer per question: a string, or for an answer of several spans a list of strings. A missing prediction
        (`None` or an empty list) scores 0.
    references (`list` of `list` of `str` or `list[str]`):
        The annotations of each question, each written as a prediction is. Annotations that are empty or begin with a
        blank span are left out, as the official evaluator leaves them out; a question without any scores 0.

Returns:
    `dict` of `float`, averages over all questions between 0 and 100 (0 if there are no questions):

    - **exact_match**: the official exact match.
    - **f1**: the official F1, rounded to two decimals per annotation before it is averaged, as there.
    - **signed_exact_match**: exact match that also asks for the right sign; never above `exact_match`.

Raises:
    TypeError: If an answer is neither a string nor a list of strings, or the annotations of a question are no list.

Examples:

    >>> import evaluate
    >>> drop_f1 = evaluate.load("hf_calc/metrics/drop_f1")
    >>> drop_f1.compute(predictions=["59", "-59"], references=[["59", "fifty nine"], ["59"]])
    {'exact_match': 100.0, 'f1': 100.0, 'signed_exact_match': 50.0}
    >>> drop_f1.compute(predictions=[["Tony Romo", "Hill"]], references=[[["Shaun Hill", "Tony Romo"], "Romo"]])
    {'exact_match': 0.0, 'f1': 83.0, 'signed_exact_match': 0.0}
"""

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_SIGN = re.compile(r"(?<![^\s(])-(?=[$€£¥]?[\d.,]*[1-9])")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _normalize(span):
    """Normalizes a span by the official rules, in their order: `"The -1,200-yard run"` gives `"1200.0 yard run"`."""
    words = []
    for token in re.split("[ -]", span.lower()):
        if not _is_number(token):
            token = token.translate(_WITHOUT_PUNCTUATION)
        if _is_number(token):
            token = str(float(token))
        # split() and not strip(): a token may hold tabs and line breaks, of which the official split knows nothing.
        words += _ARTICLES.sub(" ", token).split()
    return " ".join(words)


def _token_f1(gold, predicted):
    """F1 of two sets of tokens; 0 if `gold` has numbers and `predicted` has none of them."""
    gold_numbers = {token for token in gold if _is_number(token)}
    if gold_numbers and not gold_numbers & predicted:
        return 0.0
    shared = len(gold & predicted)
    precision = shared / len(predicted) if predicted else 1.0
    recall = shared / len(gold) if gold else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _spans(answer):
    """An answer as a list of spans: a string is one span, a missing answer has none."""
    spans = [] if answer is None else [answer] if isinstance(answer, str) else answer
    if not isinstance(spans, (list, tuple)) or not all(isinstance(span, str) for span in spans):
        raise TypeError(f"Got the answer {answer!r}, needed a string or a list of strings: write numbers as text.")
    return list(spans)


def score_answer(prediction, gold):
    """Scores a prediction against one annotation as the official DROP evaluator does.

    Args:
        prediction (`str`, `list[str]` or `None`): The predicted answer; several spans as a list, `None` if missing.
        gold (`str` or `list[str]`): One annotation.

    Returns:
        `tuple[float, float]`: Exact match (0 or 1) and F1 (between 0 and 1, rounded to two decimals).

    Raises:
        TypeError: If an answer is neither a string nor a list or tuple of strings.

    Example:
        >>> score_answer("the 59 yards", ["59", "23 yards"])
        (0.0, 0.33)
    """
    predicted_spans = [_normalize(span) for span in _spans(prediction)]
    gold_spans = [_normalize(span) for span in _spans(gold)]
    if not predicted_spans or not gold_spans:
        return 0.0, 0.0
    exact_match = float(len(predicted_spans) == len(gold_spans) and set(predicted_spans) == set(gold_spans))
    scores = np.array([[_token_f1(set(g.split()), set(p.split())) for p in predicted_spans] for g in gold_spans])
    best = scores[linear_sum_assignment(scores, maximize=True)].sum() / max(scores.shape)
    return exact_match, float(round(best, 2))


def _score_signed(prediction, gold):
    """Scores two lists of spans: exact match, F1, and the exact match that minds signs too."""
    exact_match, f1 = score_answer(prediction, gold)
    signed = [[_SIGN.sub("minus ", span) for span in spans] for spans in (prediction, gold)]
    return exact_match, f1, min(exact_match, score_answer(*signed)[0])


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class DropF1(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("string")),
                    "references": datasets.List(datasets.List(datasets.Value("string"))),
                }
            ),
            reference_urls=["https://aclanthology.org/N19-1246", "https://allenai.org/data/drop"],
        )

    # evaluate has one format for all rows and looks at the first alone: in a later row it would turn a string into a
    # list of letters without a word. So every answer becomes a list of spans before it gets there.
    def add_batch(self, *, predictions=None, references=None):
        """Adds one prediction and the annotations of each question."""
        for annotations in references:
            if not isinstance(annotations, (list, tuple)):
                raise TypeError(f"Got the reference {annotations!r}, needed a list of annotations: wrap it in a list.")
        super().add_batch(
            predictions=[_spans(prediction) for prediction in predictions],
            references=[[_spans(annotation) for annotation in annotations] for annotations in references],
        )

    def add(self, *, prediction=None, reference=None, **kwargs):
        """Adds the prediction and the annotations of one question."""
        row = {"predictions": prediction, "references": reference, **kwargs}  # evaluate.combine passes these names
        self.add_batch(**{name: [value] for name, value in row.items()})

    def _compute(self, predictions, references):
        best = []
        for prediction, annotations in zip(predictions, references, strict=True):
            scores = [_score_signed(prediction, spans) for spans in annotations if spans and spans[0].strip()]
            best.append(np.max(scores, axis=0) if scores else np.zeros(3))  # the best of each score by itself
        exact_match, f1, signed_exact_match = (100 * np.mean(best, axis=0) if best else np.zeros(3)).tolist()
        return {"exact_match": exact_match, "f1": f1, "signed_exact_match": signed_exact_match}
