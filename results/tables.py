"""Writes the tables of README and of the README beside this script, and the pictures, from the JSON files there.

    python results/tables.py

Everything between `<!-- table: NAME -->` and `<!-- end -->` is replaced; `--check` only says whether it is up to date.
"""

import json
import re
import sys
from pathlib import Path

import yaml

import relevance_tables
from common import RESULTS, benchmark, interval, link, load, percent, seeds, table, training
from hf_calc.plotting import saliency_figure

PAGES = [RESULTS.parent / "README.md", RESULTS / "README.md"]
EXPERIMENTS = yaml.safe_load((RESULTS.parent / "recipes" / "experiments.yaml").read_text())  # what may not be run yet
ABLATIONS = EXPERIMENTS["ablations"] | EXPERIMENTS["ablations without argument loss"]
LEADS = EXPERIMENTS["open problem, leads"]

# Table 3 of Yoshikawa et al.: F1 and argument accuracy with bert-base-uncased.
PAPER = {
    "argmax_plain": (98.1, 0.6),
    "max_plain": (99.5, 1.8),
    "max_argmax_plain": (98.8, 9.1),
    "argmax_transfer": (92.2, 2.3),
    "max_transfer": (99.0, 100.0),
    "max_argmax_transfer": (98.9, 100.0),
}

# Table 4: F1 and argument accuracy by what the model was trained on; and F1 of BERT with span extraction.
PAPER_DIGITS = {
    ("argmax_generalization", False): "72.0 / -",
    ("argmax_generalization", True): "74.9 / 2.0",
    ("max_argmax_generalization", True): "78.5 / 99.8",
}

# Runs that tell most, and what they say.
SUMMARY = {
    "argmax_plain": "who has more",
    "max_plain_longer": "the larger amount",
    "max_argmax_plain_longer": "both kinds",
    "max_transfer": "the larger amount, after one person gave another some",
    "argmax_search_hidden": "who has more after that, learned from names alone",
    "max_argmax_transfer": "both kinds after that, learned as in the paper",
    "max_argmax_transfer_search_longest": "both, with comparisons searched for",
    "max_argmax_transfer_compare": "both, by a calculator that compares",
    "argmax_generalization_compare": "who has more of 7 digits, after 1 to 6, by that calculator",
}

WAYS = ("function", "mask_mentions", "hide_arguments", "digit_places")  # what the paper's models do not have


def ignoring(runs: list[dict], split: str = "validation") -> str:
    """What is right on the rows of runs if transfers are ignored (benchmarks/calculator_baselines.py)."""
    for row in benchmark("calculator_baselines")["rows"]:
        if runs and row["data"].items() <= runs[0]["settings"].items():
            return percent(row["right"][split])
    return "-"


def summary() -> str:
    """The calculator in a few rows."""
    runs, rows = {run["name"]: run for run in reversed(load("calc", "paper"))}, []
    for name, question in SUMMARY.items():
        if name not in runs:
            rows.append([question, *["not run"] * 2, "-"])
            continue
        run = runs[name]
        config, metrics = run["settings"]["dataset_config"], run["metrics"]
        paper = "{} / {}".format(*PAPER[config]) if config in PAPER else PAPER_DIGITS[config, True]
        rows.append(
            [f"[{question}]({run['path']})", percent(metrics["f1"]), percent(metrics["argument_accuracy"]), paper]
        )
    return table(["questions", "F1", "argument accuracy", "paper, F1 / argument accuracy"], rows)


def calculator_paper() -> str:
    """Runs at the paper's scale beside table 3."""
    rows, found = [], load("calc", "paper")
    for cell, paper in PAPER.items():
        runs = [run for run in found if run["settings"]["dataset_config"] == cell]
        if not runs:
            rows.append([cell, f"`{cell}`", "not run", "not run", "{} / {}".format(*paper), *"----"])
        for run in runs:
            metrics = run["metrics"]
            rows.append(
                [
                    link(run),
                    f"`{cell}`",
                    f"{metrics['f1']:.1f}",
                    percent(metrics.get("argument_accuracy")),
                    "{} / {}".format(*paper),
                    ignoring([run]),
                    f"{run['parameters'] / 1e6:.0f} M",
                    f"{run['steps']}",
                    training(run),
                ]
            )
    header = ["run", "data", "F1", "argument accuracy", "paper, F1 / argument accuracy", "transfers ignored"]
    return table([*header, "parameters", "steps", "training"], rows)


