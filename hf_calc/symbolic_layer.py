"""A symbolic function as a differentiable layer (section 3, proposition 1 of Yoshikawa et al.).

Forward, the layer hands on the result of the best candidate, `F(s) = sum_i z_i E_i` with z one-hot. Backward, it
passes the gradient of the straight-through Gumbel-Softmax to the candidates' scores. What is unusual is what it never
makes: neither the one-hot rows E_i over the vocabulary (D*L*V numbers) nor their embeddings (D*L*H). Forward needs
only the chosen row; backward needs `dloss/dz_i = sum_l <G_l, embedding(r_il)>`, and since all results together are
written in few distinct tokens (some 25 for a calculator), G times that small table and a look-up by token give it.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

MIN_TEMPERATURE = 1e-6  # below, scores / temperature may overflow


class SymbolicLayerOutput(NamedTuple):
    """What `SymbolicLayer` chose for each of B examples.

    Args:
        embeddings: (B, L, H) embeddings of the chosen result, zero behind its end.
        token_ids: (B, L) its tokens, padding behind its end.
        index: (B,) the chosen candidate, -1 where an example has none.
        scores: (B, D) the scores without noise, at least fp32, the smallest number at what is no candidate.
    """

    embeddings: torch.Tensor
    token_ids: torch.Tensor
    index: torch.Tensor
    scores: torch.Tensor


class _StraightThrough(torch.autograd.Function):
    """Identity on the chosen embeddings that sends dloss/dz to the candidate probabilities z."""

    @staticmethod
    def forward(ctx, probabilities, chosen, table, slots, pad_slots):
        ctx.save_for_backward(table, slots, pad_slots)
        return chosen.clone()

    @staticmethod
    def backward(ctx, grad):  # (B, L, H)
        table, slots, pad_slots = ctx.saved_tensors
        scores = grad.to(table.dtype) @ table.T  # (B, L, K)
        scores = scores.masked_fill(pad_slots, 0.0)
        # scores[b, l, slots[b, i, l]], summed over l.
        flat = scores.flatten(1)
        offsets = torch.arange(grad.shape[1], device=grad.device) * table.shape[0]
        grad_probabilities = flat.gather(1, (slots + offsets).flatten(1)).view(slots.shape).sum(-1)
        return grad_probabilities, grad, None, None, None


def sample_gumbel(like: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Standard Gumbel noise of the shape of `like`, footnote 6 of the paper: -log of exponential noise."""
    return -torch.empty_like(like).exponential_(generator=generator).clamp(min=torch.finfo(like.dtype).tiny).log()


class SymbolicLayer(nn.Module):
    """Chooses one of D candidate results per example by their scores and embeds it, differentiably.

    Straight-through Gumbel-Softmax (Jang et al. 2017): forward z = one-hot(argmax(s + noise)), backward the Jacobian
    of softmax((s + noise) / temperature). Noise is added in training only; scores are fp32 also under autocast.

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
        embedding: torch.Tensor,
        temperature: float = 1.0,
        noise: bool = True,
        generator: torch.Generator | None = None,
    ) -> SymbolicLayerOutput:
        """Chooses and embeds.

        Args:
            scores: (B, D) the score s of each candidate.
            candidate_ids: (B, D, L) its result's tokens, padded at the end. A row of padding alone is no candidate
                and is never chosen; an example may have none.
            embedding: (V, H) the embedding matrix.
            temperature: of the softmax in the backward pass. A low one adds variance rather than accuracy.
            noise: whether training adds Gumbel noise; False is plain straight-through.
            generator: of the noise, for reproducibility.

        Raises:
            ValueError: shapes that do not fit together, or a temperature under `MIN_TEMPERATURE`.
        """
        if candidate_ids.dim() != 3 or scores.shape != candidate_ids.shape[:2] or not scores.shape[1]:
            raise ValueError(
                "scores (B, D) and candidate_ids (B, D, L) must agree in B and D, D at least 1 (pad it); "
                f"got {tuple(scores.shape)} and {tuple(candidate_ids.shape)}"
            )
        if not temperature >= MIN_TEMPERATURE:
            raise ValueError(f"temperature must be at least {MIN_TEMPERATURE}, got {temperature}; 1 is usual")
        is_candidate = candidate_ids[..., 0] != self.pad_token_id  # (B, D)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        scores = scores.masked_fill(~is_candidate, torch.finfo(scores.dtype).min)
        perturbed = scores
        if self.training and noise:
            perturbed = scores + sample_gumbel(scores, generator) * is_candidate
        index = perturbed.argmax(-1)
        token_ids = candidate_ids[torch.arange(len(index), device=index.device), index]  # (B, L)
        chosen = F.embedding(token_ids, embedding) * (token_ids != self.pad_token_id).unsqueeze(-1)
        if torch.is_grad_enabled() and scores.requires_grad:
            used_ids, slots = torch.unique(candidate_ids, return_inverse=True)  # (K,), (B, D, L)
            probabilities = torch.softmax(perturbed / temperature, -1)
            table = embedding.detach()[used_ids]
            chosen = _StraightThrough.apply(probabilities, chosen, table, slots, used_ids == self.pad_token_id)
        return SymbolicLayerOutput(chosen, token_ids, index.masked_fill(~is_candidate.any(-1), -1), scores)
