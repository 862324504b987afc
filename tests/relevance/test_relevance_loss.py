"""relevance_loss.py against a loop over texts and tokens, and the laws of a divergence; autograd: test_modeling."""

import math
from itertools import product

import pytest
import torch

from hf_relevance import relevance_loss
from hf_relevance.relevance_loss import (
    DIRECTIONS,
    NORMALIZERS,
    TARGET_SCORES,
    conicity,
    gradient_times_hidden,
    normalized_entropy,
    relevance_target,
    score_gradient,
)


@pytest.fixture
def texts(batch):
    """Attention, importance and mask of the batch, in double precision; garbage in the importance at padding."""
    mask = batch["attention_mask"]
    attentions = torch.randn(mask.shape, dtype=torch.float64).masked_fill(mask == 0, -1e9).softmax(-1) * mask
    return attentions, torch.randn(mask.shape, dtype=torch.float64), mask


def naive_divergence(attention, importance, normalizer, temperature, direction):
    """KL over the tokens of one text, lists of numbers, by its definition."""
    if not attention:
        return 0.0
    if normalizer == "softmax":
        weights = [math.exp(abs(g) / temperature) for g in importance]
    else:
        weights = [abs(g) ** (1 / temperature) for g in importance]
    target = [weight / sum(weights) for weight in weights]
    p, q = (target, attention) if direction == "target_to_attention" else (attention, target)
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("options", [*product(NORMALIZERS, (0.5, 1.0, 3.0), DIRECTIONS)])
def test_loss_equals_a_loop(texts, options):
    normalizer, temperature, direction = options
    expected = [
        naive_divergence(a[m > 0].tolist(), g[m > 0].tolist(), *options) for a, g, m in zip(*texts, strict=True)
    ]
    loss = relevance_loss(*texts, normalizer=normalizer, temperature=temperature, direction=direction)
    assert loss.item() == pytest.approx(sum(expected) / len(expected), rel=1e-12)


