"""Trains a model from a recipe: `accelerate launch train.py recipes/calc/max_transfer.yaml --seed 3`.

A recipe is a YAML file of options, and `family` says whose. The command line wins over the recipe, the recipe over the
defaults. A run leaves in `output_dir` the model with its processor and `results.json`, which has all that made its
numbers; `--results_dir DIR` also puts that beside other runs' as `DIR/<family>/<name>-seed<seed>.json`.
`--resume_from_checkpoint last` goes on where a run was cut off; a run that begins anew puts an earlier one's
checkpoints aside, into a folder of their own in `output_dir`.
`--push_to_hub --hub_model_id user/name` publishes the model at the end, `train.py push FOLDER user/name` at any time.
"""

import argparse
import ctypes
import dataclasses
import gc
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import torch
import yaml
from accelerate import PartialState
from transformers import HfArgumentParser, TrainerCallback, TrainingArguments, set_seed

from adapters import adapter_settings
from hf_calc import CalculatorQATrainingArguments
from hf_relevance import RelevanceTrainingArguments
from hub import CARD, check_target, errors_in_a_line, replace_files
from publish import ADAPTER, CONFIG, RESULTS, push, push_command, render_card
from train_calc import CalculatorQAArguments, build_calculator_trainer, score_calculator
from train_relevance import RelevanceArguments, build_relevance_trainer, score_relevance

# Options that name a run or a place, or change what is shown: no settings of the model.
BOOKKEEPING = {"name", "seed", "results_dir", "output_dir", "resume_from_checkpoint", "logging_steps", "disable_tqdm"}
BOOKKEEPING |= {"report_use", "report_errors", "report_saliency", "report_robustness", "score_split"}
BOOKKEEPING |= {"vectors", "unlabeled_texts", "push_to_hub", "hub_model_id", "hub_private_repo", "hub_token"}

# family -> (its arguments, its training arguments, what builds its trainer, what scores it, given rows and arguments)
FAMILIES = {
    "calc": (CalculatorQAArguments, CalculatorQATrainingArguments, build_calculator_trainer, score_calculator),
    "relevance": (RelevanceArguments, RelevanceTrainingArguments, build_relevance_trainer, score_relevance),
}


def parse(argv: list[str]):
    """Recipe and command line to (family, its arguments, training arguments, the options given).

    Raises:
        SystemExit: no recipe, an unknown family, or an option that nobody knows, in recipe or command line.
    """
    if not argv or argv[0].startswith("-"):
        sys.exit("train.py needs a recipe first: train.py recipes/calc/max_transfer.yaml [--option value ...]")
    try:
        recipe = yaml.safe_load(Path(argv[0]).read_text())
    except OSError as error:
        sys.exit(f"no such recipe: {error}")
    except yaml.YAMLError as error:
        sys.exit(f"{argv[0]} is no YAML: {error}")
    if not isinstance(recipe, dict):
        sys.exit(f"{argv[0]}: a recipe is a list of `option: value` lines, got {type(recipe).__name__}")
    family = recipe.pop("family", None)
    if family not in FAMILIES:
        sys.exit(f"{argv[0]}: `family` must be one of {', '.join(FAMILIES)}, got {family!r}")
    parser, probe = (HfArgumentParser(FAMILIES[family][:2], prog="train.py", allow_abbrev=False) for _ in range(2))
    known = {action.dest: action for action in parser._actions}
    if unknown := sorted(recipe.keys() - known.keys()):
        sys.exit(f"{argv[0]}: unknown option {', '.join(unknown)}; `train.py {argv[0]} --help` lists the known ones")
    # Without an accelerator, bf16 needs use_cpu to be said. Defaults given as text go through the option's type like
    # the command line: YAML reads 1e-4 as text.
    parser.set_defaults(**{"use_cpu": not torch.accelerator.is_available()} | recipe)
    for option in recipe:
        known[option].required = False
    arguments, run, rest = parser.parse_args_into_dataclasses(argv[1:], return_remaining_strings=True)
    if rest:
        parser.error(f"unknown option {' '.join(rest)}")
    # Without any default, a parser returns what the command line gave.
    for action in probe._actions:
        action.default, action.required = argparse.SUPPRESS, False
    return family, arguments, run, recipe.keys() | vars(probe.parse_args(argv[1:])).keys()


