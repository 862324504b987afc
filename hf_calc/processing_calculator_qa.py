"""CalculatorQAProcessor: question and passage in, tensors of `BertForCalculatorQA` out, and answers back from them.

What is unusual: numbers are split into digits (`123` is read as `1 ##2 ##3`, by dropping the pieces of several digits
from the WordPiece vocabulary while every other id stays), every pair of numbers comes with the calculator's result as
tokens, and the places that equal the answer are looked up by exact value in all of them, for a whole batch at once.

Shapes as in `modeling_calculator_qa`: B rows, T tokens, N numbers, D pairs, L tokens of a result, S answer spans.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import torch
from transformers import BatchEncoding, BertTokenizer, ProcessorMixin
from transformers.tokenization_utils_base import LARGE_INTEGER
from transformers.utils import logging

from .calculator import OPERATIONS, TOKENS, Calculator, Numbers, pack_left, pair_arguments
from .candidate_results import CandidateResults
from .chains import is_answer
from .comparison_search import comparison_inputs
from .digits import split_digits
from .mentions import TokenizedRows, find_mentions
from .quantities import find_quantities, number_value
from .span_decoding import SpanPredictions, best_spans, read_span
from .symbolic_function import SymbolicFunction, resolve

logger = logging.get_logger(__name__)


class CalculatorQAProcessor(ProcessorMixin):
    """Prepares texts for `BertForCalculatorQA` and reads its outputs.

    Args:
        tokenizer: of the BERT checkpoint. Its `model_max_length` is the most that the model reads, the calculator's
            result included; 512 if it has none. The results of several steps, which the model makes, may go on to its
            max_position_embeddings.
        operations: of the `Calculator`, where the function is its arithmetic.
        number_words: whether number words are numbers too, see `find_quantities`.
        stride: tokens by which the windows of a long passage overlap.
        result_tokens: room kept in a full window for the calculator's result, by default 32 for each number that it
            computes, enough for 7 digits, and 64 for other functions; for each of several steps as much. A pair whose
            result does not fit behind its window is no candidate, and with a single step the log says so.
        num_steps: how often the model may calculate, see `CalculatorQAConfig`. With several steps it makes the
            candidates itself, from the numbers' values.
        function: what is computed: "arithmetic", another shipped function by name (`comparison`,
            `changed_comparison`, `date_difference`, `total`), or a `SymbolicFunction`, which is saved by its name
            alone and has to be given again on loading.
        digit_tokens: whether every digit of a number is a token. False leaves numbers, also those of results, to the
            tokenizer's own pieces, to measure what the digits are worth; for a single step.

    Raises:
        TypeError: no BERT tokenizer, or a function that is neither a name nor a `SymbolicFunction`.
        ValueError: unknown operations or functions, operations, or several steps, of another function than arithmetic,
            no steps, several without digit_tokens, a vocabulary without the tokens that results need or, for
            digit_tokens=False, without any piece of several digits, or no room left for text.
    """

    def __init__(
        self,
        tokenizer: BertTokenizer,
        operations: Sequence[str] = ("+", "-"),
        number_words: bool = False,
        stride: int = 64,
        result_tokens: int | None = None,
        num_steps: int = 1,
        function: SymbolicFunction | str = "arithmetic",
        digit_tokens: bool = True,
        **kwargs,
    ):
        split = split_digits(tokenizer)
        if not digit_tokens and split is tokenizer:
            raise ValueError(
                "digit_tokens=False needs pieces of several digits, which the tokenizer's vocabulary lacks, like that "
                "of any processor saved with digit_tokens: load the tokenizer of the original checkpoint"
            )
        tokenizer = split if digit_tokens else tokenizer
        tokenizer.padding_side = "right"  # as the model and `decode_spans` count tokens
        tokenizer.init_kwargs.pop("function", None)  # it is handed what the processor is, and saves it
        if tokenizer.model_max_length > LARGE_INTEGER:  # the checkpoint does not say
            tokenizer.model_max_length = 512
        super().__init__(tokenizer, **kwargs)
        calculator = Calculator(operations)
        self.calculator = calculator if function == "arithmetic" else resolve(function)
        self.digit_tokens = digit_tokens
        self.function = function if isinstance(function, str) else function.name
        if self.function != "arithmetic" and tuple(operations) != ("+", "-"):
            raise ValueError(f"operations are those of the function arithmetic, got {operations} for {self.function}")
        self.operations = list(operations)
        self.number_words = number_words
        self._find_numbers = partial(find_quantities, number_words=number_words)
        if not digit_tokens and function == "arithmetic":  # `Calculator.encode` writes digits
            self.calculator = SymbolicFunction(calculator, [find_quantities] * 2, name=function, unordered=True)
        self.stride = stride
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {num_steps}")
        if num_steps > 1 and (self.function != "arithmetic" or not digit_tokens):
            raise ValueError(
                f"num_steps={num_steps} needs the function arithmetic and digit_tokens, got {self.function} and "
                f"digit_tokens={digit_tokens}"
            )
        self.num_steps = num_steps
        self.result_tokens = result_tokens  # which is saved; by default that of what it is loaded with
        if result_tokens is None:
            result_tokens = 32 * len(calculator.expressions) if function == "arithmetic" else 64
        ids = dict(zip(TOKENS, tokenizer.convert_tokens_to_ids(list(TOKENS)), strict=True))
        unused = {*OPERATIONS}.difference(operations, "-")  # negative numbers have the sign, too
        missing = [token for token in ids if ids[token] == tokenizer.unk_token_id and token not in unused]
        if missing and isinstance(self.calculator, Calculator):
            raise ValueError(
                f"the tokenizer's vocabulary lacks {' '.join(missing)}, which the calculator's results take: "
                "start from another BERT checkpoint, or leave out operations that it cannot write"
            )
        self._result_ids = torch.tensor([*ids.values()])
        # A window is [CLS] Q [SEP] P [SEP]; each holds enough of the passage to get ahead by at least its overlap.
        self._window_tokens = tokenizer.model_max_length - num_steps * result_tokens
        self._question_tokens = self._window_tokens - 3 - max(1, 2 * stride)
        if stride < 0 or result_tokens < 0 or self._question_tokens < 1:
            raise ValueError(
                f"stride {stride} and result_tokens {result_tokens} leave no room for a question: they take "
                f"2 * stride + {num_steps} * result_tokens + 3 of {tokenizer.model_max_length} tokens; neither may be "
                "negative"
            )

    @property
    def num_arguments(self) -> int:
        """K, how many mentions the function takes."""
        return self.calculator.num_arguments if isinstance(self.calculator, SymbolicFunction) else 2

    @property
    def calculation(self) -> dict:
        """What the model must know: `CalculatorQAConfig(..., **processor.calculation)`."""
        facts = {"num_arguments": self.num_arguments, "num_steps": self.num_steps}
        facts["calculator_token_ids"] = self._result_ids.tolist()
        return facts | ({"operations": self.operations} if self.num_steps > 1 else {})

    def __call__(
        self,
        question: str | Sequence[str],
        passage: str | Sequence[str],
        answers: str | Sequence[str | Sequence[str]] | None = None,
        comparisons: bool = False,
    ) -> BatchEncoding:
        """Turns texts into tensors, one row an example, or several overlapping windows for a long passage.

        Args:
            question, passage: one text each, or lists of equal length.
            answers: per example the answer, or several spellings of it; adds the labels. A number is found by its
                value, other text as whole words in either case.
            comparisons: whether to add with the labels what `ComparisonSearch` takes beside the numbers' vectors, for
                a model with `config.search_comparisons`; for the functions arithmetic and changed_comparison in a
                single step.

        Returns:
            input_ids, attention_mask, token_type_ids, segment_ids (B, T), example_ids (B,),
            mention_positions, mention_ends (B, N), candidate_arguments (B, D, K), candidate_ids (B, D, L), and with
            answers answer_spans (B, S, 2), candidate_answer_spans (B, D, S, 2), argument_labels (B, D). Over the
            ceiling of a `SymbolicFunction`, candidate_results stands for all but the spans in question and passage:
            the model calls it for the candidates that it keeps. With several steps, in place of all that is of
            candidates, the values of the N numbers, quantity_values (B, N, 2), and of the A spellings of the answer,
            answer_values (B, A, 2), as the fields of `Numbers`.

        Raises:
            ValueError: lists of different lengths, not as many answers as questions, an answer that is neither a text
                nor texts, a question that leaves no room for a passage, or comparisons of something else than the
                functions arithmetic and changed_comparison in a single step.
        """
        is_searched = self.function in ("arithmetic", "changed_comparison") and self.digit_tokens
        if comparisons and (self.num_steps > 1 or not is_searched):
            raise ValueError(
                "comparisons=True, which search_comparisons needs, is for the functions arithmetic and "
                f"changed_comparison, num_steps=1 and digit_tokens=True, got {self.function}, {self.num_steps} and "
                f"{self.digit_tokens}: leave both False"
            )
        questions, passages = _as_lists(question, passage)
        rows = self._tokenize(questions, passages)
        input_ids, attention_mask, token_type_ids, is_special = (
            torch.tensor(rows.encoding[name])
            for name in ("input_ids", "attention_mask", "token_type_ids", "special_tokens_mask")
        )

        batch = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "segment_ids": torch.where(is_special > 0, -1, token_type_ids),
            "example_ids": torch.tensor(rows.examples),
        }
        if answers is not None:
            answers = self._answers([answers] if isinstance(answers, str) else answers, rows)
            batch["answer_spans"] = rows.answer_spans(answers)
        counts = torch.tensor([len(mentions) for mentions in rows.mentions])
        width = max(2, int(counts.max()))  # so that D is never 0
        is_number = torch.arange(width) < counts.unsqueeze(1)  # (B, N)
        batch |= rows.mention_tokens(width)
        if comparisons and answers is not None:
            values = _padded_values([[m.value for m in row] for row in rows.mentions], width)
            batch["comparisons"] = comparison_inputs(rows, answers, values, is_number)
        if isinstance(self.calculator, SymbolicFunction):
            return BatchEncoding(batch | self._function_candidates(answers, rows))

        if self.num_steps > 1:
            batch["quantity_values"] = _padded_values([[m.value for m in row] for row in rows.mentions], width)
            if answers is not None:
                batch["answer_values"] = self._answer_values(answers)
            return BatchEncoding(batch)

        arguments = pair_arguments(width)  # (D, 2)
        is_pair = is_number[:, arguments[:, 1]]  # (B, D), decided by the later number
        # All P pairs of the batch at once, by the places of their numbers in one list.
        numbers = Numbers.from_decimals([m.value for row in rows.mentions for m in row])
        place = (is_number.flatten().cumsum(0) - 1).view_as(is_number)
        results = self.calculator.encode(*(numbers.select(place[:, side][is_pair]) for side in arguments.T))
        length = attention_mask.sum(-1, keepdim=True).expand_as(is_pair)[is_pair]
        fits = length + (results.tokens != 0).sum(-1) <= self.tokenizer.model_max_length
        if not fits.all():
            logger.warning_once(
                "A calculator's result does not fit behind its window and is no candidate: raise result_tokens, or "
                "shorten the passage."
            )
        pad = self.tokenizer.pad_token_id
        candidate_ids = torch.where(fits.unsqueeze(-1), self._result_ids[results.tokens], pad)

        batch |= {
            "candidate_arguments": arguments.expand(len(is_pair), -1, -1),
            "candidate_ids": _scatter(candidate_ids, is_pair, fill=pad),
        }
        if answers is not None:
            batch |= self._labels(answers, results, is_pair, fits)
        return BatchEncoding(batch)

    def _function_candidates(self, answers, rows: TokenizedRows) -> dict[str, Any]:
        """The candidates of a `SymbolicFunction`, their results and where these hold the answers."""
        function = self.calculator
        arguments = function.stack_tuples(rows.mentions)  # (B, D, K)
        batch, num_candidates = {"candidate_arguments": arguments}, arguments.shape[1]
        lengths = (sum(mask) for mask in rows.encoding["attention_mask"])
        results = CandidateResults(
            function,
            self.tokenizer,
            self._find_numbers,
            values=[[m.value for m in mentions] for mentions in rows.mentions],
            rooms=[self.tokenizer.model_max_length - length for length in lengths],
            answers=answers,
        )
        if num_candidates <= function.max_candidates:
            return batch | results(arguments)
        function.tell_once(
            "ceiling",
            f"a text has {num_candidates} candidates for {function.name}: of each text the {function.max_candidates} "
            "that the model scores best are kept, see max_candidates",
        )
        return batch | {"candidate_results": results}

    def check_questions(self, questions: Sequence[str], first: int = 0) -> None:
        """Raises ValueError for a question that leaves no room for its passage, with its place, from `first` on."""
        for place, question in enumerate(questions, first):
            # A character makes at most three tokens, the letters of a Hangul syllable: only suspects are counted.
            if 3 * len(question) > self._question_tokens:
                length = len(self.tokenizer.tokenize(question))
                if length > self._question_tokens:
                    raise ValueError(
                        f"question {place}, {question[:40]!r}..., has {length} tokens, but only "
                        f"{self._question_tokens} fit beside a window of its passage and the calculator's result: "
                        "shorten it"
                    )

    def _tokenize(self, questions: list[str], passages: list[str]) -> TokenizedRows:
        """Tokenizes, cuts long passages into windows and finds the numbers of each row."""
        self.check_questions(questions)
        encoding = self.tokenizer(
            questions,
            passages,
            truncation="only_second",
            max_length=self._window_tokens,
            stride=self.stride,
            return_overflowing_tokens=True,
            return_special_tokens_mask=True,
            padding=True,
        )
        examples = encoding["overflow_to_sample_mapping"]
        if len(examples) > len(questions):
            logger.warning_once(
                f"Question and passage are longer than the {self._window_tokens} tokens that fit beside the "
                "calculator's result. The passage is read in overlapping windows; numbers of different windows are "
                "not paired."
            )
        texts = list(zip(questions, passages, strict=True))
        mentions = numbers = find_mentions(encoding, examples, texts, [self._find_numbers])
        if isinstance(self.calculator, SymbolicFunction):
            finders = (self._find_numbers if find is find_quantities else find for find in self.calculator.finders)
            mentions = find_mentions(encoding, examples, texts, list(finders))
        return TokenizedRows(encoding, examples, [texts[k] for k in examples], mentions, numbers)

    def _answers(self, answers, rows: TokenizedRows) -> list[list[tuple[str, Decimal | None]]]:
        """Of each row the spellings of its answer, each with its value if it is a number."""
        spellings, num_examples = as_spellings(answers), rows.examples[-1] + 1
        if len(spellings) != num_examples:
            raise ValueError(
                f"got {len(spellings)} answers for {num_examples} questions: give each question one answer, or one "
                "list of its spellings"
            )
        valued = [[(text, number_value(text, self._find_numbers)) for text in texts] for texts in spellings]
        return [valued[example] for example in rows.examples]

    def _answer_values(self, answers) -> torch.Tensor:
        """(B, A, 2) the spellings of each row's answer, the fields of `Numbers`."""
        values = [[value for _, value in spellings] for spellings in answers]
        return _padded_values(values, max(1, *map(len, values)))

    def _labels(self, answers, results, is_pair, fits) -> dict[str, torch.Tensor]:
        """The places of the answers in the results, and which results they are."""
        wanted = Numbers(*self._answer_values(answers)[is_pair.nonzero()[:, 0]].unbind(-1))  # (P, A)
        found = is_answer(results.values, wanted) & (results.spans[..., 0] >= 0) & fits[:, None, None]  # (P, R, 3)
        result_spans = torch.stack(
            [pack_left(side.flatten(1), found.flatten(1), fill=-1) for side in results.spans.unbind(-1)], -1
        )
        return {
            "candidate_answer_spans": _scatter(result_spans, is_pair, fill=-1),
            "argument_labels": _scatter(found[..., 0].any(-1).float(), is_pair, fill=0),
        }

    def post_process_question_answering(
        self, outputs, question: str | Sequence[str], passage: str | Sequence[str], top_k: int = 1
    ) -> list[list[dict]]:
        """The answers in a model's outputs.

        Args:
            outputs: a `CalculatorQAModelOutput`.
            question, passage: the texts that went in.
            top_k: answers an example, each at another place.

        Returns:
            Per example its answers, the best first, each a dict: `score` (p(start) p(end)), `answer` (text), `segment`
            (`question`, `passage` or `calculator`), `start` and `end` (its characters in that text), `operands` (of
            each argument a dict with `value`, `segment`, `start`, `end`, or None if it was left out before another; an
            empty list if there is no result) and `calculator` (the result that was read). With several steps, `steps`
            has a dict with `operands` and `calculator` for each (see `describe_steps`), and the answer itself the
            operands of the first and what all of them wrote. A text without any token has no answer.

        Raises:
            ValueError: outputs of other texts.
        """
        return self.decode_spans(best_spans(outputs, top_k), question, passage, top_k)

    def decode_spans(
        self,
        predictions: SpanPredictions,
        question: str | Sequence[str],
        passage: str | Sequence[str],
        top_k: int | None = None,
    ) -> list[list[dict]]:
        """The answers at spans already found, the first top_k or all; see `post_process_question_answering`.

        What stands at one place in several windows, which overlap, comes once, with the best of its scores.
        """
        questions, passages = _as_lists(question, passage)
        if len(predictions.window) != len(questions):
            raise ValueError(
                f"got predictions for {len(predictions.window)} examples but {len(questions)} questions: give the "
                "texts that went in"
            )
        rows = self._tokenize(questions, passages)
        first_row = {example: row for row, example in reversed(list(enumerate(rows.examples)))}
        answers = []
        for example in range(len(questions)):
            places = {}
            for log_p, window, *span in zip(*(field[example].tolist() for field in predictions), strict=True):
                if log_p > -math.inf and (top_k is None or len(places) < top_k):
                    found = read_span(self, rows, first_row[example] + window, *span)
                    place = found["segment"], found["start"], found["end"]
                    place += (found["calculator"],) if found["segment"] == "calculator" else ()
                    places.setdefault(place, {"score": math.exp(log_p)} | found)
            answers.append(list(places.values()))
        return answers


