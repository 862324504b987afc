"""Would other attention have given the same prediction? The two tests of Jain and Wallace (2019, section 4.2).

`permutation_distances` shuffles the attention of a text; where the prediction stays, it did not matter which token got
which weight. `adversarial_attentions` looks for attention as different as can be that leaves the prediction where it
is; where there is some, the model's own attention is one explanation among others. `attention_robustness` reports
both.

What is unusual: the classifier is linear and attention sums to 1, so a prediction under any attention is the softmax
of that attention's mean of *token logits* W h_t + b. A text is read once, and after that nothing is as large as its
hidden states: all texts of a batch, with all their shuffled or searched attentions, are computed at once. A text's
random numbers are those of its first, second, ... token, the same in every text, so that neither padding nor the other
texts of a batch change what is found.

Distances: total variation between predictions, TVD(p, q) = 1/2 sum_k |p_k - q_k|, from 0 to 1; the Jensen-Shannon
divergence between attentions, JSD(a, b) = 1/2 KL(a || m) + 1/2 KL(b || m) with m = (a + b) / 2, from 0 to ln 2 = 0.69.

Shapes: B texts, T tokens, K labels, N attentions a text.
"""

import math
from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from .modeling_bilstm_attention import BiLSTMAttentionForClassification
from .relevance_loss import at_least_fp32

BINS = 20  # of the histograms


