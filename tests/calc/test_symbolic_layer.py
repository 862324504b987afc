"""SymbolicLayer against the naive mixture of proposition 1 under autograd in double precision."""

import pytest
import torch
import torch.nn.functional as F

from hf_calc import SymbolicLayer
from hf_calc.symbolic_layer import sample_gumbel

B, D, L, V, H = 4, 9, 6, 23, 5


@pytest.fixture
def case():
    """Scores, candidates of different lengths (some missing, one example without any) and an embedding matrix."""
    scores = torch.randn(B, D, dtype=torch.float64)
    candidate_ids = torch.randint(1, V, (B, D, L))
    lengths = torch.randint(1, L + 1, (B, D))
    lengths[0, 3] = lengths[1, ::2] = 0
    lengths[2] = 0
    candidate_ids[torch.arange(L) >= lengths.unsqueeze(-1)] = 0
    return scores.requires_grad_(), candidate_ids, torch.randn(V, H, dtype=torch.float64).requires_grad_()


def naive_mixture(scores, candidate_ids, embedding, temperature, noise):
    """sum_i z_i E_i with all one-hot rows made, z straight-through; padding rows are zero as in the paper."""
    is_candidate = candidate_ids[..., 0] != 0
    perturbed = (scores + noise).double().masked_fill(~is_candidate, -1e30)
    soft = torch.softmax(perturbed / temperature, -1)
    hard = F.one_hot(perturbed.argmax(-1), D).double()
    z = hard + soft - soft.detach()
    one_hot = F.one_hot(candidate_ids, V).double() * (candidate_ids != 0).unsqueeze(-1)  # (B, D, L, V)
    return torch.einsum("bd,bdlv,vh->blh", z, one_hot, embedding), hard


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("noise", [True, False])
def test_equals_the_naive_mixture_forward_and_backward(case, temperature, noise):
    scores, candidate_ids, embedding = case
    readout = torch.randn(B, L, H, dtype=torch.float64)

    def loss(embeddings, hard):
        # Nothing behind the end of the chosen result is read, as attention masks guarantee in the model.
        length = (torch.einsum("bd,bdl->bl", hard, (candidate_ids != 0).double()) > 0).unsqueeze(-1)
        return (torch.sin(embeddings * readout) * length).sum()

    gumbel = sample_gumbel(scores, torch.Generator().manual_seed(1)) if noise else torch.zeros(B, D)
    expected, hard = naive_mixture(scores, candidate_ids, embedding, temperature, gumbel)
    expected_gradients = torch.autograd.grad(loss(expected, hard), (scores, embedding))
    output = SymbolicLayer().train()(
        scores, candidate_ids, embedding, temperature, noise, torch.Generator().manual_seed(1)
    )
    gradients = torch.autograd.grad(loss(output.embeddings, hard), (scores, embedding))

    torch.testing.assert_close(output.embeddings, expected, rtol=0, atol=1e-12)
    has_candidate = (candidate_ids != 0).any(-1).any(-1)
    assert torch.equal(output.index, torch.where(has_candidate, hard.argmax(-1), -1))
    torch.testing.assert_close(gradients[0], expected_gradients[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(gradients[1], expected_gradients[1], rtol=0, atol=1e-12)


def test_evaluation_takes_the_best_candidate_without_noise(case):
    scores, candidate_ids, embedding = case
    layer = SymbolicLayer().eval()
    first, second = layer(scores, candidate_ids, embedding), layer(scores, candidate_ids, embedding)
    assert torch.equal(first.index, second.index)
    masked = scores.masked_fill(candidate_ids[..., 0] == 0, -torch.inf)
    for row in (0, 1, 3):
        assert first.index[row] == masked[row].argmax()
        assert torch.equal(first.token_ids[row], candidate_ids[row, masked[row].argmax()])


def test_noise_samples_the_softmax(case):
    """Gumbel trick: the chosen candidates are distributed as softmax(scores), missing ones never appear."""
    scores, candidate_ids, embedding = case
    repeats = 20_000
    row, ids = scores[:1].detach().expand(repeats, -1), candidate_ids[:1].expand(repeats, -1, -1)
    index = SymbolicLayer().train()(row, ids, embedding, generator=torch.Generator().manual_seed(0)).index
    counts = torch.bincount(index, minlength=D)
    expected = torch.softmax(scores[0].detach().masked_fill(ids[0, :, 0] == 0, -torch.inf), -1) * repeats
    chi_square = ((counts - expected) ** 2 / expected.clamp(min=1e-9))[expected > 0].sum()
    assert counts[3] == 0
    assert chi_square < 27.9  # 7 degrees of freedom, p = 0.0002


def test_scores_stay_fp32_under_autocast(case):
    _, candidate_ids, embedding = case
    # A difference that bf16 cannot hold decides.
    close = torch.full((B, D), 100.0)
    close[:, 1] += 0.01
    with torch.autocast("cpu", torch.bfloat16):
        index = SymbolicLayer().eval()(close, candidate_ids, embedding.float()).index
    assert index[0] == 1


@pytest.mark.parametrize("temperature", [0.0, 1e-40, -1.0, float("nan")])
def test_a_temperature_of_0_and_below_is_refused(case, temperature):
    with pytest.raises(ValueError, match="temperature must be at least"):
        SymbolicLayer()(*case, temperature=temperature)


def test_shapes_that_do_not_fit_are_refused(case):
    scores, candidate_ids, embedding = case
    with pytest.raises(ValueError, match=r"got \(4, 8\) and \(4, 9, 6\)"):
        SymbolicLayer()(scores[:, :-1], candidate_ids, embedding)
    with pytest.raises(ValueError, match="D at least 1"):
        SymbolicLayer()(scores[:, :0], candidate_ids[:, :0], embedding)
