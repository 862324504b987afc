"""What each token is worth to a prediction, by three measures to hold attention against.

The first is the model's own `gradient_importance`, h_t . dy/dh_t at the hidden states of the BiLSTM, the measure of
Kitada and Iyatomi. The relevance loss trains on it by default, so a trained model agrees with it by construction; the
other two were not trained on, and tell whether attention has learned anything that they know of (Jain and Wallace
2019, section 4). With `relevance_measure="embedding_gradient"` the second is trained on, and leave-one-out alone is
independent; it changes the text itself, and no loss here trains on it.
All are signed: a positive token speaks for the prediction (of the target score `loss`, against the label). The
`attention_agreement` metric compares magnitudes.

The other two take a `BiLSTMAttentionForClassification` and a batch of `BiLSTMAttentionDataCollator`, and return one
score a token, (B, T), zero at padding, without a graph; the model's own gradients stay as they were.
`attention_agreement` holds a model's attention against all three.
"""

from collections.abc import Iterable
from pathlib import Path

import evaluate
import torch
from torch import nn

from .modeling_bilstm_attention import BiLSTMAttentionClassifierOutput, BiLSTMAttentionForClassification
from .relevance_loss import score_gradient

AGREEMENT = Path(__file__).parent / "metrics" / "attention_agreement"


def embedding_gradient(
    model: BiLSTMAttentionForClassification, inputs: dict[str, torch.Tensor], target_score: str = "logit_margin"
) -> torch.Tensor:
    """x_t . dy/dx_t at the embeddings x, where the attention weights alpha are constants in c = sum_r alpha_r h_r(x).

    The gradient of Jain and Wallace (2019, section 4.1, algorithm 1): with respect to the one-hot token, which is
    gradient times input at its embedding, and with the graph cut at the attention module. It runs back through the
    BiLSTM, so a token also counts for what it does to the hidden states of others.

    Args:
        model, inputs: see the module; inputs with labels (B,) for the target score `loss`.
        target_score: the scalar y, see `score_gradient` in relevance_loss.py.

    Returns:
        (B, T).
    """
    embeddings = model.get_input_embeddings()(inputs["input_ids"]).detach().requires_grad_()
    # cuDNN has no backward pass of an LSTM in evaluation mode.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        read = {"inputs_embeds": embeddings, "attention_mask": inputs["attention_mask"]}
        outputs = model(**read, output_attentions=True, output_hidden_states=True)
        return gradient_at_embeddings(model, outputs, embeddings, target_score, inputs.get("labels"))


def gradient_at_embeddings(
    model: BiLSTMAttentionForClassification,
    outputs: BiLSTMAttentionClassifierOutput,
    embeddings: torch.Tensor,
    target_score: str,
    labels: torch.Tensor | None,
) -> torch.Tensor:
    """`embedding_gradient` of texts that have been read: one pass back through the BiLSTM, and the graph is kept.

    Args:
        model: what has read them, not wrapped.
        outputs: with hidden_states and attentions.
        embeddings: (B, T, E) what was read, as inputs_embeds that require a gradient.
        target_score, labels: see `score_gradient`.

    Returns:
        (B, T), without a graph.
    """
    hidden = outputs.hidden_states[-1]
    context_gradient = score_gradient(outputs.logits, target_score, labels) @ model.classifier.weight  # u (B, H)
    # At constant attention dy/dh_t = alpha_t u, so that nothing runs back through classifier and attention.
    direction = outputs.attentions.to(hidden.dtype).unsqueeze(-1) * context_gradient.to(hidden.dtype).unsqueeze(1)
    (gradient,) = torch.autograd.grad(hidden, embeddings, direction.detach(), retain_graph=True)
    return (gradient * embeddings).sum(-1).detach()


