"""Runs what of recipes/experiments.yaml has no results yet, in its order: `python reproduce.py`.

Stop it at any point: what has its results file is done, and the same command goes on, with a run that was cut off from
its last checkpoint. Words pick runs by a part of `group/name-seed0`; options of train.py are handed on:

    python reproduce.py --list
    python reproduce.py "table 3"
    python reproduce.py "table 3" --results_dir results_bert --runs_dir runs_bert --encoder=bert-base-uncased
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parent
EXPERIMENTS = ROOT / "recipes" / "experiments.yaml"


class Run(NamedTuple):
    """One run of an experiment: its group, name and seed, its recipe and the options that win over the recipe's.

    `after` is the experiment from whose model, of the same seed, it goes on, or which labels its texts, or None.
    """

    group: str
    name: str
    seed: int
    recipe: str
    options: dict
    after: str | None = None

    def __str__(self) -> str:
        return f"{self.group}/{self.folder}"

    @property
    def results(self) -> Path:
        """Its results file, in the folder of all results."""
        return Path(self.recipe).parent / f"{self.folder}.json"

    @property
    def folder(self) -> str:
        """The folder of its model and checkpoints, in that of all runs."""
        return f"{self.name}-seed{self.seed}"

    def command(self, results_dir: Path, runs_dir: Path, more: list[str]) -> list[str]:
        """The words that run it, or go on with it."""
        options = self.options | {"name": self.name, "seed": self.seed, "results_dir": results_dir}
        options |= {"output_dir": runs_dir / self.folder, "resume_from_checkpoint": "last"}
        words = [sys.executable, "-m", "accelerate.commands.launch", "train.py", f"recipes/{self.recipe}"]
        for name, value in options.items():
            words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
        # Of an option given twice, the last one counts.
        model = {"calc": "encoder", "relevance": "teacher"}[self.results.parts[0]]
        return words + more + ([f"--{model}={runs_dir / self.after}-seed{self.seed}"] if self.after else [])


def read_runs(path: Path = EXPERIMENTS) -> list[Run]:
    """All runs in their order: group by group, of each the first seeds of all experiments before the second ones."""
    runs = []
    for group, experiments in yaml.safe_load(path.read_text()).items():
        places = []
        for name, facts in experiments.items():
            options = {key: value for key, value in facts.items() if key not in ("recipe", "seeds", "after")}
            for place, seed in enumerate(facts.get("seeds", [0])):
                places.append((place, Run(group, name, seed, facts["recipe"], options, facts.get("after"))))
        runs += [run for _, run in sorted(places, key=lambda pair: pair[0])]
    return runs


def with_models_before(run: Run, runs: list[Run], runs_dir: Path) -> list[Run]:
    """The run, and before it those whose models it needs as far as these are not there, results or not."""
    before = [other for other in runs if (other.name, other.seed) == (run.after, run.seed)]
    if not before or (runs_dir / before[0].folder / "config.json").exists():
        return [run]
    return [*with_models_before(before[0], runs, runs_dir), run]


def state(run: Run, results_dir: Path, runs_dir: Path) -> str:
    """`done`, with all reports that are wanted, `cut off` (with a checkpoint to go on from) or `not run`."""
    path = results_dir / run.results
    wanted = {name[len("report_") :] for name, value in run.options.items() if value and name.startswith("report_")}
    if path.exists() and wanted <= json.loads(path.read_text())["metrics"].keys():
        return "done"
    return "cut off" if any((runs_dir / run.folder).glob("checkpoint-*")) else "not run"


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs the experiments that have no results yet.", allow_abbrev=False)
    parser.add_argument("words", nargs="*", help="only runs with one of these in `group/name-seed0`")
    parser.add_argument("--list", action="store_true", help="say what is done and what is not, and run nothing")
    parser.add_argument("--results_dir", type=Path, default=Path("results"), help="folder of the results files")
    parser.add_argument("--runs_dir", type=Path, default=Path("runs"), help="folder of models and checkpoints")
    arguments, more = parser.parse_known_args()
    places = [(ROOT / folder).absolute() for folder in (arguments.results_dir, arguments.runs_dir)]
    if stray := [word for word in more if not re.fullmatch(r"--\w+=.*", word)]:
        parser.error(f"options of train.py are handed on as --option=value, got {' '.join(stray)}")
    runs, words = read_runs(), arguments.words or [""]
    for word in words:
        if not any(word in str(run) for run in runs):
            sys.exit(f"no run has {word!r} in its name: `python reproduce.py --list` lists all")
    failed = []
    for wanted in runs:
        if not any(word in str(wanted) for word in words):
            continue
        now = state(wanted, *places)
        if arguments.list or now == "done":
            print(f"{now:8} {wanted}")
            continue
        for run in with_models_before(wanted, runs, places[1]):
            handed_on = [word for word in more if run.group == wanted.group or not word.startswith("--data_dir=")]
            command = run.command(*places, handed_on)
            print("running ", run, "\n ", *command[3:], flush=True)
            if subprocess.run(command, cwd=ROOT).returncode:
                failed.append(str(run))
                break
            for checkpoint in (places[1] / run.folder).glob("checkpoint-*"):
                shutil.rmtree(checkpoint)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; the same command tries again")


if __name__ == "__main__":
    main()