@pytest.mark.parametrize("target_score", TARGET_SCORES)
@pytest.mark.parametrize("num_labels", [2, 5])
@pytest.mark.parametrize("labeled", [True, False])
def test_score_gradient_equals_autograd(target_score, num_labels, labeled):
    logits = torch.randn(7, num_labels, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(num_labels, (7,))
    top = logits.topk(2)
    best = top.indices[:, :1]
    score = {
        "logit_margin": top.values[:, 0] - top.values[:, 1],
        "log_probability": logits.log_softmax(-1).gather(1, best),
        "probability": logits.softmax(-1).gather(1, best),
        "loss": -logits.log_softmax(-1).gather(1, labels.unsqueeze(1) if labeled else best),
    }[target_score]
    expected = torch.autograd.grad(score.sum(), logits)[0]
    actual = score_gradient(logits.detach(), target_score, labels if labeled else None)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("target_score", TARGET_SCORES)
@pytest.mark.parametrize(("dtype", "margin"), [(torch.bfloat16, 8.0), (torch.float32, 20.0)])
def test_score_gradient_of_two_labels_has_one_direction_however_sure_the_model_is(target_score, dtype, margin):
    logits = torch.tensor([[margin, 0.0], [0.0, margin]], dtype=dtype)
    gradient = score_gradient(logits, target_score)
    assert (gradient != 0).all()
    assert torch.equal(gradient[:, 0], -gradient[:, 1])


@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_loss_is_zero_at_the_target_and_positive_elsewhere(texts, normalizer, direction):
    attentions, importance, mask = texts
    target = relevance_target(importance, mask, normalizer).exp() * mask
    options = {"normalizer": normalizer, "direction": direction}
    assert relevance_loss(target, importance, mask, **options).item() == pytest.approx(0, abs=1e-15)
    assert relevance_loss(attentions, importance, mask, **options).item() > 1e-3


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_target_is_a_distribution_over_tokens_that_keeps_their_order(texts, normalizer):
    _, importance, mask = texts
    target = relevance_target(importance, mask, normalizer).exp()
    assert (target[mask.sum(-1) > 0] * (1 - mask[mask.sum(-1) > 0]) == 0).all()
    for p, g, m in zip(target, importance, mask, strict=True):
        if m.any():
            assert p[m > 0].sum().item() == pytest.approx(1)
            assert torch.equal(p[m > 0].argsort(), g[m > 0].abs().argsort())


def test_temperature_sharpens_and_l1_ignores_scale(texts):
    _, importance, mask = texts
    for normalizer in NORMALIZERS:
        entropies = [
            normalized_entropy(relevance_target(importance, mask, normalizer, t).exp(), mask).sum().item()
            for t in (0.1, 1, 10)
        ]
        assert entropies == sorted(entropies)
    l1, scaled = (relevance_target(importance * scale, mask, "l1") * mask for scale in (1, 1e-20))
    torch.testing.assert_close(l1, scaled)


def test_the_softmax_target_is_almost_uniform_where_importance_shares_one_logit():
    # What the documentation warns of: |g_t| is about logit/T, here of a logit of 4 shared out unevenly.
    for tokens, at_least in ((18, 0.99), (182, 0.9995)):
        mask = torch.ones(100, tokens)
        shares = torch.randn(100, tokens).abs()
        shares = shares / shares.sum(-1, keepdim=True) * 4
        assert normalized_entropy(relevance_target(shares, mask).exp(), mask).mean() > at_least
        assert normalized_entropy(relevance_target(shares, mask, "l1").exp(), mask).mean() < 0.96


@pytest.mark.parametrize("options", [*product(NORMALIZERS, DIRECTIONS, (True, False))])
def test_padding_changes_neither_loss_nor_gradients(texts, options):
    normalizer, direction, detach = options

    def evaluate(attentions, importance, mask):
        inputs = [attentions.clone().requires_grad_(), importance.clone().requires_grad_()]
        loss = relevance_loss(*inputs, mask, normalizer, 1.0, detach, direction)
        return loss, *torch.autograd.grad(loss, inputs, allow_unused=True)

    loss, attention_gradient, importance_gradient = evaluate(*texts)
    padded = [torch.nn.functional.pad(tensor, (2, 3)) for tensor in texts]
    padded[1][:, :2] = 1e6
    padded_loss, *padded_gradients = evaluate(*padded)
    assert padded_loss.item() == pytest.approx(loss.item(), rel=1e-13)
    torch.testing.assert_close(padded_gradients[0][:, 2:-3], attention_gradient)
    assert (attention_gradient[texts[2] == 0] == 0).all()
    assert (importance_gradient is None) == detach
    if not detach:
        torch.testing.assert_close(padded_gradients[1][:, 2:-3], importance_gradient)
        assert importance_gradient.any()


@pytest.mark.parametrize("options", [*product(NORMALIZERS, DIRECTIONS, (True, False))])
def test_extremes_stay_finite(options):
    normalizer, direction, detach = options
    mask = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 0, 0], [0, 0, 0]])
    attentions = torch.tensor([[1.0, 0.0, 1e-42], [1 / 3] * 3, [1.0, 0.0, 0.0], [0.0] * 3], requires_grad=True)
    importance = torch.tensor([[0.0, 1e4, 1e-42], [0.0] * 3, [0.0] * 3, [0.0] * 3], requires_grad=True)
    loss = relevance_loss(attentions, importance, mask, normalizer, 1.0, detach, direction)
    loss.backward()
    assert loss.isfinite()
    assert attentions.grad.isfinite().all()
    assert detach or importance.grad.isfinite().all()
    # Importance without a preference asks for uniform attention; a text of one token or none asks for nothing.
    quiet = relevance_loss(attentions[1:], importance[1:], mask[1:], normalizer, 1.0, detach, direction)
    assert quiet.item() == pytest.approx(0, abs=1e-6)
    assert relevance_loss(*(torch.zeros(2, 0) for _ in range(3))).item() == 0


