"""Time of a training step with the relevance loss beside plain cross entropy and two other ways to the gradient.

    python -m benchmarks.relevance_step [--output FILE]

A step is forward, loss, backward and Adam with amsgrad, of the model's default sizes with B = 32 texts of T tokens, in
fp32; the targets are detached, as by default. The ways differ in the importance g that the loss draws attention to:

    closed form          of the model, see hf_relevance/relevance_loss.py
    autograd             the same at the hidden states, by torch.autograd.grad
    embedding gradient   gradient times input at the embeddings, by torch.autograd.grad through the BiLSTM

Steps are taken in turn in one process. The figure is the median over rounds of the ratio to the cross entropy step of
the same round, so that a slow moment of the machine counts on both sides.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from hf_relevance import BiLSTMAttentionConfig, BiLSTMAttentionForClassification, relevance_loss
from hf_relevance.relevance_loss import score_gradient

B, LENGTHS = 32, (20, 200, 500)
ROUNDS = {20: 200, 200: 60, 500: 30}


def cross_entropy(model, batch) -> torch.Tensor:
    """Without the relevance loss."""
    return model(**batch).loss


def closed_form(model, batch) -> torch.Tensor:
    """As `RelevanceTrainer`."""
    outputs = model(**batch, output_attentions=True)
    return outputs.loss + relevance_loss(outputs.attentions, outputs.gradient_importance, batch["attention_mask"])


def by_autograd(model, batch, at_embeddings: bool) -> torch.Tensor:
    """Backward once more, to the hidden states or to the embeddings."""
    embeddings = model.get_input_embeddings()(batch["input_ids"])
    outputs = model.bilstm(inputs_embeds=embeddings, attention_mask=batch["attention_mask"])
    logits = model.classifier(outputs.pooler_output)
    read = embeddings if at_embeddings else outputs.last_hidden_state
    (gradient,) = torch.autograd.grad(logits, read, score_gradient(logits.detach()), retain_graph=True)
    importance = (gradient * read.detach()).sum(-1)
    relevance = relevance_loss(outputs.attentions, importance, batch["attention_mask"])
    return F.cross_entropy(logits, batch["labels"]) + relevance


WAYS = {
    "cross entropy": cross_entropy,
    "closed form": closed_form,
    "autograd": lambda model, batch: by_autograd(model, batch, at_embeddings=False),
    "embedding gradient": lambda model, batch: by_autograd(model, batch, at_embeddings=True),
}


def measure(length: int) -> dict:
    """Median seconds of a step by each way, and median ratios to cross entropy."""
    torch.manual_seed(0)
    model = BiLSTMAttentionForClassification(BiLSTMAttentionConfig())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0, amsgrad=True, fused=True)
    input_ids = torch.randint(1, model.config.vocab_size, (B, length))
    batch = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids), "labels": torch.arange(B) % 2}
    seconds = {way: [] for way in WAYS}
    for turn in range(ROUNDS[length] + 3):  # the first three warm up
        for way, loss in WAYS.items():
            start = time.perf_counter()
            loss(model, batch).backward()
            optimizer.step()
            optimizer.zero_grad()
            if turn >= 3:
                seconds[way].append(time.perf_counter() - start)
    plain = seconds["cross entropy"]
    ratios = {way: [a / b for a, b in zip(taken, plain, strict=True)] for way, taken in seconds.items()}
    return {
        "tokens": length,
        "seconds": {way: statistics.median(taken) for way, taken in seconds.items()},
        "ratio": {way: statistics.median(ratio) for way, ratio in ratios.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="JSON file for the numbers")
    arguments = parser.parse_args()
    rows = []
    for length in LENGTHS:
        rows.append(row := measure(length))
        for way, ratio in row["ratio"].items():
            print(f"T = {length:<4} {way:<19} {1000 * row['seconds'][way]:>8.1f} ms  {ratio:.3f}", flush=True)
    if arguments.output:
        facts = {"torch": torch.__version__, "threads": torch.get_num_threads(), "rows": rows}
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
