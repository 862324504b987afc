"""The estimators of the scores' gradient against enumeration of all candidates in double precision."""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from hf_calc import SymbolicLayer
from hf_calc.symbolic_layer import (
    ONE_RESULT,
    SEVERAL_RESULTS,
    combine_samples,
    log_probabilities,
    sample_conditional_gumbel,
    sample_gumbel,
    surrogate_weights,
)

D, L, V, H = 6, 3, 11, 4
DRAWS = 20_000


@pytest.fixture
def case():
    """Scores of one example, five candidates of different lengths and a missing one, an embedding, and a reader.

    The reader gives -log p(y | result), not linear in the result, and reads nothing behind its end.
    """
    candidate_ids = torch.randint(1, V, (1, D, L))
    candidate_ids[0, 1, 1:] = candidate_ids[0, 2, 2:] = candidate_ids[0, 4] = 0
    first, second = torch.randn(L * H, 8, dtype=torch.float64), torch.randn(8, 3, dtype=torch.float64)
    scores = torch.randn(1, D, dtype=torch.float64, requires_grad=True)
    embedding = torch.randn(V, H, dtype=torch.float64, requires_grad=True)

    def read(embeddings, is_token):
        embeddings = torch.where(is_token.unsqueeze(-1), embeddings, 0.0)
        return -torch.log_softmax(torch.tanh(embeddings.flatten(1) @ first) @ second, -1)[:, 0]

    return scores, candidate_ids, embedding, read


def enumerate_losses(case):
    """(D,) probabilities and losses of all candidates; the missing one has probability 0."""
    scores, candidate_ids, embedding, read = case
    losses = read(F.embedding(candidate_ids[0], embedding), candidate_ids[0] != 0)
    return torch.softmax(scores[0].masked_fill(candidate_ids[0, :, 0] == 0, -torch.inf), -1), losses


def exact_gradient(case, objective):
    """(D,) of the mean loss (equation 3), or of -log of the mean likelihood (equation 4)."""
    p, losses = enumerate_losses(case)
    value = (p * losses).sum() if objective == "loss" else -(p * torch.exp(-losses)).sum().log()
    return torch.autograd.grad(value, case[0])[0][0]


def draw_gradients(case, estimator, num_samples=4, temperature=1.0, draws=DRAWS, seed=0, noise=True):
    """(draws, D) gradients for the scores, each from one choice, and the (draws,) losses."""
    scores, candidate_ids, embedding, read = case
    rows = scores.detach().expand(draws, -1).clone().requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    result = SymbolicLayer().train()(
        rows, candidate_ids.expand(draws, -1, -1), embedding, temperature, noise, generator, estimator, num_samples
    )
    losses = read(result.embeddings, result.token_ids != 0)
    if estimator in SEVERAL_RESULTS:
        losses = combine_samples(estimator, losses.view(-1, draws), log_probabilities(result))
    return torch.autograd.grad(losses.sum(), rows)[0], losses.detach()


def z_scores(gradients, expected, others=None):
    """How many standard errors the mean of (draws, D) gradients is from an expected mean, or from that of others."""
    squares = gradients.var(0) / len(gradients)
    if others is not None:
        expected, squares = others.mean(0), squares + others.var(0) / len(others)
    return (gradients.mean(0) - expected).abs() / squares.sqrt().clamp(min=1e-12)


@pytest.mark.parametrize("num_samples", [D, 1000])
def test_marginal_over_all_candidates_equals_enumeration(case, num_samples):
    p, losses = enumerate_losses(case)
    expected = -(p * torch.exp(-losses)).sum().log()
    gradients, values = draw_gradients(case, "marginal", num_samples, draws=3)
    torch.testing.assert_close(values, expected.detach().expand(3), rtol=0, atol=1e-12)
    torch.testing.assert_close(gradients, exact_gradient(case, "likelihood").expand(3, -1), rtol=0, atol=1e-12)


def test_marginal_over_the_best_leaves_the_others_alone(case):
    scores, _, _, _ = case
    p, losses = enumerate_losses(case)
    best = p.argsort(descending=True)[:3]
    expected = -(p[best] / p[best].sum() * torch.exp(-losses[best])).sum().log()
    gradients, values = draw_gradients(case, "marginal", 3, draws=1)
    assert values.item() == pytest.approx(expected.item(), abs=1e-12)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, scores)[0], rtol=0, atol=1e-12)
    assert (gradients[0].abs() > 1e-12).nonzero().flatten().tolist() == sorted(best.tolist())


