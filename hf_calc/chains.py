"""Chains of calculations: what a step may choose after the steps before it, and which choices lead to the answer.

The paper names it as future work to apply the layer several times. The result of one step is a quantity of the next,
so the candidates of a step exist only once the step before has chosen: they are made here, on the device and for all
rows at once, in the exact integers of `Numbers`. A step may also do nothing.

A row's known numbers stand in this order: nothing, which is [CLS] and no number; the R results of every step so far;
the numbers of the text. Their padding is at the end, so a candidate has the same index in every batch.

Shapes: B rows, M known numbers, D candidates, R results of a pair, L tokens of them, A spellings of an answer.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from .calculator import DECIMALS, INTEGER_DIGITS, TOKENS, Calculator, Numbers, pair_arguments

NOTHING = 0  # the candidate that calculates nothing, and the known number that is none
STEP_MARK = " ; "  # between the results of two steps in a text; one token, as the [SEP] that the model reads there


class StepCandidates(NamedTuple):
    """What one step may choose from.

    Args:
        arguments: (D, 2) the two known numbers of each candidate, see `step_arguments`.
        tokens: (B, D, L) its results as indices into `TOKENS`: a lone [SEP] for the candidate that does nothing,
            padding alone where there is no candidate.
        values: (B, D, R, 3) the numbers of its results in writing order, the result itself first.
        spans: (B, D, R, 3, 2) first and last token of each of these numbers; -1 where there is none.
    """

    arguments: torch.Tensor
    tokens: torch.Tensor
    values: Numbers
    spans: torch.Tensor


class StepResults(NamedTuple):
    """The numbers that one step's choice has written: the fields `values` and `spans` of `StepCandidates`, less D."""

    values: Numbers
    spans: torch.Tensor


def step_arguments(num_known: int) -> torch.Tensor:
    """Nothing, then all unordered pairs of M known numbers but the first, the pairs of fewer numbers first: (D, 2).

    >>> step_arguments(4).tolist()
    [[0, 0], [1, 2], [1, 3], [2, 3]]
    """
    return F.pad(pair_arguments(num_known - 1) + 1, (0, 0, 1, 0), value=NOTHING)


def step_candidates(calculator: Calculator, known: Numbers, room: torch.Tensor) -> StepCandidates:
    """All candidates of a step.

    Args:
        known: fields (B, M), the first of them no number.
        room: (B,) how many tokens a result may have.
    """
    arguments = step_arguments(known.mantissa.shape[1]).to(room.device)
    a, b, is_pair = _operands(known, arguments)
    results = calculator.encode(a, b)
    tokens, mantissa, decimals, spans = (
        field.view(*is_pair.shape, *field.shape[1:]) for field in (results.tokens, *results.values, results.spans)
    )
    is_pair = is_pair & ((tokens > 0).sum(-1) <= room.unsqueeze(1))
    tokens = F.pad(tokens, (0, max(0, 1 - tokens.shape[-1]))).masked_fill(~is_pair.unsqueeze(-1), 0)
    tokens[:, NOTHING, 0] = TOKENS.index("[SEP]")
    spans = spans.masked_fill(~is_pair[..., None, None, None], -1)
    values = Numbers(mantissa, decimals.masked_fill(spans[..., 0] < 0, -1))
    return StepCandidates(arguments, tokens, values, spans)


def chosen_results(candidates: StepCandidates, index: torch.Tensor) -> StepResults:
    """The numbers of the (B,) chosen candidates."""
    chosen = torch.arange(len(index), device=index.device), index
    return StepResults(candidates.values.select(chosen), candidates.spans[chosen])


def answer_places(results: StepResults, answers: Numbers) -> torch.Tensor:
    """(B, 3 R, 2) first and last token of every number of the results that is the answer, else -1."""
    return results.spans.masked_fill(~is_answer(results.values, answers).unsqueeze(-1), -1).flatten(1, 2)


def is_answer(numbers: Numbers, answers: Numbers) -> torch.Tensor:
    """Which of (B, ...) numbers equal one of the row's (B, A) spellings of the answer; what is no number does not."""
    rows, spellings = answers.mantissa.shape
    shape = (rows, *[1] * (numbers.mantissa.dim() - 1), spellings)
    same = [n.unsqueeze(-1) == wanted.view(shape) for n, wanted in zip(numbers, answers, strict=True)]
    return (same[0] & same[1]).any(-1) & (numbers.decimals >= 0)


