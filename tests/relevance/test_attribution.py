"""The measures of importance against loops over texts and tokens, with autograd and deletion as they are defined."""

import evaluate
import pytest
import torch

from hf_relevance.attribution import (
    AGREEMENT,
    attention_agreement,
    embedding_gradient,
    leave_one_out,
)
from hf_relevance.relevance_loss import TARGET_SCORES


def texts_of(batch):
    """The tokens of each text alone, (1, n), and their places."""
    for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
        places = mask.nonzero().squeeze(-1)
        yield ids[places].unsqueeze(0), places


def score(logits, label, target_score):
    """The scalar y of one text, from its definition."""
    logits = logits.squeeze(0)
    best, second = logits.topk(2).values
    return {
        "logit_margin": best - second,
        "log_probability": logits.log_softmax(-1).max(),
        "probability": logits.softmax(-1).max(),
        "loss": -logits.log_softmax(-1)[label],
    }[target_score]


@pytest.mark.parametrize("num_labels", [2, 4])
@pytest.mark.parametrize("target_score", TARGET_SCORES)
def test_embedding_gradient_equals_autograd_one_text_at_a_time(make_model, batch, num_labels, target_score):
    model = make_model(num_labels=num_labels)
    expected = torch.zeros(batch["input_ids"].shape, dtype=torch.float64)
    for row, (ids, places) in enumerate(texts_of(batch)):
        if not len(places):
            continue
        weights = model(ids, output_attentions=True).attentions.tolist()[0]  # numbers: no gradient passes them
        embeddings = model.bilstm.embed_tokens(ids).detach().requires_grad_()
        hidden = model(inputs_embeds=embeddings, output_hidden_states=True).hidden_states[-1]
        context = sum(weight * hidden[:, t] for t, weight in enumerate(weights))
        y = score(model.classifier(context), batch["labels"][row], target_score)
        y.backward()
        for t, place in enumerate(places):
            expected[row, place] = embeddings.grad[0, t] @ embeddings[0, t]
    scores = embedding_gradient(model, batch, target_score)
    torch.testing.assert_close(scores, expected.detach(), rtol=0, atol=1e-12)
    assert scores.abs().max() > 1e-2


@pytest.mark.parametrize("num_labels", [2, 4])
@pytest.mark.parametrize("block", [1, 3, 16])
def test_leave_one_out_equals_deleting_each_token(make_model, batch, num_labels, block):
    model = make_model(num_labels=num_labels)
    expected = torch.zeros(batch["input_ids"].shape, dtype=torch.float64)
    with torch.no_grad():
        for row, (ids, places) in enumerate(texts_of(batch)):
            whole, label = model(ids).logits.softmax(-1)[0].max(-1)
            for t, place in enumerate(places):
                shortened = torch.cat([ids[:, :t], ids[:, t + 1 :]], dim=1)
                expected[row, place] = whole - model(shortened).logits.softmax(-1)[0, label]
    changes = leave_one_out(model, batch, block)
    torch.testing.assert_close(changes, expected, rtol=0, atol=1e-12)
    assert changes.min() < -1e-3
    assert changes.max() > 1e-2


def test_leave_one_out_rounds_whole_texts_and_others_alike_after_training_in_bf16(make_model, batch):
    model = make_model().float()
    expected = leave_one_out(model, batch)
    model.forward = torch.autocast("cpu", dtype=torch.bfloat16)(model.forward)  # as accelerate leaves it
    assert torch.equal(leave_one_out(model, batch), expected)


@pytest.mark.parametrize("measure", [embedding_gradient, leave_one_out])
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad])
def test_a_measure_leaves_the_model_alone_and_padding_at_zero(make_model, batch, measure, mode):
    model = make_model()
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad = bool(number % 2)
    before = {name: tensor.clone() for name, tensor in batch.items()}
    with mode():
        scores = measure(model, batch)
        padded = measure(
            model, {name: torch.nn.functional.pad(batch[name], (3, 2)) for name in ("input_ids", "attention_mask")}
        )
        nothing = measure(
            model, {name: torch.zeros(1, 1, dtype=torch.int64) for name in ("input_ids", "attention_mask")}
        )
    assert not scores.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(batch[name], before[name]) for name in before)
    assert not scores[batch["attention_mask"] == 0].any()
    torch.testing.assert_close(padded[:, 3:-2], scores, rtol=0, atol=1e-12)
    assert nothing.tolist() == [[0.0]]


@pytest.mark.parametrize("measure", [embedding_gradient, leave_one_out])
def test_half_precision_gives_nearly_the_same_scores(make_model, batch, measure):
    model = make_model(initializer_range=0.3)
    expected = measure(model, batch)
    torch.testing.assert_close(
        measure(model.bfloat16(), batch).double(), expected, rtol=0, atol=0.03 * expected.abs().max().item()
    )


def test_attention_agreement_is_the_metric_of_each_measure_text_by_text(make_model, batch):
    model = make_model(num_labels=3).train()
    options = {"target_score": "probability", "constant_attention": True}
    batches = [{name: tensor[rows] for name, tensor in batch.items()} for rows in (slice(0, 4), slice(4, 6))]
    readings = []
    handle = model.bilstm.register_forward_hook(lambda *_: readings.append(1))
    agreement = attention_agreement(model, batches, **options)
    handle.remove()
    assert len(readings) == 2 * 3  # attention with its gradient, that at the embeddings, texts whole
    assert not model.training
    with torch.no_grad():
        outputs = model(**batch, output_attentions=True, **options)
    measures = {
        "hidden_gradient": outputs.gradient_importance,
        "embedding_gradient": embedding_gradient(model, batch, "probability"),
        "leave_one_out": leave_one_out(model, batch),
    }
    assert agreement.keys() == measures.keys()
    for name, importance in measures.items():
        places = [mask.nonzero().squeeze(-1) for mask in batch["attention_mask"]]
        expected = evaluate.load(str(AGREEMENT)).compute(
            predictions=[row[place].tolist() for row, place in zip(outputs.attentions, places, strict=True)],
            references=[row[place].tolist() for row, place in zip(importance, places, strict=True)],
        )
        assert agreement[name].pop("kendall_tau_histogram") == expected.pop("kendall_tau_histogram")
        assert agreement[name] == pytest.approx(expected, abs=1e-9)
        assert (expected["counted"], expected["too_short"]) == (4, 2)
