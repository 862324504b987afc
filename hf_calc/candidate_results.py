"""The results of a `SymbolicFunction` as tensors, made by the processor or, over the ceiling, when the model asks."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import torch
from transformers import BatchEncoding, BertTokenizer
from transformers.utils import logging

from .mentions import token_span
from .quantities import Quantity, find_answers
from .symbolic_function import SymbolicFunction

logger = logging.get_logger(__name__)


def encode_results(tokenizer: BertTokenizer, results: Sequence[str]) -> BatchEncoding:
    """Tokenizes results without special tokens; a "[SEP]" or "[PAD]" that a function wrote is text like any other."""
    return tokenizer(list(results), add_special_tokens=False, split_special_tokens=True)


def is_result(text: str, start: int) -> bool:
    """Whether at a character a result stands and not how it came about: no `=`, `>` or `<` is before it in its part.

    >>> [is_result("95 = 72 + 23 , 49 = 72 - 23", start) for start in (0, 5, 15, 20)]
    [True, False, True, False]
    """
    part = text[text.rfind(" , ", 0, start) + 1 : start]
    return not any(sign in part for sign in (" = ", " > ", " < "))


class CandidateResults:
    """What a function says about tuples of arguments, for B rows; fewer rows by slicing, as of a tensor.

    Args:
        function: F.
        tokenizer: of the processor.
        find_numbers: the finder of numbers in results.
        values: of the mentions of each row.
        rooms: how many tokens a result of each row may have.
        answers: per row the spellings of its answer, each with its value if it is a number; None for no labels.
    """

    def __init__(
        self,
        function: SymbolicFunction,
        tokenizer: BertTokenizer,
        find_numbers: Callable[[str], list[Quantity]],
        values: Sequence[Sequence[Any]],
        rooms: Sequence[int],
        answers: Sequence[Sequence[tuple[str, Decimal | None]]] | None = None,
    ):
        self.function, self.tokenizer, self.find_numbers = function, tokenizer, find_numbers
        self.values, self.rooms, self.answers = values, rooms, answers

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> "CandidateResults":
        answers = None if self.answers is None else self.answers[rows]
        parts = (self.values[rows], self.rooms[rows], answers)
        return CandidateResults(self.function, self.tokenizer, self.find_numbers, *parts)

    def __call__(self, arguments: torch.Tensor) -> dict[str, torch.Tensor]:
        """Calls the function.

        Args:
            arguments: (B, D, K) indices into the mentions, -1 for one left out, a row of -1 for no candidate.

        Returns:
            candidate_ids (B, D, L), L of the longest result, and with answers candidate_answer_spans (B, D, S, 2) and
            argument_labels (B, D), as `CalculatorQAProcessor` has them.

        Raises:
            ValueError: arguments of other rows.
        """
        if len(arguments) != len(self):
            raise ValueError(
                f"got arguments of {len(arguments)} rows for results of {len(self)}: run one process a device, as "
                "`accelerate launch` does, and not DataParallel"
            )
        is_tuple = arguments[..., 0] >= 0  # (B, D)
        rows = is_tuple.nonzero()[:, 0].tolist()  # (P,)
        strings = self.function.results(
            self.function.given(self.values[row], chosen)
            for row, chosen in zip(rows, arguments[is_tuple].tolist(), strict=True)
        )
        place = {string: place for place, string in enumerate(dict.fromkeys(["", *strings]))}
        unique = list(place)
        encoding = encode_results(self.tokenizer, unique)
        ids = [[*tokens, self.tokenizer.sep_token_id] if tokens else [] for tokens in encoding["input_ids"]]
        places = []  # (P,) of results, the first, which is empty, where there is none
        for row, string in zip(rows, strings, strict=True):
            fits = len(ids[place[string]]) <= self.rooms[row]
            places.append(place[string] if fits else 0)
            if not fits:
                logger.warning_once(
                    f"A result of {self.function.name} does not fit behind its window and is no candidate: raise "
                    "result_tokens, or shorten the passage."
                )
        pad, width = self.tokenizer.pad_token_id, max([1, *(len(ids[chosen]) for chosen in places)])
        table = torch.tensor([(row + [pad] * (width - len(row)))[:width] for row in ids])
        results = {"candidate_ids": _select(table, places, is_tuple)}
        if self.answers is not None:
            # The answers in a result are looked for once a row.
            case = {case: index for index, case in enumerate(dict.fromkeys([(0, 0), *zip(rows, places, strict=True)]))}
            numbers = [self.find_numbers(string) for string in unique]
            found = [self._find_answers(self.answers[row], unique[k], numbers[k], encoding, k) for row, k in case]
            most = max(1, *map(len, found))
            spans = torch.tensor([[s[:2] for s in row] + [(-1, -1)] * (most - len(row)) for row in found])
            labels = torch.tensor([float(any(right for *_, right in row)) for row in found])
            cases = [case[key] for key in zip(rows, places, strict=True)]
            results["candidate_answer_spans"] = _select(spans, cases, is_tuple)
            results["argument_labels"] = _select(labels, cases, is_tuple)
        return results

    @staticmethod
    def _find_answers(answers, result: str, numbers, encoding: BatchEncoding, place: int) -> list[tuple]:
        """First and last token of every answer in a result, and whether it is what came out: see `is_result`."""
        spans = []
        for start, end in sorted(find_answers(result, answers, numbers)):
            tokens = token_span(encoding, place, 0, start, end)
            if tokens is not None:
                spans.append((*tokens, is_result(result, start)))
        return spans


def _select(table: torch.Tensor, places: list[int], is_tuple: torch.Tensor) -> torch.Tensor:
    """(U, ...) rows of a table to the P true places of a (B, D) mask, its first row elsewhere: (B, D, ...)."""
    index = torch.zeros(is_tuple.shape, dtype=torch.long)
    index[is_tuple.cpu()] = torch.tensor(places, dtype=torch.long)
    return table[index].to(is_tuple.device)