@pytest.mark.parametrize("num_samples", [2, 5])
def test_reinforce_is_unbiased(case, num_samples):
    expected = exact_gradient(case, "loss")
    gradients, values = draw_gradients(case, "reinforce", num_samples)
    is_candidate = case[1][0, :, 0] != 0
    assert z_scores(gradients, expected)[is_candidate].max() < 4
    assert not gradients[:, ~is_candidate].any()
    p, losses = enumerate_losses(case)
    assert z_scores(values, (p * losses).sum().detach()) < 4
    # The same test finds the bias of the estimators that have one.
    for estimator in ONE_RESULT:
        assert z_scores(draw_gradients(case, estimator)[0], expected)[is_candidate].max() > 10


def test_reinforce_equals_a_naive_loop():
    losses, logits = torch.randn(3, 2, dtype=torch.float64), torch.randn(2, D, dtype=torch.float64, requires_grad=True)
    index = torch.randint(D, (3, 2))
    expected = torch.zeros(2, D, dtype=torch.float64)
    for b in range(2):
        for s in range(3):
            baseline = sum(losses[other, b] for other in range(3) if other != s) / 2
            score = F.one_hot(index[s, b], D) - torch.softmax(logits[b], -1)
            expected[b] += (losses[s, b] - baseline) * score.detach() / 3
    log_p = torch.log_softmax(logits, -1).gather(1, index.T).T
    combined = combine_samples("reinforce", losses, log_p)
    torch.testing.assert_close(combined.detach(), losses.mean(0))
    torch.testing.assert_close(torch.autograd.grad(combined.sum(), logits)[0], expected)


def test_straight_through_is_the_gradient_of_the_softmax(case):
    """Noise chooses and has no other part in it."""
    scores, candidate_ids, embedding, read = case
    gradients, _ = draw_gradients(case, "straight_through", temperature=0.8, draws=50)
    p = torch.softmax(scores[0].masked_fill(candidate_ids[0, :, 0] == 0, -1e30) / 0.8, -1).detach()
    is_token = candidate_ids != 0
    rows = (F.embedding(candidate_ids, embedding) * is_token.unsqueeze(-1)).detach()  # (1, D, L, H)
    expected = []
    for chosen in range(D):
        read_row = rows[:, chosen].clone().requires_grad_()
        grad = torch.autograd.grad(read(read_row, is_token[:, chosen]).sum(), read_row)[0]
        by_weight = torch.einsum("lh,dlh->d", grad[0], rows[0])
        expected.append(p / 0.8 * (by_weight - (p * by_weight).sum()))
    distances = (gradients.unsqueeze(1) - torch.stack(expected)).abs().amax(-1)  # (draws, D)
    assert distances.amin(1).max() < 1e-12
    assert len(set(distances.argmin(1).tolist())) > 2


def test_without_noise_straight_through_is_the_default(case):
    one, other = (
        draw_gradients(case, name, draws=1, noise=False)[0] for name in ("straight_through", "straight_through_gumbel")
    )
    assert torch.equal(one, other)


def test_conditional_noise_is_gumbel_noise_that_chose_so():
    scores = torch.randn(D, dtype=torch.float64).expand(DRAWS, -1)
    generator = torch.Generator().manual_seed(0)
    index = (scores + sample_gumbel(scores, generator)).argmax(-1)
    noise = sample_conditional_gumbel(scores, index, 2, generator)
    assert torch.equal((scores + noise).argmax(-1), index.expand(2, -1))
    # Over all choices it is standard Gumbel noise again.
    for column in noise[1].T:
        assert stats.kstest(column.numpy(), "gumbel_r").pvalue > 1e-4
    assert torch.corrcoef(noise[1].T).fill_diagonal_(0).abs().max() < 4 / math.sqrt(DRAWS)


