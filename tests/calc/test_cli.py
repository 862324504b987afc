"""The `hf-calc` command as a person uses it."""

import json

import pytest

from hf_calc import BertForCalculatorQA, CalculatorQAConfig
from hf_calc.cli import main


@pytest.fixture
def checkpoint(processor, tmp_path):
    """An untrained model in a folder."""
    vocabulary = max(processor.tokenizer.get_vocab().values()) + 1
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertForCalculatorQA(CalculatorQAConfig(vocab_size=vocabulary, **sizes)).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    return str(tmp_path)


def test_a_typed_question_is_answered(checkpoint, capsys):
    assert main(["ask", checkpoint, "--question", "Who has more?", "--context", "anna has 72, carl has 23."]) == 0
    printed = capsys.readouterr().out
    assert "operands    72 (passage 9-11), 23 (passage 22-24)" in printed
    assert "calculator  95 = 72 + 23 , 49 = 72 - 23 , -49 = 23 - 72" in printed
    assert "answer      " in printed


def test_a_row_is_explained_in_pictures(checkpoint, capsys, tmp_path):
    rows = [
        {"question": "Who?", "passage": "carl"},
        {"question": "Who has more?", "passage": "anna <3 5", "answer": "5"},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    stem = tmp_path / "pictures" / "one"
    assert main(["explain", checkpoint, "--examples", str(file), "--row", "1", "--output", str(stem)]) == 0
    assert "gold        5" in capsys.readouterr().out
    assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    page = stem.with_suffix(".html").read_text()
    assert "<title>Who has more?</title>" in page
    assert "&lt;" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--question", "Who?"], "needs --question and --context, or --examples FILE"),
        (["--examples", "missing.jsonl"], "missing.jsonl"),
        (["--question", "", "--context", ""], "there is nothing to answer from"),
        (["--question", "pens " * 600, "--context", "anna"], "has 600 tokens"),
    ],
)
def test_what_cannot_be_answered_is_one_line(checkpoint, capsys, arguments, message):
    assert main(["ask", checkpoint, *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_missing_model_is_one_line(capsys):
    assert main(["ask", "no/such-folder", "--question", "Who?", "--context", "anna"]) == 1
    assert "no/such-folder" in capsys.readouterr().err
