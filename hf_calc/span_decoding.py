"""From start and end logits to the best answer spans of each example, as tensors on any device, and to their texts."""

from decimal import Decimal
from typing import Any, NamedTuple

import torch

from .calculator import format_number, pair_arguments
from .candidate_results import encode_results
from .chains import STEP_MARK, describe_steps
from .mentions import TokenizedRows
from .symbolic_function import SymbolicFunction

SEGMENTS = ("question", "passage", "calculator")


class SpanPredictions(NamedTuple):
    """K answers of E examples, all fields (E, K), the best first.

    Args:
        log_probability: log p(start) + log p(end); -inf where an example has fewer than K spans.
        window: which of the example's windows the span lies in, from 0.
        start, end: first and last token of the span in `[CLS] Q [SEP] P [SEP] F(s) [SEP]`, without padding.
        argument_index: the pair of numbers that the calculator was given in this window, -1 for none; of several
            steps (E, K, num_steps), as in `CalculatorQAModelOutput`.
    """

    log_probability: torch.Tensor
    window: torch.Tensor
    start: torch.Tensor
    end: torch.Tensor
    argument_index: torch.Tensor


def first_rows(num_windows: torch.Tensor) -> torch.Tensor:
    """(E,) the first row of each of E examples, whose windows lie side by side."""
    return num_windows.cumsum(0) - num_windows


def best_spans(outputs, top_k: int = 1, max_answer_tokens: int = 30) -> SpanPredictions:
    """The spans with the highest p(start) p(end) that stay inside one text, or one step's result.

    An example's windows compete by their logits, with one normalizer over all of them.

    Args:
        outputs: a `CalculatorQAModelOutput` of whole examples, the rows of each side by side.
        top_k: how many answers an example are wanted. K is this times the most windows of an example: windows
            overlap, and a place may come once a window. Of a single one it is 1.
        max_answer_tokens: the longest answer.
    """
    segments, width = outputs.segment_ids, outputs.segment_ids.shape[1]
    text = (segments < 0).cumsum(-1)  # special tokens stand between all texts, also between the results of two steps
    allowed = (text.unsqueeze(2) == text.unsqueeze(1)) & (segments >= 0).unsqueeze(2)
    allowed = allowed.triu().tril(max_answer_tokens - 1)  # (B, T, T)
    logits = outputs.start_logits.unsqueeze(2) + outputs.end_logits.unsqueeze(1)
    logits = logits.masked_fill(~allowed, -torch.inf).flatten(1)
    normalizer = outputs.start_logits.logsumexp(-1) + outputs.end_logits.logsumexp(-1)  # (B,)

    # From rows to examples: (B, K) -> (E, W, K), with W the most windows of an example.
    rows = torch.arange(len(segments), device=segments.device)
    _, num_windows = torch.unique_consecutive(outputs.example_ids, return_counts=True)
    window = torch.arange(int(num_windows.max()), device=segments.device)
    top_k *= len(window) if top_k > 1 else 1
    logits, flat = logits.topk(min(top_k, logits.shape[1]))  # (B, K)
    row = (first_rows(num_windows).unsqueeze(1) + window).clamp(max=len(rows) - 1)  # (E, W)
    exists = window < num_windows.unsqueeze(1)
    # The clamp is for an example without any text, whose logits are all masked.
    log_z = normalizer[row].masked_fill(~exists, -torch.inf).logsumexp(-1, keepdim=True)
    log_z = log_z.clamp(min=torch.finfo(log_z.dtype).min)
    logits = logits[row].masked_fill(~exists.unsqueeze(-1), -torch.inf)
    best, choice = logits.flatten(1).topk(flat.shape[1])  # (E, K)
    row, flat = row.gather(1, choice // flat.shape[1]), flat[row].flatten(1).gather(1, choice)
    return SpanPredictions(
        best - log_z,
        choice // logits.shape[2],
        outputs.position_ids[row, flat // width],
        outputs.position_ids[row, flat % width],
        torch.full_like(row, -1) if outputs.argument_index is None else outputs.argument_index[row],
    )


def read_span(processor, rows: TokenizedRows, row: int, start: int, end: int, argument_index: int | list[int]) -> dict:
    """One answer from its tokens; the result's characters come from tokenizing the calculator's string.

    Args:
        processor: the `CalculatorQAProcessor` that made the rows.
        rows, row: the texts, and which of them.
        start, end, argument_index: as in `SpanPredictions`.

    Returns:
        See `CalculatorQAProcessor.post_process_question_answering`, without the score.
    """
    found = rows.mentions[row]
    mentions = [
        {"value": _write(m.value), "segment": SEGMENTS[m.segment], "start": m.start, "end": m.end} for m in found
    ]
    calculate, steps = processor.calculator, {}
    if processor.num_steps > 1:
        steps = {"steps": describe_steps(calculate, mentions, argument_index)}
        operands = steps["steps"][0]["operands"]
        calculator = STEP_MARK.join(step["calculator"] for step in steps["steps"] if step["calculator"])
    elif argument_index < 0:
        operands, calculator = [], ""
    else:
        is_function = isinstance(calculate, SymbolicFunction)
        tuples = calculate.argument_tuples(found) if is_function else pair_arguments(len(found))
        chosen = tuples[argument_index].tolist()
        operands = SymbolicFunction.given(mentions, chosen)
        calculator = calculate(*SymbolicFunction.given([m.value for m in found], chosen))
    length = sum(rows.encoding["attention_mask"][row])
    if start < length:
        segment, encoding = rows.encoding["token_type_ids"][row][start], rows.encoding[row]
    else:
        segment, start, end = 2, start - length, end - length
        encoding = encode_results(processor.tokenizer, [calculator])[0]
    text = (*rows.texts[row], calculator)[segment]
    first, last = encoding.offsets[start][0], encoding.offsets[end][1]
    return {
        "answer": text[first:last],
        "segment": SEGMENTS[segment],
        "start": first,
        "end": last,
        "operands": operands,
        **steps,
        "calculator": calculator,
    }


def _write(value: Any) -> str:
    return format_number(value) if isinstance(value, Decimal) else str(value)
