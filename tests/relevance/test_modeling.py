"""BiLSTMAttentionForClassification: autograd and a packed LSTM as oracles, laws of padding, saving and loading."""

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    pipeline,
)

from hf_relevance import (
    BiLSTMAttentionConfig,
    BiLSTMAttentionForClassification,
    BiLSTMAttentionModel,
    relevance_loss,
)
from hf_relevance.relevance_loss import DIRECTIONS, NORMALIZERS, TARGET_SCORES
from hf_relevance.tokenization import build_tokenizer

EVERYTHING = {"output_attentions": True, "output_hidden_states": True}


def autograd_importance(outputs, labels, target_score, constant_attention, classifier, create_graph=False):
    """Gradient times hidden state by autograd, from the definition of each score: (B, T)."""
    hidden = outputs.hidden_states[-1]
    logits = outputs.logits
    if constant_attention:  # the gradient by the direct path, through a copy of h that attention does not see
        hidden = hidden.clone()
        logits = classifier(torch.einsum("bt,bth->bh", outputs.attentions, hidden))
    top = logits.topk(2)
    score = {
        "logit_margin": top.values[:, 0] - top.values[:, 1],
        "log_probability": logits.log_softmax(-1).amax(-1),
        "probability": logits.softmax(-1).amax(-1),
        "loss": torch.nn.functional.cross_entropy(logits, labels, reduction="none"),
    }[target_score]
    gradient = torch.autograd.grad(score.sum(), hidden, create_graph=create_graph, retain_graph=True)[0]
    return (gradient * hidden).sum(-1)