class Clock(TrainerCallback):
    """Counts the seconds of training in the log, over all the pieces of a run that was resumed."""

    def on_train_begin(self, args, state, control, **kwargs):
        self.start = time.monotonic() - max((entry.get("seconds", 0.0) for entry in state.log_history), default=0.0)

    def on_log(self, args, state, control, **kwargs):
        state.log_history[-1]["seconds"] = round(time.monotonic() - self.start, 1)


def plain(value):
    """An option as it goes into a results file: of an absolute path, which says nothing elsewhere, the last part."""
    return Path(value).name if isinstance(value, str) and os.path.isabs(value) else value


def sha256(path: str | Path) -> str:
    """Of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def settings(arguments, run, given: set[str]) -> dict:
    """The options that shape the numbers: all of the family, and of the Trainer's what recipe or command line gave."""
    values = run.to_dict() | dataclasses.asdict(arguments)
    shown = {"learning_rate", "per_device_train_batch_size"}  # in every card
    names = [*dataclasses.asdict(arguments), *type(run).__annotations__, *sorted(given | shown)]
    kept = {name: values[name] for name in names if name not in BOOKKEEPING}
    for name in ("vectors", "unlabeled_texts"):
        if values.get(name) is not None:
            kept[f"{name}_sha256"] = sha256(values[name])
    return {name: plain(value) for name, value in kept.items()}


def log_columns(history: list[dict], loss: str) -> dict[str, list[float | None]]:
    """The numbers of a log's entries that have this loss, measured ones to four digits: a list of each."""
    entries = [entry for entry in history if loss in entry]
    columns = {name: [entry.get(name) for entry in entries] for name in (entries[0] if entries else ())}
    return {
        name: [float(f"{value:.4g}") if isinstance(value, float) else value for value in values]
        for name, values in columns.items()
        if isinstance(values[0], int | float)
    }


def dumps(value) -> str:
    """JSON with a line for each entry, but with a list of numbers on one line."""
    return re.sub(r"\[[^][{}\"]*\]", lambda match: " ".join(match[0].split()), json.dumps(value, indent=2))


def versions() -> dict[str, str]:
    """Versions of what computed the numbers."""
    packages = ("torch", "transformers", "datasets", "accelerate", "evaluate")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


def hardware(run: TrainingArguments) -> dict[str, str | int]:
    """What a run computed on: GPUs of a kind, or all processors of the machine."""
    counts = {"cpus": os.cpu_count(), "processes": run.world_size, "threads": torch.get_num_threads()}
    if run.device.type == "cuda":
        gpus = run.world_size * run.n_gpu
        return {"device": torch.cuda.get_device_name(run.device), "gpus": gpus} | counts
    cpuinfo = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return {"device": name[1] if name else platform.machine()} | counts


def last_checkpoint(folder: str) -> str | None:
    """The newest whole checkpoint: the state comes last, so one that was cut off has none, or half of it."""
    steps = {}
    for path in Path(folder).glob("checkpoint-*/trainer_state.json"):
        with suppress(json.JSONDecodeError):
            steps[json.loads(path.read_text())["global_step"]] = str(path.parent)
    return steps[max(steps)] if steps else None


def keep_freed_memory() -> None:
    """Has glibc keep the memory of freed tensors for the next ones; by default each large one gets new pages."""
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        # By malloc.h M_MMAP_MAX, M_TRIM_THRESHOLD (-1 for none) and M_TOP_PAD, with bytes.
        for option, value in ((-4, 0), (-1, -1), (-2, 64 * 2**20)):
            mallopt(option, value)


def put_aside(folder: str) -> None:
    """Moves an earlier run's checkpoints, which `last` and `save_total_limit` would take for those of this one."""
    checkpoints = [*Path(folder).glob("checkpoint-*")]
    if checkpoints:
        place = Path(tempfile.mkdtemp(prefix="earlier-", dir=folder))
        for path in checkpoints:
            path.rename(place / path.name)
        print(f"the checkpoints of an earlier run in {folder} are now in {place}: remove it if you need them no more")


