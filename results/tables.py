"""Writes README's result tables and pictures from the JSON files beside this script: `python results/tables.py`.

Everything between `<!-- table: NAME -->` and `<!-- end -->` is replaced; `--check` only says whether it is up to date.
"""

import json
import sys
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import yaml
from scipy import stats

from hf_relevance.plotting import correlation_figure, weight_figure

RESULTS = Path(__file__).parent
README = RESULTS.parent / "README.md"
EXPERIMENTS = yaml.safe_load((RESULTS.parent / "recipes" / "experiments.yaml").read_text())  # what may not be run yet
ABLATIONS = {
    name: options
    for group, experiments in EXPERIMENTS.items()
    for name, options in experiments.items()
    if group.startswith("ablations")
}

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

# Accuracy and F1 of Kitada and Iyatomi (poster) without and with the relevance loss, and accuracy, macro F1 (in %) and
# Kendall tau of attention with the embedding gradient of Jain and Wallace's code.
POSTER = {
    "sst2": {"none": (75.78, 74.13), "softmax": (79.13, 78.75)},
    "imdb": {"none": (87.10, 86.70), "softmax": (87.19, 86.95)},
    "newsgroups": {"none": (92.51, 92.39), "softmax": (94.57, 94.68)},
}
JAIN_WALLACE = {"sst2": (80.8, 80.6, 0.351), "imdb": (89.8, 89.8, 0.437), "newsgroups": (92.2, 92.1, 0.130)}
WEIGHTED_FORMS = ("softmax", "l1", "l1 of embedding gradient", "l1 of embedding gradient, diversity 0.5")
FORMS = {"none": 0, "softmax": 1, "l1": 2}  # these come first, in this order
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


def seeds(runs: list[dict]) -> str:
    """The seeds of runs, each with its results file, or that there are none."""
    return " ".join(f"[{run['seed']}]({run['path']})" for run in runs) or "not run"


def calculator_paper() -> str:
    """Runs at the paper's scale beside table 3."""
    rows, found = [], load("calc", "paper")
    for cell, paper in PAPER.items():
        runs = [run for run in found if run["settings"]["dataset_config"] == cell]
        if cell not in {run["name"] for run in runs}:
            rows.append([cell, "not run", "not run", "{} / {}".format(*paper), "-", "-", "-"])
        for run in runs:
            metrics = run["metrics"]
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


def calculator_digits(scale: str, group: str) -> str:
    """Numbers longer than any in training, of a group of experiments, at the paper's scale beside table 4."""
    rows = []
    for name, options in EXPERIMENTS[group].items():
        key = options["dataset_config"], options.get("use_calculator", True)
        runs = [run for run in load("calc", scale) if run["name"] == name]
        row = [name, f"`{key[0]}`", str(options.get("digit_places", 0)), seeds(runs)]
        for metrics in ("f1", "argument_accuracy"):
            values = [run["metrics"][metrics] for run in runs if metrics in run["metrics"]]
            row.append(interval(values, 1) if values else "-")
        rows.append([*row, *([PAPER_DIGITS[key]] if scale == "paper" else [])])
    header = ["run", "data", "places of digits", "seeds", "F1", "argument accuracy"]
    return table([*header, *(["paper"] if scale == "paper" else [])], rows)


def calculator_errors(scale: str, group: str) -> str:
    """Where the answers of a group of experiments are wrong, by what tells the two amounts apart."""
    rows = []
    for run in load("calc", scale):
        for kind, errors in run["metrics"].get("errors", {}).items() if run["name"] in EXPERIMENTS[group] else ():
            for apart, one in ({"all": errors} | errors["by"]).items():
                row = [f"[{run['name']}, seed {run['seed']}]({run['path']})", kind, apart]
                names = ("examples", "wrong", "other", "wrong_arguments", "wrong_reading")
                rows.append([*row, *(f"{one[name]:,}" if name in one else "-" for name in names)])
    header = ["run", "question", "amounts differ in", "examples", "wrong", "the other one", "wrong arguments"]
    return table([*header, "wrong by right arguments"], rows)