def calculator_digits(scale: str, group: str) -> str:
    """Numbers longer than any in training, of a group of experiments, at the paper's scale beside table 4."""
    rows, found = [], load("calc", scale)
    for name, options in EXPERIMENTS[group].items():
        if "_generalization" not in options.get("dataset_config", ""):  # a lesson
            continue
        key = options["dataset_config"], options.get("use_calculator", True)
        runs = [run for run in found if run["name"] == name]
        ways = [f"`{way}: {options[way]}`" for way in WAYS if options.get(way)]
        row = [name, f"`{key[0]}`", ", ".join(ways) or "-", seeds(runs)]
        for metrics in ("f1", "argument_accuracy"):
            values = [run["metrics"][metrics] for run in runs if metrics in run["metrics"]]
            row.append(interval(values, 1))
        paper = [PAPER_DIGITS[key]] if scale == "paper" else []
        rows.append([*row, *paper, ignoring(runs), ignoring(runs, "train")])
    header = ["run", "data", "beside the paper's", "seeds", "F1", "argument accuracy"]
    header += ["paper, F1 / argument accuracy"] if scale == "paper" else []
    return table([*header, "transfers ignored", "in training"], rows)


def calculator_errors(scale: str) -> str:
    """Where the answers of all runs that counted it are wrong, also by what tells the two amounts apart."""
    counted = [(run, *item) for run in load("calc", scale) for item in run["metrics"].get("errors", {}).items()]
    digits = {apart for *_, errors in counted for apart in errors["by"] if apart.startswith("digit")}
    digits = sorted(digits, key=lambda apart: int(apart.removeprefix("digit ")))
    names = ("examples", "wrong", "other", "wrong_arguments", "wrong_reading")
    rows = []
    for run, kind, errors in counted:
        row = [link(run), kind, *(f"{errors[name]:,}" if name in errors else "-" for name in names)]
        for apart in ("length", *digits):
            parts = [part for name, part in errors["by"].items() if name.split(" by ")[0] == apart]
            wrong, examples = (sum(part[name] for part in parts) for name in ("wrong", "examples"))
            row.append(f"{wrong:,} of {examples:,}" if parts else "-")
        rows.append(row)
    header = ["run", "question", "examples", "wrong", "the other one", "wrong arguments", "wrong by right arguments"]
    return table([*header, "lengths differ", *(f"{digit} differs" for digit in digits)], rows)


def calculator_saliency() -> str:
    """How much of the saliency lies on the numbers asked for, of runs at the paper's scale that measured it."""
    names = ("of_numbers", "by_length", "of_all", "first_digits", "calculator")
    rows = []
    for run in load("calc", "paper"):
        for kind, shares in run["metrics"].get("saliency", {}).items():
            row = [link(run), kind, f"{shares['examples']:,}"]
            rows.append([*row, *(percent(shares[name]) for name in names)])
    header = ["run", "question", "examples", "of all numbers'", "if each digit had the same", "of all tokens'"]
    return table([*header, "of it on first digits", "on the result, of all tokens'"], rows)


def draw_saliency(folder: Path) -> None:
    """The first validation example of a run, as figure 2: what `hf-calc explain --json` printed (results/saliency)."""
    for path in sorted((RESULTS / "saliency").glob("*.json")):
        found = json.loads(path.read_text())
        figure = saliency_figure(found["tokens"], found["saliency"], found["question"])
        figure.savefig(folder / f"saliency_{path.stem}.png", dpi=80)


