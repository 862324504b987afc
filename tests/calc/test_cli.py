"""The `hf-calc` command as a person uses it."""

import json
import sys
from pathlib import Path

import pytest

from hf_calc import BertForCalculatorQA, CalculatorQAConfig
from hf_calc.cli import main


@pytest.fixture
def checkpoint(processor, tmp_path):
    """An untrained model in a folder."""
    vocabulary = len(processor.tokenizer)
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


def test_json_holds_what_the_texts_say(checkpoint, capsys):
    typed = ["--question", "Who has more?", "--context", "anna has 72, carl has 23."]
    for top_k in (1, 3):
        assert main(["ask", checkpoint, *typed, "--json", "--top_k", str(top_k)]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found.keys() == {"question", "passage", "answers"}
        assert len(found["answers"]) == top_k
        for answer in found["answers"]:
            text = answer["calculator"] if answer["segment"] == "calculator" else found[answer["segment"]]
            assert text[answer["start"] : answer["end"]] == answer["answer"]
            assert [found[o["segment"]][o["start"] : o["end"]] for o in answer["operands"]] == ["72", "23"]
    assert main(["ask", checkpoint, *typed, "--top_k", "3"]) == 0
    printed = capsys.readouterr().out
    assert printed.count(", score 0.") == 3
    assert all(f"{answer['answer']}  (from the {answer['segment']}, score " in printed for answer in found["answers"])


def test_explanation_as_json_draws_only_if_asked(checkpoint, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["explain", checkpoint, "--json", "--question", "Who?", "--context", "anna 72 carl 23"]
    for options, pictures in (([], None), (["--output", "one"], ["one.png", "one.html"])):
        assert main([*command, *options]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found.get("pictures") == pictures
        assert {path.name for path in tmp_path.glob("one*")} == set(pictures or [])
    assert not list(tmp_path.glob("saliency*"))
    assert found["tokens"][0] == "[CLS]"
    assert len(found["saliency"]) == len(found["tokens"])
    assert min(found["saliency"]) > 0


def test_a_long_context_is_read_in_windows_of_the_given_length(checkpoint, capsys):
    command = ["explain", checkpoint, "--json", "--question", "how many", "--context", "the pens " * 30]
    lengths = []
    for options in ([], ["--max_length", "136", "--stride", "4"]):
        assert main([*command, *options]) == 0
        lengths.append(len(json.loads(capsys.readouterr().out)["tokens"]))
    assert lengths[0] == 2 + 60 + 3
    assert lengths[1] <= 136 - 96


def test_a_row_is_explained_in_pictures(checkpoint, capsys, tmp_path):
    rows = [
        {"question": "Who?", "passage": "carl\u2028\x85anna"},  # some say that lines end there
        {"question": "Who has more?", "passage": "anna <3 5", "answer": "5"},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    stem = tmp_path / "pictures" / "one"
    assert main(["explain", checkpoint, "--examples", str(file), "--row", "1", "--output", str(stem)]) == 0
    assert "gold        5" in capsys.readouterr().out
    assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    page = stem.with_suffix(".html").read_text()
    assert "<title>Who has more?</title>" in page
    assert "&lt;" in page


def test_a_row_that_is_not_there_is_one_line(checkpoint, capsys, tmp_path):
    file = tmp_path / "rows.jsonl"
    for text, count in (("", 0), ('{"question": "Who?", "passage": "carl"}\n', 1)):
        file.write_text(text)
        assert main(["ask", checkpoint, "--examples", str(file), "--row", str(count)]) == 1
        assert f"has {count} rows, counted from 0, and no row {count}\n" in capsys.readouterr().err


def test_a_row_that_is_no_question_is_one_line(checkpoint, capsys, tmp_path):
    file = tmp_path / "rows.csv"
    for text in ("question,passage\n", "\n", '["Who?"]\n', '{"question": "Who?"}\n'):
        file.write_text(text)
        assert main(["ask", checkpoint, "--examples", str(file)]) == 1
        assert capsys.readouterr().err == f"hf-calc: row 0 of {file} is no object with a question and a passage\n"


def test_without_matplotlib_no_half_picture_is_left(checkpoint, capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    arguments = ["--question", "Who?", "--context", "anna", "--output", str(tmp_path / "saliency")]
    assert main(["explain", checkpoint, *arguments]) == 1
    assert capsys.readouterr().err.endswith("pictures need matplotlib: pip install 'hf-calc-relevance[plot]'\n")
    assert not [*tmp_path.glob("saliency.*")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--examples", "missing.jsonl"], "missing.jsonl"),
        (["--question", "", "--context", ""], "there is nothing to answer"),
        (["--question", "pens " * 600, "--context", "anna"], "has 600 tokens"),
        (["--question", "Who?", "--context", "anna", "--top_k", "0"], "top_k must be a number from 1 on, got 0"),
        (
            ["--question", "Who?", "--context", "anna", "--stride", "-1"],
            "stride -1 and result_tokens 96 leave no room",
        ),
    ],
)
def test_what_cannot_be_answered_is_one_line(checkpoint, capsys, arguments, message):
    assert main(["ask", checkpoint, *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "words", ["--question Who?", "--question a --context b --examples c", "--question a --context b --row 0", ""]
)
def test_half_a_question_or_two_are_wrong_usage(capsys, words):
    with pytest.raises(SystemExit) as end:
        main(["ask", "model", *words.split()])
    assert end.value.code == 2
    assert "give --question and --context, or instead of both --examples FILE" in capsys.readouterr().err


def test_a_missing_model_is_one_line(capsys):
    assert main(["ask", "no/such-folder", "--question", "Who?", "--context", "anna"]) == 1
    assert "no/such-folder" in capsys.readouterr().err


def test_weights_cut_short_are_one_line(checkpoint, capsys):
    weights = Path(checkpoint) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert main(["ask", checkpoint, "--question", "Who?", "--context", "anna"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"hf-calc: cannot load {checkpoint}: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["ask"], ["answer", "model"], ["ask", "model", "--row", "first"]])
def test_wrong_usage_exits_with_2(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: hf-calc" in capsys.readouterr().err
