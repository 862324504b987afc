"""What README says to type: every snippet of Python and every command, on models of a few steps and a little data.

Of what stands within a line, the files, modules and options.
"""

import dataclasses
import importlib
import json
import re
import shlex
from pathlib import Path

import pytest

from dataset_scripts.drop.drop import main as export_drop
from dataset_scripts.imdb.imdb import Imdb
from dataset_scripts.text_classification import main as export_corpus
from hf_calc import CalculatorQATrainingArguments
from hf_calc import cli as calc_cli
from hf_relevance import RelevanceTrainingArguments
from hf_relevance import cli as relevance_cli
from train_calc import CalculatorQAArguments
from train_relevance import RelevanceArguments

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
# A function of the user's own is trained by calc/test_readme_function.py.
PYTHON = [text for language, text in BLOCKS if language == "python" and "SymbolicFunction" not in text]
COMMANDS = [
    line for language, text in BLOCKS if language != "python" for line in text.replace("\\\n", "").splitlines() if line
]
INLINE = re.findall(
    r"`([^`]+)`", re.sub(r"^```.*?^```", "", (ROOT / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE)
)
RUNS = (CalculatorQAArguments, CalculatorQATrainingArguments, RelevanceArguments, RelevanceTrainingArguments)
OTHERS = {"help", "config_file", "cpu", "num_processes"}  # of argparse and accelerate
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
        texts = [f"a {name} of {word} films" for word in ("good", "bad")]
        rows = [json.dumps({"text": texts[k % 2], "label": k % 2}) + "\n" for k in range(9)]
        (tmp_path / f"{name}.jsonl").write_text("".join(rows))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("code", PYTHON)
def test_python(code, capsys):
    exec(code, {})
    printed = capsys.readouterr().out
    assert "trainer.train()" in code or printed.count("\n") == code.count("print(")


def test_what_lines_name_is_there():
    sources = [path.read_text() for path in ROOT.rglob("*.py") if ".venv" not in path.parts]
    parsed = {name for text in sources for name in re.findall(r'"--(\w+)"', text)}
    known = parsed | OTHERS | {field.name for run in RUNS for field in dataclasses.fields(run)}
    named = [name for text in INLINE for name in re.findall(r"--(\w+)", text)]
    assert len(named) > 20
    assert not {*named} - known
    paths = [
        path for text in INLINE for path in re.findall(r"(?<![\w/])(?:recipes|dataset_scripts|tests)/[\w/.]*\w", text)
    ]
    paths += [name.replace(".", "/") + ".py" for text in INLINE for name in re.findall(r"python -m ([\w.]+)", text)]
    paths += [name for text in INLINE for name in re.findall(r"python (\w+\.py)", text)]
    assert len(paths) > 10
    assert not [path for path in paths if not (ROOT / path).exists()]


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