def step_labels(
    calculator: Calculator, known: Numbers, num_results: int, candidates: StepCandidates, answers: Numbers, left: int
) -> torch.Tensor:
    """Which candidates of a step are right as far as a search can tell, like the labels of one step in the paper.

    Right are the pairs that a shortest chain to the answer may begin with: those whose results contain it, or if there
    are none, those from which one more step reaches it, and so on, as many as are left. Each further step of a chain
    takes a result of the step before it. Doing nothing is right once a result has the answer.

    Not all of them are right in truth: with few digits, some chains meet the answer by chance. And an answer that
    stands in the text says nothing of what to calculate (the larger of two amounts may be the one that stayed as it
    was, and of any number, x - y + y is a chain to x): such a row has no labels until a result has the answer too.

    The search takes (2 R M) ** (left - 1) times the time and memory of one step.

    Args:
        known: fields (B, M); behind the first, `num_results` results of the steps so far and then the text's numbers.
        answers: fields (B, A).
        left: how many steps there are, this one included.

    Returns:
        (B, D) 0 or 1.
    """
    is_known = is_answer(known, answers)
    is_done, in_text = is_known[:, : 1 + num_results].any(-1), is_known[:, 1 + num_results :].any(-1)
    steps = _steps_to_answer(calculator, known, candidates.arguments, answers, left)
    steps = steps.masked_fill(candidates.tokens[..., 0] == 0, left + 1)
    shortest = steps.amin(-1, keepdim=True)
    labels = (steps == shortest) & (shortest <= left) & ~(is_done | in_text).unsqueeze(-1)
    labels[:, NOTHING] = is_done
    return labels.float()


def describe_steps(calculator: Calculator, mentions: Sequence[dict], indices: Sequence[int]) -> list[dict]:
    """A row's chosen steps in words.

    Args:
        mentions: the numbers of its text, each with its `value` as a text or decimal.
        indices: the candidate chosen by each step.

    Returns:
        For each step its `operands`, mentions or, in the same form, results of earlier steps, whose place is that in
        the results of all steps joined by `STEP_MARK`; and `calculator`, its own results. Both empty where it did
        nothing.
    """
    steps, results, place = [], [], 0
    for index in indices:
        known = [None, *results, *mentions]
        operands = [known[k] for k in step_arguments(len(known))[index].tolist()] if index != NOTHING else []
        texts = (
            calculator.results(*(o["value"] for o in operands)) if operands else [None] * len(calculator.expressions)
        )
        for text in texts:
            value = None if text is None else text.split(" = ")[0]
            results.append(
                value and {"value": value, "segment": "calculator", "start": place, "end": place + len(value)}
            )
            place += len(text) + len(STEP_MARK) if text else 0  # a comma between two results takes as much
        steps.append({"operands": operands, "calculator": " , ".join(filter(None, texts))})
    return steps


def _operands(known: Numbers, arguments: torch.Tensor) -> tuple[Numbers, Numbers, torch.Tensor]:
    """Both numbers of (D, 2) pairs as fields (B * D,), and where the calculator takes both (B, D); else they are 0."""
    limit = 10 ** (INTEGER_DIGITS + known.decimals.clamp(0, DECIMALS))
    is_operand = (known.decimals >= 0) & (known.decimals <= DECIMALS) & (known.mantissa.abs() < limit)
    is_pair = is_operand[:, arguments].all(-1)
    a, b = (Numbers(*((field[:, side] * is_pair).flatten() for field in known)) for side in arguments.T)
    return a, b, is_pair


def _steps_to_answer(
    calculator: Calculator, known: Numbers, arguments: torch.Tensor, answers: Numbers, left: int
) -> torch.Tensor:
    """(B, D) the fewest steps to the answer that begin with each of the (D, 2) pairs, left + 1 where it takes more."""
    a, b, is_pair = _operands(known, arguments)
    values, valid = calculator.evaluate(a, b)
    results = values.select((..., 0))  # (B * D, R)
    results = Numbers(results.mantissa, results.decimals.masked_fill(~(valid & is_pair.view(-1, 1)), -1))
    answers = Numbers(*(field.repeat_interleave(is_pair.shape[1], 0) for field in answers))
    steps = torch.where(is_answer(results, answers).any(-1), 1, left + 1)
    if left > 1:
        # Each pair makes a row of its own, and each next step takes one of its results with any number before it.
        num_known, num_results = known.mantissa.shape[1], valid.shape[1]
        further = (field.repeat_interleave(is_pair.shape[1], 0) for field in known)
        further = Numbers(*(torch.cat(fields, 1) for fields in zip(further, results, strict=True)))
        result, other = torch.tril_indices(num_results, num_known + num_results, num_known - 1, device=valid.device)
        pairs = torch.stack([other, result + num_known], -1)
        steps = torch.minimum(steps, 1 + _steps_to_answer(calculator, further, pairs, answers, left - 1).amin(-1))
    return steps.view(is_pair.shape)
