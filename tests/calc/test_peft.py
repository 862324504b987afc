"""LoRA on the calculator model: what is trained, saved, loaded, merged and published."""

import copy
import json
import sys

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import AutoModelForQuestionAnswering, AutoProcessor, BertConfig, BertModel

from adapters import BASE, add_adapter
from hf_calc import (
    BertForCalculatorQA,
    CalculatorQAConfig,
    CalculatorQATrainer,
    CalculatorQATrainingArguments,
)
from hf_calc.attribution import token_saliency

peft = pytest.importorskip("peft")
# What peft asks of any model of transformers.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

HEADS = ("argument_scorer", "comparison_search", "digit_places", "qa_outputs")
ROWS = [
    {
        "question": f"how many pens has {name}?",
        "passage": f"anna has {first} pens, carl has {second} pens, anna gave {gift} pens to grace.",
        "answer": str(second if name == "carl" else first - gift),
    }
    for name, first, second, gift in (("anna", 81, 24, 7), ("carl", 35, 88, 3), ("anna", 59, 12, 7), ("carl", 9, 4, 2))
]
ROWS += [ROWS[0] | {"question": "who has more pens: anna or carl?", "answer": "anna"}]
TEXTS = [row["question"] for row in ROWS], [row["passage"] for row in ROWS]


@pytest.fixture
def make_trainer(sizes, processor, tmp_path):
    """A trainer of an adapter whose folder is tmp_path."""

    def make(facts=(), **options):
        torch.manual_seed(0)
        model = BertForCalculatorQA(CalculatorQAConfig(**sizes, **processor.calculation, **dict(facts)))
        defaults = {"max_steps": 3, "learning_rate": 1e-2, "logging_steps": 1, "use_cpu": True, "report_to": "none"}
        return CalculatorQATrainer(
            model=add_adapter(model, processor, "calc", 2, tmp_path),
            args=CalculatorQATrainingArguments(tmp_path, **{"save_strategy": "no"} | defaults | options),
            train_dataset=Dataset.from_list(ROWS),
            eval_dataset=Dataset.from_list(ROWS),
            processing_class=processor,
        )

    return make


