"""CalculatorQAPipeline: questions and contexts in, answers with their operands out.

What is unusual: what comes is read some batches ahead and answered in the order of length, so that little of a batch
is padding; the answers leave in the order of the questions. A long context makes several windows, rows of a batch
like any others, which compete for one answer.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.data import Dataset
from transformers import Pipeline

from .span_decoding import SpanPredictions, best_spans

TASK = "calculator-question-answering"
LOOKAHEAD = 50  # batches that are sorted together, as many as in the Trainer's grouping by length
WINDOW_CHARACTERS = 2000  # about what fills a window of 512 tokens

# What `best_spans` reads of an output, with what fills it up: after several steps, batches have rows of other lengths.
LOWEST = torch.finfo(torch.float32).min
READ = {"start_logits": LOWEST, "end_logits": LOWEST, "segment_ids": -1, "position_ids": 0}
READ |= {"example_ids": 0, "argument_index": 0}

NO_ANSWER = {"score": 0.0, "answer": "", "segment": "passage", "start": 0, "end": 0, "operands": [], "calculator": ""}


class CalculatorQAPipeline(Pipeline):
    """Answers questions by `BertForCalculatorQA`; `pipeline("calculator-question-answering", model=...)` makes one.

    An answer is a dict, as of `CalculatorQAProcessor.post_process_question_answering`: `score`, `answer` (the text),
    `segment` (`question`, `passage`, which is the context, or `calculator`), `start` and `end` (its characters in the
    user's own text, or in the calculator's string), `operands` (the arguments, each with `value`, `segment`, `start`
    and `end`, or None) and `calculator` (its string). A model of several steps adds `steps`.

    From which length on a context is read in windows, and by how much they overlap, are facts of the processor:
    `processor=AutoProcessor.from_pretrained(..., model_max_length=256, stride=32)`.

    Args:
        args, kwargs: those of `Pipeline`, of which `num_workers` has no use here; `top_k` and `batch_size` for all
            calls that do not say otherwise.
    """

    _load_processor = True
    _load_tokenizer = _load_feature_extractor = _load_image_processor = _load_video_processor = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.model.eval()  # one that comes from training would draw noise

    def __call__(self, inputs: Any = None, *, question=None, context=None, **kwargs):
        """Answers one question, or many.

        Args:
            inputs: a dict with the texts `question` and `context`, which may also be called `passage`; or many of
                them, as a list, a generator or a dataset; or one dict of lists.
            question, context: instead, one text each or lists; a single text serves all of the other's list.
            top_k: answers a question, by default 1.
            batch_size: rows that the model reads at once, by default 1. From 2 on, a generator or dataset is read up
                to 50 batches ahead.

        Returns:
            For one question its answer, with top_k above 1 a list of at most top_k answers, the best first. For lists
            a list of these, for a generator or dataset an iterator. Where neither text has a token, the answer is
            empty and its score 0.

        Raises:
            ValueError: an input that is none of these, an empty question or one that is too long, lists of different
                lengths, a top_k or batch_size below 1. In lists all are checked before the first is answered.
        """
        if inputs is None:
            inputs = {"question": question, "context": context}
        elif question is not None or context is not None:
            raise ValueError("got inputs and also a question or a context: give inputs, or the other two")
        if isinstance(inputs, dict):
            inputs = _rows(inputs)
        if isinstance(inputs, list | tuple):
            texts = [self._texts(row, place) for place, row in enumerate(inputs)]
            return super().__call__(texts, **kwargs) if texts else []
        if isinstance(inputs, dict | str) or not isinstance(inputs, Iterable | Dataset):
            return super().__call__([self._texts(inputs)], **kwargs)[0]
        if not isinstance(inputs, Iterable):  # KeyDataset, for one
            inputs = map(inputs.__getitem__, range(len(inputs)))
        return super().__call__((self._texts(row, place) for place, row in enumerate(inputs)), **kwargs)

    def _texts(self, row: Any, place: int | None = None) -> tuple[str, str]:
        """Question and context of one input, which stands at `place` if there are several."""
        name = "the input" if place is None else f"input {place}"
        fields = row if isinstance(row, dict) else {}
        question, context = fields.get("question"), fields.get("context", fields.get("passage"))
        if not isinstance(question, str) or not isinstance(context, str):
            raise ValueError(f"{name} must be a dict with the texts `question` and `context`, got {row!r:.200}")
        if not question.strip():
            raise ValueError(f"{name} has an empty question: there is nothing to answer")
        self.processor.check_questions([question], first=place or 0)
        return question, context

    def _sanitize_parameters(self, top_k: int | None = None):
        if top_k is None:
            return {}, {}, {}
        if not isinstance(top_k, int) or top_k < 1:
            raise ValueError(f"top_k must be a number from 1 on, got {top_k!r}")
        return {}, {"top_k": top_k}, {"top_k": top_k}

    def get_iterator(
        self, inputs, num_workers: int, batch_size: int, preprocess_params, forward_params, postprocess_params
    ) -> Iterator[dict | list[dict]]:
        """The answers to (question, context) tuples, in their order."""
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        texts, ahead = iter(inputs), batch_size * (LOOKAHEAD if batch_size > 1 else 1)
        while chunk := list(islice(texts, ahead)):
            answers = {}
            for places in _by_length([len(question) + len(context) for question, context in chunk], batch_size):
                batch = self.preprocess([chunk[place] for place in places], **preprocess_params)
                batch = self.forward(batch, batch_size=batch_size, **forward_params)
                answers |= zip(places, self.postprocess(batch, **postprocess_params), strict=True)
            yield from (answers[place] for place in range(len(chunk)))

    def preprocess(self, texts: list[tuple[str, str]]) -> dict:
        """The tensors of a batch; its texts travel along."""
        questions, contexts = zip(*texts, strict=True)
        return {"texts": (questions, contexts), "inputs": dict(self.processor(questions, contexts))}

    def _forward(self, batch: dict, batch_size: int, top_k: int = 1) -> dict:
        """The best spans of a batch; the model reads batch_size rows at once, the windows of one context are more."""
        inputs, outputs = batch["inputs"], []
        for start in range(0, len(inputs["input_ids"]), batch_size):
            output = self.model(**{name: rows[start : start + batch_size] for name, rows in inputs.items()})
            outputs.append({name: output[name] for name in READ if name in output})
        whole = {name: _join([part[name] for part in outputs], READ[name]) for name in outputs[0]}
        whole = type(output)(**whole)
        return {"texts": batch["texts"], "spans": tuple(best_spans(whole, top_k))}

    def postprocess(self, batch: dict, top_k: int = 1) -> list[dict] | list[list[dict]]:
        """The answers of a batch."""
        found = self.processor.decode_spans(SpanPredictions(*batch["spans"]), *batch["texts"], top_k=top_k)
        if top_k > 1:
            return found
        steps = {"steps": []} if self.processor.num_steps > 1 else {}
        return [answers[0] if answers else dict(NO_ANSWER, operands=[], **steps) for answers in found]

    def save_pretrained(self, save_directory, **kwargs) -> None:
        """Saves model and processor, all that `pipeline` needs; both copy their code into the folder."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory, **kwargs)


