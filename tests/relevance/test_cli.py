"""The `hf-relevance` command as a person uses it."""

import json
from pathlib import Path

import pytest
import torch

from hf_relevance import BiLSTMAttentionConfig, BiLSTMAttentionForClassification
from hf_relevance.cli import main
from hf_relevance.tokenization import build_tokenizer

TEXT = "A good film, not a bad one."


@pytest.fixture
def checkpoint(tmp_path):
    """An untrained model in a folder."""
    tokenizer = build_tokenizer([TEXT], min_frequency=1)
    sizes = {"embedding_size": 6, "hidden_size": 8, "attention_size": 4, "initializer_range": 1.0}
    model = BiLSTMAttentionForClassification(BiLSTMAttentionConfig(vocab_size=len(tokenizer), **sizes))
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def test_json_is_what_the_model_says(checkpoint, capsys):
    assert main(["explain", checkpoint, TEXT, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tokens"] == ["a", "good", "film", ",", "not", "a", "bad", "one", "."]
    model = BiLSTMAttentionForClassification.from_pretrained(checkpoint).eval()
    ids = torch.tensor([build_tokenizer([TEXT], min_frequency=1)(TEXT).input_ids])
    output = model(ids, output_attentions=True)
    probabilities = output.logits[0].softmax(-1)
    assert found["score"] == pytest.approx(probabilities.max().item())
    assert found["label"] == f"LABEL_{probabilities.argmax()}"
    assert found["attention"] == pytest.approx(output.attentions[0].tolist())
    assert found["gradient"] == pytest.approx(output.gradient_importance[0].tolist())


def test_the_table_has_a_line_for_each_token_and_the_pictures_the_same_text(checkpoint, capsys, tmp_path):
    stem = tmp_path / "new" / "picture"
    assert main(["explain", checkpoint, TEXT + " <b>", "--output", str(stem)]) == 0
    printed = capsys.readouterr()
    assert [line.split()[0] for line in printed.out.splitlines()[3:]][:3] == ["a", "good", "film"]
    assert len(printed.out.splitlines()) == 3 + 12  # "<", "b" and ">" are unknown
    assert f"{stem}.png, {stem}.html" in printed.err
    assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert ">film<" in stem.with_suffix(".html").read_text()


@pytest.mark.parametrize(
    ("model", "text", "message"),
    [(None, "", "no words"), (None, " \n", "no words"), ("missing/folder", TEXT, "cannot load missing/folder")],
)
def test_what_cannot_be_explained_is_one_line(checkpoint, capsys, model, text, message):
    assert main(["explain", model or checkpoint, text]) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out


def test_weights_cut_short_are_one_line(checkpoint, capsys):
    weights = Path(checkpoint, "model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    assert main(["explain", checkpoint, TEXT]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"hf-relevance: cannot load {checkpoint}: ")
    assert error.count("\n") == 1


def test_a_tokenizer_that_is_missing_or_broken_is_one_line(checkpoint, capsys):
    for text in ("{", None):
        path = Path(checkpoint, "tokenizer.json")
        path.write_text(text) if text else path.unlink()
        assert main(["explain", checkpoint, TEXT]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"hf-relevance: cannot load {checkpoint}: ")
        assert error.count("\n") == 1


def test_wrong_usage_ends_with_2(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["explain"])
    assert stop.value.code == 2
    assert "MODEL" in capsys.readouterr().err
