"""The `hf-calc` command: asks a trained model, and shows which tokens its answer hangs on.

hf-calc ask MODEL --question "Who has more pens: Anna or Carl?" --context "Anna has 302 pens, Carl has 816 pens."
hf-calc explain MODEL --examples runs/demo/validation.jsonl --row 3 --output saliency
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForQuestionAnswering, AutoProcessor
from transformers.utils import logging

from . import attribution, plotting
from .processing_calculator_qa import CalculatorQAProcessor


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 after one line on standard error that says what went wrong."""
    arguments = _parser().parse_args(argv)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        example = _example(arguments)
        model, processor = _load(arguments.model)
        arguments.run(arguments, model, processor, example)
    except (OSError, ValueError, ImportError) as error:
        print("hf-calc:", *str(error).splitlines()[:1], file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hf-calc", description="Ask a trained calculator model.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("ask", ask, "print the operands, the calculator's result and the answer"),
        ("explain", explain, "do that, and write the saliency of every token as PNG and HTML"),
    ):
        command = commands.add_parser(name, help=text, description=f"Answer a question: {text}.")
        command.add_argument("model", metavar="MODEL", help="folder or Hub name of a trained model")
        command.add_argument("--question")
        command.add_argument("--context", help="the passage")
        command.add_argument("--examples", metavar="FILE", help="JSON lines with question and passage, instead")
        command.add_argument("--row", type=int, default=0, help="which line of FILE, from 0")
        command.set_defaults(run=run)
    command.add_argument("--output", default="saliency", metavar="STEM", help="writes STEM.png and STEM.html")
    return parser


def _load(name: str):
    """Model and processor of one folder or repository."""
    try:
        model = AutoModelForQuestionAnswering.from_pretrained(name).eval()
        processor = AutoProcessor.from_pretrained(name)
    except OSError as error:
        raise OSError(f"cannot load {name}: {error}") from error
    if not isinstance(processor, CalculatorQAProcessor):
        raise ValueError(
            f"{name} holds a {type(model).__name__}, not a trained BertForCalculatorQA with its processor"
        )
    return model, processor


def _example(arguments: argparse.Namespace) -> dict[str, str]:
    """The question that was typed, or the row of the file."""
    if arguments.examples is None:
        if arguments.question is None or arguments.context is None:
            raise ValueError("a question needs --question and --context, or --examples FILE")
        return {"question": arguments.question, "passage": arguments.context}
    lines = Path(arguments.examples).read_text(encoding="utf-8").splitlines()
    if not 0 <= arguments.row < len(lines):
        raise ValueError(f"{arguments.examples} has {len(lines)} rows, counted from 0, and no row {arguments.row}")
    row = json.loads(lines[arguments.row])
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("question", "passage")):
        raise ValueError(f"row {arguments.row} of {arguments.examples} is no object with a question and a passage")
    return row


def ask(arguments: argparse.Namespace, model, processor, example: dict[str, str]) -> None:
    """Prints how the model comes to its answer."""
    inputs = processor(example["question"], example["passage"])
    with torch.no_grad():
        outputs = model(**inputs)
    found = processor.post_process_question_answering(outputs, example["question"], example["passage"])[0]
    if not found:
        raise ValueError("the question and the context are empty: there is nothing to answer from")
    best = found[0]
    operands = ", ".join(f"{o['value']} ({o['segment']} {o['start']}-{o['end']})" for o in best["operands"])
    rows = {
        "passage": example["passage"],
        "question": example["question"],
        "operands": operands or "none",
        "calculator": best["calculator"] or "no result",
        "answer": f"{best['answer']}  (from the {best['segment']}, score {best['score']:.3f})",
    }
    if "answer" in example:
        rows["gold"] = example["answer"]
    print("\n".join(f"{name:<12}{value}" for name, value in rows.items()))


def explain(arguments: argparse.Namespace, model, processor, example: dict[str, str]) -> None:
    """Prints what `ask` prints and draws figure 2 for it."""
    ask(arguments, model, processor, example)
    saliency = attribution.token_saliency(model, processor(example["question"], example["passage"]))[0]
    tokens = processor.tokenizer.convert_ids_to_tokens(saliency.token_ids.tolist())
    weights, title = saliency.weights.tolist(), example["question"]
    picture, page = Path(f"{arguments.output}.png"), Path(f"{arguments.output}.html")
    picture.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(plotting.saliency_html(tokens, weights, title), encoding="utf-8")
    plotting.saliency_figure(tokens, weights, title).savefig(picture, dpi=150)
    print(f"{'saliency':<12}{picture}, {page}")
