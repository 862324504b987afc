"""CalculatorQATrainer: what it logs, and the laws of accumulation, processes and resumption."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import Dataset

from hf_calc import (
    BertForCalculatorQA,
    CalculatorQAConfig,
    CalculatorQADataCollator,
    CalculatorQAProcessor,
    CalculatorQATrainer,
    CalculatorQATrainingArguments,
    SymbolicFunction,
    SymbolicLayer,
    find_quantities,
)


def make_rows(count):
    """Rows like those of dataset_scripts/calculator_qa: anna gives away some of what she has.

    Every third passage is too long for one window of 96 tokens.
    """
    rows = []
    for k in range(count):
        first, second, gift = 30 + 7 * k % 61, 32 + 5 * k % 17, 3 + k % 9
        passage = f"anna has {first} pens, carl has {second} pens, anna gave {gift} pens to grace."
        passage += " how many pens" * 40 * (k % 3 == 2)
        spans = [(passage.index(f" {n} ") + 1, len(str(n))) for n in (first, second)]
        spans.append((passage.index(f"gave {gift} ") + 5, len(str(gift))))
        values = zip((first, second, gift), spans, strict=True)
        rows.append(
            {
                "question": "What is the maximum number of pens owned either by anna or carl?",
                "passage": passage,
                "answer": str(max(first - gift, second)),
                "quantities": [{"value": v, "start": s, "end": s + length} for v, (s, length) in values],
                "gold_arguments": [0, 2],
            }
        )
    return Dataset.from_list(rows)


def make_trainer(processor, folder, facts=(), num_steps=1, function="arithmetic", **options):
    steps = {"num_steps": num_steps, "result_tokens": (512 - 96) // num_steps, "function": function}
    processor = CalculatorQAProcessor(processor.tokenizer, stride=8, **steps)
    facts = dict(facts) | processor.calculation
    vocabulary = len(processor.tokenizer)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    torch.manual_seed(0)
    model = BertForCalculatorQA(CalculatorQAConfig(vocab_size=vocabulary, **sizes, **dropout, **facts))
    rows = make_rows(options.pop("rows", 8))
    defaults = {"max_steps": 2, "learning_rate": 1e-3, "use_cpu": True, "report_to": "none", "disable_tqdm": True}
    return CalculatorQATrainer(
        model=model,
        args=CalculatorQATrainingArguments(output_dir=str(folder), **(defaults | options)),
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=processor,
    )


def weights(trainer):
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


@pytest.mark.parametrize("facts", [{}, {"share_encoder": False}, {"use_calculator": False}])
def test_two_steps_move_every_parameter(processor, tmp_path, facts):
    trainer = make_trainer(processor, tmp_path, facts, per_device_train_batch_size=4, logging_steps=1)
    before = weights(trainer)
    trainer.train()
    assert ("eval_argument_accuracy" in trainer.evaluate()) == facts.get("use_calculator", True)
    after = weights(trainer)
    assert not [name for name in before if torch.equal(before[name], after[name])]


def test_predictions_keep_the_order_of_the_rows(processor, tmp_path):
    """Stock `Trainer` would shuffle them where training rows are grouped by length."""
    options = {"train_sampling_strategy": "group_by_length", "per_device_eval_batch_size": 2}
    trainer = make_trainer(processor, tmp_path, **options)
    rows = trainer.eval_dataset.add_column("length", [len(passage) for passage in trainer.eval_dataset["passage"]])
    together = trainer.predict(rows).predictions
    for k in range(len(rows)):
        alone = trainer.predict(rows.select([k])).predictions
        assert [field[k].tolist() for field in together[1:]] == [field[0].tolist() for field in alone[1:]]
        assert together[0][k] == pytest.approx(alone[0][0], abs=1e-4)


@pytest.mark.parametrize("estimator", ["gumbel_softmax", "gumbel_rao", "reinmax", "reinforce", "marginal"])
def test_every_estimator_trains_every_parameter(processor, tmp_path, estimator):
    trainer = make_trainer(
        processor, tmp_path, per_device_train_batch_size=4, estimator=estimator, num_samples=2,
        argument_loss_weight=0.0, weight_decay=0.0, logging_steps=2,
    )  # fmt: skip
    before = weights(trainer)
    trainer.train()
    assert not [name for name, weight in weights(trainer).items() if torch.equal(before[name], weight)]
    assert all(0 < entry["end_loss"] < 20 for entry in trainer.state.log_history if "end_loss" in entry)


@pytest.mark.parametrize("noise", [True, False])
def test_logged_parts_are_means_over_all_rows(processor, tmp_path, noise):
    trainer = make_trainer(
        processor, tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=2, logging_steps=2,
        learning_rate=0.0, gumbel_noise=noise, argument_loss_weight=0.5, rows=7,
    )  # fmt: skip
    seen = []
    original = trainer.model.forward

    def forward(*args, **kwargs):
        output = original(*args, **kwargs)
        seen.append((output.end_loss.item(), output.argument_loss.item(), int(output.example_ids[-1]) + 1))
        return output

    trainer.model.forward = forward
    trainer.train()
    log = next(entry for entry in trainer.state.log_history if "loss" in entry)
    *parts, rows = torch.tensor(seen).unbind(-1)
    assert rows.tolist() == [2, 2, 2, 1]
    end_loss, argument_loss = ((part * rows).sum().item() / 7 for part in parts)
    assert log["end_loss"] == pytest.approx(end_loss, abs=1e-4)
    assert log["argument_loss"] == pytest.approx(argument_loss, abs=1e-4)
    assert log["loss"] == pytest.approx((parts[0] + 0.5 * parts[1]).mean().item(), abs=1e-3)  # as the Trainer has it


@pytest.mark.parametrize("num_steps", [1, 2])
def test_the_price_of_entropy_is_that_of_the_choice(processor, tmp_path, num_steps):
    losses = []
    for weight in (0.0, 0.3):
        options = {"entropy_weight": weight, "gumbel_noise": False, "num_steps": num_steps}
        trainer = make_trainer(processor, tmp_path, **options)
        inputs = trainer.data_collator([trainer.train_dataset[row] for row in (0, 1, 3)])  # one window each
        losses.append(trainer.compute_loss(trainer.model.train(), inputs, return_outputs=True))
    (free, outputs), (priced, _) = losses
    steps = [outputs.argument_logits, *(outputs.step_argument_logits or ())]
    entropy = sum(torch.distributions.Categorical(logits=scores).entropy().mean() for scores in steps)
    assert len(steps) == num_steps
    assert entropy > 0.1
    torch.testing.assert_close(priced, free + 0.3 * entropy)
    torch.testing.assert_close(trainer.compute_loss(trainer.model.eval(), inputs), free)


def test_a_model_without_a_choice_has_no_price_on_it(processor, tmp_path):
    with pytest.raises(ValueError, match="entropy_weight is a price on the calculator's choice"):
        make_trainer(processor, tmp_path, facts={"use_calculator": False}, entropy_weight=0.1)


@pytest.mark.parametrize("estimator", ["straight_through_gumbel", "marginal"])
def test_accumulating_4_batches_of_1_equals_1_batch_of_4(processor, tmp_path, estimator):
    results = []
    for size, accumulation in ((4, 1), (1, 4)):
        trainer = make_trainer(
            processor, tmp_path, per_device_train_batch_size=size, gradient_accumulation_steps=accumulation,
            gumbel_noise=False, logging_steps=1, optim="sgd", learning_rate=0.1, estimator=estimator,
        )  # fmt: skip
        trainer.train()
        logs = [[entry[key] for key in ("loss", "end_loss")] for entry in trainer.state.log_history if "loss" in entry]
        results.append((weights(trainer), torch.tensor(logs)))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-3, atol=1e-3)


def test_a_resumed_run_ends_where_an_unbroken_one_does(processor, tmp_path):
    options = {"max_steps": 6, "per_device_train_batch_size": 2, "save_steps": 3, "final_temperature": 0.5}
    unbroken = make_trainer(processor, tmp_path, **options)
    unbroken.train()
    resumed = make_trainer(processor, tmp_path, **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    torch.testing.assert_close(weights(resumed), weights(unbroken), rtol=0, atol=0)


def test_temperature_falls_geometrically_with_the_step(processor, tmp_path):
    trainer = make_trainer(processor, tmp_path, temperature=2.0, final_temperature=0.5)
    temperatures = []
    for trainer.state.max_steps, trainer.state.global_step in ((11, 0), (11, 5), (11, 10), (11, 11), (1, 0)):
        temperatures.append(trainer.temperature)
    assert temperatures == pytest.approx([2.0, 1.0, 0.5, 0.5, 2.0])
    assert make_trainer(processor, tmp_path, temperature=2.0).temperature == 2.0


def test_metrics_are_those_of_the_decoded_answers(processor, tmp_path):
    trainer = make_trainer(processor, tmp_path, per_device_eval_batch_size=3)
    output = trainer.predict(trainer.eval_dataset, metric_key_prefix="eval")
    answers = trainer.decode_predictions(output.predictions, trainer.eval_dataset)
    gold = trainer.eval_dataset["answer"]
    half = [found | {"answer": gold[k] if k % 2 else "nobody"} for k, found in enumerate(answers)]
    assert trainer.score_answers(half, trainer.eval_dataset)["signed_exact_match"] == 50
    right = []
    for row, found in zip(trainer.eval_dataset, answers, strict=True):
        chosen = {operand["start"] for operand in found["operands"]}
        right.append(chosen == {row["quantities"][k]["start"] for k in row["gold_arguments"]})
    assert output.metrics["eval_argument_accuracy"] == pytest.approx(100 * sum(right) / 8)
    assert output.metrics["eval_loss"] > 0


def test_arguments_are_right_only_if_both_are_given(processor, tmp_path):
    finders = [find_quantities] * 2
    function = SymbolicFunction(lambda a, b=0: f"{a}", finders, name="first", unordered=True, optional=1)
    trainer = make_trainer(processor, tmp_path, function=function)
    places = [row["quantities"] for row in trainer.eval_dataset]
    operands = [[{"value": str(q["value"]), "segment": "passage", "start": q["start"]} for q in row] for row in places]
    answers = [{"answer": "", "operands": row[: k % 2 + 1]} for k, row in enumerate(operands)]
    rows = trainer.eval_dataset.map(lambda _: {"gold_arguments": [0, 1]})
    assert trainer.score_answers(answers, rows)["argument_accuracy"] == 50


def test_the_best_checkpoint_is_the_one_with_the_best_f1(processor, tmp_path):
    trainer = make_trainer(
        processor, tmp_path, max_steps=4, eval_steps=1, save_steps=1, eval_strategy="steps", save_strategy="steps",
        load_best_model_at_end=True, learning_rate=5e-3, per_device_train_batch_size=8,
    )  # fmt: skip
    trainer.train()
    scores = [entry["eval_f1"] for entry in trainer.state.log_history if "eval_f1" in entry]
    assert len(scores) == 4
    assert trainer.state.best_metric == max(scores)
    assert trainer.evaluate()["eval_f1"] == max(scores)


def test_rows_that_would_end_a_run_are_told_before_it_starts(processor, tmp_path):
    trainer = make_trainer(processor, tmp_path)
    rows = trainer.train_dataset
    cases = [
        (rows.remove_columns("answer"), ValueError, "lacks answer"),
        (
            rows.map(lambda row: {"answer": "elephants"}),
            ValueError,
            "none of the first 8 training rows has its answer",
        ),
        (rows.select([]), ValueError, "the training set has no rows"),
        (
            rows.map(lambda _, k: {"passage": None if k == 3 else "a"}, with_indices=True),
            ValueError,
            "the training set has no text as passage of row 3",
        ),
        (list(rows), TypeError, "must be a datasets.Dataset, got a list"),
        (
            rows.map(lambda row, k: {"answer": None if k == 5 else "7"}, with_indices=True),
            ValueError,
            "answer 5 must be",
        ),
        (
            rows.map(lambda row, k: {"question": "pens " * 600 if k == 6 else "?"}, with_indices=True),
            ValueError,
            "question 6",
        ),
    ]
    arguments = {"model": trainer.model, "args": trainer.args, "processing_class": processor}
    arguments["data_collator"] = CalculatorQADataCollator(processor)
    for bad, error, message in cases:
        with pytest.raises(error, match=message):
            CalculatorQATrainer(**arguments, train_dataset=bad)
    with pytest.raises(ValueError, match="the evaluation set has the columns"):
        CalculatorQATrainer(**arguments, train_dataset=rows, eval_dataset=rows.remove_columns("answer"))


@pytest.mark.parametrize("wrong", ["nothing", "its tokenizer"])
def test_a_trainer_without_a_processor_is_refused(processor, tmp_path, wrong):
    trainer = make_trainer(processor, tmp_path)
    given = None if wrong == "nothing" else processor.tokenizer
    with pytest.raises(TypeError, match=r"must be a CalculatorQAProcessor, got a (NoneType|BertTokenizer)"):
        CalculatorQATrainer(trainer.model, trainer.args, train_dataset=trainer.train_dataset, processing_class=given)


@pytest.mark.parametrize("facts", [{}, {"search_comparisons": True}])
def test_the_default_collator_makes_what_the_model_learns_from(processor, tmp_path, facts):
    trainer = make_trainer(processor, tmp_path, facts)
    made = CalculatorQATrainer(
        trainer.model, trainer.args, train_dataset=trainer.train_dataset, processing_class=processor
    )
    assert made.data_collator == CalculatorQADataCollator(processor, comparisons="search_comparisons" in facts)


def test_f1_chooses_the_best_checkpoint_only_if_one_is_wanted(tmp_path):
    arguments = {"output_dir": str(tmp_path), "use_cpu": True}
    assert CalculatorQATrainingArguments(**arguments).metric_for_best_model is None
    wanted = CalculatorQATrainingArguments(
        **arguments, load_best_model_at_end=True, eval_strategy="epoch", save_strategy="epoch"
    )
    assert (wanted.metric_for_best_model, wanted.greater_is_better) == ("f1", True)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.0},
        {"final_temperature": -1.0},
        {"argument_loss_weight": -0.1},
        {"entropy_weight": float("inf")},
        {"temperature": float("nan")},
        {"estimator": "vimco"},
        {"num_samples": 1, "estimator": "reinforce"},
    ],
)
def test_bad_arguments_fail_at_construction(tmp_path, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        CalculatorQATrainingArguments(output_dir=str(tmp_path), use_cpu=True, **options)


def test_processor_of_another_vocabulary_is_refused(processor, tmp_path):
    trainer = make_trainer(processor, tmp_path)
    for name in ("vocab_size", "max_position_embeddings"):
        right = getattr(trainer.model.config, name)
        setattr(trainer.model.config, name, 5)
        with pytest.raises(ValueError, match="load both from the same checkpoint"):
            CalculatorQATrainer(model=trainer.model, args=trainer.args, processing_class=processor)
        setattr(trainer.model.config, name, right)


def test_what_the_processor_of_several_steps_calculates_is_what_the_model_does(processor, tmp_path):
    trainer = make_trainer(processor, tmp_path, num_steps=2)
    for operations in (["-", "+"], ["+", "-", "*"]):
        trainer.model.config.operations = operations
        with pytest.raises(ValueError, match=r"has operations=\['\+', '-'\] and the model \['"):
            CalculatorQATrainer(model=trainer.model, args=trainer.args, processing_class=trainer.processing_class)


def test_places_of_digits_need_digits_that_are_tokens(processor, tmp_path):
    trainer = make_trainer(processor, tmp_path, {"digit_places": 4})
    trainer.processing_class.digit_tokens = False
    with pytest.raises(ValueError, match="digit_places=4 needs digit_tokens"):
        CalculatorQATrainer(model=trainer.model, args=trainer.args, processing_class=trainer.processing_class)


def test_what_the_trainer_cannot_do_is_refused(processor, tmp_path, monkeypatch):
    trainer = make_trainer(processor, tmp_path)
    given = {"model": trainer.model, "processing_class": trainer.processing_class}
    with pytest.raises(ValueError, match="in place of compute_metrics"):
        CalculatorQATrainer(args=trainer.args, compute_metrics=dict, **given)
    with pytest.raises(ValueError, match="leave eval_do_concat_batches as it is"):
        make_trainer(processor, tmp_path, eval_do_concat_batches=False)
    monkeypatch.setattr(CalculatorQATrainingArguments, "n_gpu", 2)
    with pytest.raises(ValueError, match=r"2 GPUs in one process .* one process a GPU by `accelerate launch`"):
        CalculatorQATrainer(args=trainer.args, **given)


def test_an_evaluation_of_the_loss_alone_answers_nothing(processor, tmp_path):
    both, loss = (make_trainer(processor, tmp_path, prediction_loss_only=only).evaluate() for only in (False, True))
    assert "eval_f1" in both
    assert not any("f1" in name for name in loss)
    assert loss["eval_loss"] == pytest.approx(both["eval_loss"])


def train_and_tell(processor, folder, size):
    """What a run says of itself, one part of several processes or all of it; None from all but the first."""
    options = {"logging_steps": 1, "per_device_eval_batch_size": 3, "optim": "sgd", "learning_rate": 0.1}
    trainer = make_trainer(processor, folder, per_device_train_batch_size=size, gumbel_noise=False, **options)
    trainer.train()
    metrics = trainer.evaluate()
    logs = [entry["end_loss"] for entry in trainer.state.log_history if "end_loss" in entry]
    metrics = {name: metrics[name] for name in ("eval_f1", "eval_argument_accuracy")}
    said = {"weights": weights(trainer), "logs": logs, "world": trainer.args.world_size, "metrics": metrics}
    return said if trainer.is_world_process_zero() else None


WORKER = """
import gc
import sys
import torch
from accelerate import PartialState
from hf_calc import CalculatorQAProcessor
tests, processor, folder, file = sys.argv[1:]
sys.path.insert(0, tests)
from test_trainer import train_and_tell
said = train_and_tell(CalculatorQAProcessor.from_pretrained(processor), folder, size=2)
gc.collect()  # the model before its group, as in train.py
PartialState().destroy_process_group()
if said:
    torch.save(said, file)
