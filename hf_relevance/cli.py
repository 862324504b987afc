"""The `hf-relevance` command: shows what a trained model attends to in a text, and what its gradient says.

hf-relevance explain MODEL "One of the best that I have seen." --output picture
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging

from . import plotting
from .modeling_bilstm_attention import BiLSTMAttentionForClassification

EXIT_CODES = "Exit codes: 0 explained; 1 not, with one line on standard error that says why; 2 wrong usage."


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 after one line on standard error that says what went wrong."""
    parser = argparse.ArgumentParser(prog="hf-relevance", description="Look into a trained attention model.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    text = "classify a text; print each token's attention and gradient importance, and draw both"
    command = commands.add_parser("explain", help=text, description=f"{text.capitalize()}.", epilog=EXIT_CODES)
    command.add_argument("model", metavar="MODEL", help="folder or Hub name of a trained model")
    command.add_argument("text", metavar="TEXT", help="one text, quoted")
    command.add_argument("--output", metavar="STEM", help="writes STEM.png and STEM.html")
    command.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args(argv)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        found = explain(arguments.model, arguments.text)
        if arguments.output is not None:
            draw(found, Path(arguments.output))
    except (OSError, ValueError, ImportError) as error:
        print("hf-relevance:", *str(error).split(), file=sys.stderr)
        return 1
    print(json.dumps(found, ensure_ascii=False) if arguments.json else as_table(found))
    return 0


def explain(name: str, text: str) -> dict:
    """The class that a model finds for a text, its score, and the tokens with attention and gradient importance.

    Args:
        name: folder or Hub name.
        text: any with at least one token.

    Returns:
        label, score, and tokens, attention and gradient as lists of one length; JSON can hold them all.

    Raises:
        OSError: the model cannot be loaded.
        ValueError: it is none of ours, or the text has no token.
    """
    try:
        model = AutoModelForSequenceClassification.from_pretrained(name).eval()
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise OSError(f"cannot load {name}: {error}") from error
    if not isinstance(model, BiLSTMAttentionForClassification):
        raise ValueError(f"{name} holds a {type(model).__name__}, not a BiLSTMAttentionForClassification")
    inputs = tokenizer(text, return_tensors="pt")
    if not inputs["input_ids"].numel():
        raise ValueError("the text has no words: there is nothing to explain")
    with torch.no_grad():
        outputs = model(**inputs, output_attentions=True)
    score, label = outputs.logits[0].softmax(-1).max(-1)
    return {
        "label": model.config.id2label[label.item()],
        "score": score.item(),
        "tokens": inputs.tokens(),
        "attention": outputs.attentions[0].tolist(),
        "gradient": outputs.gradient_importance[0].tolist(),
    }


def as_table(found: dict) -> str:
    """What `explain` found, a token a line."""
    width = max(10, *map(len, found["tokens"]))
    rows = [f"{found['label']}, score {found['score']:.3f}", "", f"{'token':<{width}} attention  gradient"]
    for token, attention, gradient in zip(found["tokens"], found["attention"], found["gradient"], strict=True):
        rows.append(f"{token:<{width}} {attention:>9.4f} {gradient:>+9.4f}")
    return "\n".join(rows)


def draw(found: dict, stem: Path) -> None:
    """Writes STEM.png and STEM.html."""
    title = f"{found['label']}, score {found['score']:.3f}"
    what = found["tokens"], found["attention"], found["gradient"], title
    stem.parent.mkdir(parents=True, exist_ok=True)
    plotting.attention_gradient_figure(*what).savefig(f"{stem}.png", dpi=150)
    Path(f"{stem}.html").write_text(plotting.attention_gradient_html(*what), encoding="utf-8")
    print(f"drawn: {stem}.png, {stem}.html", file=sys.stderr)