@pytest.mark.parametrize("num_labels", [2, 4])
@pytest.mark.parametrize(("target_score", "constant_attention"), [*product(TARGET_SCORES, (False, True))])
def test_importance_and_loss_gradients_equal_autograd(make_model, batch, num_labels, target_score, constant_attention):
    model = make_model(num_labels=num_labels)
    options = {"target_score": target_score, "constant_attention": constant_attention}
    outputs = model(**batch, **EVERYTHING, **options)
    expected = autograd_importance(outputs, batch["labels"], *options.values(), model.classifier, create_graph=True)
    assert expected.abs().max() > 1e-2
    torch.testing.assert_close(outputs.gradient_importance, expected, rtol=0, atol=1e-10)

    mask = batch["attention_mask"]
    for normalizer, direction, detach in product(NORMALIZERS, DIRECTIONS, (True, False)):
        gradients = [
            torch.autograd.grad(
                relevance_loss(outputs.attentions, importance, mask, normalizer, 0.7, detach, direction),
                list(model.parameters()),
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            for importance in (outputs.gradient_importance, expected)
        ]
        assert any(gradient.abs().max() > 1e-4 for gradient in gradients[0])
        torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_importance_needs_no_graph(make_model, batch, mode):
    model = make_model()
    expected = model(**batch, output_attentions=True)
    with mode():
        outputs = model(**batch, output_attentions=True)
        loss = relevance_loss(outputs.attentions, outputs.gradient_importance, batch["attention_mask"])
    assert not loss.requires_grad
    for name in ("loss", "logits", "attentions", "gradient_importance"):
        torch.testing.assert_close(outputs[name], expected[name].detach())


def test_frozen_encoder_still_learns_attention(make_model, batch):
    model = make_model()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "attention" in name or "classifier" in name
    outputs = model(**batch, output_attentions=True)
    relevance_loss(outputs.attentions, outputs.gradient_importance, batch["attention_mask"]).backward()
    assert model.bilstm.attention.score.weight.grad.any()
    assert model.bilstm.forward_lstm.weight_hh_l0.grad is None


def test_bilstm_equals_a_packed_bidirectional_lstm(make_model, batch):
    model = make_model().bilstm
    lstm = torch.nn.LSTM(6, 4, batch_first=True, bidirectional=True).double()
    for suffix, direction in (("", model.forward_lstm), ("_reverse", model.backward_lstm)):
        for name, parameter in direction.named_parameters():
            getattr(lstm, name + suffix).data.copy_(parameter.data)
    for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
        tokens = ids[mask > 0].unsqueeze(0)
        if not tokens.numel():
            continue
        packed = pack_padded_sequence(model.embed_tokens(tokens), [tokens.shape[1]], batch_first=True)
        expected, _ = pad_packed_sequence(lstm(packed)[0], batch_first=True)
        hidden = model(ids.unsqueeze(0), mask.unsqueeze(0)).last_hidden_state
        torch.testing.assert_close(hidden[:, mask > 0], expected)


def parts(outputs, row, mask):
    """What a model says of one text: logits, and of its tokens attention, importance, embedding and hidden state."""
    of_tokens = [outputs.attentions, outputs.gradient_importance, *outputs.hidden_states]
    return [outputs.logits[row], *(tensor[row, mask > 0] for tensor in of_tokens)]


def test_padding_and_order_of_the_batch_change_nothing(make_model, batch):
    model = make_model(num_labels=3)
    ids, masks = batch["input_ids"], batch["attention_mask"]
    outputs = model(**batch, **EVERYTHING)
    order = torch.randperm(len(ids))
    further = torch.nn.functional.pad
    for left, right in ((0, 7), (5, 0), (2, 3)):
        padded = further(ids[order], (left, right)), further(masks[order], (left, right))
        # What stands at padding is nobody's business.
        padded[0][padded[1] == 0] = 39
        again = model(*padded, labels=batch["labels"][order], **EVERYTHING)
        torch.testing.assert_close(again.loss, outputs.loss)
        assert (again.attentions[padded[1] == 0] == 0).all()
        assert (again.gradient_importance[padded[1] == 0] == 0).all()
        for place, row in enumerate(order):
            torch.testing.assert_close(parts(again, place, padded[1][place]), parts(outputs, row, masks[row]))
    for row, (text, mask) in enumerate(zip(ids, masks, strict=True)):
        alone = text[mask > 0].unsqueeze(0)
        again = model(alone, **EVERYTHING)  # without a mask: no token is padding
        torch.testing.assert_close(parts(again, 0, torch.ones(alone.shape[1])), parts(outputs, row, mask))


def test_attention_is_a_distribution_and_an_empty_text_has_the_bias(make_model, batch):
    model = make_model()
    outputs = model(**batch, output_attentions=True)
    torch.testing.assert_close(outputs.attentions.sum(-1), torch.tensor([1.0, 1, 1, 1, 0, 1]).double())
    assert torch.equal(outputs.logits[4], model.classifier.bias)
    assert outputs.attentions[0].std() > 0.05  # so that the laws of this file are about something
    empty = model(torch.zeros(2, 0, dtype=torch.long), labels=torch.tensor([0, 1]), **EVERYTHING)
    assert torch.equal(empty.logits, model.classifier.bias.expand(2, -1))
    assert empty.loss.isfinite()
    assert empty.gradient_importance.shape == empty.attentions.shape == (2, 0)


def test_mask_defaults_to_padding_and_embeddings_may_be_given(make_model, batch):
    model = make_model()
    expected = model(**batch, **EVERYTHING)
    embeds = model.get_input_embeddings()(batch["input_ids"])
    for inputs in (
        {"input_ids": batch["input_ids"]},
        {"inputs_embeds": embeds, "attention_mask": batch["attention_mask"]},
    ):
        outputs = model(**inputs, labels=batch["labels"], **EVERYTHING)
        torch.testing.assert_close(outputs.to_tuple(), expected.to_tuple())
    whole = model(inputs_embeds=embeds[:1], labels=batch["labels"][:1], **EVERYTHING)
    torch.testing.assert_close(whole.logits, expected.logits[:1])


def test_outputs_are_returned_on_demand(make_model, batch):
    model = make_model()
    assert list(model(**batch)) == ["loss", "logits"]
    assert list(model(batch["input_ids"])) == ["logits"]
    outputs = model(**batch, **EVERYTHING)
    assert list(outputs) == ["loss", "logits", "attentions", "gradient_importance", "hidden_states"]
    assert [tensor.shape for tensor in outputs.hidden_states] == [(6, 6, 6), (6, 6, 8)]
    assert isinstance(model(**batch, return_dict=False), tuple)
    model.config.output_attentions = True
    assert model(**batch).gradient_importance is not None


def test_a_text_of_50_000_words(make_model):
    model = make_model()
    with torch.no_grad():
        outputs = model(torch.randint(1, 40, (1, 50_000)), output_attentions=True)
    assert outputs.attentions.sum().item() == pytest.approx(1)
    assert outputs.gradient_importance.isfinite().all()
    assert outputs.logits.isfinite().all()


def test_bad_input_is_refused(make_model, batch):
    model = make_model(num_labels=3)
    ids = batch["input_ids"]
    for wrong in (3, -1, -100):
        with pytest.raises(ValueError, match=f"labels must be from 0 to 2, got {wrong}"):
            model(ids, labels=torch.tensor([0, 0, 0, 0, 0, wrong]))
    for wrong in (40, -1):
        with pytest.raises(ValueError, match=f"input_ids must be from 0 to 39, got {wrong}: load the tokenizer"):
            model(torch.tensor([[1, wrong]]))
    with pytest.raises(ValueError, match=r"\(6, 6\), got \(6, 5\)"):
        model(ids, batch["attention_mask"][:, 1:])
    for inputs in ({}, {"input_ids": ids, "inputs_embeds": torch.zeros(6, 6, 6)}):
        with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
            model(**inputs)
    with pytest.raises(ValueError, match="target_score must be one of"):
        model(ids, output_attentions=True, target_score="logit")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_labels": 1}, "num_labels must be at least 2, got 1"),
        ({"id2label": {0: "only"}}, "num_labels must be at least 2, got 1"),
        ({"hidden_size": 7}, "must be even, got 7"),
        ({"embedding_size": 0}, "embedding_size must be at least 1, got 0"),
        ({"vocab_size": 5, "pad_token_id": 5}, "vocabulary of 5, got 5"),
    ],
)
def test_a_wrong_configuration_fails_at_construction(wrong, message):
    with pytest.raises(ValueError, match=message):
        BiLSTMAttentionConfig(**wrong)


