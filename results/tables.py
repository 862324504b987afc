"""Writes README's result tables and pictures from the JSON files beside this script: `python results/tables.py`.

Everything between `<!-- table: NAME -->` and `<!-- end -->` is replaced; `--check` only says whether it is up to date.
"""

import json
import sys
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from scipy import stats

from hf_relevance.plotting import correlation_figure

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

# Accuracy and F1 of Kitada and Iyatomi (poster) without and with the relevance loss, and accuracy, macro F1 (in %) and
# Kendall tau of attention with the embedding gradient of Jain and Wallace's code.
POSTER = {
    "sst2": {"none": (75.78, 74.13), "softmax": (79.13, 78.75)},
    "imdb": {"none": (87.10, 86.70), "softmax": (87.19, 86.95)},
    "newsgroups": {"none": (92.51, 92.39), "softmax": (94.57, 94.68)},
}
JAIN_WALLACE = {"sst2": (80.8, 80.6, 0.351), "imdb": (89.8, 89.8, 0.437), "newsgroups": (92.2, 92.1, 0.130)}
MEASURES = ("hidden_gradient", "embedding_gradient", "leave_one_out")


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
        examples = run.get("examples", {"train": settings["train_size"]})  # the first runs did not write it
        rows.append(
            [
                f"[{run['name']}, seed {run['seed']}]({run['path']})",
                settings["dataset_config"],
                f"{settings['owners']} x {settings['digits']}",
                f"{examples['train']:,} / {settings['validation_size']:,}",
                f"{run.get('trained_parameters', run['parameters']) / 1e6:.1f} M",
                f"{metrics['f1']:.1f}",
                percent(metrics.get("argument_accuracy")),
                f"{run['seconds'] / 60:.1f} min, {run['hardware']['cpus']} x {run['hardware']['device']}",
            ]
        )
    header = [
        "run",
        "data",
        "owners x digits",
        "examples",
        "trained parameters",
        "F1",
        "argument accuracy",
        "training",
    ]
    return table(header, rows)


def calculator_use() -> str:
    """F1 with the calculator's result as it is and with others, of all runs that measured it."""
    conditions = ("as_is", "off", "shuffled", "wrong")
    rows = []
    for run in load("calc", "paper") + load("calc", "small"):
        for numbers, use in run["metrics"].get("use", {}).items():
            rows.append([f"[{run['name']}, seed {run['seed']}]({run['path']})", numbers, f"{use['examples']:,}"])
            rows[-1] += [percent(use.get(condition, {}).get("f1")) for condition in conditions]
            rows[-1].append(percent(use["as_is"].get("argument_accuracy")))
    header = ["run", "numbers", "examples", *(f"F1, {condition.replace('_', ' ')}" for condition in conditions)]
    return table([*header, "argument accuracy, as is"], rows)


def drop_runs() -> dict[str, dict | None]:
    """The first run of each recipe on DROP, None of one that was not run."""
    runs = {run["name"]: run for run in reversed(load("calc", "drop"))}
    return {name: runs.get(name) for name in ("drop_numbers", "drop")}


def drop_swapped() -> str:
    """Table 1 of Yoshikawa et al.: questions of DROP as they are, and the same with their numbers swapped."""
    rows = [["the paper's", "comparison", "300", "79.4", "20.2", "-59.2"]]
    for name, run in drop_runs().items():
        if run is None:
            rows.append([name, *["not run"] * 5])
            continue
        for kind, as_is in run["metrics"]["by"]["original_numbers"].items():
            f1 = as_is["f1"], run["metrics"]["by"]["replaced_numbers"][kind]["f1"]
            figures = [f"{as_is['examples']:,}", *map(percent, f1), f"{f1[1] - f1[0]:+.1f}"]
            rows.append([f"[{name}, seed {run['seed']}]({run['path']})", kind, *figures])
    return table(["run", "questions", "examples", "F1, as they are", "F1, numbers swapped", "change"], rows)


def drop_types() -> str:
    """What can be answered (benchmarks/drop.py) and what was, by type of answer and of question."""
    path, run = RESULTS / "drop" / "reach.json", drop_runs()["drop"]
    if not path.exists():
        return table(["type"], [["not run"]])
    reach, rows = json.loads(path.read_text())["validation"]["digits"], []
    for column, kinds in reach.items():
        for kind, ways in kinds.items():
            total = sum(ways.values())
            shares = [percent(100 * ways[way] / total) for way in ("span", "calculation", "none")]
            scores = run["metrics"]["by"][column][kind] if run else {}
            scores = [percent(scores[name]) if run else "not run" for name in ("exact_match", "f1")]
            rows.append([f"{column.split('_')[0]}: {kind}", f"{total:,}", *shares, *scores])
    return table(["type", "examples", "a span, %", "a calculation, %", "neither, %", "exact match", "F1"], rows)


