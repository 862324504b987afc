"""Time of a training step with the relevance loss beside plain cross entropy and two other ways to the gradient.

    python -m benchmarks.relevance_step [--output FILE]

A step is forward, loss, backward and Adam with amsgrad, of the model's default sizes with B = 32 texts of T tokens, in
fp32. The loss is `RelevanceTrainer`'s with all that it logs, by its defaults. The ways differ in the importance g that
it draws attention to:

    closed form          of the model, see hf_relevance/relevance_loss.py
    autograd             the same at the hidden states, by torch.autograd.grad
    embedding gradient   gradient times input at the embeddings, by torch.autograd.grad through the BiLSTM

Steps are taken in turn in one process. The figure is the median over rounds of the ratio to the cross entropy step of
the same round, so that a slow moment of the machine counts on both sides.
"""

import tempfile
from functools import partial

import torch
import torch.nn.functional as F

from benchmarks.common import command_line, in_turn, write
from hf_relevance import (
    BiLSTMAttentionConfig,
    BiLSTMAttentionForClassification,
    RelevanceTrainer,
    RelevanceTrainingArguments,
)
from hf_relevance.modeling_bilstm_attention import BiLSTMAttentionClassifierOutput
from hf_relevance.relevance_loss import score_gradient

B, LENGTHS = 32, (20, 200, 500)
ROUNDS = {20: 200, 200: 60, 500: 30}


class ByAutograd(BiLSTMAttentionForClassification):
    """Takes the importance at the hidden states by a pass back from the prediction."""

    def forward(self, input_ids, attention_mask, labels, **options) -> BiLSTMAttentionClassifierOutput:
        """As with output_attentions and output_hidden_states and the default target score."""
        outputs = self.bilstm(input_ids, attention_mask, output_hidden_states=True)
        hidden, logits = outputs.last_hidden_state, self.classifier(outputs.pooler_output)
        (gradient,) = torch.autograd.grad(logits, hidden, score_gradient(logits.detach()), retain_graph=True)
        return BiLSTMAttentionClassifierOutput(
            loss=F.cross_entropy(logits, labels),
            logits=logits,
            attentions=outputs.attentions,
            gradient_importance=(gradient * hidden.detach()).sum(-1),
            hidden_states=outputs.hidden_states,
        )


def make_losses(model: BiLSTMAttentionForClassification, folder: str) -> dict:
    """The loss of a batch by each way, all of one model; trainers want a folder."""
    by_autograd = ByAutograd(model.config)
    by_autograd.bilstm, by_autograd.classifier = model.bilstm, model.classifier

    def loss(model, **options):
        args = RelevanceTrainingArguments(folder, use_cpu=True, report_to="none", **options)
        return partial(RelevanceTrainer(model, args).compute_loss, model)

    return {
        "cross entropy": loss(model, relevance_weight=0.0),
        "closed form": loss(model),
        "autograd": loss(by_autograd),
        "embedding gradient": loss(model, relevance_measure="embedding_gradient"),
    }


def measure(length: int) -> dict:
    """Median seconds of a step by each way, and median ratios to cross entropy."""
    torch.manual_seed(0)
    model = BiLSTMAttentionForClassification(BiLSTMAttentionConfig())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0, amsgrad=True, fused=True)
    input_ids = torch.randint(1, model.config.vocab_size, (B, length))
    batch = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids), "labels": torch.arange(B) % 2}

    def step(loss):
        loss(batch).backward()
        optimizer.step()
        optimizer.zero_grad()

    with tempfile.TemporaryDirectory() as folder:
        ways = {way: partial(step, loss) for way, loss in make_losses(model, folder).items()}
        return {"tokens": length} | in_turn(ways, ROUNDS[length], warm_up=3)


def main() -> None:
    arguments = command_line(__doc__).parse_args()
    rows = []
    for length in LENGTHS:
        rows.append(row := measure(length))
        for way, ratio in row["ratio"].items():
            print(f"T = {length:<4} {way:<19} {1000 * row['seconds'][way]:>8.1f} ms  {ratio:.3f}", flush=True)
    write(arguments.output, {"torch": torch.__version__, "threads": torch.get_num_threads(), "rows": rows})


if __name__ == "__main__":
    main()