def test_bfloat16_autocast_computes_losses_in_fp32(make_model, batch):
    model = make_model().float()
    exact = model(**batch, output_attentions=True)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(**batch, output_attentions=True)
        loss = relevance_loss(outputs.attentions, outputs.gradient_importance, batch["attention_mask"])
    assert outputs.loss.dtype == outputs.attentions.dtype == loss.dtype == torch.float32
    torch.testing.assert_close(outputs.gradient_importance, exact.gradient_importance, rtol=0.05, atol=0.05)
    loss.backward()
    assert model.bilstm.attention.score.weight.grad.isfinite().all()


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # dynamo's own, which it hides where it may
def test_compiled_model_equals_eager(make_model, batch):
    torch.compiler.reset()
    model = make_model()

    def loss(model):
        outputs = model(**batch, output_attentions=True)
        relevance = relevance_loss(
            outputs.attentions, outputs.gradient_importance, batch["attention_mask"], detach_target=False
        )
        return torch.autograd.grad(outputs.loss + relevance, list(model.parameters()))

    torch.testing.assert_close(loss(torch.compile(model, backend="aot_eager")), loss(model))


@pytest.fixture
def process_group(tmp_path):
    """Of one process. It outlives what a test wraps: gloo may wait for ever where DDP is the last to hold it."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_distributed_data_parallel(make_model, batch, process_group):
    model = make_model()
    wrapped = torch.nn.parallel.DistributedDataParallel(model)
    gradients = []
    for forward in (model, wrapped, wrapped):  # a second step of DDP tells whether the first was complete
        model.zero_grad()
        outputs = forward(**batch, output_attentions=True)
        relevance = relevance_loss(
            outputs.attentions, outputs.gradient_importance, batch["attention_mask"], detach_target=False
        )
        (outputs.loss + relevance).backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0])
    torch.testing.assert_close(gradients[2], gradients[0])


TEXTS = ["a good film", "a bad film", "a film"]


@pytest.fixture
def saved(tmp_path, make_model):
    """A folder with a saved model and its tokenizer."""
    tokenizer = build_tokenizer(TEXTS, min_frequency=1)
    model = make_model(num_labels=3, id2label={0: "bad", 1: "so-so", 2: "good"})
    model.float().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path, model


def test_auto_classes_load_what_was_saved(saved):
    folder, model = saved
    assert (folder / "model.safetensors").is_file()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer([*TEXTS, "", "never seen"], padding=True, return_tensors="pt")
    classifier = AutoModelForSequenceClassification.from_pretrained(folder)
    base = AutoModel.from_pretrained(folder)
    assert type(AutoConfig.from_pretrained(folder)) is BiLSTMAttentionConfig
    assert type(classifier) is BiLSTMAttentionForClassification
    assert type(base) is BiLSTMAttentionModel
    expected = model(**inputs, output_attentions=True)
    assert torch.equal(classifier(**inputs).logits, expected.logits)
    assert torch.equal(base(**inputs).attentions, expected.attentions)
    assert expected.logits.isfinite().all()


def test_text_classification_pipeline(saved):
    folder, model = saved
    classify = pipeline("text-classification", model=str(folder))
    for text in (*TEXTS, "", "never seen", "film " * 3000):
        (answer,) = classify(text)
        probabilities = model(**classify.tokenizer(text, return_tensors="pt")).logits.softmax(-1)[0]
        assert answer["label"] == model.config.id2label[probabilities.argmax().item()]
        assert answer["score"] == pytest.approx(probabilities.max().item(), rel=1e-5)


def test_new_weights_are_initialized_when_loading(saved, batch):
    folder, model = saved
    AutoModel.from_pretrained(folder).save_pretrained(folder / "base")
    fresh = BiLSTMAttentionForClassification.from_pretrained(folder / "base", num_labels=4)
    assert torch.equal(fresh.bilstm.embed_tokens.weight, model.bilstm.embed_tokens.weight)
    assert fresh.classifier.weight.shape == (4, 8)
    assert fresh.classifier.weight.std() > 0.5
    assert not fresh.classifier.bias.any()
    new = BiLSTMAttentionForClassification(BiLSTMAttentionConfig(vocab_size=50))
    assert not new.get_input_embeddings().weight[0].any()
    assert new.get_input_embeddings().weight[1:].std().item() == pytest.approx(0.05, rel=0.05)
    assert all(parameter.isfinite().all() for parameter in new.parameters())


REMOTE = """
import json, sys
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline

folder, again = sys.argv[1:]
trust = {"trust_remote_code": True}
logits = []
for place in (folder, again):
    tokenizer = AutoTokenizer.from_pretrained(place, **trust)
    model = AutoModelForSequenceClassification.from_pretrained(place, **trust)
    base = AutoModel.from_pretrained(place, **trust)
    assert type(AutoConfig.from_pretrained(place, **trust)).__module__.startswith("transformers_modules")
    inputs = tokenizer(["a good film", ""], padding=True, return_tensors="pt")
    outputs = model(**inputs, output_attentions=True)
    assert outputs.gradient_importance.shape == inputs["input_ids"].shape
    assert torch.equal(base(**inputs).attentions, outputs.attentions)
    (answer,) = pipeline("text-classification", model=place, **trust)("a film")
    assert answer["label"] in ("bad", "so-so", "good")
    logits.append(outputs.logits.tolist())
    model.save_pretrained(again)
    tokenizer.save_pretrained(again)
assert "hf_relevance" not in sys.modules
print(json.dumps(logits))
"""


def test_remote_code_loads_without_the_package_and_can_be_saved_again(saved, tmp_path):
    folder, model = saved
    process = subprocess.run(
        [sys.executable, "-c", REMOTE, str(folder), str(tmp_path / "again")],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        | {"HF_MODULES_CACHE": str(tmp_path / "modules")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    inputs = AutoTokenizer.from_pretrained(folder)(["a good film", ""], padding=True, return_tensors="pt")
    for logits in json.loads(process.stdout.splitlines()[-1]):
        torch.testing.assert_close(torch.tensor(logits), model(**inputs).logits)
    assert {path.name for path in Path(tmp_path / "again").glob("*.py")} == {
        "configuration_bilstm_attention.py",
        "modeling_bilstm_attention.py",
        "relevance_loss.py",
    }