def carry_out(family: str, arguments, run, given: set[str]) -> None:
    """Trains and scores; only then replaces what an earlier run left by model, predictions, results and card.

    Raises:
        ValueError: output_dir has an adapter and this run trains a whole model, or the other way round.
    """
    other, what = (CONFIG, "a whole model") if arguments.lora_rank else (ADAPTER, "an adapter")
    if Path(run.output_dir, other).is_file():
        raise ValueError(
            f"{run.output_dir} has {what} ({other}), beside which a run with lora_rank={arguments.lora_rank} would "
            "leave the other kind: give another output_dir, or remove this one"
        )
    if run.use_cpu:
        keep_freed_memory()
        if torch.get_num_threads() == 1:  # what `accelerate launch` sets where nobody said otherwise
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()  # on Linux
            torch.set_num_threads(max(1, cores // run.world_size))
    set_seed(run.seed)
    _, _, build, score = FAMILIES[family]
    trainer, data = build(arguments, run)
    trainer.add_callback(Clock())
    parameters = trainer.model.num_parameters()
    trained = trainer.model.num_parameters(only_trainable=True)
    if trainer.is_world_process_zero():
        print(f"training {trained:,} of {parameters:,} parameters")
    resume = run.resume_from_checkpoint
    if resume is None and run.should_save:
        put_aside(run.output_dir)
    recipe = settings(arguments, run, given)
    trainer.train(resume_from_checkpoint=last_checkpoint(run.output_dir) if resume == "last" else resume)
    history = trainer.state.log_history
    log = {"training": log_columns(history, "loss"), "evaluation": log_columns(history, "eval_loss")}
    seconds = max(entry["seconds"] for entry in history if "seconds" in entry)
    metrics, rows = score(trainer, data, arguments)
    folder = Path(run.output_dir)
    with replace_files(folder) as new:
        trainer.save_model(str(new))
        if trainer.is_world_process_zero():
            predictions = new / f"{data.split}.jsonl"
            predictions.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
            results = {
                "name": arguments.name,
                "family": family,
                "scale": arguments.scale,
                "seed": run.seed,
                "metrics": metrics,
                "log": log,
                "settings": recipe,
                "versions": versions(),
                "hardware": hardware(run),
                "seconds": seconds,
                "steps": trainer.state.global_step,
                "best_step": trainer.state.best_global_step,
                "parameters": parameters,
                "trained_parameters": trained,
                "adapter": adapter_settings(trainer.model),
                "examples": {"train": len(trainer.train_dataset), "validation": len(trainer.eval_dataset)}
                | {str(data.split): len(data)},
                "predictions_sha256": sha256(predictions),
            }
            (new / RESULTS).write_text(dumps(results) + "\n")
    if trainer.is_world_process_zero():
        if arguments.results_dir is not None:
            with replace_files(Path(arguments.results_dir, family)) as new:
                shutil.copy(folder / RESULTS, new / f"{arguments.name}-seed{run.seed}.json")
        with replace_files(folder) as new:
            render_card(folder, run.hub_model_id or run.output_dir).save(new / CARD)
        print(dumps(metrics), f"\n{folder}: model, card, predictions, {RESULTS}")


# What a full disk, or a limit, is to Python and to libraries in Rust, and the last two to torch, which says no more.
FULL_DISK = "No space left on device|Disk quota exceeded|File too large|inline_container.cc|iostream error"


def main() -> None:
    if sys.argv[1:2] == ["push"]:
        return push_command(sys.argv[2:])
    family, arguments, run, given = parse(sys.argv[1:])
    # The Trainer would publish every checkpoint; here the model goes out once, whole, with its card.
    publishes, run.push_to_hub = run.push_to_hub, False
    if publishes:
        if not run.hub_model_id:
            sys.exit("--push_to_hub needs --hub_model_id user/name")
        with errors_in_a_line("not published"):
            check_target(run.hub_model_id, run.hub_token)
    try:
        carry_out(family, arguments, run, given)
    except Exception as error:  # each library has its own kind
        if not re.search(FULL_DISK, str(error)):
            raise
        reason = str(error).splitlines()[0]
        sys.exit(
            f"the disk is full: {run.output_dir} keeps what it had, --resume_from_checkpoint last goes on ({reason})"
        )
    # The model of several processes before their group: gloo may wait for ever where DDP is the last to hold it.
    gc.collect()
    PartialState().destroy_process_group()
    if publishes and run.process_index == 0:
        with errors_in_a_line("not published"):
            print(push(run.output_dir, run.hub_model_id, run.hub_private_repo, run.hub_token).commit_url)


if __name__ == "__main__":
    main()