def test_gumbel_rao_keeps_the_mean_and_lowers_the_variance(case):
    is_candidate = case[1][0, :, 0] != 0
    plain, one, many = (
        draw_gradients(case, name, k, temperature=0.5, seed=seed)[0][:, is_candidate]
        for seed, (name, k) in enumerate([("straight_through_gumbel", 1), ("gumbel_rao", 1), ("gumbel_rao", 32)])
    )
    assert z_scores(one, None, plain).max() < 4
    assert z_scores(many, None, plain).max() < 4
    variances = [gradients.var(0).sum().item() for gradients in (plain, one, many)]
    assert variances[1] == pytest.approx(variances[0], rel=0.1)
    assert variances[2] < 0.7 * variances[0]


def test_gumbel_rao_converges_to_the_mean_over_noise_that_chose_so():
    """Against the mean of those draws of plain Gumbel noise that happen to choose the same candidate."""
    scores = torch.randn(1, D, dtype=torch.float64)
    perturbed = scores + sample_gumbel(scores.expand(400_000, -1))
    for chosen in range(D):
        kept = torch.softmax(perturbed[perturbed.argmax(-1) == chosen] / 0.5, -1)
        index = torch.tensor([chosen])
        weights = surrogate_weights("gumbel_rao", scores, None, index, 0.5, 20_000, None)[0]
        tolerance = 4 * (kept.var(0) * (1 / len(kept) + 1 / 20_000)).sqrt()
        assert ((weights - kept.mean(0)).abs() < tolerance).all()


