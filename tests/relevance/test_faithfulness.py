"""Other attentions, shuffled and searched, against loops over texts and attentions, and cases with known answers."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from hf_relevance.faithfulness import (
    adversarial_attentions,
    attention_robustness,
    jensen_shannon,
    negative_entropy,
    permutation_distances,
    predict,
    read_texts,
    token_noise,
    total_variation,
)

SEARCH = {"count": 3, "steps": 40, "learning_rate": 0.05, "epsilon": 0.05}


def alone(model, batch, row):
    """Of one text without padding: its places in the batch, own attention, hidden states, and its share of inputs."""
    places = batch["attention_mask"][row].nonzero().squeeze(-1)
    inputs = {"input_ids": batch["input_ids"][row, places].unsqueeze(0)}
    with torch.no_grad():
        outputs = model(**inputs, output_attentions=True, output_hidden_states=True)
    return places, outputs.attentions[0], outputs.hidden_states[1][0]


def probabilities(model, attention, hidden):
    """Of one text, by its context."""
    return model.classifier(sum(weight * state for weight, state in zip(attention, hidden, strict=True))).softmax(-1)


def divergence(a, b):
    """JSD by its definition, of positive numbers."""
    m = (a + b) / 2
    return sum((p * (p / m).log()).sum() for p in (a, b)) / 2


def test_distances_equal_their_definitions():
    rng = np.random.default_rng(0)
    a, b = rng.dirichlet(np.ones(7), (2, 5))
    a[0], b[0] = np.eye(7)[0], np.eye(7)[3]  # apart
    a[1], b[1] = b[1], np.eye(7)[2]
    found = jensen_shannon(torch.from_numpy(a), torch.from_numpy(b))
    assert found.tolist() == pytest.approx(jensenshannon(a, b, axis=-1) ** 2)
    assert found[0].item() == pytest.approx(math.log(2))
    assert total_variation(torch.tensor([0.9, 0.1]), torch.tensor([0.4, 0.6])).item() == pytest.approx(0.5)


def test_the_gradient_of_the_entropy_is_that_of_a_difference_quotient_and_finite_at_0():
    p = torch.rand(2, 3, 5, dtype=torch.float64).softmax(-1).requires_grad_()
    assert torch.autograd.gradcheck(negative_entropy, p)
    p = torch.tensor([0.25, 0.0, 0.75], requires_grad=True)
    negative_entropy(p).backward()
    assert negative_entropy(p).item() == pytest.approx(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert p.grad.isfinite().all()


def test_noise_is_normal_and_belongs_to_the_place_of_a_token():
    noise = token_noise(torch.ones(1, 1000, dtype=torch.int64), 40, seed=0)
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    padded = token_noise(torch.tensor([[0, 1, 0, 1, 1], [1, 1, 1, 1, 0]]), 40, seed=0)
    assert torch.equal(padded[0][:, [1, 3, 4]], noise[0, :, :3])
    assert torch.equal(padded[1, :, :4], noise[0, :, :4])
    assert not padded[0][:, [0, 2]].any()
    assert not torch.equal(token_noise(torch.ones(1, 3, dtype=torch.int64), 40, seed=1), noise[:, :, :3])


@pytest.mark.parametrize("num_labels", [2, 4])
def test_permutations_equal_a_loop_over_texts(make_model, batch, num_labels):
    model = make_model(num_labels=num_labels)
    frozen = (*read_texts(model, batch), batch["attention_mask"])
    distances = permutation_distances(*frozen, permutations=20)
    for row in (0, 1, 2, 3, 5):
        places, attention, hidden = alone(model, batch, row)
        noise = token_noise(torch.ones(1, len(places), dtype=torch.int64), 20, seed=0)[0]
        for number, order in enumerate(noise.argsort(-1).tolist()):
            shuffled = torch.zeros_like(attention)
            for weight, place in zip(attention, order, strict=True):
                shuffled[place] = weight
            moved = probabilities(model, shuffled, hidden) - probabilities(model, attention, hidden)
            assert distances[row, number].item() == pytest.approx(moved.abs().sum().item() / 2, abs=1e-12)
    assert distances[0].max() > 1e-2
    assert distances[3].max() < 1e-12  # one token
    assert (distances[4] == 0).all()  # none


def test_every_permutation_of_a_text_is_as_likely():
    mask = torch.ones(1, 3, dtype=torch.int64)
    attentions = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)
    token_logits = torch.tensor([[[0.0, 0.0], [0.0, 1.0], [0.0, 3.0]]], dtype=torch.float64)
    distances = permutation_distances(attentions, token_logits, mask, permutations=6000)[0]
    values, counts = distances.round(decimals=9).unique(return_counts=True)
    assert len(values) == 6
    assert values[0] == 0
    assert counts.min() > 850
    uniform = torch.full((1, 3), 1 / 3, dtype=torch.float64)
    assert permutation_distances(uniform, token_logits, mask).max() < 1e-15


@pytest.mark.parametrize("num_labels", [2, 4])
def test_the_search_equals_a_loop_over_texts(make_model, batch, num_labels):
    model = make_model(num_labels=num_labels)
    frozen = (*read_texts(model, batch), batch["attention_mask"])
    found, divergences = adversarial_attentions(*frozen, **SEARCH)
    assert divergences.max() > 0.05
    assert not found.masked_fill((batch["attention_mask"] == 1).unsqueeze(1), 0.0).any()
    for row in (0, 1, 2, 3, 5):
        places, attention, hidden = alone(model, batch, row)
        before = probabilities(model, attention, hidden).detach()
        logits = 3 * token_noise(torch.ones(1, len(places), dtype=torch.int64), 3, seed=0)[0]
        logits.requires_grad_()
        optimizer = torch.optim.Adam([logits], lr=SEARCH["learning_rate"], amsgrad=True)
        best = [(0.0, attention)] * 3
        for _ in range(SEARCH["steps"]):
            objective = 0.0
            others = list(logits.softmax(-1))
            for number, other in enumerate(others):
                far = divergence(other, attention)
                moved = (probabilities(model, other, hidden) - before).abs().sum() / 2
                objective = objective + far - 500 * (moved - SEARCH["epsilon"]).clamp(min=0)
                if moved <= SEARCH["epsilon"] and far > best[number][0]:
                    best[number] = far.item(), other.detach()
            for one, other in combinations(others, 2):
                objective = objective + divergence(one, other) / 6
            optimizer.zero_grad()
            (-objective).backward()
            optimizer.step()
        for number, (far, other) in enumerate(best):
            assert divergences[row, number].item() == pytest.approx(far, abs=1e-8)
            torch.testing.assert_close(found[row, number, places], other, rtol=0, atol=1e-8)


def test_what_is_found_keeps_the_prediction(make_model, batch):
    attentions, token_logits = read_texts(make_model(), batch)
    found, divergences = adversarial_attentions(attentions, token_logits, batch["attention_mask"], **SEARCH)
    own = attentions.unsqueeze(1)
    moved = total_variation(predict(found, token_logits), predict(own, token_logits))
    assert moved.max() <= SEARCH["epsilon"] + 1e-12
    torch.testing.assert_close(jensen_shannon(found, own), divergences, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.sum(-1)[:4], torch.ones(4, 3, dtype=torch.float64))
    assert (divergences[3] < 1e-12).all()  # one token: no other attention
    assert (divergences[4] == 0).all()


def test_where_tokens_agree_the_search_leaves_the_attention_far_behind():
    mask = torch.ones(1, 6, dtype=torch.int64)
    attentions = torch.tensor([[0.9, 0.1, 0, 0, 0, 0]], dtype=torch.float64)
    token_logits = torch.tensor([0.0, 2.0], dtype=torch.float64).expand(1, 6, 2)
    _, divergences = adversarial_attentions(attentions, token_logits, mask, learning_rate=0.05)
    assert divergences.max() > 0.99 * math.log(2)
    assert divergences.max() <= math.log(2)


def test_where_every_token_counts_the_search_stays_within_the_known_bound():
    # Two tokens, p = sigmoid(8 (a - 1/2)): within epsilon of 1/2 lies |a - 1/2| <= logit(1/2 + epsilon) / 8.
    mask = torch.ones(1, 2, dtype=torch.int64)
    own = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    token_logits = torch.tensor([[[4.0, 0.0], [0.0, 4.0]]], dtype=torch.float64)
    edge = 0.5 + math.log(0.55 / 0.45) / 8
    bound = jensen_shannon(torch.tensor([[edge, 1 - edge]], dtype=torch.float64), own).item()
    _, divergences = adversarial_attentions(own, token_logits, mask, epsilon=0.05, steps=1000)
    assert 0.5 * bound < divergences.max().item() <= bound + 1e-12


def test_robustness_is_both_tests_text_by_text(make_model, batch):
    model = make_model().train()
    frozen = (*read_texts(model, batch), batch["attention_mask"])
    rows = [0, 1, 2, 5]
    median = permutation_distances(*frozen).quantile(0.5, -1)[rows].numpy()
    largest = adversarial_attentions(*frozen)[1].amax(-1)[rows].numpy()
    threshold = float(np.sort(largest)[1:3].mean())
    batches = [{name: tensor[part] for name, tensor in batch.items()} for part in (slice(0, 3), slice(3, 6))]
    with torch.no_grad():
        found = attention_robustness(model, batches, threshold=threshold)
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert (found["texts"], found["too_short"], found["share_over_threshold"]) == (4, 2, 0.5)
    for name, values in (("median_tvd", median), ("max_jsd", largest)):
        assert found[name]["mean"] == pytest.approx(values.mean(), abs=1e-6)
        assert found[name]["median"] == pytest.approx(np.median(values), abs=1e-6)
        assert sum(found[name]["histogram"]) == 4


def test_robustness_of_nothing_is_zero(make_model):
    nothing = {name: torch.zeros(2, 1, dtype=torch.int64) for name in ("input_ids", "attention_mask")}
    found = attention_robustness(make_model(), [nothing])
    assert (found["texts"], found["too_short"], found["share_over_threshold"]) == (0, 2, 0.0)
    assert found["max_jsd"] == {"mean": 0.0, "median": 0.0, "histogram": [0] * 20}
