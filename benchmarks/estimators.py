"""Bias and variance of every estimator of the scores' gradient, beside the exact one.

    python -m benchmarks.estimators [--output FILE] [--picture FILE]

A toy has D = 16 candidate results of 6 tokens and a random reader, a network with one hidden layer over the result's
embeddings that gives -log p(y | result), so that the loss is not linear in the choice. Both exact gradients come from
enumerating the candidates: that of the mean loss (equation 3 of the paper), which all estimators but `marginal` are
after, and that of -log of the mean likelihood (equation 4), which `marginal` is after. Of many draws for each of some
toys, the figures are the means over toys of

    cosine     of the mean gradient with the exact one; 1 is a gradient of the right direction
    norm       of the mean gradient over that of the exact one
    deviation  root of the draws' summed variances over the norm of the exact gradient

and `passes` is how often the reader runs for one draw. The mean gradient is itself of draws: at a deviation of 7
that takes about 0.01 from the cosine.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from benchmarks.common import command_line, write
from hf_calc import SymbolicLayer
from hf_calc.symbolic_layer import SEVERAL_RESULTS, combine_samples, log_probabilities

D, L, V, H, ANSWERS = 16, 6, 20, 8, 4
TOYS, DRAWS = 20, 5_000

# Estimator, temperature, samples, noise.
ROWS = [
    ("straight_through_gumbel", 1.0, 1, True),
    ("straight_through_gumbel", 0.1, 1, True),
    ("gumbel_softmax", 1.0, 1, True),
    ("gumbel_softmax", 0.1, 1, True),
    ("straight_through", 1.0, 1, True),
    ("straight_through", 1.0, 1, False),
    ("gumbel_rao", 1.0, 32, True),
    ("gumbel_rao", 0.1, 32, True),
    ("reinmax", 1.0, 1, True),
    ("reinforce", 1.0, 2, True),
    ("reinforce", 1.0, 8, True),
    ("marginal", 1.0, 4, True),
    ("marginal", 1.0, D, True),
]


def make_toy(seed: int):
    """Scores (D,), candidates (D, L), an embedding matrix and a reader of (B, L, H) embeddings."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    candidate_ids = torch.randint(1, V, (D, L), generator=generator)
    scores, embedding, first, second = (
        normal(D),
        normal(V, H),
        normal(L * H, 32) / math.sqrt(L * H),
        normal(32, ANSWERS),
    )
    return (
        scores,
        candidate_ids,
        embedding,
        lambda x: -F.log_softmax(torch.tanh(x.flatten(1) @ first) @ second, -1)[:, 0],
    )


def exact_gradients(toy) -> dict[str, torch.Tensor]:
    """(D,) of both objectives, by enumeration."""
    scores, candidate_ids, embedding, read = toy
    scores = scores.clone().requires_grad_()
    p, losses = torch.softmax(scores, -1), read(F.embedding(candidate_ids, embedding))
    objectives = {"loss": p @ losses, "likelihood": -(p @ torch.exp(-losses)).log()}
    return {name: torch.autograd.grad(v, scores, retain_graph=True)[0] for name, v in objectives.items()}


def cosine_of_objectives() -> float:
    """Of their exact gradients, mean over toys."""
    exact = [exact_gradients(make_toy(seed)) for seed in range(TOYS)]
    return sum(F.cosine_similarity(*gradients.values(), dim=0).item() for gradients in exact) / TOYS


def draw_gradients(toy, estimator: str, temperature: float, num_samples: int, noise: bool, seed: int) -> torch.Tensor:
    """(DRAWS, D) gradients."""
    scores, candidate_ids, embedding, read = toy
    rows, generator = scores.repeat(DRAWS, 1).requires_grad_(), torch.Generator().manual_seed(seed)
    result = SymbolicLayer().train()(
        rows, candidate_ids.expand(DRAWS, -1, -1), embedding, temperature, noise, generator, estimator, num_samples
    )
    losses = read(result.embeddings)
    if estimator in SEVERAL_RESULTS:
        losses = combine_samples(estimator, losses.view(-1, DRAWS), log_probabilities(result))
    return torch.autograd.grad(losses.sum(), rows)[0]