"""


def test_two_processes_equal_one(processor, tmp_path):
    worker, saved, file = tmp_path / "worker.py", tmp_path / "processor", tmp_path / "two.pt"
    worker.write_text(WORKER)
    processor.save_pretrained(saved)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*torchrun, worker, Path(__file__).parent, saved, tmp_path / "out", file]
    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=300)
    one, two = train_and_tell(processor, tmp_path / "out", size=4), torch.load(file)
    assert (one["world"], two["world"]) == (1, 2)
    torch.testing.assert_close(two["weights"], one["weights"], rtol=1e-4, atol=1e-5)
    assert two["logs"] == pytest.approx(one["logs"], rel=1e-4)
    assert two["metrics"] == pytest.approx(one["metrics"])


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 2.0, "final_temperature": 0.5},
        {"estimator": "gumbel_rao", "num_samples": 3},
        {"estimator": "marginal", "num_samples": 2},
        {"gumbel_noise": False},
    ],
)
def test_the_layer_is_given_what_the_arguments_say(processor, tmp_path, monkeypatch, options):
    given, forward = [], SymbolicLayer.forward
    monkeypatch.setattr(SymbolicLayer, "forward", lambda layer, *args: given.append(args[3:]) or forward(layer, *args))
    trainer = make_trainer(processor, tmp_path, max_steps=3, per_device_train_batch_size=8, **options)
    trainer.train()
    temperatures = [2.0, 1.0, 0.5] if "temperature" in options else [1.0] * 3
    rest = options.get("gumbel_noise", True), None, trainer.args.estimator, trainer.args.num_samples
    assert [facts[1:] for facts in given] == [rest] * 3
    assert [facts[0] for facts in given] == pytest.approx(temperatures)
