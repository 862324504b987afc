"""A symbolic function as a differentiable layer (section 3, proposition 1 of Yoshikawa et al.).

Forward, the layer hands on the result of the best candidate, `F(s) = sum_i z_i E_i` with z one-hot. Backward, it
passes the gradient of the straight-through Gumbel-Softmax to the candidates' scores. What is unusual is what it never
makes: neither the one-hot rows E_i over the vocabulary (D*L*V numbers) nor their embeddings (D*L*H). Forward needs
only the chosen row; backward needs `dloss/dz_i = sum_l <G_l, embedding(r_il)>`, and since all results together are
written in few distinct tokens (some 25 for a calculator), G times that small table and a look-up by token give it.

Other estimators of the gradient differ from it in one place each. `straight_through`, `gumbel_rao` and `reinmax` have
another Jacobian of z (`surrogate_weights`); `gumbel_softmax` hands on the mixture, made over the same small table;
`reinforce` and `marginal` hand on several results for each example, whose losses `combine_samples` makes into one.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

MIN_TEMPERATURE = 1e-6  # below, scores / temperature may overflow
ONE_RESULT = ("straight_through_gumbel", "straight_through", "gumbel_rao", "reinmax", "gumbel_softmax")
SEVERAL_RESULTS = ("reinforce", "marginal")


class SymbolicLayerOutput(NamedTuple):
    """What `SymbolicLayer` chose for each of B examples, S times.

    S is 1 but for the estimators of `SEVERAL_RESULTS` in training; row s * B + b is sample s of example b.

    Args:
        embeddings: (S * B, L, H) embeddings of the chosen result, zero behind its end.
        token_ids: (S * B, L) its tokens, padding behind its end.
        index: (S * B,) the chosen candidate, -1 where an example has none.
        scores: (B, D) the scores without noise, at least fp32, the smallest number at what is no candidate.
    """

    embeddings: torch.Tensor
    token_ids: torch.Tensor
    index: torch.Tensor
    scores: torch.Tensor


class _StraightThrough(torch.autograd.Function):
    """Identity on the chosen embeddings that sends dloss/dz to the candidate probabilities z."""

    @staticmethod
    def forward(ctx, probabilities, chosen, embedding, candidate_ids, pad_token_id):
        ctx.save_for_backward(embedding, candidate_ids)
        ctx.pad_token_id = pad_token_id
        return chosen.clone()

    @staticmethod
    def backward(ctx, grad):  # (B, L, H)
        embedding, candidate_ids = ctx.saved_tensors
        wide = grad.to(embedding.dtype)
        if torch.compiler.is_compiling():
            # How many tokens are in use is no shape that a graph can have; its look-up, product and sum are one loop.
            by_token = (embedding[candidate_ids] * wide.unsqueeze(1)).sum(-1)  # (B, D, L)
            by_token = by_token.masked_fill(candidate_ids == ctx.pad_token_id, 0.0)
        else:
            used_ids, slots = distinct_tokens(candidate_ids)  # (K,), (B, D, L)
            scores = (wide @ embedding[used_ids].T).masked_fill(used_ids == ctx.pad_token_id, 0.0)  # (B, L, K)
            # scores[b, l, slots[b, i, l]].
            offsets = torch.arange(grad.shape[1], device=grad.device) * len(used_ids)
            by_token = scores.flatten(1).gather(1, (slots + offsets).flatten(1)).view(slots.shape)
        return by_token.sum(-1), grad, None, None, None


def distinct_tokens(token_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`torch.unique(token_ids, return_inverse=True)` by a table of all tokens, and so without sorting.

    >>> [tokens.tolist() for tokens in distinct_tokens(torch.tensor([[7, 3], [3, 9]]))]
    [[3, 7, 9], [[1, 0], [0, 2]]]
    """
    is_used = token_ids.new_zeros(int(token_ids.max()) + 1).index_fill_(0, token_ids.flatten(), 1)
    return is_used.nonzero().squeeze(-1), (is_used.cumsum(0) - 1)[token_ids]