def calculator_saliency() -> str:
    """How much of the saliency lies on the numbers asked for, of runs at the paper's scale that measured it."""
    names = ("of_numbers", "by_length", "of_all", "first_digits", "calculator")
    rows = []
    for run in load("calc", "paper"):
        for kind, shares in run["metrics"].get("saliency", {}).items():
            row = [f"[{run['name']}, seed {run['seed']}]({run['path']})", kind, f"{shares['examples']:,}"]
            rows.append([*row, *(percent(shares[name]) for name in names)])
    header = ["run", "question", "examples", "of all numbers'", "if each digit had the same", "of all tokens'"]
    return table([*header, "of it on first digits", "on the result, of all tokens'"], rows)


def ablations() -> str:
    """What each part is worth, beside the first of the experiments, which has all of them."""
    base, rows = next(iter(ABLATIONS.values())), []
    for experiment, options in ABLATIONS.items():
        runs = [run for run in load("calc", "small") if run["name"] == experiment]
        changed = {key: value for key, value in options.items() if key != "seeds" and base.get(key) != value}
        row = [experiment, ", ".join(f"`{key}: {value}`" for key, value in changed.items()) or "-", seeds(runs)]
        metrics = [run["metrics"] for run in runs]
        use = [one["use"]["original"] for one in metrics]
        columns = [
            [one["f1"] for one in metrics],
            [one["argument_accuracy"] for one in metrics if "argument_accuracy" in one],
        ]
        columns += [[one[condition]["f1"] for one in use if condition in one] for condition in ("off", "shuffled")]
        rows.append([*row, *(interval(values, 1) if values else "-" for values in columns)])
    header = ["run", "what is changed", "seeds", "F1", "argument accuracy", "F1, off", "F1, shuffled"]
    return table(header, rows)


def calculator_small() -> str:
    """Smaller runs, but those that have a table of their own."""
    rows = []
    for run in load("calc", "small"):
        if run["name"] in ABLATIONS or run["name"] in EXPERIMENTS["few digits"]:
            continue
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
        for numbers, use in run["metrics"].get("use", {}).items() if run["name"] not in ABLATIONS else ():
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


def relevance_form(settings: dict) -> str:
    """The loss of a run, without its weight: `none`, `softmax` (the poster's), `l1`, and what was added to these."""
    # Runs from before these options have neither.
    measure = settings.get("relevance_measure", "hidden_gradient")
    diversity = settings.get("diversity_weight", 0.0)
    form = settings["relevance_normalizer"] if settings["relevance_weight"] else "none"
    if settings["relevance_weight"] and measure != "hidden_gradient":
        form += f" of {measure.replace('_', ' ')}"
    return form + (f", diversity {diversity:g}" if diversity else "")


def relevance_groups(split: str = "test") -> dict[tuple[str, str, float], list[dict]]:
    """Runs on the poster's corpora by corpus, form and weight of the loss, in order of seeds; those without it first.

    Args:
        split: `test`, or `validation` for runs that left the test texts alone, as the search did.
    """
    groups = {}
    for run in load("relevance", "paper"):
        settings = run["settings"]
        if ("test" in run["metrics"]) == (split == "test"):
            key = (settings["dataset"], relevance_form(settings), settings["relevance_weight"])
            groups.setdefault(key, []).append(run)
    # By the length of its name a form stands before those that add to it.
    order = sorted(groups, key=lambda key: ([*POSTER].index(key[0]), FORMS.get(key[1], len(key[1])), *key[1:]))
    return {key: sorted(groups[key], key=lambda run: run["seed"]) for key in order}


def loss_label(form: str, weight: float) -> str:
    """A form with its weight; 1, of the first runs, goes without saying."""
    return form if weight in (0, 1) else f"{form}, weight {weight:g}"


