"""The `hf-calc` command: asks a trained model, and shows which tokens its answer hangs on.

hf-calc ask MODEL --question "Who has more pens: Anna or Carl?" --context "Anna has 302 pens, Carl has 816 pens."
hf-calc explain MODEL --examples runs/demo/validation.jsonl --row 3 --output saliency
"""

import argparse
import json
import sys
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from transformers import AutoModelForQuestionAnswering, AutoProcessor
from transformers.utils import logging

from . import attribution, plotting
from .pipeline import CalculatorQAPipeline
from .processing_calculator_qa import CalculatorQAProcessor

EXIT_CODES = "Exit codes: 0 answered; 1 not, with one line on standard error that says why; 2 wrong usage."


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 after one line on standard error that says what went wrong.

    Raises:
        SystemExit: with 2, wrong usage.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    typed = [text for text in (arguments.question, arguments.context) if text is not None]
    if len(typed) != (2 if arguments.examples is None else 0) or (arguments.row is not None and typed):
        parser.error("give --question and --context, or instead of both --examples FILE, perhaps with --row N")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        example = _example(arguments)
        found = arguments.run(arguments, _load(arguments), example)
    except (OSError, ValueError, ImportError) as error:
        print("hf-calc:", *str(error).split(), file=sys.stderr)
        return 1
    print(json.dumps(found, ensure_ascii=False) if arguments.json else _table(found))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hf-calc", description="Ask a trained calculator model.", epilog=EXIT_CODES)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("ask", ask, "answer a question and print the operands and the calculator's results too"),
        ("explain", explain, "answer a question and show the saliency of every token as PNG and HTML"),
    ):
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=EXIT_CODES)
        command.add_argument("model", metavar="MODEL", help="folder or Hub name of a trained model")
        command.add_argument("--question", metavar="TEXT")
        command.add_argument("--context", metavar="TEXT", help="the passage that the question is about")
        command.add_argument(
            "--examples", metavar="FILE", help="take both from JSON lines with question and passage, and answer if any"
        )
        command.add_argument("--row", metavar="N", type=int, help="which line of FILE, from 0 (default: 0)")
        command.add_argument("--top_k", metavar="N", type=int, default=1, help="the N best answers (default: 1)")
        command.add_argument(
            "--max_length",
            metavar="N",
            type=int,
            help="tokens that the model reads at once, room for the calculator's results included, though those of "
            "several steps may go on to the model's own limit; a longer context is read in windows (default: as the "
            "model was saved)",
        )
        command.add_argument(
            "--stride",
            metavar="N",
            type=int,
            help="tokens by which these windows overlap (default: as the model was saved)",
        )
        command.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
        command.set_defaults(run=run)
    command.add_argument(
        "--output",
        metavar="STEM",
        help="write STEM.png and STEM.html (default: saliency; with --json none, as it holds the numbers)",
    )
    return parser


def _load(arguments: argparse.Namespace) -> CalculatorQAPipeline:
    """The pipeline of one folder or repository."""
    name = arguments.model
    given = {"model_max_length": arguments.max_length, "stride": arguments.stride}
    try:
        model = AutoModelForQuestionAnswering.from_pretrained(name)
        processor = AutoProcessor.from_pretrained(name, **{k: v for k, v in given.items() if v is not None})
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise OSError(f"cannot load {name}: {error}") from error
    if not isinstance(processor, CalculatorQAProcessor):
        raise ValueError(
            f"{name} holds a {type(model).__name__}, not a trained BertForCalculatorQA with its processor"
        )
    return CalculatorQAPipeline(model, processor=processor, device="cpu")  # where saliency has its inputs


def _example(arguments: argparse.Namespace) -> dict[str, str]:
    """Question and passage that were typed, or of a row of the file, and that row's answer as `gold`."""
    if arguments.examples is None:
        return {"question": arguments.question, "passage": arguments.context}
    with open(arguments.examples, encoding="utf-8") as file:
        lines = [*file]  # a text may hold what `str.splitlines` takes for an end of a line
    place = arguments.row or 0
    if not 0 <= place < len(lines):
        raise ValueError(f"{arguments.examples} has {len(lines)} rows, counted from 0, and no row {place}")
    row = None
    with suppress(json.JSONDecodeError):
        row = json.loads(lines[place])
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("question", "passage")):
        raise ValueError(f"row {place} of {arguments.examples} is no object with a question and a passage")
    gold = {"gold": row["answer"]} if "answer" in row else {}
    return {"question": row["question"], "passage": row["passage"]} | gold


def ask(arguments: argparse.Namespace, pipe: CalculatorQAPipeline, example: dict[str, str]) -> dict:
    """The example and its answers, the best first; JSON can hold it all."""
    answers = pipe(example, top_k=arguments.top_k)
    return example | {"answers": answers if arguments.top_k > 1 else [answers]}


def explain(arguments: argparse.Namespace, pipe: CalculatorQAPipeline, example: dict[str, str]) -> dict:
    """What `ask` finds, with the saliency of each token (figure 2) and the files that it was drawn to."""
    found = ask(arguments, pipe, example)
    inputs = pipe.processor(example["question"], example["passage"])
    saliency = attribution.token_saliency(pipe.model, inputs)[0]
    found["tokens"] = pipe.tokenizer.convert_ids_to_tokens(saliency.token_ids.tolist())
    found["saliency"] = saliency.weights.tolist()
    if arguments.output is None and arguments.json:
        return found
    what = found["tokens"], found["saliency"], found["question"]
    stem = arguments.output or "saliency"
    picture, page = Path(f"{stem}.png"), Path(f"{stem}.html")
    picture.parent.mkdir(parents=True, exist_ok=True)
    plotting.saliency_figure(*what).savefig(picture, dpi=150)
    page.write_text(plotting.saliency_html(*what), encoding="utf-8")
    return found | {"pictures": [str(picture), str(page)]}


def _table(found: dict) -> str:
    """What was found, for a person."""
    best = found["answers"][0]
    operands = [
        ", ".join(f"{o['value']} ({o['segment']} {o['start']}-{o['end']})" if o else "-" for o in step["operands"])
        for step in best.get("steps", [best])
    ]
    answers = [f"{a['answer']}  (from the {a['segment']}, score {a['score']:.3f})" for a in found["answers"]]
    rows = {
        "passage": found["passage"],
        "question": found["question"],
        "operands": "; ".join(filter(None, operands)) or "none",
        "calculator": best["calculator"] or "no result",
        "answer": f"\n{'':<12}".join(answers),
    }
    if "gold" in found:
        rows["gold"] = found["gold"]
    if "pictures" in found:
        rows["saliency"] = ", ".join(found["pictures"])
    return "\n".join(f"{name:<12}{value}" for name, value in rows.items())
