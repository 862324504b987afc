"""Mentions in tokenized texts: which tokens are a number, another argument of a function, or the answer.

Shapes: B rows, each the window of one question and passage that the model reads, T tokens, N mentions, S answer spans,
D candidates of K mentions, R results of a row.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import torch
from transformers import BatchEncoding

from .quantities import find_answers


class TokenMention(NamedTuple):
    """What a finder found in a row: its value, whose find it is, segment and characters, first and last token."""

    value: Any
    kind: int
    segment: int
    start: int
    end: int
    first_token: int
    last_token: int


class TokenizedRows(NamedTuple):
    """Tokenized rows: the encoding of all, and of each the example, question and passage, and its mentions.

    `mentions` may be arguments of the function, `numbers` may be answers; for arithmetic they are the same.
    """

    encoding: BatchEncoding
    examples: list[int]
    texts: list[tuple[str, str]]
    mentions: list[list[TokenMention]]
    numbers: list[list[TokenMention]]

    def answer_spans(self, answers: Sequence[Sequence[tuple[str, Decimal | None]]]) -> torch.Tensor:
        """(B, S, 2) first and last token wherever a row has its answer, (-1, -1) behind the last.

        A number is wherever its value stands, other text where it stands as whole words.

        Args:
            answers: of each row the spellings, each with its value if it is a number.
        """
        spans = []
        for row, spellings in enumerate(answers):
            found = set()
            for segment, text in enumerate(self.texts[row]):
                numbers = [m for m in self.numbers[row] if m.segment == segment]
                for start, end in find_answers(text, spellings, numbers):
                    found.add(token_span(self.encoding, row, segment, start, end))
            spans.append(sorted(found - {None}))
        most = max(1, *map(len, spans))
        return torch.tensor([found + [(-1, -1)] * (most - len(found)) for found in spans])

    def mention_tokens(self, width: int) -> dict[str, torch.Tensor]:
        """First and last token of the mentions, (B, width) each; 0 and -1 where there is none."""
        return {
            name: torch.tensor(
                [[getattr(m, token) for m in row] + [fill] * (width - len(row)) for row in self.mentions]
            )
            for name, token, fill in (("mention_positions", "first_token", 0), ("mention_ends", "last_token", -1))
        }


def find_mentions(
    encoding: BatchEncoding,
    examples: Sequence[int],
    texts: Sequence[tuple[str, str]],
    finders: Sequence[Callable[[str], Sequence]],
) -> list[list[TokenMention]]:
    """What the finders find in each row, by finder and then in reading order.

    Args:
        encoding: of the rows.
        examples: B places in `texts`.
        texts: of each example question and passage.
        finders: functions from a text to (value, start, end), the characters `text[start:end]`.

    Raises:
        ValueError: a find without characters.
    """
    found = [
        [
            (mention, kind, segment)
            for kind, find in enumerate(finders)
            for segment, text in enumerate(pair)
            for mention in find(text)
        ]
        for pair in texts
    ]
    mentions = []
    for row, example in enumerate(examples):
        mentions.append([])
        for (value, start, end), kind, segment in found[example]:
            if not 0 <= start < end:
                raise ValueError(f"a finder found {value!r} at characters {start} to {end}: needed text[start:end]")
            tokens = token_span(encoding, row, segment, start, end)
            if tokens is not None:
                mentions[-1].append(TokenMention(value, kind, segment, start, end, *tokens))
    return mentions


def argument_tokens(
    index: torch.Tensor, arguments: torch.Tensor, positions: torch.Tensor, ends: torch.Tensor, length: int
) -> torch.Tensor:
    """Which tokens belong to a mention that the chosen candidate takes.

    Args:
        index: (R * B,) the candidates, -1 for none.
        arguments: (B, D, K) their mentions, -1 for one left out.
        positions, ends: (B, N) first and last token of each mention.
        length: T.

    Returns:
        (R * B, T).
    """
    rows = torch.arange(len(index), device=index.device) % len(arguments)
    taken = arguments[rows, index.clamp(min=0)].masked_fill((index < 0).unsqueeze(-1), -1)  # (R * B, K)
    first, last = (token[rows].gather(1, taken.clamp(min=0)).unsqueeze(-1) for token in (positions, ends))
    token = torch.arange(length, device=index.device)
    return ((first <= token) & (token <= last) & (taken >= 0).unsqueeze(-1)).any(1)


def count_tokens(mask: torch.Tensor) -> torch.Tensor:
    """(B, T) positions over the tokens of a (B, T) mask; padding has that of the token before it."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def mask_mentions(
    inputs: dict[str, torch.Tensor], positions: torch.Tensor, ends: torch.Tensor
) -> dict[str, torch.Tensor]:
    """The inputs of an encoder that reads every mention as one token without a word, however long it is.

    Args:
        inputs: `inputs_embeds` (B, T, H) and `attention_mask` (B, T), beside others.
        positions, ends: (B, N) first and last token of each mention, -1 as the last where there is none.

    Returns:
        Likewise: at a mention's first token the embedding is 0, its others are no tokens, and `position_ids` count
        what is left.
    """
    mask = inputs["attention_mask"]
    token = torch.arange(mask.shape[1], device=mask.device)
    first, last = positions.unsqueeze(-1), ends.unsqueeze(-1)
    is_first = ((first == token) & (token <= last)).any(1)
    mask = mask * (~((first < token) & (token <= last)).any(1) | is_first)
    return inputs | {
        "inputs_embeds": inputs["inputs_embeds"].masked_fill(is_first.unsqueeze(-1), 0.0),
        "attention_mask": mask,
        "position_ids": count_tokens(mask),
    }


def token_span(encoding: BatchEncoding, row: int, segment: int, start: int, end: int) -> tuple[int, int] | None:
    """First and last token of characters start..end of a segment; None if the row's window cuts them off."""
    first, last = encoding.char_to_token(row, start, segment), encoding.char_to_token(row, end - 1, segment)
    return None if first is None or last is None else (first, last)