@pytest.mark.parametrize("temperature", [1.0, 1.3])
def test_reinmax_equals_its_algorithm(temperature):
    """Algorithm 2 of Liu et al. line by line."""
    theta = torch.randn(3, D, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([0, 2, 2])
    readout = torch.randn(3, D, dtype=torch.float64)
    one_hot = F.one_hot(index, D).double()
    pi_0 = torch.softmax(theta, -1)
    pi_1 = (one_hot + torch.softmax(theta / temperature, -1)) / 2
    pi_1 = torch.softmax((torch.log(pi_1) - theta).detach() + theta, -1)
    pi_2 = 2 * pi_1 - pi_0 / 2
    expected = torch.autograd.grad(((pi_2 - pi_2.detach() + one_hot) * readout).sum(), theta)[0]
    weights = surrogate_weights("reinmax", theta, None, index, temperature, 1, None)
    torch.testing.assert_close(torch.autograd.grad((weights * readout).sum(), theta)[0], expected)


@pytest.mark.parametrize(("estimator", "exact_for"), [("straight_through", 1), ("reinmax", 2)])
def test_order_of_accuracy(estimator, exact_for):
    """The mean over all choices is exact for a loss that is a polynomial in z up to a degree, and not above."""
    scores = torch.randn(1, D, dtype=torch.float64, requires_grad=True)
    linear, root = torch.randn(D, dtype=torch.float64), torch.randn(D, D, dtype=torch.float64)
    p = torch.softmax(scores[0], -1)
    for degree in (1, 2, 3):

        def loss(z, degree=degree):
            return z @ linear + ((z @ root) ** degree).sum(-1)

        exact = torch.autograd.grad((p * loss(torch.eye(D, dtype=torch.float64))).sum(), scores, retain_graph=True)[0]
        mean = torch.zeros_like(exact)
        for chosen in range(D):
            z = F.one_hot(torch.tensor([chosen]), D).double().requires_grad_()
            grad = torch.autograd.grad(loss(z).sum(), z)[0]
            weights = surrogate_weights(estimator, scores, None, torch.tensor([chosen]), 1.0, 1, None)
            mean += p[chosen].detach() * torch.autograd.grad(weights, scores, grad)[0]
        assert torch.allclose(mean, exact, rtol=0, atol=1e-12) == (degree <= exact_for)


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_soft_mixture_equals_the_naive_sum(case, temperature):
    """sum_i z_i E_i with all one-hot rows made, for two examples of which one has no candidate."""
    scores, candidate_ids, embedding, read = case
    candidate_ids = torch.cat([candidate_ids, torch.zeros_like(candidate_ids)])
    scores = scores.detach().expand(2, -1).clone().requires_grad_()
    result = SymbolicLayer().train()(
        scores,
        candidate_ids,
        embedding,
        temperature,
        generator=torch.Generator().manual_seed(1),
        estimator="gumbel_softmax",
    )
    noise = sample_gumbel(scores, torch.Generator().manual_seed(1))
    perturbed = (scores + noise).masked_fill(candidate_ids[..., 0] == 0, -1e30)
    one_hot = F.one_hot(candidate_ids, V).double() * (candidate_ids != 0).unsqueeze(-1)
    mixture = torch.einsum("bd,bdlv,vh->blh", torch.softmax(perturbed / temperature, -1), one_hot, embedding)
    is_token = candidate_ids[torch.arange(2), perturbed.argmax(-1)] != 0
    assert torch.equal(result.token_ids != 0, is_token)
    torch.testing.assert_close(result.embeddings, mixture * is_token.unsqueeze(-1), rtol=0, atol=1e-12)
    actual, expected = (
        torch.autograd.grad(read(embeddings, is_token).sum(), (scores, embedding))
        for embeddings in (result.embeddings, mixture)
    )
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    assert not result.embeddings[1].any()


def test_a_cold_mixture_is_the_chosen_result(case):
    _, candidate_ids, embedding, _ = case
    soft, hard = (
        SymbolicLayer().train()(
            case[0], candidate_ids, embedding, 1e-4, generator=torch.Generator().manual_seed(2), estimator=estimator
        )
        for estimator in ("gumbel_softmax", "straight_through_gumbel")
    )
    assert soft.index == hard.index
    torch.testing.assert_close(soft.embeddings, hard.embeddings)


def test_a_mixture_stays_fp32_under_autocast(case):
    scores, candidate_ids, embedding, _ = case
    arguments = (scores.detach().float(), candidate_ids, embedding.detach().float(), 1.0, False)
    exact = SymbolicLayer().train()(*arguments, estimator="gumbel_softmax").embeddings
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(SymbolicLayer().train()(*arguments, estimator="gumbel_softmax").embeddings, exact)


@pytest.mark.parametrize("estimator", ["straight_through", "reinmax", "gumbel_softmax", "marginal"])
def test_more_padding_changes_nothing(case, estimator):
    scores, candidate_ids, embedding, read = case
    wider = (
        F.pad(scores.detach(), (0, 3)).requires_grad_(),
        F.pad(candidate_ids, (0, 0, 0, 3)),
        embedding,
        read,
    )
    gradient, more = (draw_gradients(one, estimator, 100, draws=1, noise=False)[0] for one in (case, wider))
    torch.testing.assert_close(more[:, :D], gradient, rtol=0, atol=1e-12)
    assert not more[:, D:].any()


@pytest.mark.parametrize("estimator", ONE_RESULT + SEVERAL_RESULTS)
def test_an_example_without_candidates_gets_no_gradient(case, estimator):
    _, candidate_ids, embedding, read = case
    empty = (case[0], torch.zeros_like(candidate_ids), embedding, read)
    gradients, losses = draw_gradients(empty, estimator, temperature=0.3, draws=2)
    assert not gradients.any()
    torch.testing.assert_close(losses, read(torch.zeros(2, L, H).double(), torch.zeros(2, L, dtype=torch.bool)))


@pytest.mark.parametrize("estimator", ONE_RESULT + SEVERAL_RESULTS)
def test_evaluation_knows_one_estimator(case, estimator):
    scores, candidate_ids, embedding, _ = case
    results = [
        SymbolicLayer().eval()(scores, candidate_ids, embedding, estimator=e) for e in (estimator, ONE_RESULT[0])
    ]
    gradients = [torch.autograd.grad(result.embeddings.sin().sum(), scores)[0] for result in results]
    assert torch.equal(*gradients)
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("estimator", ONE_RESULT + SEVERAL_RESULTS)
def test_same_generator_same_gradient(case, estimator):
    one, other = (draw_gradients(case, estimator, draws=5, seed=7) for _ in range(2))
    assert torch.equal(one[0], other[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimator": "strait_through"}, "must be one of straight_through_gumbel, .*; got 'strait_through'"),
        ({"estimator": "reinforce", "num_samples": 1}, "reinforce needs num_samples of at least 2, got 1"),
        ({"estimator": "marginal", "num_samples": 0}, "marginal needs num_samples of at least 1, got 0"),
        ({"estimator": "gumbel_rao", "noise": False}, "gumbel_rao draws its samples by Gumbel noise"),
    ],
)
def test_what_cannot_work_is_told(case, options, message):
    with pytest.raises(ValueError, match=message):
        SymbolicLayer()(*case[:3], **options)