def relevance_groups() -> dict[tuple[str, str], list[dict]]:
    """Runs on the poster's corpora by corpus and loss (none, softmax or l1), in order of seeds."""
    groups = {}
    for run in load("relevance", "paper"):
        settings = run["settings"]
        loss = settings["relevance_normalizer"] if settings["relevance_weight"] else "none"
        groups.setdefault((settings["dataset"], loss), []).append(run)
    order = sorted(groups, key=lambda key: ([*POSTER].index(key[0]), ("none", "softmax", "l1").index(key[1])))
    return {key: sorted(groups[key], key=lambda run: run["seed"]) for key in order}


def interval(values: list[float], digits: int) -> str:
    """Mean and half the 95% interval of the mean by Student's t; of a single run the value alone."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    half = stats.t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return f"{mean(values):.{digits}f} ± {half:.{digits}f}"


def relevance_accuracy() -> str:
    """Accuracy and F1 on the test splits beside both papers."""
    rows, groups = [], relevance_groups()
    for (corpus, loss), runs in groups.items():
        baseline = {run["seed"]: run["metrics"]["test"]["accuracy"] for run in groups.get((corpus, "none"), [])}
        accuracy = {run["seed"]: run["metrics"]["test"]["accuracy"] for run in runs}
        gains = [accuracy[seed] - baseline[seed] for seed in accuracy.keys() & baseline.keys() if loss != "none"]
        rows.append(
            [
                corpus,
                loss,
                " ".join(f"[{run['seed']}]({run['path']})" for run in runs),
                interval([*accuracy.values()], 1),
                interval(gains, 1) if gains else "-",
                interval([run["metrics"]["test"]["macro_f1"] for run in runs], 1),
                interval([run["metrics"]["test"]["binary_f1"] for run in runs], 1),
                "{:.2f} / {:.2f}".format(*POSTER[corpus][loss]) if loss in POSTER[corpus] else "-",
                "{:.1f} / {:.1f}".format(*JAIN_WALLACE[corpus][:2]) if loss == "none" else "-",
            ]
        )
    header = ["corpus", "relevance loss", "seeds", "accuracy", "over none, paired", "macro F1", "binary F1"]
    return table([*header, "poster, accuracy / F1", "Jain & Wallace, accuracy / macro F1"], rows)


def relevance_agreement() -> str:
    """Rank correlation of attention with three measures of importance, and the entropies."""
    rows = []
    for (corpus, loss), runs in relevance_groups().items():
        agreement = {measure: [run["metrics"]["agreement"][measure] for run in runs] for measure in MEASURES}
        row = [corpus, loss]
        for measure in MEASURES:
            row += [interval([one[name] for one in agreement[measure]], 2) for name in ("kendall_tau", "spearman_rho")]
        row.append(interval([one["attention_entropy"] for one in agreement["hidden_gradient"]], 3))
        row.append(interval([one["importance_entropy"] for one in agreement["hidden_gradient"]], 3))
        logged = [run["metrics"]["training"]["target_entropy"] for run in runs if run["metrics"]["training"]]
        rows.append([*row, interval(logged, 3) if logged else "-"])
    names = [name.replace("_", " ") for name in MEASURES]
    header = ["corpus", "relevance loss", *(f"{sign}, {name}" for name in names for sign in ("tau", "rho"))]
    return table([*header, "entropy, attention", "entropy, hidden gradient", "entropy, target"], rows)


def relevance_small() -> str:
    """Runs on made-up reviews, adapters among them."""
    rows = []
    for run in load("relevance", "small"):
        metrics = run["metrics"]
        agreement = [metrics["agreement"][measure] for measure in MEASURES]
        row = [f"[{run['name']}, seed {run['seed']}]({run['path']})", f"{run['trained_parameters']:,}"]
        row += [f"{metrics['test']['accuracy']:.1f}", *(f"{one['kendall_tau']:.2f}" for one in agreement)]
        rows.append([*row, f"{agreement[0]['attention_entropy']:.3f}", f"{run['seconds']:.0f} s"])
    header = ["run", "trained parameters", "accuracy", *(f"tau, {name.replace('_', ' ')}" for name in MEASURES)]
    return table([*header, "entropy, attention", "training"], rows)


def draw_correlations() -> None:
    """For each corpus how Kendall's tau with the embedding gradient is distributed, all seeds together."""
    for corpus in POSTER:
        histograms = {}
        for (name, loss), runs in relevance_groups().items():
            if name == corpus:
                counts = [run["metrics"]["agreement"]["embedding_gradient"]["kendall_tau_histogram"] for run in runs]
                histograms[{"none": "without the loss"}.get(loss, f"{loss} target")] = np.sum(counts, 0).tolist()
        if histograms:
            figure = correlation_figure(histograms, f"{corpus}: attention and the embedding gradient")
            figure.savefig(RESULTS / "pictures" / f"correlations_{corpus}.png", dpi=80)