def changes(experiments: dict[str, dict]) -> str:
    """Experiments at small scale, each by what it changes of the first of them."""
    base, rows, found = next(iter(experiments.values())), [], load("calc", "small")
    for experiment, options in experiments.items():
        runs = [run for run in found if run["name"] == experiment]
        changed = {key: value for key, value in options.items() if key != "seeds" and base.get(key) != value}
        row = [experiment, ", ".join(f"`{key}: {value}`" for key, value in changed.items()) or "-", seeds(runs)]
        metrics = [run["metrics"] for run in runs]
        use = [one["use"]["original"] for one in metrics if "use" in one]
        columns = [
            [one["f1"] for one in metrics],
            [one["argument_accuracy"] for one in metrics if "argument_accuracy" in one],
        ]
        columns += [[one[condition]["f1"] for one in use if condition in one] for condition in ("off", "shuffled")]
        rows.append([*row, *(interval(values, 1) for values in columns), ignoring(runs)])
    header = ["run", "what is changed", "seeds", "F1", "argument accuracy", "F1, off", "F1, shuffled"]
    return table([*header, "transfers ignored"], rows)


def calculator_small() -> str:
    """Smaller runs, but those that have a table of their own."""
    rows = []
    for run in load("calc", "small"):
        if run["name"] in ABLATIONS | LEADS or run["settings"]["dataset_config"].endswith("_generalization"):
            continue
        settings, metrics = run["settings"], run["metrics"]
        examples = run.get("examples", {"train": settings["train_size"]})  # the first runs did not write it
        rows.append(
            [
                link(run),
                settings["dataset_config"],
                f"{settings['owners']} x {settings['digits']}",
                f"{examples['train']:,} / {settings['validation_size']:,}",
                f"{run.get('trained_parameters', run['parameters']) / 1e6:.1f} M",
                f"{metrics['f1']:.1f}",
                percent(metrics.get("argument_accuracy")),
                ignoring([run]),
                training(run, 1),
            ]
        )
    header = ["run", "data", "owners x digits", "examples", "trained parameters", "F1", "argument accuracy"]
    return table([*header, "transfers ignored", "training"], rows)


def calculator_use() -> str:
    """F1 with the calculator's result as it is and with others, of all runs that measured it."""
    conditions = ("as_is", "off", "shuffled", "wrong")
    rows, found = [], [run for scale in ("paper", "small", "drop") for run in load("calc", scale)]
    for run in (run for run in found if run["name"] not in ABLATIONS | LEADS):
        for numbers, use in run["metrics"].get("use", {}).items():
            rows.append([link(run), numbers, f"{use['examples']:,}"])
            rows[-1] += [percent(use.get(condition, {}).get("f1")) for condition in conditions]
            rows[-1].append(percent(use["as_is"].get("argument_accuracy")))
    header = ["run", "numbers", "examples", *(f"F1, {condition.replace('_', ' ')}" for condition in conditions)]
    return table([*header, "argument accuracy, as is"], rows)


def drop_runs() -> dict[str, dict | None]:
    """The first run of each experiment on DROP, None of one that was not run."""
    runs = {run["name"]: run for run in reversed(load("calc", "drop"))}
    return {name: runs.get(name) for name in EXPERIMENTS["drop"]}


def drop_reach() -> dict:
    """What of DROP's validation part, not the Hub's, can be answered without a model (benchmarks/drop.py)."""
    path = RESULTS / "drop" / "reach.json"
    return (
        json.loads(path.read_text())["validation"] if path.exists() else {"old_answers_to_swapped": {}, "digits": {}}
    )