def interval(values: list[float], digits: int) -> str:
    """Mean and half the 95% interval of the mean by Student's t; of a single run the value alone."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    half = stats.t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return f"{mean(values):.{digits}f} ± {half:.{digits}f}"


def paired(values: dict, baseline: dict) -> str:
    """Mean difference to the baseline with its 95% interval, and p of the paired t test; pairs share a key."""
    gains = [values[key] - baseline[key] for key in values.keys() & baseline.keys()]
    if len(gains) < 2:
        return interval(gains, 1) if gains else "-"
    p = stats.ttest_1samp(gains, 0).pvalue
    return f"{interval(gains, 1)} (p {'< .001' if p < 0.001 else f'{p:.3f}'})"


def relevance_accuracy() -> str:
    """Accuracy and F1 on the test splits beside both papers."""

    def accuracies(runs):
        # Runs of one seed are a pair only if they began with the same word vectors.
        keys = [(run["seed"], run["settings"].get("vectors_sha256")) for run in runs]
        return dict(zip(keys, (run["metrics"]["test"]["accuracy"] for run in runs), strict=True))

    rows, groups = [], relevance_groups()
    for (corpus, form, weight), runs in groups.items():
        label, accuracy = loss_label(form, weight), accuracies(runs)
        rows.append(
            [
                corpus,
                label,
                " ".join(f"[{run['seed']}]({run['path']})" for run in runs),
                interval([*accuracy.values()], 1),
                paired(accuracy, accuracies(groups.get((corpus, "none", 0.0), []))) if form != "none" else "-",
                interval([run["metrics"]["test"]["macro_f1"] for run in runs], 1),
                interval([run["metrics"]["test"]["binary_f1"] for run in runs], 1),
                "{:.2f} / {:.2f}".format(*POSTER[corpus][label]) if label in POSTER[corpus] else "-",
                "{:.1f} / {:.1f}".format(*JAIN_WALLACE[corpus][:2]) if label == "none" else "-",
            ]
        )
    header = ["corpus", "relevance loss", "seeds", "accuracy", "over none, paired", "macro F1", "binary F1"]
    return table([*header, "poster, accuracy / F1", "Jain & Wallace, accuracy / macro F1"], rows)


def relevance_agreement() -> str:
    """Rank correlation of attention with three measures of importance, and the entropies."""
    rows = []
    for (corpus, form, weight), runs in relevance_groups().items():
        agreement = {measure: [run["metrics"]["agreement"][measure] for run in runs] for measure in MEASURES}
        row = [corpus, loss_label(form, weight)]
        for measure in MEASURES:
            row += [interval([one[name] for one in agreement[measure]], 2) for name in ("kendall_tau", "spearman_rho")]
        row.append(interval([one["attention_entropy"] for one in agreement["hidden_gradient"]], 3))
        row.append(interval([one["importance_entropy"] for one in agreement["hidden_gradient"]], 3))
        logged = [run["metrics"]["training"]["target_entropy"] for run in runs if run["metrics"]["training"]]
        rows.append([*row, interval(logged, 3) if logged else "-"])
    names = [name.replace("_", " ") for name in MEASURES]
    header = ["corpus", "relevance loss", *(f"{sign}, {name}" for name in names for sign in ("tau", "rho"))]
    return table([*header, "entropy, attention", "entropy, hidden gradient", "entropy, target"], rows)


def relevance_search() -> str:
    """What was tried on validation texts alone, failures too."""
    rows = []
    for (corpus, form, weight), runs in relevance_groups("validation").items():
        agreement = {measure: [run["metrics"]["agreement"][measure] for run in runs] for measure in MEASURES}
        row = [corpus, form, f"{weight:g}", " ".join(f"[{run['seed']}]({run['path']})" for run in runs)]
        row.append(interval([run["metrics"]["validation"]["accuracy"] for run in runs], 1))
        row += [interval([one["kendall_tau"] for one in agreement[measure]], 2) for measure in MEASURES]
        rows.append([*row, interval([one["attention_entropy"] for one in agreement["hidden_gradient"]], 3)])
    names = [f"tau, {name.replace('_', ' ')}" for name in MEASURES]
    header = ["corpus", "relevance loss", "weight", "seeds", "accuracy", *names, "entropy, attention"]
    return table(header, rows or [["not run", *"-" * (len(header) - 1)]])


def relevance_robustness() -> str:
    """Whether other attention would have given the same prediction (hf_relevance/faithfulness.py)."""
    rows = []
    for (corpus, form, weight), runs in relevance_groups().items():
        found = [run["metrics"]["robustness"] for run in runs if "robustness" in run["metrics"]]
        row = [corpus, loss_label(form, weight)]
        if not found:
            rows.append([*row, "not run", "-", "-", "-", "-"])
            continue
        row.append(" ".join(f"[{run['seed']}]({run['path']})" for run in runs if "robustness" in run["metrics"]))
        row.append(interval([one["median_tvd"]["mean"] for one in found], 3))
        row += [interval([one["max_jsd"][name] for one in found], 3) for name in ("mean", "median")]
        rows.append([*row, interval([100 * one["share_over_threshold"] for one in found], 1)])
    header = ["corpus", "relevance loss", "seeds", "TVD when shuffled", "largest JSD, mean", "largest JSD, median"]
    return table([*header, "JSD over 0.5, % of texts"], rows)


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
        for (name, form, weight), runs in relevance_groups().items():
            if name == corpus:
                counts = [run["metrics"]["agreement"]["embedding_gradient"]["kendall_tau_histogram"] for run in runs]
                label = "without the loss" if form == "none" else loss_label(form, weight)
                histograms[label] = np.sum(counts, 0).tolist()
        if histograms:
            figure = correlation_figure(histograms, f"{corpus}: attention and the embedding gradient")
            figure.savefig(RESULTS / "pictures" / f"correlations_{corpus}.png", dpi=80)


def draw_weights() -> None:
    """The poster's figure, accuracy over lambda, on validation texts, and beside it tau with leave-one-out."""
    for corpus in POSTER:
        accuracy, agreement = {}, {}
        for (name, form, weight), runs in relevance_groups("validation").items():
            if name != corpus:
                continue
            metrics = [run["metrics"] for run in runs]
            # Without the loss there is no lambda: its runs stand at 0 of every form.
            for shown in (form,) if form != "none" else WEIGHTED_FORMS:
                if shown in WEIGHTED_FORMS:
                    accuracy.setdefault(shown, {})[weight] = [one["validation"]["accuracy"] for one in metrics]
                    taus = [one["agreement"]["leave_one_out"]["kendall_tau"] for one in metrics]
                    agreement.setdefault(shown, {})[weight] = taus
        if accuracy:
            title = f"{corpus}, validation: the weight of the relevance loss"
            figure = weight_figure(accuracy, title)
            figure.savefig(RESULTS / "pictures" / f"weights_{corpus}_accuracy.png", dpi=80)
            figure = weight_figure(agreement, title, "Kendall's tau with leave-one-out", (-1, 1))
            figure.savefig(RESULTS / "pictures" / f"weights_{corpus}_agreement.png", dpi=80)


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


