"""RelevanceTrainer: what it optimizes, logs and resumes."""

import copy
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from sklearn.metrics import accuracy_score, f1_score
from transformers import HfArgumentParser, Trainer

from hf_relevance import (
    BiLSTMAttentionDataCollator,
    BiLSTMAttentionForClassification,
    RelevanceTrainer,
    RelevanceTrainingArguments,
    relevance_loss,
)
from hf_relevance.attribution import embedding_gradient
from hf_relevance.relevance_loss import conicity, normalized_entropy, relevance_target
from hf_relevance.tokenization import build_tokenizer
from hf_relevance.trainer import LOGGED_PARTS

TOKENIZER = build_tokenizer([" ".join(f"word{n}" for n in range(38))], min_frequency=1)
COLLATE = BiLSTMAttentionDataCollator(TOKENIZER)
# Lengths 0 and 1 among them: the means of the loss must not notice how batches are cut.
TEXTS = [
    {
        "input_ids": torch.randint(2, 40, (length,), generator=torch.Generator().manual_seed(i)).tolist(),
        "labels": i % 2,
    }
    for i, length in enumerate([5, 0, 7, 1, 3, 9, 2, 4])
]
# Adam would hide a wrong scale of the gradient.
SGD = {"amsgrad": False, "optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 0.0, "weight_decay": 0.0}


@pytest.fixture
def train(make_model, tmp_path):
    """Trains a copy of one model; keyword arguments are training arguments. Returns the trainer."""
    model = make_model().float()

    def run(trainer_class=RelevanceTrainer, resume=None, **kwargs):
        args = RelevanceTrainingArguments(
            tmp_path / f"run{len(list(tmp_path.iterdir()))}",
            **{"max_steps": 2, "logging_steps": 1, "save_strategy": "no", "report_to": "none", "use_cpu": True}
            | kwargs,
        )
        trainer = trainer_class(
            copy.deepcopy(model),
            args,
            train_dataset=TEXTS,
            eval_dataset=TEXTS[:3],
            data_collator=COLLATE,
            processing_class=TOKENIZER,
        )
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    run.model = model
    return run


def weights(trainer):
    return dict(trainer.model.named_parameters())


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_two_steps_move_every_parameter(train, weight):
    trained = weights(train(relevance_weight=weight))
    for name, parameter in train.model.named_parameters():
        assert not torch.equal(parameter, trained[name]), name
    assert not trained["bilstm.embed_tokens.weight"][0].any()  # padding stays zero


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"relevance_normalizer": "l1", "relevance_detach_target": False},
        {"relevance_measure": "embedding_gradient", "diversity_weight": 0.5},
    ],
)
def test_accumulation_1x4_equals_4x1(train, options):
    trainers = [
        train(per_device_train_batch_size=size, gradient_accumulation_steps=steps, **SGD, **options)
        for size, steps in ((4, 1), (1, 4))
    ]
    torch.testing.assert_close(*map(weights, trainers))
    whole, accumulated = (trainer.state.log_history[0] for trainer in trainers)
    for name in ("loss", *LOGGED_PARTS):
        assert accumulated[name] == pytest.approx(whole[name], rel=1e-5), name


def test_logged_parts_are_means_over_texts(train):
    # One log after a step of 3, 3 and 2 texts: learning_rate 0 keeps the model as it was, so one pass says it all.
    options = {"relevance_weight": 0.3, "relevance_normalizer": "l1", "relevance_target_score": "probability"}
    options |= {"diversity_weight": 0.2}
    log = train(
        per_device_train_batch_size=3, gradient_accumulation_steps=3, max_steps=1, learning_rate=0.0, **options
    ).state.log_history[0]
    batch = COLLATE(TEXTS)
    mask = batch["attention_mask"]
    with torch.no_grad():
        shown = {"output_attentions": True, "output_hidden_states": True}
        outputs = train.model(**batch, **shown, target_score="probability")
        relevance = relevance_loss(outputs.attentions, outputs.gradient_importance, mask, "l1")
        cone = conicity(outputs.hidden_states[1], mask)
        target = relevance_target(outputs.gradient_importance, mask, "l1").exp()
    two_or_more = mask.sum(-1) > 1
    expected = {
        "cross_entropy_loss": outputs.loss,
        "relevance_loss": relevance,
        "conicity": cone,
        "attention_entropy": normalized_entropy(outputs.attentions, mask)[two_or_more].mean(),
        "target_entropy": normalized_entropy(target, mask)[two_or_more].mean(),
    }
    assert two_or_more.sum() == 6
    for name, value in expected.items():
        assert log[name] == pytest.approx(value.item(), rel=1e-5), name


