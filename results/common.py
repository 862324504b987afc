"""What the scripts beside this one share: results files read, numbers and links as cells, tables in Markdown."""

import json
from pathlib import Path
from statistics import mean, stdev

from scipy import stats

RESULTS = Path(__file__).parent


def load(family: str, scale: str) -> list[dict]:
    """The results of a family at one scale, by name and seed, each with its `path` from the repository's root."""
    paths = sorted((RESULTS / family).glob("*.json"))
    runs = [json.loads(path.read_text()) | {"path": path.relative_to(RESULTS.parent).as_posix()} for path in paths]
    return [run for run in runs if run["scale"] == scale]


def benchmark(name: str) -> dict:
    """What a script of benchmarks/ wrote; no rows where it was not run."""
    path = RESULTS / "benchmarks" / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {"rows": []}


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table that says where there are no rows; numbers stand right."""
    ruler = ["---" if index == 0 else "---:" for index in range(len(header))]
    rows = rows or [["not run", *"-" * (len(header) - 1)]]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ruler, *rows])


def percent(value: float | None) -> str:
    """A percentage, or a dash where there is none: a baseline chooses no arguments."""
    return "-" if value is None else f"{value:.1f}"


def interval(values: list[float], digits: int) -> str:
    """Mean and half the 95% interval of the mean by Student's t; of one value that alone, of none a dash."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}" if values else "-"
    half = stats.t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return f"{mean(values):.{digits}f} ± {half:.{digits}f}"


def link(run: dict) -> str:
    """A run by name and seed, with its results file."""
    return f"[{run['name']}, seed {run['seed']}]({run['path']})"


def training(run: dict, digits: int = 0) -> str:
    """How long a run trained, on what."""
    hardware = run["hardware"]
    count = hardware.get("gpus", hardware["cpus"])
    return f"{run['seconds'] / 60:.{digits}f} min, {count} x {hardware['device']}"


def seeds(runs: list[dict]) -> str:
    """The seeds of runs, each with its results file, or that there are none."""
    return " ".join(f"[{run['seed']}]({run['path']})" for run in runs) or "not run"