def values(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


FACTS = [{}, {"share_encoder": False}, {"use_calculator": False}, {"digit_places": 8}, {"search_comparisons": True}]


@pytest.mark.parametrize("facts", FACTS)
def test_adapter_and_heads_alone_are_trained(make_trainer, facts):
    trainer = make_trainer(facts)
    before = values(trainer.model)
    trained = {name for name, parameter in trainer.model.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name or "modules_to_save" in name for name in trained)
    heads = {head for head in HEADS if any(f"{head}.modules_to_save" in name for name in trained)}
    absent = {"argument_scorer"} if "use_calculator" in facts else set()
    optional = {"digit_places": "digit_places", "comparison_search": "search_comparisons"}
    absent |= {head for head, fact in optional.items() if fact not in facts}
    assert heads == {*HEADS} - absent
    layers = [name for name in before if name.endswith(("query.lora_A.default.weight", "dense.lora_A.default.weight"))]
    assert len(layers) == 2 * (1 + 3) * (1 if facts.get("share_encoder", True) else 2)
    trainer.train()
    after = values(trainer.model)
    assert {name for name in before if not torch.equal(before[name], after[name])} == trained
    assert {"eval_loss", "eval_f1"} <= trainer.evaluate().keys()


@pytest.mark.parametrize("facts", FACTS)
def test_loaded_and_merged_adapters_answer_like_the_trained_one(make_trainer, processor, tmp_path, facts):
    trainer, inputs = make_trainer(facts), processor(*TEXTS)

    @torch.no_grad()
    def read(model):
        return model.eval()(**inputs)

    base = read(BertForCalculatorQA.from_pretrained(tmp_path / BASE))
    assert torch.equal(read(trainer.model).start_logits, base.start_logits)  # a new adapter changes nothing
    trainer.train()
    trainer.save_model()
    trained = read(trainer.model)
    assert not torch.allclose(trained.start_logits, base.start_logits)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert all(".lora_" in name or any(head in name for head in HEADS) for name in saved)
    assert any("digit_places" in name for name in saved) == ("digit_places" in facts)

    loaded = peft.AutoPeftModelForQuestionAnswering.from_pretrained(tmp_path)
    outputs = [read(loaded), read(AutoModelForQuestionAnswering.from_pretrained(tmp_path))]
    merged = loaded.merge_and_unload()
    assert type(merged) is BertForCalculatorQA
    merged.save_pretrained(tmp_path / "merged")
    outputs += [read(merged), read(BertForCalculatorQA.from_pretrained(tmp_path / "merged"))]
    processor = AutoProcessor.from_pretrained(tmp_path)
    answers = processor.post_process_question_answering(trained, *TEXTS)
    for output in outputs:
        for name in ("start_logits", "end_logits", "argument_logits"):
            torch.testing.assert_close(getattr(output, name), getattr(trained, name), rtol=1e-5, atol=1e-5)
        found = processor.post_process_question_answering(output, *TEXTS)
        assert [best["answer"] for best, *_ in found] == [best["answer"] for best, *_ in answers]


def test_saliency_sees_through_an_adapter(make_trainer, processor):
    trainer = make_trainer()
    trainer.train()
    inputs = processor(*(column[0] for column in TEXTS))
    (adapted,) = token_saliency(trainer.model.eval(), inputs)
    (merged,) = token_saliency(trainer.model.merge_and_unload(), inputs)
    assert adapted.weights.any()
    torch.testing.assert_close(adapted.weights, merged.weights, rtol=1e-4, atol=1e-5)


def test_a_resumed_adapter_ends_where_an_unbroken_one_does(make_trainer, tmp_path):
    options = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4, "per_device_train_batch_size": 2}
    unbroken = make_trainer(**options)
    unbroken.train()
    resumed = make_trainer(**options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    torch.testing.assert_close(values(resumed.model), values(unbroken.model), rtol=0, atol=0)


def test_the_best_adapter_is_loaded_at_the_end(make_trainer, tmp_path):
    options = {"save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps", "eval_steps": 1}
    # The largest loss, since that is not of the last step.
    best = {"load_best_model_at_end": True, "metric_for_best_model": "loss", "greater_is_better": True}
    trainer = make_trainer(**options, **best)
    trainer.train()
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert losses[-1] < max(losses)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(max(losses), rel=1e-5)


def test_an_encoder_of_the_hub_is_no_base(hub, encoder, sizes, processor, tmp_path):
    BertModel.from_pretrained(encoder).push_to_hub("user/bert")
    config = CalculatorQAConfig(**sizes, **processor.calculation)
    model = BertForCalculatorQA.from_pretrained("user/bert", config=config)
    add_adapter(model, processor, "calc", 2, tmp_path / "run").save_pretrained(tmp_path / "run")
    assert (tmp_path / "run" / BASE / "model.safetensors").is_file()
    loaded = peft.AutoPeftModelForQuestionAnswering.from_pretrained(tmp_path / "run")
    torch.testing.assert_close(values(loaded.base_model.model.bert), values(model.bert))


def test_what_keeps_an_adapter_away_is_told(sizes, processor, tmp_path, monkeypatch):
    model = BertForCalculatorQA(CalculatorQAConfig(**sizes))
    with pytest.raises(ValueError, match="the rank must be at least 1, got -1"):
        add_adapter(model, processor, "calc", -1, tmp_path)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'hf-calc-relevance\[peft\]'"):
        add_adapter(model, processor, "calc", 2, tmp_path)


def test_a_base_that_cannot_be_saved_leaves_the_one_before(sizes, processor, tmp_path, contents, full_disk):
    models = [BertForCalculatorQA(CalculatorQAConfig(**sizes)) for _ in range(2)]
    add_adapter(models[0], processor, "calc", 2, tmp_path)
    before = contents(tmp_path)
    with full_disk(1000), pytest.raises(OSError, match="File too large"):
        add_adapter(models[1], processor, "calc", 2, tmp_path)
    assert contents(tmp_path) == before


def test_a_trained_adapter_keeps_its_base(sizes, processor, tmp_path, contents):
    models = [BertForCalculatorQA(CalculatorQAConfig(**sizes)) for _ in range(2)]
    again = copy.deepcopy(models[0])
    add_adapter(models[0], processor, "calc", 2, tmp_path).save_pretrained(tmp_path)
    before = contents(tmp_path)
    add_adapter(again, processor, "calc", 4, tmp_path)
    with pytest.raises(ValueError, match="has an adapter on another base, which it would lose"):
        add_adapter(models[1], processor, "calc", 2, tmp_path)
    assert contents(tmp_path) == before


@pytest.fixture
def encoder(sizes, processor, tmp_path):
    """The folder of a bare BERT."""
    BertModel(BertConfig(**sizes)).save_pretrained(tmp_path / "encoder")
    processor.save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


def test_a_run_by_recipe_is_published_and_loaded_without_this_project(hub, train, encoder, tmp_path, capsys):
    """From a bare BERT by train.py to the Hub, and by the card's code in a process that has peft but not our code."""
    run = tmp_path / "run"
    options = {"encoder": encoder, "output_dir": run, "owners": 3, "digits": 2}
    options |= {"train_size": 8, "validation_size": 4, "max_steps": 2, "per_device_train_batch_size": 2, "bf16": False}
    options |= {"lora_rank": 2, "push_to_hub": True, "hub_model_id": "user/lora"}
    train("recipes/calc/demo_lora.yaml", **options)
    printed = capsys.readouterr().out
    files, base = (hub.repos[f"models/user/{name}"].at("main") for name in ("lora", "lora-base"))
    files = files.files
    adapter = json.loads(files["adapter_config.json"].data)
    assert (adapter["base_model_name_or_path"], adapter["revision"]) == ("user/lora-base", base.sha)
    assert files.keys().isdisjoint({"config.json", "model.safetensors"})
    assert "base_model: user/lora-base" in files["README.md"].data.decode()
    assert "[user/lora]" in base.files["README.md"].data.decode()
    (code,) = [part.split("```")[0] for part in files["README.md"].data.decode().split("```python\n")[1:]]
    code += "\nprint(outputs.start_logits.tolist())\n"
    answered = hub.run(code).splitlines()
    results = json.loads((run / "results.json").read_text())
    assert results["settings"]["lora_rank"] == results["adapter"]["r"] == 2
    assert 0 < results["trained_parameters"] < results["parameters"]
    assert f"training {results['trained_parameters']:,} of {results['parameters']:,} parameters" in printed
    # What the Hub gave answers as the folder does.
    scope = {}
    exec(code.replace("user/lora", str(run)), scope)
    torch.testing.assert_close(
        torch.tensor(json.loads(answered[-1])), scope["outputs"].start_logits, rtol=1e-5, atol=1e-5
    )