def as_spellings(answers: Sequence[str | Sequence[str]]) -> list[list[str]]:
    """Each answer as a list of its spellings.

    Raises:
        ValueError: an answer that is neither a text nor a list of texts, with its place.
    """
    spellings = [[answer] if isinstance(answer, str) else answer for answer in answers]
    for place, answer in enumerate(spellings):
        if not isinstance(answer, list | tuple) or not all(isinstance(spelling, str) for spelling in answer):
            raise ValueError(f"answer {place} must be a text or a list of texts, got {answer!r}")
    return spellings


def _as_lists(question, passage) -> tuple[list[str], list[str]]:
    questions, passages = ([text] if isinstance(text, str) else list(text) for text in (question, passage))
    if len(questions) != len(passages) or not questions:
        raise ValueError(f"needed one passage a question, got {len(questions)} questions and {len(passages)} passages")
    return questions, passages


def _scatter(values: torch.Tensor, mask: torch.Tensor, fill: int) -> torch.Tensor:
    """(P, ...) values to the P true places of a (B, D) mask, at least one entry wide: (B, D, ...)."""
    scattered = values.new_full((*mask.shape, *(max(1, size) for size in values.shape[1:])), fill)
    if values.numel():
        scattered[mask] = values
    return scattered


def _padded_values(rows: list[list[Decimal | None]], width: int) -> torch.Tensor:
    """Numbers of each row as (B, width, 2), the fields of `Numbers`; what equals no number behind them."""
    values = [value for row in rows for value in (*row, *[None] * (width - len(row)))]
    return torch.stack(Numbers.from_decimals(values), -1).view(len(rows), width, 2)