def adversarial() -> str:
    """The search for other attentions over a batch and one text at a time (benchmarks/adversarial.py)."""
    path = RESULTS / "benchmarks" / "adversarial.json"
    rows = []
    for row in json.loads(path.read_text())["rows"] if path.exists() else ():
        figures = [*(f"{row['seconds'][way]:.2f}" for way in ("batch", "one at a time")), f"{row['ratio']:.1f}"]
        rows.append([str(row["tokens"]), str(row["texts"]), *figures])
    header = ["T", "texts", "batch, s", "one at a time, s", "ratio"]
    return table(header, rows or [["not run", "-", "-", "-", "-"]])


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
    "calculator, digits": lambda: calculator_digits("paper", "table 4"),
    "calculator, digits, errors": lambda: calculator_errors("paper", "table 4"),
    "calculator, few digits": lambda: calculator_digits("small", "few digits"),
    "calculator, few digits, errors": lambda: calculator_errors("small", "few digits"),
    "calculator, saliency": calculator_saliency,
    "calculator, ablations": ablations,
    "calculator, use": calculator_use,
    "drop, swapped": drop_swapped,
    "drop, types": drop_types,
    "relevance, accuracy": relevance_accuracy,
    "relevance, agreement": relevance_agreement,
    "relevance, search": relevance_search,
    "relevance, robustness": relevance_robustness,
    "relevance, small scale": relevance_small,
    "relevance step": relevance_step,
    "adversarial": adversarial,
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
    draw_weights()
