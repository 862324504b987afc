"""What README says to type: every snippet of Python and every command, on models of a few steps and a little data."""

import importlib
import json
import re
import shlex
from pathlib import Path

import pytest

from dataset_scripts.drop.drop import main as export_drop
from dataset_scripts.imdb.imdb import Imdb
from dataset_scripts.text_classification import main as export_corpus
from hf_calc import cli as calc_cli
from hf_relevance import cli as relevance_cli

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
# A function of the user's own is trained by calc/test_readme_function.py.
PYTHON = [text for language, text in BLOCKS if language == "python" and "SymbolicFunction" not in text]
COMMANDS = [
    line for language, text in BLOCKS if language != "python" for line in text.replace("\\\n", "").splitlines() if line
]
LITTLE = {
    "dataset_scripts.calculator_qa.calculator_qa": "--owners 4 --digits 2 --train_size 9 --validation_size 2",
    "hf_relevance.word_vectors": "--size 4 --min_frequency 1 --epochs 1",
}


@pytest.fixture(autouse=True)
def folder(trained, tmp_path, monkeypatch):
    """Where README's paths lead to such models and data."""
    (tmp_path / "runs").mkdir()
    for name, repo in (("demo", "user/calculator"), ("reviews", "user/reviews")):
        (tmp_path / "runs" / name).symlink_to(trained[repo])
    for name in ("train", "unsup", "test"):
        rows = [json.dumps({"text": f"a {name} of good films"}) + "\n" for _ in range(9)]
        (tmp_path / f"{name}.jsonl").write_text("".join(rows))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("code", PYTHON)
def test_python(code, capsys):
    exec(code, {})
    assert capsys.readouterr().out.count("\n") == code.count("print(")


@pytest.mark.parametrize("command", COMMANDS)
def test_command(hub, train, train_py, folder, monkeypatch, command, capsys):
    match shlex.split(command, comments=True):
        case ["make", target]:
            assert f"\n{target}: " in (ROOT / "Makefile").read_text()
        case ["hf-calc", *words]:
            assert calc_cli.main(words) == 0
            assert "\nanswer " in capsys.readouterr().out
        case ["hf-relevance", *words]:
            assert relevance_cli.main(words) == 0
            assert "gradient" in capsys.readouterr().out
        case ["accelerate", "launch", "train.py", *words]:
            monkeypatch.chdir(ROOT)
            assert train_py["parse"](words)[0] == Path(words[0]).parent.name
        case ["python", "train.py", "push", place, repo]:
            train("push", folder / place if place.startswith("runs") else place, repo)
            assert any(name.endswith(repo) and there.at("main").files for name, there in hub.repos.items())
        case ["python", "-m", "dataset_scripts.imdb.imdb", *words]:
            with pytest.raises(OSError, match=r"aclImdb_v1\.tar\.gz"):
                export_corpus(Imdb, words)
        case ["python", "-m", "dataset_scripts.drop.drop", *words]:
            with pytest.raises(FileNotFoundError, match=r"DIR/drop/train\.jsonl\.gz"):
                export_drop(words)
        case ["python", "-m", module, *words]:
            importlib.import_module(module).main([*words, *LITTLE[module].split()])
            assert (folder / words[words.index("--output") + 1]).exists()
        case words:
            pytest.fail(f"nobody tries {words}")
