"""Time and peak memory of the symbolic layer beside the literal one-hot sum and beside mixing embeddings.

    python -m benchmarks.symbolic_layer [--embedding-gradient] [--output FILE]

All three compute `F(s) = sum_i z_i E_i` and its gradient for the scores, B = 4 examples, L = 75 tokens a result,
H = 384, V = 30522, digits as tokens; with --embedding-gradient also the dense gradient of the embedding matrix, which
costs all three about the same and hides much of the difference in time. Times are taken in turn in one process, the
best of nine rounds; the peak of memory, over that of a single candidate, in a process of its own (Linux). What takes
more than 16 GB is not run.
"""

import multiprocessing
import re
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.common import command_line, in_turn, write
from hf_calc import SymbolicLayer

B, L, H, V = 4, 75, 384, 30522
CANDIDATES = (15, 66, 435, 4950)  # pairs of 6, 12, 30 and 100 numbers
LIMIT_GB = 16


def straight_through(scores: torch.Tensor) -> torch.Tensor:
    """(B, D) one-hot of the best score with the gradient of the softmax."""
    soft = torch.softmax(scores, -1)
    return F.one_hot(soft.argmax(-1), soft.shape[-1]) + soft - soft.detach()


def one_hot_sum(scores, candidate_ids, embedding):
    """The sum as the paper writes it: rows over the vocabulary first, embedded afterwards."""
    rows = F.one_hot(candidate_ids, V).to(embedding.dtype)  # (B, D, L, V)
    return torch.einsum("bd,bdlv->blv", straight_through(scores), rows) @ embedding


def mixed_embeddings(scores, candidate_ids, embedding):
    """Every candidate embedded, then mixed."""
    return torch.einsum("bd,bdlh->blh", straight_through(scores), F.embedding(candidate_ids, embedding))


def symbolic_layer(scores, candidate_ids, embedding):
    """The layer of this project."""
    return SymbolicLayer().train()(scores, candidate_ids, embedding, noise=False).embeddings


METHODS = {"one-hot sum": one_hot_sum, "mixed embeddings": mixed_embeddings, "symbolic layer": symbolic_layer}


def needs_gb(method: str, candidates: int) -> float:
    """The largest tensors: int64 and fp32 one-hot rows and their gradient; embeddings and their gradient."""
    values = {"one-hot sum": V * (8 + 4 + 4), "mixed embeddings": H * (4 + 4), "symbolic layer": 24}[method]
    return B * candidates * L * values / 1e9


def make_inputs(candidates: int, embedding_gradient: bool):
    """Scores, ids of 29 distinct tokens as in a calculator's results, and an embedding matrix."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 30, (B, candidates, L), generator=generator)
    embedding = torch.randn(V, H, generator=generator)
    scores = torch.randn(B, candidates, generator=generator)
    return scores.requires_grad_(), ids, embedding.requires_grad_(embedding_gradient)


def step(method: str, inputs) -> None:
    """One forward and backward pass."""
    differentiated = [tensor for tensor in inputs if tensor.requires_grad]
    torch.autograd.grad(METHODS[method](*inputs).square().sum(), differentiated)


def peak_mb(method: str, candidates: int, embedding_gradient: bool) -> float:
    """Peak of resident memory of one step over that of a step with one candidate, in MB; for a fresh process."""
    torch.set_num_threads(1)
    inputs, one = (make_inputs(size, embedding_gradient) for size in (candidates, 1))
    peaks = []
    for case in (one, one, inputs):  # the first loads libraries
        Path("/proc/self/clear_refs").write_text("5")  # starts the peak anew
        step(method, case)
        status = Path("/proc/self/status").read_text()
        peaks.append(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024)
    return max(peaks[2] - peaks[1], 0.1)  # resident memory is counted in pages


def measure(candidates: int, embedding_gradient: bool, rounds: int = 9) -> dict:
    """Seconds and MB of every method that fits."""
    inputs = make_inputs(candidates, embedding_gradient)
    methods = [method for method in METHODS if needs_gb(method, candidates) < LIMIT_GB]
    seconds = in_turn({method: partial(step, method, inputs) for method in methods}, rounds, figure=min)["seconds"]
    memory = {}
    for method in methods:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            memory[method] = pool.apply(peak_mb, (method, candidates, embedding_gradient))
    return {
        "candidates": candidates,
        "candidate_ids_mb": inputs[1].nbytes / 2**20,
        "seconds": seconds,
        "peak_mb": memory,
    }


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--embedding-gradient", action="store_true", help="also of the embedding matrix")
    arguments = parser.parse_args()
    rows = []
    print(f"{'D':>5}  {'method':<17} {'seconds':>9} {'peak MB':>9}   times the layer's: seconds, MB")
    for candidates in CANDIDATES:
        rows.append(row := measure(candidates, arguments.embedding_gradient))
        for method, seconds in row["seconds"].items():
            memory, layer = row["peak_mb"], "symbolic layer"
            ratios = f"{seconds / row['seconds'][layer]:.1f}, {memory[method] / memory[layer]:.1f}"
            print(f"{candidates:>5}  {method:<17} {seconds:>9.4f} {memory[method]:>9.1f}   {ratios}", flush=True)
        for method in METHODS.keys() - row["seconds"].keys():
            print(f"{candidates:>5}  {method:<17} not run, needs {needs_gb(method, candidates):.0f} GB")
    write(arguments.output, {"torch": torch.__version__, "rows": rows})


if __name__ == "__main__":
    main()