def drop_swapped() -> str:
    """Table 1 of Yoshikawa et al.: questions of DROP as they are, and the same with their numbers swapped."""
    old_answers, rows = drop_reach()["old_answers_to_swapped"], []
    rows.append(["the paper's", "comparison", "300", "79.4", "20.2", "-59.2", *"---"])
    for name, run in drop_runs().items():
        if run is None:
            rows.append([name, *["not run"] * 8])
            continue
        for kind, as_is in run["metrics"]["by"]["original_numbers"].items():
            swapped = run["metrics"]["by"]["swapped_numbers"][kind]
            scores = [group[name] for name in ("f1", "exact_match") for group in (as_is, swapped)]
            change = f"{scores[1] - scores[0]:+.1f}"
            old = old_answers.get(kind, {})
            old = percent(old["f1"] if old.get("examples") == as_is["examples"] else None)
            figures = [*map(percent, scores)]
            rows.append([link(run), kind, f"{as_is['examples']:,}", *figures[:2], change, old, *figures[2:]])
    header = ["run", "questions", "examples", "F1, as they are", "F1, numbers swapped", "change"]
    return table([*header, "F1 of the old answers", "exact match, as they are", "exact match, swapped"], rows)


def drop_types() -> str:
    """What can be answered (benchmarks/drop.py) and what was, by type of answer and of question."""
    run, rows = drop_runs()["drop"], []
    for column, kinds in drop_reach()["digits"].items():
        for kind, ways in kinds.items():
            total = sum(ways.values())
            shares = [percent(100 * ways[way] / total) for way in ("span", "calculation", "none")]
            scores = run["metrics"]["by"][column].get(kind, {}) if run else {}
            is_same = scores.get("examples") == total  # not on the Hub's split
            scores = [percent(scores[name]) if is_same else "not run" for name in ("exact_match", "f1")]
            rows.append([f"{column.split('_')[0]}: {kind}", f"{total:,}", *shares, *scores])
    return table(["type", "examples", "a span, %", "a calculation, %", "neither, %", "exact match", "F1"], rows)


def estimators() -> str:
    """Bias and variance of the gradient's estimators (benchmarks/estimators.py)."""
    objectives = {"loss": "mean loss (3)", "likelihood": "likelihood (4)"}
    rows = []
    for row in benchmark("estimators")["rows"]:
        figures = [f"{row['cosine']:.3f}", f"{row['norm']:.3f}", f"{row['deviation']:.2f}"]
        rows.append([row["label"], str(row["passes"]), objectives[row["objective"]], *figures])
    return table(["estimator", "reader passes", "gradient of", "cosine", "norm", "standard deviation"], rows)


def symbolic_layer(name: str) -> str:
    """The layer beside two other ways to compute the same (benchmarks/symbolic_layer.py)."""
    methods = ("symbolic layer", "mixed embeddings", "one-hot sum")
    rows = []
    for row in benchmark(name)["rows"]:
        seconds, memory = row["seconds"], row["peak_mb"]
        rows.append([str(row["candidates"]), f"{row['candidate_ids_mb']:.2f}"])
        rows[-1] += [f"{seconds[m] * 1000:.1f}" if m in seconds else "too large" for m in methods]
        rows[-1] += [f"{memory[m]:.1f}" if m in memory else "too large" for m in methods]
    header = ["D", "candidate ids, MB", *(f"{m}, ms" for m in methods), *(f"{m}, MB" for m in methods)]
    return table(header, rows)


def relevance_step() -> str:
    """A training step by four ways to the gradient (benchmarks/relevance_step.py)."""
    rows = []
    for row in benchmark("relevance_step")["rows"]:
        ratios = [f"{ratio:.3f}" for way, ratio in row["ratio"].items() if way != "cross entropy"]
        rows.append([str(row["tokens"]), f"{row['seconds']['cross entropy'] * 1000:.1f}", *ratios])
    ways = ["closed form", "autograd at the hidden states", "autograd at the embeddings"]
    return table(["T", "cross entropy, ms a step", *(f"{way}, ratio" for way in ways)], rows)


def adversarial() -> str:
    """The search for other attentions over a batch and one text at a time (benchmarks/adversarial.py)."""
    rows = []
    for row in benchmark("adversarial")["rows"]:
        figures = [*(f"{row['seconds'][way]:.2f}" for way in ("batch", "one at a time")), f"{row['ratio']:.1f}"]
        rows.append([str(row["tokens"]), str(row["texts"]), *figures])
    header = ["T", "texts", "batch, s", "one at a time, s", "ratio"]
    return table(header, rows)