def measure(estimator: str, temperature: float, num_samples: int, noise: bool) -> dict:
    """The figures of one estimator."""
    objective = "likelihood" if estimator == "marginal" else "loss"
    figures = []
    for seed in range(TOYS):
        toy = make_toy(seed)
        exact = exact_gradients(toy)[objective]
        gradients = draw_gradients(toy, estimator, temperature, num_samples, noise, seed=TOYS + seed)
        mean, deviation = gradients.mean(0), gradients.var(0).sum().sqrt()
        cosine = F.cosine_similarity(mean, exact, dim=0)
        figures.append(torch.stack([cosine, mean.norm() / exact.norm(), deviation / exact.norm()]))
    cosine, norm, deviation = torch.stack(figures).mean(0).tolist()
    return {
        "estimator": estimator,
        "temperature": temperature,
        "num_samples": num_samples,
        "noise": noise,
        "objective": objective,
        "passes": num_samples if estimator in SEVERAL_RESULTS else 1,
        "cosine": cosine,
        "norm": norm,
        "deviation": deviation,
    }


def label(row: dict) -> str:
    """The estimator and what is set differently from its other rows."""
    settings = [f"t = {row['temperature']:g}"] if "gumbel" in row["estimator"] else []
    settings += [f"{row['num_samples']} samples"] if row["num_samples"] > 1 else []
    settings += [] if row["noise"] else ["no noise"]
    return ", ".join([row["estimator"], *settings])


def estimator_figure(labels: list[str], cosines: list[float], deviations: list[float]) -> Figure:
    """Bias and variance of N estimators as bars side by side.

    Args:
        labels: their names.
        cosines: of each mean gradient with the exact one, shown as its distance to 1.
        deviations: over the norm of the exact gradient.
    """
    figure = Figure(figsize=(9, 0.8 + 0.3 * len(labels)), layout="constrained", facecolor="white")
    panels = {
        "Bias: 1 - cosine with the exact gradient": [1 - cosine for cosine in cosines],
        "Standard deviation / norm of the exact": deviations,
    }
    for axes, (title, values) in zip(figure.subplots(1, 2, sharey=True), panels.items(), strict=True):
        bars = axes.barh(range(len(labels)), values, color="#f4821a")
        axes.bar_label(bars, fmt="{:.2f}", padding=3, fontsize=8)
        axes.set_title(title, fontsize=10)
        axes.set_yticks(range(len(labels)), labels)
        axes.margins(x=0.12)
        axes.spines[["top", "right"]].set_visible(False)
    axes.invert_yaxis()  # the first on top; shared by both
    return figure


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--picture", type=Path, help="PNG file for a picture of them")
    arguments = parser.parse_args()
    rows = []
    print(f"{'estimator':<42} {'passes':>6} {'of':>10} {'cosine':>7} {'norm':>7} {'deviation':>9}")
    for settings in ROWS:
        row = measure(*settings)
        rows.append(row := {"label": label(row)} | row)
        figures = f"{row['cosine']:>7.3f} {row['norm']:>7.3f} {row['deviation']:>9.2f}"
        print(f"{row['label']:<42} {row['passes']:>6} {row['objective']:>10} {figures}", flush=True)
    facts = {"torch": torch.__version__, "candidates": D, "toys": TOYS, "draws": DRAWS}
    facts |= {"cosine_of_objectives": cosine_of_objectives(), "rows": rows}
    print(f"cosine of the exact gradients of loss and likelihood {facts['cosine_of_objectives']:.3f}")
    write(arguments.output, facts)
    if arguments.picture:
        columns = ([row[name] for row in rows] for name in ("label", "cosine", "deviation"))
        estimator_figure(*columns).savefig(arguments.picture, dpi=150)


if __name__ == "__main__":
    main()