@torch.no_grad()
def leave_one_out(
    model: BiLSTMAttentionForClassification, inputs: dict[str, torch.Tensor], block: int = 16
) -> torch.Tensor:
    """p_k(x) - p_k(x without t), k being the class predicted for the whole text x.

    Leave-one-out of Jain and Wallace (2019, section 4.1), who take the total variation distance of both predictions:
    with two labels that is the magnitude of this. What two shortened texts share is mostly read once.

    Args:
        model, inputs: see the module.
        block: see `outputs_without`.

    Returns:
        (B, T) differences of probabilities, -1 to 1, in fp64: near 1, fp32 would tie what differs.
    """
    bilstm, is_token = model.bilstm, inputs["attention_mask"].bool()
    # Not by model(), which accelerate may have put under autocast: the whole is to be rounded as its parts are.
    whole = model.classifier(bilstm(inputs["input_ids"], inputs["attention_mask"]).pooler_output)
    changes = torch.zeros(is_token.shape, dtype=torch.float64, device=whole.device)
    for row, kept in enumerate(is_token):
        words = bilstm.embed_tokens(inputs["input_ids"][row, kept])  # (n, E)
        forward = outputs_without(bilstm.forward_lstm, words, block)
        backward = outputs_without(bilstm.backward_lstm, words.flip(0), block).flip(0, 1)
        hidden = torch.cat([forward, backward], -1)  # (n, n - 1, H)
        attentions, _ = bilstm.attention(hidden, kept.new_ones(hidden.shape[:2]), output_slopes=False)
        logits = model.classifier((attentions.to(hidden.dtype).unsqueeze(1) @ hidden).squeeze(1))
        probabilities = torch.cat([whole[row].unsqueeze(0), logits]).double().softmax(-1)[:, whole[row].argmax()]
        changes[row, kept] = probabilities[0] - probabilities[1:]
    return changes


def outputs_without(lstm: nn.LSTM, words: torch.Tensor, block: int) -> torch.Tensor:
    """What an LSTM says of a text without its first token, without its second, and so on.

    The texts that lack a token of one block are the same before it, and read from there on together.

    Args:
        lstm: one-directional.
        words: (n, E).
        block: tokens of a block.

    Returns:
        (n, n - 1, H/2).
    """
    length = len(words)
    place = torch.arange(max(0, length - 1), device=words.device)
    others = place + (place >= torch.arange(length, device=words.device).unsqueeze(-1))  # (n, n - 1)
    state = words.new_zeros(2, 1, 1, lstm.hidden_size)  # of the output and the cell, before the block
    before, found = words.new_zeros(0, lstm.hidden_size), []
    for start in range(0, length, block):
        rows = others[start : start + block]
        found.append(before.expand(len(rows), -1, -1))
        if start < length - 1:  # an LSTM refuses to read nothing
            rest, _ = lstm(words[rows[:, start:].T], tuple(state.expand(-1, -1, len(rows), -1).contiguous()))
            found[-1] = torch.cat([found[-1], rest.transpose(0, 1)], 1)
        read, state = lstm(words[start : start + block].unsqueeze(1), tuple(state))
        before, state = torch.cat([before, read.squeeze(1)]), torch.stack(state)
    return torch.cat(found) if found else before.new_zeros(0, 0, lstm.hidden_size)


def attention_agreement(
    model: BiLSTMAttentionForClassification,
    batches: Iterable[dict[str, torch.Tensor]],
    target_score: str = "logit_margin",
    constant_attention: bool = False,
) -> dict[str, dict]:
    """How far a model's attention agrees with each of the three measures, text by text.

    Args:
        model: is set to evaluation.
        batches: for the model, on its device; cheapest if texts of one batch are about equally long.
        target_score, constant_attention: see `BiLSTMAttentionForClassification.forward`.

    Returns:
        For hidden_gradient, embedding_gradient and leave_one_out the results of the metric `attention_agreement`.
    """
    model.eval()
    options = {"target_score": target_score, "constant_attention": constant_attention}
    attentions = []
    importances = {name: [] for name in ("hidden_gradient", "embedding_gradient", "leave_one_out")}
    for inputs in batches:
        is_token = inputs["attention_mask"].bool()
        with torch.no_grad():
            outputs = model(**inputs, output_attentions=True, **options)
        attentions += _by_text(outputs.attentions, is_token)
        importances["hidden_gradient"] += _by_text(outputs.gradient_importance, is_token)
        importances["embedding_gradient"] += _by_text(embedding_gradient(model, inputs, target_score), is_token)
        importances["leave_one_out"] += _by_text(leave_one_out(model, inputs), is_token)

    metric = evaluate.load(str(AGREEMENT))
    return {
        name: metric.compute(predictions=attentions, references=importance) for name, importance in importances.items()
    }


def _by_text(values: torch.Tensor, is_token: torch.Tensor) -> list[list[float]]:
    """The values (B, T) of each text at its tokens."""
    return [row[kept].tolist() for row, kept in zip(values, is_token, strict=True)]