def test_half_precision_is_reduced_in_fp32():
    attentions, importance = torch.rand(4, 300).softmax(-1).bfloat16(), torch.rand(4, 300).bfloat16()
    mask = torch.ones(4, 300)
    loss = relevance_loss(attentions, importance, mask, "l1")
    assert loss.dtype == torch.float32
    assert torch.equal(loss, relevance_loss(attentions.float(), importance.float(), mask, "l1"))


@pytest.mark.parametrize("options", [*product(NORMALIZERS, DIRECTIONS, (True, False))])
def test_compiles_into_one_graph(texts, options):
    normalizer, direction, detach = options
    torch.compiler.reset()

    def loss(attentions, token_scores, slopes, mask):
        importance = gradient_times_hidden(attentions, token_scores, slopes)
        return relevance_loss(attentions, importance, mask, normalizer, 0.5, detach, direction)

    attentions, scores, mask = texts
    inputs = [attentions.clone().requires_grad_(), scores.clone().requires_grad_(), scores.flip(0), mask]
    eager = torch.autograd.grad(loss(*inputs), inputs[:2], allow_unused=True)
    value = torch.compile(loss, backend="aot_eager", fullgraph=True)(*inputs)
    compiled = torch.autograd.grad(value, inputs[:2], allow_unused=True)
    torch.testing.assert_close(value, loss(*inputs))
    assert (eager[1] is None) == (compiled[1] is None) == detach
    torch.testing.assert_close([g for g in compiled if g is not None], [g for g in eager if g is not None])


def test_normalized_entropy():
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    p = torch.tensor(
        [[0.25] * 4, [1.0, 0.0, 0.0, 9.0], [0.5, 0.5, 0.0, 9.0], [1.0, 9.0, 9.0, 9.0], [9.0] * 4], dtype=torch.float64
    )
    expected = torch.tensor([1, 0, math.log(2) / math.log(3), 0, 0], dtype=torch.float64)
    torch.testing.assert_close(normalized_entropy(p, mask), expected)


def test_bad_options_and_shapes_are_refused(texts):
    attentions, importance, mask = texts
    for option in ({"normalizer": "max"}, {"direction": "both"}):
        with pytest.raises(ValueError, match=f"{next(iter(option))} must be one of .*, got"):
            relevance_loss(*texts, **option)
    for temperature in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="positive and finite"):
            relevance_loss(*texts, temperature=temperature)
    with pytest.raises(ValueError, match=r"\(6, 6\), \(6, 5\) and \(6, 6\)"):
        relevance_loss(attentions, importance[:, 1:], mask)
    with pytest.raises(ValueError, match="logit_margin, log_probability, probability, loss, got 'logit'"):
        score_gradient(torch.zeros(1, 2), "logit")


def test_conicity_equals_a_loop(batch):
    mask = batch["attention_mask"]
    hidden = torch.randn(*mask.shape, 5, dtype=torch.float64)
    expected = []
    for states, places in zip(hidden, mask.bool(), strict=True):
        mean = states[places].sum(0) / max(1, places.sum())
        cosines = [(state @ mean / state.norm() / mean.norm()).item() for state in states[places]]
        expected.append(sum(cosines) / max(1, len(cosines)))
    assert conicity(hidden, mask).item() == pytest.approx(sum(expected) / 6, rel=1e-12)


@pytest.mark.parametrize(
    ("states", "cone"),
    [
        ([[1.0, 0.0], [3.0, 0.0]], 1.0),
        ([[1.0, 0.0], [-1.0, 0.0]], 0.0),
        ([[1.0, 0.0], [0.0, 1.0]], 0.5**0.5),
        ([[2.0, 1.0], [0.0, 0.0]], 0.5),
        ([[0.0, 0.0], [0.0, 0.0]], 0.0),
    ],
)
def test_conicity_of_known_cones_has_a_finite_gradient(states, cone):
    hidden = torch.tensor([states], requires_grad=True)
    found = conicity(hidden, torch.ones(1, 2, dtype=torch.int64))
    found.backward()
    assert found.item() == pytest.approx(cone)
    assert hidden.grad.isfinite().all()