def _rows(columns: dict) -> dict | list[dict]:
    """A dict of lists as the list of its dicts, each single text in all of them; a dict of texts as it is."""
    names = [name for name in ("question", "context", "passage") if name in columns]
    lengths = {name: len(columns[name]) for name in names if _is_list(columns[name])}
    if not lengths:
        return columns
    if len(set(lengths.values())) > 1:
        got = " and ".join(f"{length} of `{name}`" for name, length in lengths.items())
        raise ValueError(f"got lists of different lengths, {got}: give as many, or one text for all")
    count = max(lengths.values())
    texts = [columns[name] if name in lengths else [columns[name]] * count for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*texts, strict=True)]


def _join(parts: list[torch.Tensor], fill: float) -> torch.Tensor:
    """Batches of rows as one, the shorter rows filled up at their end."""
    if parts[0].dim() == 1:
        return torch.cat(parts)
    width = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (0, width - part.shape[1]), value=fill) for part in parts])


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _by_length(lengths: list[int], batch_size: int) -> Iterator[list[int]]:
    """Places in batches of similar length, the longest first.

    A batch has at most batch_size places, and fewer where texts are so long that each makes several windows.
    """
    batch, total = [], 0
    for place in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        total += lengths[place]
        if batch and (len(batch) == batch_size or total > batch_size * WINDOW_CHARACTERS):
            yield batch
            batch, total = [], lengths[place]
        batch.append(place)
    yield batch