def sample_gumbel(like: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Standard Gumbel noise of the shape of `like`, footnote 6 of the paper: -log of exponential noise."""
    return -torch.empty_like(like).exponential_(generator=generator).clamp(min=torch.finfo(like.dtype).tiny).log()


@torch.no_grad()
def sample_conditional_gumbel(
    scores: torch.Tensor, index: torch.Tensor, num_samples: int, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Gumbel noise given which candidate it chose (Paulus, Maddison and Krause 2021, section 3).

    With E standard exponential and Z = sum_j exp(s_j), the perturbed scores are -log E_i + log Z at the chosen i and
    -log(E_j / exp(s_j) + E_i / Z) elsewhere.

    Args:
        scores: (B, D) the scores s.
        index: (B,) the candidate at which scores + noise is to be the largest.

    Returns:
        (num_samples, B, D) the noise.
    """
    log_exponential = -sample_gumbel(scores.expand(num_samples, -1, -1), generator)
    chosen = index.view(1, -1, 1).expand(num_samples, -1, 1)
    lowest = log_exponential.gather(-1, chosen) - scores.logsumexp(-1, keepdim=True)  # minus the largest
    return -torch.logaddexp(log_exponential - scores, lowest).scatter(-1, chosen, lowest) - scores


def surrogate_weights(
    estimator: str,
    scores: torch.Tensor,
    perturbed: torch.Tensor,
    index: torch.Tensor,
    temperature: float,
    num_samples: int,
    generator: torch.Generator | None,
) -> torch.Tensor:
    """Weights z(s) whose Jacobian stands for that of the choice, t the temperature and g the noise that chose i.

    - straight_through_gumbel: softmax((s + g) / t) (Jang, Gu and Poole 2017, section 2.2).
    - gumbel_softmax: the same, handed on in the forward pass as well (there, section 2.1).
    - straight_through: softmax(s / t), without the noise (Bengio, Leonard and Courville 2013).
    - gumbel_rao: mean over k of softmax((s + g_k) / t), g_k drawn anew given i, which keeps the mean of
      straight_through_gumbel and lowers its variance (Paulus, Maddison and Krause 2021). All g_k are constants:
      derivatives through them would change the mean.
    - reinmax: p = softmax(s) and q = (one-hot(i) + softmax(s / t)) / 2 give twice the Jacobian of the softmax at q
      less half of that at p, accurate to the second order; t at least 1 (Liu et al. 2023, algorithm 2).

    Args:
        scores, perturbed: (B, D) s and s + g.
        index: (B,) the chosen i.
        num_samples: of g_k.

    Returns:
        (B, D); but for the Jacobian only `gumbel_softmax` has a use for it.
    """
    if estimator == "straight_through":
        return torch.softmax(scores / temperature, -1)
    if estimator == "gumbel_rao":
        noise = sample_conditional_gumbel(scores, index, num_samples, generator)
        return torch.softmax((scores + noise) / temperature, -1).mean(0)
    if estimator == "reinmax":
        middle = (F.one_hot(index, scores.shape[1]) + torch.softmax(scores / temperature, -1)) / 2
        at_middle = torch.softmax(scores + (middle.log() - scores).detach(), -1)
        return 2 * at_middle - torch.softmax(scores, -1) / 2
    return torch.softmax(perturbed / temperature, -1)


def mix_embeddings(weights: torch.Tensor, table: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    """The sum over i of z_i E_i for any weights z: D * L additions into one-hot rows over the K tokens in use.

    Args:
        weights: (B, D).
        table: (K, H) embeddings.
        slots: (B, D, L) rows of the table.

    Returns:
        (B, L, H) in the type of the table.
    """
    index = slots.transpose(1, 2)  # (B, L, D)
    mixture = weights.new_zeros(*index.shape[:2], len(table))
    mixture = mixture.scatter_add(2, index, weights.unsqueeze(1).expand(index.shape))  # (B, L, K)
    with torch.autocast(weights.device.type, enabled=False):
        return (mixture @ table.to(weights.dtype)).to(table.dtype)


def log_probabilities(result: SymbolicLayerOutput) -> torch.Tensor:
    """(S, B) log-probabilities of the choices by the softmax of the scores, equation 2 of the paper."""
    index = result.index.clamp(min=0).view(-1, len(result.scores))
    return torch.log_softmax(result.scores, -1).gather(1, index.T).T


def combine_samples(estimator: str, losses: torch.Tensor, log_p: torch.Tensor) -> torch.Tensor:
    """One loss for each example from those of its S results, right in value and gradient.

    - reinforce: the mean loss; the gradient for the scores is the mean of (loss - mean of the others' losses) times
      that of log p, unbiased for the expected loss, equation 3 (Kool, van Hoof and Welling 2019).
    - marginal: -log sum_z p(z) exp(-loss_z), equation 4 of the paper when the losses are -log p(y | z) and S is all
      candidates. Of the best S alone p is normalized among them, so that alike candidates get no gradient.

    Args:
        losses: (S, B) of each sample.
        log_p: (S, B) log-probabilities of the choices, see `log_probabilities`.

    Returns:
        (B,)
    """
    if estimator == "marginal":
        return -torch.logsumexp(torch.log_softmax(log_p, 0) - losses, 0)
    others = (losses.sum(0) - losses) / (len(losses) - 1)
    return (losses + (losses - others).detach() * (log_p - log_p.detach())).mean(0)


def check_estimator(estimator: str, num_samples: int, noise: bool) -> None:
    """Raises ValueError where an estimator is unknown or cannot work so."""
    if estimator not in ONE_RESULT + SEVERAL_RESULTS:
        raise ValueError(f"estimator must be one of {', '.join(ONE_RESULT + SEVERAL_RESULTS)}; got {estimator!r}")
    least = 2 if estimator == "reinforce" else 1
    if num_samples < least:
        raise ValueError(f"{estimator} needs num_samples of at least {least}, got {num_samples}")
    if estimator in ("reinforce", "gumbel_rao") and not noise:
        raise ValueError(f"{estimator} draws its samples by Gumbel noise: leave the noise on, or use straight_through")


class SymbolicLayer(nn.Module):
    """Chooses one of D candidate results per example by their scores and embeds it, differentiably.

    Forward z = one-hot(argmax(s + noise)), backward the Jacobian of `surrogate_weights`, by default that of the
    straight-through Gumbel-Softmax, softmax((s + noise) / temperature). Two estimators take several candidates:
    `reinforce` draws num_samples of them and `marginal` takes as many of the best; their embeddings pass no gradient
    to the scores, `combine_samples` does. Noise, mixtures and several results are for training only; scores are fp32
    also under autocast.

    Args:
        pad_token_id: the token behind the end of a result; its embedding counts as zero, as in the paper's sum.
    """

    def __init__(self, pad_token_id: int = 0):
        super().__init__()
        self.pad_token_id = pad_token_id

    def forward(
        self,
        scores: torch.Tensor,
        candidate_ids: torch.Tensor,
        embedding: torch.Tensor | Callable[[torch.Tensor], torch.Tensor],
        temperature: float = 1.0,
        noise: bool = True,
        generator: torch.Generator | None = None,
        estimator: str = "straight_through_gumbel",
        num_samples: int = 4,
    ) -> SymbolicLayerOutput:
        """Chooses and embeds.

        Args:
            scores: (B, D) the score s of each candidate.
            candidate_ids: (B, D, L) its result's tokens, padded at the end. A row of padding alone is no candidate
                and is never chosen; an example may have none.
            embedding: (V, H) the embedding matrix, or a function from tokens of any shape to their embeddings.
            temperature: of the softmax in the backward pass. A low one adds variance rather than accuracy.
            noise: whether training adds Gumbel noise to the choice; False is plain straight-through.
            generator: of the noise, for reproducibility.
            estimator: of the gradient, one of `ONE_RESULT` (see `surrogate_weights`) or `SEVERAL_RESULTS` (see
                `combine_samples`). The mixture of `gumbel_softmax` ends where the result of its largest weight does.
            num_samples: noises of `gumbel_rao`, results of `reinforce` and `marginal`; the latter takes all of them
                where there are not so many. The others have no use for it.

        Raises:
            ValueError: shapes that do not fit together, a temperature under `MIN_TEMPERATURE`, an unknown estimator,
                or one without the samples or the noise it needs.
        """
        if candidate_ids.dim() != 3 or scores.shape != candidate_ids.shape[:2] or not scores.shape[1]:
            raise ValueError(
                "scores (B, D) and candidate_ids (B, D, L) must agree in B and D, D at least 1 (pad it); "
                f"got {tuple(scores.shape)} and {tuple(candidate_ids.shape)}"
            )
        if not temperature >= MIN_TEMPERATURE:
            raise ValueError(f"temperature must be at least {MIN_TEMPERATURE}, got {temperature}; 1 is usual")
        check_estimator(estimator, num_samples, noise)
        is_candidate = candidate_ids[..., 0] != self.pad_token_id  # (B, D)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        scores = scores.masked_fill(~is_candidate, torch.finfo(scores.dtype).min)
        if not self.training:
            estimator, noise = "straight_through", False
        if estimator == "marginal":
            index = scores.topk(min(num_samples, scores.shape[1]), -1).indices.T.flatten()
        else:
            perturbed = scores
            if noise:
                drawn = scores.expand(num_samples if estimator == "reinforce" else 1, -1, -1)
                perturbed = (scores + sample_gumbel(drawn, generator) * is_candidate).flatten(0, 1)
            index = perturbed.argmax(-1)  # (S * B,)
        rows = torch.arange(len(index), device=index.device) % len(scores)
        token_ids = candidate_ids[rows, index]  # (S * B, L)
        is_token = (token_ids != self.pad_token_id).unsqueeze(-1)
        embed = embedding if callable(embedding) else partial(F.embedding, weight=embedding)
        chosen = embed(token_ids) * is_token
        needs_gradient = torch.is_grad_enabled() and scores.requires_grad and estimator in ONE_RESULT
        if needs_gradient or estimator == "gumbel_softmax":
            weights = surrogate_weights(estimator, scores, perturbed, index, temperature, num_samples, generator)
            table, slots, pad_slot = embedding, candidate_ids, self.pad_token_id
            if callable(embedding) or estimator == "gumbel_softmax":
                used_ids, slots = distinct_tokens(candidate_ids)  # (K,), (B, D, L)
                table, pad_slot = embed(used_ids) * (used_ids != self.pad_token_id).unsqueeze(-1), -1  # (K, H)
            if estimator == "gumbel_softmax":
                weights = weights.masked_fill(~is_candidate, 0.0)  # NaN where there is no candidate at all
                chosen = mix_embeddings(weights, table, slots) * is_token
            else:
                chosen = _StraightThrough.apply(weights, chosen, table.detach(), slots, pad_slot)
        has_candidate = is_candidate.any(-1)[rows]
        return SymbolicLayerOutput(chosen, token_ids, index.masked_fill(~has_candidate, -1), scores)