def total_variation(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """TVD of two distributions over the last dimension, (..., K) to (...)."""
    return (p - q).abs().sum(-1) / 2


class _NegativeEntropy(torch.autograd.Function):
    """sum_t p_t ln p_t, whose gradient ln p_t + 1 needs no other logarithm; where p_t is 0, p_t ln p_t is 0."""

    @staticmethod
    def forward(ctx, p):
        logs = p.clamp(min=torch.finfo(p.dtype).tiny).log_()  # many times faster than torch.xlogy
        ctx.save_for_backward(logs)
        return torch.linalg.vecdot(p, logs)

    @staticmethod
    @once_differentiable  # the logarithms are taken as given
    def backward(ctx, slope):
        (logs,) = ctx.saved_tensors
        slope = slope.unsqueeze(-1)
        return torch.addcmul(slope, slope, logs)


def negative_entropy(p: torch.Tensor) -> torch.Tensor:
    """sum_t p_t ln p_t of a distribution over the last dimension, (..., T) to (...)."""
    return _NegativeEntropy.apply(p)


def jensen_shannon(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """JSD of two distributions over the last dimension, (..., T) to (...); where both are 0 nothing is added.

    Example:
        >>> jensen_shannon(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])).item()  # ln 2
        0.6931471824645996
    """
    return (negative_entropy(a) + negative_entropy(b)) / 2 - negative_entropy((a + b) / 2)


@torch.no_grad()
def read_texts(
    model: BiLSTMAttentionForClassification, inputs: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reads a batch once, for all that follows.

    Args:
        model: is left as it is; set it to evaluation.
        inputs: a batch of `BiLSTMAttentionDataCollator`.

    Returns:
        The attention (B, T), zero at padding, and the token logits W h_t + b (B, T, K), without meaning at padding;
        both at least fp32.
    """
    outputs = model.bilstm(inputs["input_ids"], inputs["attention_mask"])
    return outputs.attentions, at_least_fp32(model.classifier(outputs.last_hidden_state))


def predict(attentions: torch.Tensor, token_logits: torch.Tensor) -> torch.Tensor:
    """The model's probabilities if it attended otherwise: softmax(sum_t alpha_t (W h_t + b)).

    Args:
        attentions: (B, N, T), zero at padding, each of sum 1.
        token_logits: (B, T, K).

    Returns:
        (B, N, K).
    """
    return (attentions @ token_logits).softmax(-1)


def token_noise(attention_mask: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """`count` standard normal numbers for each token by its place in its text: (B, count, T); zero at padding."""
    generator = torch.Generator().manual_seed(seed)
    # Uniform numbers are drawn one by one, so a longer batch begins with those of a shorter; normal ones are not.
    uniform = torch.rand(attention_mask.shape[1], count, dtype=torch.float64, generator=generator)
    normal = torch.special.ndtri(uniform.clamp(min=1e-12)).to(attention_mask.device)  # (T, count)
    places = (attention_mask.cumsum(-1) - 1).clamp(min=0)
    return normal[places].transpose(1, 2) * attention_mask.unsqueeze(1)


@torch.no_grad()
def permutation_distances(
    attentions: torch.Tensor,
    token_logits: torch.Tensor,
    attention_mask: torch.Tensor,
    permutations: int = 100,
    seed: int = 0,
) -> torch.Tensor:
    """How far shuffling a text's attention among its tokens moves the prediction (algorithm 2 of Jain and Wallace).

    Args:
        attentions, token_logits: of `read_texts`.
        attention_mask: (B, T).
        permutations: how often each text is shuffled, N.
        seed: of the permutations.

    Returns:
        (B, N) TVD to the prediction of the model's own attention. Its median over N is what the paper reports.
    """
    noise = token_noise(attention_mask, permutations, seed)
    # Token number i of a text in a random order takes the weight of its i-th token: padding stands behind in both.
    is_padding = (attention_mask == 0).unsqueeze(1)
    shuffled = noise.masked_fill(is_padding, math.inf).argsort(-1)
    in_order = is_padding.to(torch.uint8).argsort(dim=-1, stable=True).expand_as(shuffled)
    weights = attentions.unsqueeze(1).expand_as(noise)
    permuted = torch.zeros_like(weights).scatter(-1, shuffled, weights.gather(-1, in_order))
    return total_variation(predict(permuted, token_logits), predict(attentions.unsqueeze(1), token_logits))


@torch.enable_grad()
def adversarial_attentions(
    attentions: torch.Tensor,
    token_logits: torch.Tensor,
    attention_mask: torch.Tensor,
    count: int = 5,
    epsilon: float = 0.01,
    steps: int = 500,
    learning_rate: float = 0.01,
    penalty: float = 500.0,
    seed: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attentions that differ as much as can be found from the model's, and from each other, at the same prediction.

    For every text, alpha being the model's attention and p(.) the prediction, Adam with amsgrad raises

        sum_i JSD(alpha_i, alpha) + 1 / (N (N - 1)) sum_{i<j} JSD(alpha_i, alpha_j)
            - penalty * sum_i max(0, TVD(p(alpha_i), p(alpha)) - epsilon)

    over the logits of alpha_1 .. alpha_N, which begin as normal noise of standard deviation 3 (Jain and Wallace 2019,
    section 4.2.2, equation 1 and its relaxation; the numbers are those of their code). Where we differ: they keep the
    last step, which may be beyond epsilon, and plot it where it is within 0.05; here each alpha_i is the most
    different of all steps within epsilon, and the model's own attention, of divergence 0, where no step was. So what
    is returned keeps the promise, and a divergence is a lower bound of what there is.

    Args:
        attentions, token_logits: of `read_texts`.
        attention_mask: (B, T).
        count: N, attentions a text.
        epsilon: how far, by TVD, a prediction may move.
        steps, learning_rate: of Adam.
        penalty: of what a prediction moves too far.
        seed: of the noise.

    Returns:
        The attentions (B, N, T), zero at padding, and their JSD to the model's (B, N).
    """
    is_padding = (attention_mask == 0).unsqueeze(1)
    own = attentions.detach().unsqueeze(1)  # (B, 1, T)
    prediction = predict(own, token_logits)
    logits = (3 * token_noise(attention_mask, count, seed)).to(attentions.dtype).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=learning_rate, amsgrad=True, fused=True)
    first, second = torch.triu_indices(count, count, 1, device=attentions.device)
    own_part, half_own = negative_entropy(own), own / 2
    found = own.expand(-1, count, -1).clone()
    divergence = torch.zeros_like(found[..., 0])
    for _ in range(steps):
        # The smallest number, not -inf, whose softmax over a text without tokens would be NaN.
        scores = logits.masked_fill(is_padding, torch.finfo(logits.dtype).min)
        candidates = scores.softmax(-1).masked_fill(is_padding, 0.0)  # (B, N, T)
        # Both divergences as `jensen_shannon` has them, but the logarithms of a candidate are taken once.
        parts = negative_entropy(candidates)  # (B, N)
        halves = candidates / 2
        far = (parts + own_part) / 2 - negative_entropy(halves + half_own)
        moved = total_variation(predict(candidates, token_logits), prediction)
        with torch.no_grad():
            is_better = (moved <= epsilon) & (far > divergence)
            found = torch.where(is_better.unsqueeze(-1), candidates, found)
            divergence = torch.where(is_better, far, divergence)
        mixed = halves.index_select(1, first) + halves.index_select(1, second)
        apart = (count - 1) * parts.sum(-1) / 2 - negative_entropy(mixed).sum(-1)
        objective = far.sum(-1) - penalty * F.relu(moved - epsilon).sum(-1)
        if count > 1:
            objective = objective + apart / (count * (count - 1))
        optimizer.zero_grad()
        (-objective.sum()).backward()
        optimizer.step()
    return found, divergence


def attention_robustness(
    model: BiLSTMAttentionForClassification,
    batches: Iterable[dict[str, torch.Tensor]],
    threshold: float = 0.5,
) -> dict:
    """Both tests over the texts of two tokens or more; a text of one has one attention only.

    Args:
        model: is set to evaluation.
        batches: for the model, on its device; cheapest if texts of one batch are about equally long.
        threshold: a JSD over which an attention counts as another explanation; 0.5 is 72% of the largest there is.

    Returns:
        `texts` tested and `too_short` ones; `median_tvd`, of each text the median under permutation, and `max_jsd`, of
        each the largest divergence that `adversarial_attentions` finds, both as mean, median and histogram (20 equal
        bins from 0 to 1 and from 0 to ln 2); `share_over_threshold` of the texts by `max_jsd`, 0 to 1; and the
        threshold.
    """
    model.eval()
    median_tvd, max_jsd, too_short = [], [], 0
    for inputs in batches:
        is_long = inputs["attention_mask"].sum(-1) > 1
        too_short += int((~is_long).sum())
        frozen = (*read_texts(model, inputs), inputs["attention_mask"])
        median_tvd += permutation_distances(*frozen).quantile(0.5, dim=-1)[is_long].tolist()
        max_jsd += adversarial_attentions(*frozen)[1].amax(-1)[is_long].tolist()
    return {
        "texts": len(max_jsd),
        "too_short": too_short,
        "median_tvd": _distribution(median_tvd, 1.0),
        "max_jsd": _distribution(max_jsd, math.log(2)),
        "share_over_threshold": float(np.mean(np.array(max_jsd) > threshold)) if max_jsd else 0.0,
        "threshold": threshold,
    }


def _distribution(values: list[float], largest: float) -> dict:
    """Mean, median and histogram of numbers from 0 to `largest`; 0 where there are none."""
    counts, _ = np.histogram(np.clip(values, 0, largest), BINS, (0, largest))
    means = (float(np.mean(values)), float(np.median(values))) if values else (0.0, 0.0)
    return {"mean": means[0], "median": means[1], "histogram": counts.tolist()}