def estimators() -> str:
    """Bias and variance of the gradient's estimators (benchmarks/estimators.py)."""
    objectives = {"loss": "mean loss (3)", "likelihood": "likelihood (4)"}
    rows = []
    for row in json.loads((RESULTS / "benchmarks" / "estimators.json").read_text())["rows"]:
        figures = [f"{row['cosine']:.3f}", f"{row['norm']:.3f}", f"{row['deviation']:.2f}"]
        rows.append([row["label"], str(row["passes"]), objectives[row["objective"]], *figures])
    return table(["estimator", "reader passes", "gradient of", "cosine", "norm", "standard deviation"], rows)


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


def relevance_step() -> str:
    """A training step by four ways to the gradient (benchmarks/relevance_step.py)."""
    rows = []
    for row in json.loads((RESULTS / "benchmarks" / "relevance_step.json").read_text())["rows"]:
        ratios = [f"{ratio:.3f}" for way, ratio in row["ratio"].items() if way != "cross entropy"]
        rows.append([str(row["tokens"]), f"{row['seconds']['cross entropy'] * 1000:.1f}", *ratios])
    ways = ["closed form", "autograd at the hidden states", "autograd at the embeddings"]
    return table(["T", "cross entropy, ms a step", *(f"{way}, ratio" for way in ways)], rows)


def train_step() -> str:
    """A step of the calculator model beside two plain passes of its encoder (benchmarks/train_step.py)."""
    rows = []
    for row in json.loads((RESULTS / "benchmarks" / "train_step.json").read_text())["rows"]:
        ratio = row["ratio"]
        figures = [row["seconds"]["two passes"], ratio["again"], ratio["calculator model"]]
        rows.append([str(row["candidates"]), "{} and {}".format(*row["tokens"]), *(f"{n:.3f}" for n in figures)])
    return table(["D", "tokens a row", "two passes, s a step", "again, ratio", "calculator model, ratio"], rows)


def export() -> str:
    """Rows written as Parquet by one process and by two (benchmarks/calculator_qa.py)."""
    rows = []
    for run in json.loads((RESULTS / "benchmarks" / "calculator_qa.json").read_text())["export"]:
        figures = [run["rows_per_second"], run["peak_mb"], run["peak_mb_shared_for_each"], run["written_mb"]]
        rows.append([str(run["processes"]), f"{run['rows']:,}", *(f"{figure:,.0f}" for figure in figures)])
    header = ["processes", "rows", "rows a second", "peak memory, MB", "shared pages for each, MB", "written, MB"]
    return table(header, rows)


def pipeline() -> str:
    """Questions a second by the pipeline and by other ways (benchmarks/pipeline.py)."""
    run = json.loads((RESULTS / "benchmarks" / "pipeline.json").read_text())
    single = run["seconds"]["single calls"]
    rows = [[way, f"{run['questions'] / taken:.1f}", f"{single / taken:.2f}"] for way, taken in run["seconds"].items()]
    return table(["way", "questions a second", "times single calls"], rows)


TABLES = {
    "calculator, paper scale": calculator_paper,
    "calculator, small scale": calculator_small,
    "calculator, use": calculator_use,
    "drop, swapped": drop_swapped,
    "drop, types": drop_types,
    "relevance, accuracy": relevance_accuracy,
    "relevance, agreement": relevance_agreement,
    "relevance, small scale": relevance_small,
    "relevance step": relevance_step,
    "pipeline": pipeline,
    "export": export,
    "train step": train_step,
    "symbolic layer": lambda: symbolic_layer("symbolic_layer"),
    "symbolic layer, embedding gradient": lambda: symbolic_layer("symbolic_layer_embedding_gradient"),
    "estimators": estimators,
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
    draw_correlations()