def test_each_log_is_of_its_own_training_steps(train):
    options = {"learning_rate": 0.0, "per_device_train_batch_size": 4}
    (whole,) = [log for log in train(logging_steps=2, **options).state.log_history if "loss" in log]
    evaluated = train(eval_strategy="steps", eval_steps=1, **options)  # whose texts must not count
    first, second = [log for log in evaluated.state.log_history if "loss" in log]
    assert first["relevance_loss"] != pytest.approx(second["relevance_loss"], rel=0.01)
    assert (first["relevance_loss"] + second["relevance_loss"]) / 2 == pytest.approx(whole["relevance_loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("weight", "score", "constant_attention", "normalizer", "temperature", "detach_target", "direction"),
    [
        (1.0, "logit_margin", False, "softmax", 1.0, True, "target_to_attention"),
        (0.5, "loss", True, "l1", 0.5, False, "attention_to_target"),
        (2.0, "probability", False, "l1", 2.0, True, "attention_to_target"),
    ],
)
def test_one_step_descends_the_gradient_of_the_documented_loss(
    train, weight, score, constant_attention, normalizer, temperature, detach_target, direction
):
    trainer = train(
        relevance_weight=weight,
        relevance_target_score=score,
        relevance_constant_attention=constant_attention,
        relevance_normalizer=normalizer,
        relevance_temperature=temperature,
        relevance_detach_target=detach_target,
        relevance_direction=direction,
        per_device_train_batch_size=8,
        max_steps=1,
        **SGD,
    )
    batch = COLLATE(TEXTS)
    outputs = train.model(**batch, output_attentions=True, target_score=score, constant_attention=constant_attention)
    relevance = relevance_loss(
        outputs.attentions,
        outputs.gradient_importance,
        batch["attention_mask"],
        normalizer,
        temperature,
        detach_target,
        direction,
    )
    (outputs.loss + weight * relevance).backward()
    expected = {name: value - 0.1 * value.grad for name, value in train.model.named_parameters()}
    torch.testing.assert_close(weights(trainer), expected)


@pytest.mark.parametrize(
    ("weight", "measure", "normalizer", "diversity"),
    [
        (0.5, "embedding_gradient", "l1", 0.0),
        (0.5, "embedding_gradient", "softmax", 0.2),
        (0.0, "hidden_gradient", "l1", 2),
    ],
)
def test_one_step_descends_towards_the_embedding_gradient_and_diversity(train, weight, measure, normalizer, diversity):
    options = {"relevance_weight": weight, "relevance_measure": measure, "relevance_normalizer": normalizer}
    trainer = train(**options, diversity_weight=diversity, per_device_train_batch_size=8, max_steps=1, **SGD)
    batch = COLLATE(TEXTS)
    outputs = train.model(**batch, output_attentions=True, output_hidden_states=True)
    mask = batch["attention_mask"]
    relevance = relevance_loss(outputs.attentions, embedding_gradient(train.model, batch), mask, normalizer)
    (outputs.loss + weight * relevance + diversity * conicity(outputs.hidden_states[1], mask)).backward()
    expected = {name: value - 0.1 * value.grad for name, value in train.model.named_parameters()}
    torch.testing.assert_close(weights(trainer), expected)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_training_step_towards_the_embedding_gradient_reads_once(train, frozen):
    train.model.get_input_embeddings().requires_grad_(not frozen)
    readings = []
    # The hook is copied with the model.
    train.model.bilstm.forward_lstm.register_forward_hook(lambda lstm, *_: readings.append(lstm.training))
    trained = train(relevance_measure="embedding_gradient", relevance_normalizer="l1", max_steps=3)
    assert readings == [True] * 3
    changed = trained.model.get_input_embeddings().weight != train.model.get_input_embeddings().weight
    assert changed.any() != frozen


def test_weight_0_is_plain_cross_entropy_exactly(train):
    class Plain(RelevanceTrainer):
        compute_loss = Trainer.compute_loss

    baseline, plain = train(relevance_weight=0.0), train(Plain, relevance_weight=0.0)
    assert all(torch.equal(parameter, weights(plain)[name]) for name, parameter in weights(baseline).items())
    assert "relevance_loss" not in baseline.state.log_history[0]
    related = train(relevance_weight=1.0)
    assert any(not torch.equal(parameter, weights(plain)[name]) for name, parameter in weights(related).items())


def test_conicity_of_weight_0_has_no_graph(train, monkeypatch):
    cones = []
    monkeypatch.setattr("hf_relevance.trainer.conicity", lambda *states: cones.append(conicity(*states)) or cones[-1])
    for weight in (0.0, 0.5):
        train(diversity_weight=weight, max_steps=1)
    assert [cone.requires_grad for cone in cones] == [False, True]


def test_the_loss_draws_attention_to_the_gradient(train):
    # The claim of the whole: from the same start, what is trained with the l1 form ends with a lower l1 loss.
    def final(weight):
        trainer = train(
            relevance_weight=weight,
            relevance_normalizer="l1",
            max_steps=40,
            per_device_train_batch_size=8,
            learning_rate=0.02,
        )
        batch = COLLATE(TEXTS)
        with torch.no_grad():
            outputs = trainer.model(**batch, output_attentions=True)
        return relevance_loss(outputs.attentions, outputs.gradient_importance, batch["attention_mask"], "l1")

    assert final(1.0) < final(0.0) / 2


def test_the_other_parts_reach_their_aims(train):
    # As above, of the embedding gradient and of the cone of hidden states.
    def final(**options):
        trainer = train(max_steps=40, per_device_train_batch_size=8, learning_rate=0.02, **options)
        batch = COLLATE(TEXTS)
        with torch.no_grad():
            outputs = trainer.model(**batch, output_attentions=True, output_hidden_states=True)
        importance = embedding_gradient(trainer.model, batch)
        mask = batch["attention_mask"]
        return relevance_loss(outputs.attentions, importance, mask, "l1"), conicity(outputs.hidden_states[1], mask)

    far, narrow = final(relevance_weight=0.0)
    near, _ = final(relevance_measure="embedding_gradient", relevance_normalizer="l1")
    _, wide = final(relevance_weight=0.0, diversity_weight=1.0)
    assert near < far / 2
    assert wide < 0.9 * narrow


@pytest.mark.parametrize("measure", ["hidden_gradient", "embedding_gradient"])
def test_evaluation_has_the_loss_of_training_and_no_ragged_output(train, measure):
    trainer = train(relevance_weight=0.5, relevance_measure=measure, per_device_eval_batch_size=3)
    batch = COLLATE(TEXTS)
    predictions = trainer.predict(TEXTS)
    with torch.no_grad():
        outputs = trainer.model(**batch, output_attentions=True)
        importance = outputs.gradient_importance
        if measure == "embedding_gradient":
            importance = embedding_gradient(trainer.model, batch)
        relevance = relevance_loss(outputs.attentions, importance, batch["attention_mask"])
    torch.testing.assert_close(torch.from_numpy(predictions.predictions), outputs.logits)
    assert predictions.label_ids.tolist() == batch["labels"].tolist()
    assert trainer.evaluate(TEXTS)["eval_loss"] == pytest.approx((outputs.loss + 0.5 * relevance).item(), rel=1e-5)


def test_resuming_gives_the_same_weights(train):
    options = {"max_steps": 5, "per_device_train_batch_size": 3, "save_strategy": "steps", "save_steps": 2}
    straight = train(**options)
    resumed = train(resume=f"{straight.args.output_dir}/checkpoint-2", **options)
    assert all(torch.equal(parameter, weights(resumed)[name]) for name, parameter in weights(straight).items())
    for one, other in zip(straight.state.log_history[2:5], resumed.state.log_history[2:5], strict=True):
        assert one["relevance_loss"] == other["relevance_loss"]


def test_the_optimizer_is_the_recipe(train):
    optimizer = train(max_steps=1).optimizer.optimizer
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults["amsgrad"]
    assert optimizer.defaults["lr"] == 1e-3
    decayed, free = optimizer.param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (1e-5, 0.0)
    model = train.model
    sizes = [sorted(parameter.numel() for parameter in group["params"]) for group in (decayed, free)]
    assert sizes[0] == sorted(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if "bias" not in name and "attention" not in name
    )
    assert sum(map(sum, sizes)) == model.num_parameters()
    assert type(train(max_steps=1, amsgrad=False).optimizer.optimizer) is torch.optim.AdamW


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"relevance_measure": "leave_one_out"}, "relevance_measure must be one of hidden_gradient, embedding_grad"),
        ({"relevance_measure": "embedding_gradient", "relevance_detach_target": False}, "needs relevance_detach_t"),
        ({"optim": "sgd"}, "optim sgd needs amsgrad false"),
        ({"diversity_weight": -1.0}, "diversity_weight must be 0 or a positive finite number"),
        *(({"relevance_weight": weight}, "relevance_weight must be 0 or a positive finite number") for weight in
          (-0.1, math.inf, -math.inf, math.nan)),
        *(({"relevance_temperature": t}, "positive and finite") for t in (0.0, -1.0, math.inf, math.nan)),
        ({"relevance_target_score": "logit"}, "relevance_target_score must be one of logit_margin"),
        ({"relevance_normalizer": "max"}, "relevance_normalizer must be one of softmax, l1, got 'max'"),
        ({"relevance_direction": "both"}, "relevance_direction must be one of"),
    ],
)  # fmt: skip
def test_wrong_arguments_fail_at_construction(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        RelevanceTrainingArguments(tmp_path, **wrong)


def test_arguments_can_be_parsed_from_a_command_line(tmp_path):
    line = f"--output_dir {tmp_path} --relevance_weight 0.2 --relevance_normalizer l1 --no_relevance_detach_target"
    (args,) = HfArgumentParser(RelevanceTrainingArguments).parse_args_into_dataclasses(line.split())
    assert (args.relevance_weight, args.relevance_normalizer, args.relevance_detach_target) == (0.2, "l1", False)
    assert (args.learning_rate, args.num_train_epochs, args.lr_scheduler_type) == (1e-3, 8, "constant")


def test_a_vocabulary_from_another_model_is_refused(make_model, tmp_path):
    args = RelevanceTrainingArguments(tmp_path, report_to="none", use_cpu=True)
    with pytest.raises(ValueError, match="the tokenizer has 40 words, but the model 41"):
        RelevanceTrainer(make_model(vocab_size=41), args, processing_class=TOKENIZER)


def test_training_texts_of_one_class_are_refused(make_model, tmp_path):
    args = RelevanceTrainingArguments(tmp_path, report_to="none", use_cpu=True)
    rows = Dataset.from_dict({"input_ids": [[2], [3, 4]], "label": [1, 1]})
    with pytest.raises(ValueError, match=r"all of class \[1\]"):
        RelevanceTrainer(make_model(), args, train_dataset=rows, data_collator=COLLATE)


@pytest.mark.parametrize("other", [{"label_smoothing_factor": 0.1}, {"compute_loss_func": lambda *_: 0}])
def test_the_gradient_of_another_loss_is_refused(make_model, tmp_path, other):
    options = {"relevance_target_score": "loss"} | {name: 0.1 for name in other if name.startswith("label")}
    args = RelevanceTrainingArguments(tmp_path, report_to="none", use_cpu=True, **options)
    with pytest.raises(ValueError, match="takes the gradient of the model's own loss, which label_smoothing_factor"):
        RelevanceTrainer(make_model(), args, **{name: f for name, f in other.items() if name.startswith("compute")})


def test_predictions_keep_the_order_of_the_rows_and_have_their_scores(train):
    """Stock `Trainer` would shuffle them where training texts are grouped by length."""
    trainer = train(train_sampling_strategy="group_by_length", per_device_eval_batch_size=2)
    output = trainer.predict(TEXTS)
    with torch.no_grad():
        logits = torch.cat([trainer.model.eval()(**COLLATE([text])).logits for text in TEXTS])
    torch.testing.assert_close(torch.as_tensor(output.predictions), logits, rtol=0, atol=1e-5)
    labels, predicted = [text["labels"] for text in TEXTS], logits.argmax(-1)
    assert output.metrics["test_accuracy"] == pytest.approx(100 * accuracy_score(labels, predicted))
    assert output.metrics["test_macro_f1"] == pytest.approx(100 * f1_score(labels, predicted, average="macro"))


def test_the_losses_of_several_devices_are_one(train):
    """What `DataParallel` gathers: a loss a device."""
    trainer, inputs = train(), COLLATE(TEXTS)

    class TwoDevices(torch.nn.Module):
        def forward(self, **inputs):
            outputs = trainer.model(**inputs)
            outputs.loss = outputs.loss + torch.tensor([-0.1, 0.1])
            return outputs

    torch.testing.assert_close(
        trainer.compute_loss(TwoDevices(), dict(inputs)), trainer.compute_loss(trainer.model, dict(inputs))
    )


def test_the_best_model_is_by_accuracy(tmp_path):
    strategies = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
    assert RelevanceTrainingArguments(tmp_path, use_cpu=True, **strategies).metric_for_best_model == "accuracy"
    assert RelevanceTrainingArguments(tmp_path, use_cpu=True, **strategies).greater_is_better


def train_and_tell(model, folder, size):
    """What a run says of itself, one part of several processes or all of it; None from all but the first."""
    options = {"per_device_train_batch_size": size, "max_steps": 2, "logging_steps": 2, "save_strategy": "no"}
    args = RelevanceTrainingArguments(folder, **options, **SGD, diversity_weight=0.1, use_cpu=True, report_to="none")
    trainer = RelevanceTrainer(
        BiLSTMAttentionForClassification.from_pretrained(model),
        args,
        train_dataset=TEXTS,
        data_collator=COLLATE,
        processing_class=TOKENIZER,
    )
    trainer.train()
    log = {name: trainer.state.log_history[0][name] for name in LOGGED_PARTS}
    said = {"weights": weights(trainer), "log": log, "world": trainer.args.world_size}
    return said if trainer.is_world_process_zero() else None


WORKER = """
import gc
import sys
import torch
from accelerate import PartialState
tests, model, folder, file = sys.argv[1:]
sys.path.insert(0, tests)
from test_trainer import train_and_tell
said = train_and_tell(model, folder, size=2)
gc.collect()  # the model before its group, as in train.py
PartialState().destroy_process_group()
if said:
    torch.save(said, file)
"""


def test_two_processes_equal_one(make_model, tmp_path):
    worker, saved, file = tmp_path / "worker.py", tmp_path / "model", tmp_path / "two.pt"
    worker.write_text(WORKER)
    make_model().float().save_pretrained(saved)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*torchrun, worker, Path(__file__).parent, saved, tmp_path / "out", file]
    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=300)
    one, two = train_and_tell(saved, tmp_path / "out", size=4), torch.load(file)
    assert (one["world"], two["world"]) == (1, 2)
    assert two["log"] == pytest.approx(one["log"], rel=1e-5)
    torch.testing.assert_close(two["weights"], one["weights"], rtol=1e-5, atol=1e-6)
