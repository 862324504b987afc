"""README's tables and pictures of the relevance loss; tables.py puts them in their places."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
from scipy import stats

from common import interval, link, load, seeds, table
from hf_relevance.plotting import correlation_figure, weight_figure

# Accuracy and F1 of Kitada and Iyatomi (poster) without and with the relevance loss, and accuracy and macro F1 of Jain
# and Wallace's code; in %.
POSTER = {
    "sst2": {"none": (75.78, 74.13), "softmax": (79.13, 78.75)},
    "imdb": {"none": (87.10, 86.70), "softmax": (87.19, 86.95)},
    "newsgroups": {"none": (92.51, 92.39), "softmax": (94.57, 94.68)},
}
JAIN_WALLACE = {"sst2": (80.8, 80.6), "imdb": (89.8, 89.8), "newsgroups": (92.2, 92.1)}
WEIGHTED_FORMS = ("softmax", "l1", "l1 of embedding gradient", "l1 of embedding gradient, diversity 0.5")
FORMS = ("none", "softmax", "l1")  # in this order, each before what adds to it
# Options that make another form of the loss where they are not these.
DEFAULTS = {
    "relevance_target_score": "logit_margin",
    "relevance_constant_attention": False,
    "relevance_temperature": 1.0,
    "relevance_detach_target": True,
    "relevance_direction": "target_to_attention",
}
SEARCHED = ("sst2", "newsgroups")  # for the form that was then scored on all three
MEASURES = ("hidden_gradient", "embedding_gradient", "leave_one_out")


def relevance_form(settings: dict) -> str:
    """The loss of a run, without its weight: `none`, `softmax` (the poster's), `l1`, and what was added or changed."""
    measure, diversity = settings["relevance_measure"], settings["diversity_weight"]
    form = settings["relevance_normalizer"] if settings["relevance_weight"] else "none"
    if settings["relevance_weight"]:
        form += f" of {measure.replace('_', ' ')}" if measure != "hidden_gradient" else ""
        others = {name: settings[name] for name in DEFAULTS}
        form += "".join(f", {name} {value}" for name, value in others.items() if value != DEFAULTS[name])
    form += f", diversity {diversity:g}" if diversity else ""
    if settings.get("teacher"):
        epochs = settings["num_train_epochs"]
        form += f", taught for {epochs:g} epoch" + "s" * (epochs != 1)
    form += ", AdamW" * (not settings["amsgrad"])
    schedule = settings["lr_scheduler_type"]
    return form + (f", {schedule} rate" if schedule != "constant" else "")


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

    def order(key):
        corpus, form, weight = key
        return [*POSTER].index(corpus), FORMS.index(form.replace(",", "").split()[0]), len(form), form, weight

    return {key: sorted(groups[key], key=lambda run: run["seed"]) for key in sorted(groups, key=order)}


def tau(run: dict, measure: str) -> float:
    """Mean Kendall tau of a run's attention with a measure of importance."""
    return run["metrics"]["agreement"][measure]["kendall_tau"]


def loss_label(form: str, weight: float) -> str:
    """A form with its weight; 1, of the first runs, goes without saying."""
    return form if weight in (0, 1) else f"{form}, weight {weight:g}"


def paired(groups: dict, key: tuple[str, str, float], value: Callable[[dict], float], digits: int) -> str:
    """A group's mean difference to the runs without the loss, its 95% interval, and p of the paired t test.

    Runs are a pair if they have the same seed and began with the same word vectors.

    Args:
        groups: of `relevance_groups`.
        key: of the group.
        value: of a run.
        digits: of the difference.
    """
    if key[1] == "none":
        return "-"
    ours, theirs = (
        {(run["seed"], run["settings"].get("vectors_sha256")): value(run) for run in groups.get(name, [])}
        for name in (key, (key[0], "none", 0.0))
    )
    gains = [ours[pair] - theirs[pair] for pair in ours.keys() & theirs.keys()]
    if len(set(gains)) < 2:  # no test
        return interval(gains, digits)
    p = stats.ttest_1samp(gains, 0).pvalue
    some = "" if len(gains) == len(groups[key]) else f", {len(gains)} pairs"
    return f"{interval(gains, digits)} (p {'< .001' if p < 0.001 else f'{p:.3f}'}{some})"


def relevance_accuracy() -> str:
    """Accuracy and F1 on the test splits beside both papers."""

    def accuracy(run):
        return run["metrics"]["test"]["accuracy"]

    rows, groups = [], relevance_groups()
    for key, runs in groups.items():
        corpus, label = key[0], loss_label(*key[1:])
        rows.append(
            [
                corpus,
                label,
                seeds(runs),
                interval([*map(accuracy, runs)], 1),
                paired(groups, key, accuracy, 1),
                interval([run["metrics"]["test"]["macro_f1"] for run in runs], 1),
                interval([run["metrics"]["test"]["binary_f1"] for run in runs], 1),
                "{:.2f} / {:.2f}".format(*POSTER[corpus][label]) if label in POSTER[corpus] else "-",
                "{:.1f} / {:.1f}".format(*JAIN_WALLACE[corpus]) if label == "none" else "-",
            ]
        )
    header = ["corpus", "relevance loss", "seeds", "accuracy", "over none, paired", "macro F1", "binary F1"]
    return table([*header, "poster, accuracy / F1", "Jain & Wallace, accuracy / macro F1"], rows)


def relevance_agreement() -> str:
    """Rank correlation of attention with three measures of importance, and the entropies."""
    rows, groups = [], relevance_groups()
    for key, runs in groups.items():
        agreement = {measure: [run["metrics"]["agreement"][measure] for run in runs] for measure in MEASURES}
        row = [key[0], loss_label(*key[1:])]
        for measure in MEASURES:
            row += [interval([one[name] for one in agreement[measure]], 2) for name in ("kendall_tau", "spearman_rho")]
            if measure != "hidden_gradient":
                row.append(paired(groups, key, partial(tau, measure=measure), 2))
        row.append(interval([one["attention_entropy"] for one in agreement["hidden_gradient"]], 3))
        row.append(interval([one["importance_entropy"] for one in agreement["hidden_gradient"]], 3))
        logged = [run["metrics"]["training"]["target_entropy"] for run in runs if run["metrics"]["training"]]
        rows.append([*row, interval(logged, 3)])
    hidden, embedding, left_out = (
        [f"{sign}, {name.replace('_', ' ')}" for sign in ("tau", "rho")] for name in MEASURES
    )
    gains = [f"tau, {name.replace('_', ' ')}, over none, paired" for name in MEASURES[1:]]
    header = ["corpus", "relevance loss", *hidden, *embedding, gains[0], *left_out, gains[1]]
    return table([*header, "entropy, attention", "entropy, hidden gradient", "entropy, target"], rows)


def search_choice(groups: dict[tuple[str, str, float], list[dict]]) -> tuple[str, float] | None:
    """The form and weight that the search chooses, by a rule that was fixed before it; None if nothing fits.

    Of those that on both `SEARCHED` corpora stay within a point of the accuracy without the loss, and under .95 in the
    entropy of attention, the one with the highest tau with leave-one-out on the corpus where it is lowest.

    Args:
        groups: of `relevance_groups`, on validation texts.
    """
    found, lowest = {}, {}
    groups = {key: runs for key, runs in groups.items() if key[0] in SEARCHED}
    for key, runs in groups.items():
        agreement = [run["metrics"]["agreement"]["leave_one_out"] for run in runs]
        accuracy = mean(run["metrics"]["validation"]["accuracy"] for run in runs)
        found[key] = accuracy, *(mean(one[name] for one in agreement) for name in ("attention_entropy", "kendall_tau"))
    for choice in {key[1:] for key in groups}:
        pairs = [(found.get((name, *choice)), found.get((name, "none", 0.0))) for name in {key[0] for key in groups}]
        if all(ours and plain and ours[0] >= plain[0] - 1 and ours[1] < 0.95 for ours, plain in pairs):
            lowest[choice] = min(ours[2] for ours, _ in pairs)
    return max(lowest, key=lowest.get, default=None)


def relevance_search() -> str:
    """What was tried on validation texts alone, failures too, and in bold what the rule chooses."""
    rows, groups = [], relevance_groups("validation")
    choice = search_choice(groups)
    for (corpus, form, weight), runs in groups.items():
        row = [corpus, f"**{form}**" if (form, weight) == choice else form, f"{weight:g}", seeds(runs)]
        row.append(interval([run["metrics"]["validation"]["accuracy"] for run in runs], 1))
        row += [interval([tau(run, measure) for run in runs], 2) for measure in MEASURES]
        entropies = [run["metrics"]["agreement"]["hidden_gradient"]["attention_entropy"] for run in runs]
        rows.append([*row, interval(entropies, 3)])
    names = [f"tau, {name.replace('_', ' ')}" for name in MEASURES]
    header = ["corpus", "relevance loss", "weight", "seeds", "accuracy", *names, "entropy, attention"]
    return table(header, rows)


def relevance_robustness() -> str:
    """Whether other attention would have given the same prediction (hf_relevance/faithfulness.py)."""

    def shuffled(run):
        return run["metrics"]["robustness"]["median_tvd"]["mean"]

    def searched(run):
        return run["metrics"]["robustness"]["max_jsd"]["mean"]

    rows, groups = [], relevance_groups()
    groups = {key: [run for run in runs if "robustness" in run["metrics"]] for key, runs in groups.items()}
    for key, runs in groups.items():
        row = [key[0], loss_label(*key[1:]), seeds(runs)]
        for value in (shuffled, searched):
            row += [interval([*map(value, runs)], 3), paired(groups, key, value, 3)]
        found = [run["metrics"]["robustness"] for run in runs]
        row.append(interval([one["max_jsd"]["median"] for one in found], 3))
        rows.append([*row, interval([100 * one["share_over_threshold"] for one in found], 1)])
    header = ["corpus", "relevance loss", "seeds", "TVD when shuffled", "TVD over none, paired", "largest JSD, mean"]
    return table([*header, "JSD over none, paired", "largest JSD, median", "JSD over 0.5, % of texts"], rows)


def relevance_small() -> str:
    """Runs on made-up reviews, adapters among them."""
    rows = []
    for run in load("relevance", "small"):
        metrics = run["metrics"]
        agreement = [metrics["agreement"][measure] for measure in MEASURES]
        row = [link(run), f"{run['trained_parameters']:,}"]
        row += [f"{metrics['test']['accuracy']:.1f}", *(f"{one['kendall_tau']:.2f}" for one in agreement)]
        rows.append([*row, f"{agreement[0]['attention_entropy']:.3f}", f"{run['seconds']:.0f} s"])
    header = ["run", "trained parameters", "accuracy", *(f"tau, {name.replace('_', ' ')}" for name in MEASURES)]
    return table([*header, "entropy, attention", "training"], rows)


def draw_correlations(folder: Path) -> None:
    """For each corpus how Kendall's tau with the embedding gradient is distributed, all seeds together."""
    groups = relevance_groups()
    for corpus in POSTER:
        histograms = {}
        for (name, form, weight), runs in groups.items():
            if name == corpus:
                counts = [run["metrics"]["agreement"]["embedding_gradient"]["kendall_tau_histogram"] for run in runs]
                label = "without the loss" if form == "none" else loss_label(form, weight)
                histograms[label] = np.sum(counts, 0).tolist()
        if histograms:
            figure = correlation_figure(histograms, f"{corpus}: attention and the embedding gradient")
            figure.savefig(folder / f"correlations_{corpus}.png", dpi=80)


def draw_weights(folder: Path) -> None:
    """The poster's figure, accuracy over lambda, on validation texts, and beside it tau with leave-one-out."""
    groups = relevance_groups("validation")
    for corpus in POSTER:
        accuracies, taus = {}, {}
        for form in WEIGHTED_FORMS:
            # At weight 0 stands what is left without the loss: nothing, or the diversity alone.
            rest = "none" + "".join(form.partition(", ")[1:])
            found = {
                weight: runs for (name, own, weight), runs in groups.items() if name == corpus and own in (form, rest)
            }
            for weight, runs in found.items() if any(found) else ():
                metrics = [run["metrics"] for run in runs]
                accuracies.setdefault(form, {})[weight] = [one["validation"]["accuracy"] for one in metrics]
                agreement = [one["agreement"]["leave_one_out"] for one in metrics]
                taus.setdefault(form, {})[weight] = [one["kendall_tau"] for one in agreement]
        if accuracies:
            title = f"{corpus}, validation: the weight of the relevance loss"
            figure = weight_figure(accuracies, title)
            figure.savefig(folder / f"weights_{corpus}_accuracy.png", dpi=80)
            figure = weight_figure(taus, title, "Kendall's tau with leave-one-out", (-1, 1))
            figure.savefig(folder / f"weights_{corpus}_agreement.png", dpi=80)
