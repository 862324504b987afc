"""reproduce.py: its list against train.py, what it runs, and that it may be stopped."""

import json
import subprocess
import sys
from collections import Counter

import pytest
import yaml

import reproduce

RUNS = reproduce.read_runs()
TWO = ("bert_generalization_lessons", "/bert_generalization-")  # the second goes on from the first


def test_train_py_understands_every_experiment_and_none_has_anothers_results(train_py, monkeypatch, tmp_path):
    monkeypatch.chdir(reproduce.ROOT)
    for run in RUNS:
        family, arguments, options, _ = train_py["parse"](run.command(tmp_path, tmp_path, [])[4:])
        assert run.results.parts == (family, f"{arguments.name}-seed{options.seed}.json")
        assert options.resume_from_checkpoint == "last"
        assert options.save_strategy != "no", "a run that is cut off has to begin again"
    assert set(Counter(run.results for run in RUNS).values()) == {1}
    assert set(Counter(json.dumps(run._replace(group="", name="")) for run in RUNS).values()) == {1}


def test_first_seeds_go_before_second_ones(tmp_path):
    groups = {"a": {"x": {"recipe": "calc/r.yaml", "seeds": [0, 4]}, "y": {"recipe": "calc/r.yaml", "owners": 4}}}
    (tmp_path / "list.yaml").write_text(yaml.safe_dump(groups))
    runs = reproduce.read_runs(tmp_path / "list.yaml")
    assert [str(run) for run in runs] == ["a/x-seed0", "a/y-seed0", "a/x-seed4"]
    assert runs[1].options == {"owners": 4}


def test_a_run_that_goes_on_from_another_has_its_model_made_first(tmp_path):
    first, second, third = (
        reproduce.Run("g", name, 2, "calc/r.yaml", {}, after) for name, after in (("a", None), ("b", "a"), ("c", "b"))
    )
    runs = [first, second, third, first._replace(seed=3)]
    assert reproduce.with_models_before(third, runs, tmp_path) == [first, second, third]
    (tmp_path / "a-seed2").mkdir()
    (tmp_path / "a-seed2" / "config.json").touch()
    assert reproduce.with_models_before(third, runs, tmp_path) == [second, third]
    command = second.command(tmp_path, tmp_path, [])
    assert command[-1] == f"--encoder={tmp_path / 'a-seed2'}"
    assert second.command(tmp_path, tmp_path, ["--encoder=bert"])[-2:] == ["--encoder=bert", command[-1]]
    assert first.command(tmp_path, tmp_path, ["--encoder=bert"])[-1] == "--encoder=bert"
    assert not any(word.startswith("--encoder") for word in first.command(tmp_path, tmp_path, []))
    taught = second._replace(recipe="relevance/r.yaml")
    assert taught.command(tmp_path, tmp_path, [])[-1] == f"--teacher={tmp_path / 'a-seed2'}"


@pytest.fixture
def call(monkeypatch, tmp_path):
    """reproduce.py with folders of its own; returns what it says when it exits, or None."""

    def call(*words):
        places = ["--results_dir", str(tmp_path / "results"), "--runs_dir", str(tmp_path / "runs")]
        monkeypatch.setattr(sys, "argv", ["reproduce.py", *words, *places])
        try:
            return reproduce.main()
        except SystemExit as end:
            return end.code

    return call


def test_what_is_missing_is_run_and_what_was_cut_off_goes_on(call, train, options, monkeypatch, tmp_path, capsys):
    ran = []

    def run(command, cwd):
        name = command[command.index("--name") + 1]
        ran.append(name)
        if len(ran) == 1:
            (tmp_path / "runs" / f"{name}-seed0" / "checkpoint-1").mkdir(parents=True)
            raise KeyboardInterrupt
        train(*command[4:])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    little = [f"--{name}={value}" for name, value in options["user/calculator"][1].items()]
    words = (*TWO, *little, "--save_steps=1", "--eval_strategy=no", "--warmup_steps=0")
    with pytest.raises(KeyboardInterrupt):
        call(*words)
    call(*TWO, "--list")
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "cut off  table 4/bert_generalization_lessons-seed0",
        "not run  table 4/bert_generalization-seed0",
    ]
    assert call(*words) is None
    assert call(*words) is None  # nothing is left to do
    assert ran == ["bert_generalization_lessons", "bert_generalization_lessons", "bert_generalization"]
    for name in ran[1:]:
        results = json.loads((tmp_path / "results" / "calc" / f"{name}-seed0.json").read_text())
        assert (results["settings"]["use_calculator"], results["steps"], results["scale"]) == (False, 2, "small")
        assert [*(tmp_path / "runs" / f"{name}-seed0").glob("checkpoint-*")] == []
        assert (tmp_path / "runs" / f"{name}-seed0" / "model.safetensors").exists()


def test_one_that_fails_is_named_and_the_others_run(call, monkeypatch):
    codes = iter([1, 0, 0])  # the first is tried again for the second
    monkeypatch.setattr(subprocess, "run", lambda command, cwd: subprocess.CompletedProcess(command, next(codes)))
    assert call(*TWO) == "failed: table 4/bert_generalization_lessons-seed0; the same command tries again"
    assert next(codes, None) is None


def test_a_folder_of_data_is_for_the_group_that_is_asked_for(call, monkeypatch):
    """The model that runs on DROP go on from learned from other data."""
    ran = []
    monkeypatch.setattr(
        subprocess, "run", lambda command, cwd: ran.append(command) or subprocess.CompletedProcess([], 0)
    )
    call("drop/drop-seed0", "--data_dir=x", "--bf16=false")
    names = {command[command.index("--name") + 1]: command for command in ran}
    assert names.keys() == {"max_argmax_transfer", "drop"}
    assert {name for name, command in names.items() if "--data_dir=x" in command} == {"drop"}
    assert all("--bf16=false" in command for command in ran)


def test_wrong_words_are_told(call, capsys):
    assert "no run has 'tabel'" in call("tabel")
    assert call("bert_", "--encoder", "bert") != 0
    assert "--option=value" in capsys.readouterr().err
    assert call("bert_", "--list", "--bf16=true", "--adam_beta2=0.9") is None


def test_results_without_a_wanted_report_are_not_done(tmp_path):
    run = reproduce.Run("g", "a", 0, "calc/r.yaml", {"report_use": True, "report_errors": False})
    (tmp_path / "calc").mkdir()
    path = tmp_path / run.results
    path.write_text(json.dumps({"metrics": {"f1": 1.0}}))
    assert reproduce.state(run, tmp_path, tmp_path) == "not run"
    path.write_text(json.dumps({"metrics": {"f1": 1.0, "use": {}}}))
    assert reproduce.state(run, tmp_path, tmp_path) == "done"
