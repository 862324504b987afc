"""Writes README's result tables from the JSON files beside this script: `python results/tables.py`.

Everything between `<!-- table: NAME -->` and `<!-- end -->` is replaced; `--check` only says whether it is up to date.
"""

import json
import sys
from pathlib import Path

RESULTS = Path(__file__).parent
README = RESULTS.parent / "README.md"

# Table 3 of Yoshikawa et al.: F1 and argument accuracy with bert-base-uncased.
PAPER = {
    "argmax_plain": (98.1, 0.6),
    "max_plain": (99.5, 1.8),
    "max_argmax_plain": (98.8, 9.1),
    "argmax_transfer": (92.2, 2.3),
    "max_transfer": (99.0, 100.0),
    "max_argmax_transfer": (98.9, 100.0),
}


def load(family: str, scale: str) -> list[dict]:
    """The results of a family at one scale, by name and seed, each with its `path` from the repository's root."""
    paths = sorted((RESULTS / family).glob("*.json"))
    runs = [json.loads(path.read_text()) | {"path": path.relative_to(RESULTS.parent).as_posix()} for path in paths]
    return [run for run in runs if run["scale"] == scale]


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; numbers stand right."""
    ruler = ["---" if index == 0 else "---:" for index in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ruler, *rows])


def percent(value: float | None) -> str:
    """A percentage, or a dash where there is none: a baseline chooses no arguments."""
    return "-" if value is None else f"{value:.1f}"


def calculator_paper() -> str:
    """Runs at the paper's scale beside table 3."""
    rows = []
    for run in load("calc", "paper"):
        metrics, paper = run["metrics"], PAPER.get(run["settings"]["dataset_config"], ("-", "-"))
        rows.append(
            [
                f"[{run['name']}, seed {run['seed']}]({run['path']})",
                f"{metrics['f1']:.1f}",
                percent(metrics.get("argument_accuracy")),
                "{} / {}".format(*paper),
                f"{run['parameters'] / 1e6:.0f} M",
                f"{run['steps']}",
                f"{run['seconds'] / 60:.0f} min, {run['hardware']['cpus']} x {run['hardware']['device']}",
            ]
        )
    header = ["run", "F1", "argument accuracy", "paper", "parameters", "steps", "training"]
    return table(header, rows)


def calculator_small() -> str:
    """Smaller runs."""
    rows = []
    for run in load("calc", "small"):
        settings, metrics = run["settings"], run["metrics"]
        rows.append(
            [
                f"[{run['name']}, seed {run['seed']}]({run['path']})",
                f"{settings['owners']} x {settings['digits']}",
                f"{settings['train_size']:,} / {settings['validation_size']:,}",
                f"{metrics['f1']:.1f}",
                percent(metrics.get("argument_accuracy")),
                f"{run['seconds'] / 60:.1f} min, {run['hardware']['cpus']} x {run['hardware']['device']}",
            ]
        )
    return table(["run", "owners x digits", "examples", "F1", "argument accuracy", "training"], rows)


def symbolic_layer(name: str) -> str:
    """The layer beside two other ways to compute the same (benchmarks/symbolic_layer.py)."""
    methods = ("symbolic layer", "mixed embeddings", "one-hot sum")
    rows = []
    for row in json.loads((RESULTS / "benchmarks" / f"{name}.json").read_text())["rows"]:
        seconds, memory = row["seconds"], row["peak_mb"]
        rows.append([str(row["candidates"]), f"{row['candidate_ids_mb']:.2f}"])
        rows[-1] += [f"{seconds[m] * 1000:.1f}" if m in seconds else "too large" for m in methods]
        rows[-1] += [f"{memory[m]:.1f}" if m in memory else "too large" for m in methods]
    header = ["D", "candidate ids, MB", *(f"{m}, ms" for m in methods), *(f"{m}, MB" for m in methods)]
    return table(header, rows)


TABLES = {
    "calculator, paper scale": calculator_paper,
    "calculator, small scale": calculator_small,
    "symbolic layer": lambda: symbolic_layer("symbolic_layer"),
    "symbolic layer, embedding gradient": lambda: symbolic_layer("symbolic_layer_embedding_gradient"),
}


def render(text: str) -> str:
    """README with its tables made anew."""
    for name, make in TABLES.items():
        start, end = f"<!-- table: {name} -->", "<!-- end -->"
        before, rest = text.split(start)
        text = f"{before}{start}\n{make()}\n{rest[rest.index(end) :]}"
    return text


if __name__ == "__main__":
    text = README.read_text()
    if "--check" in sys.argv:
        sys.exit(0 if render(text) == text else "README's tables are not those of results/: python results/tables.py")
    README.write_text(render(text))