def train_step() -> str:
    """A step of the calculator model beside two plain passes of its encoder (benchmarks/train_step.py)."""
    rows = []
    for row in benchmark("train_step")["rows"]:
        ratio = row["ratio"]
        figures = [row["seconds"]["two passes"], ratio["again"], ratio["calculator model"]]
        rows.append([str(row["candidates"]), "{} and {}".format(*row["tokens"]), *(f"{n:.3f}" for n in figures)])
    return table(["D", "tokens a row", "two passes, s a step", "again, ratio", "calculator model, ratio"], rows)


def export() -> str:
    """Rows written as Parquet by one process and by two (benchmarks/calculator_qa.py)."""
    rows = []
    for run in benchmark("calculator_qa").get("export", []):
        figures = [run["rows_per_second"], run["peak_mb"], run["peak_mb_shared_for_each"], run["written_mb"]]
        rows.append([str(run["processes"]), f"{run['rows']:,}", *(f"{figure:,.0f}" for figure in figures)])
    header = ["processes", "rows", "rows a second", "peak memory, MB", "shared pages for each, MB", "written, MB"]
    return table(header, rows)


def pipeline() -> str:
    """Questions a second by the pipeline and by other ways (benchmarks/pipeline.py)."""
    run = benchmark("pipeline")
    seconds = run.get("seconds", {})
    rows = [
        [way, f"{run['questions'] / taken:.1f}", f"{seconds['single calls'] / taken:.2f}"]
        for way, taken in seconds.items()
    ]
    return table(["way", "questions a second", "times single calls"], rows)


TABLES = {
    "summary": summary,
    "calculator, paper scale": calculator_paper,
    "calculator, small scale": calculator_small,
    "calculator, digits": lambda: calculator_digits("paper", "table 4"),
    "calculator, errors": lambda: calculator_errors("paper"),
    "calculator, few digits": lambda: calculator_digits("small", "few digits"),
    "calculator, few digits, errors": lambda: calculator_errors("small"),
    "calculator, saliency": calculator_saliency,
    "calculator, leads": lambda: changes(LEADS),
    "calculator, ablations": lambda: changes(ABLATIONS),
    "calculator, use": calculator_use,
    "drop, swapped": drop_swapped,
    "drop, types": drop_types,
    "relevance, accuracy": relevance_tables.relevance_accuracy,
    "relevance, agreement": relevance_tables.relevance_agreement,
    "relevance, search": relevance_tables.relevance_search,
    "relevance, robustness": relevance_tables.relevance_robustness,
    "relevance, small scale": relevance_tables.relevance_small,
    "relevance step": relevance_step,
    "adversarial": adversarial,
    "pipeline": pipeline,
    "export": export,
    "train step": train_step,
    "symbolic layer": lambda: symbolic_layer("symbolic_layer"),
    "symbolic layer, embedding gradient": lambda: symbolic_layer("symbolic_layer_embedding_gradient"),
    "estimators": estimators,
}


def render(page: Path) -> str:
    """A page with its tables made anew."""

    def made(found: re.Match) -> str:
        rows = TABLES[found["name"]]()
        # Tables link from the root.
        return f"{found[1]}{rows.replace('](results/', '](') if page.parent == RESULTS else rows}\n{found[3]}"

    return re.sub(r"(<!-- table: (?P<name>.+?) -->\n).*?(<!-- end -->)", made, page.read_text(), flags=re.DOTALL)


if __name__ == "__main__":
    pages = {page: render(page) for page in PAGES}
    if "--check" in sys.argv:
        stale = [str(page) for page, text in pages.items() if page.read_text() != text]
        sys.exit(f"not the tables of results/ in {', '.join(stale)}: python results/tables.py" if stale else 0)
    for page, text in pages.items():
        page.write_text(text)
    draw_saliency(RESULTS / "pictures")
    relevance_tables.draw_correlations(RESULTS / "pictures")
    relevance_tables.draw_weights(RESULTS / "pictures")
