"""LoRA on the BiLSTM classifier: what is trained, saved, loaded, merged, explained and published."""

import json

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from adapters import BASE, add_adapter
from hf_relevance import (
    BiLSTMAttentionDataCollator,
    BiLSTMAttentionForClassification,
    RelevanceTrainer,
    RelevanceTrainingArguments,
)
from hf_relevance.attribution import embedding_gradient, leave_one_out
from hf_relevance.tokenization import build_tokenizer
from train_relevance import RelevanceArguments, build_relevance_model

peft = pytest.importorskip("peft")
# What peft asks of any model of transformers.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

TOKENIZER = build_tokenizer([" ".join(f"word{n}" for n in range(38))], min_frequency=1)
TEXTS = [
    {"input_ids": torch.randint(2, 40, (n,), generator=torch.Generator().manual_seed(n)).tolist(), "labels": n % 2}
    for n in range(1, 9)
]
TRAINED = {
    "bilstm.embed_tokens.lora_embedding_A.default",
    "bilstm.embed_tokens.lora_embedding_B.default",
    "bilstm.attention.projection.lora_A.default.weight",
    "bilstm.attention.projection.lora_B.default.weight",
    "bilstm.attention.score.modules_to_save.default.weight",
    "classifier.modules_to_save.default.weight",
    "classifier.modules_to_save.default.bias",
}


@pytest.fixture
def make_trainer(make_model, tmp_path):
    """A trainer of an adapter whose folder is tmp_path."""
    model = make_model().float()

    def make(**options):
        options = {"max_steps": 3, "logging_steps": 1, "learning_rate": 0.05, "save_strategy": "no"} | options
        return RelevanceTrainer(
            add_adapter(model, TOKENIZER, "relevance", 2, tmp_path),
            RelevanceTrainingArguments(tmp_path, **options, use_cpu=True, report_to="none"),
            train_dataset=TEXTS,
            eval_dataset=TEXTS[:5],
            data_collator=BiLSTMAttentionDataCollator(TOKENIZER),
            processing_class=TOKENIZER,
        )

    return make


@pytest.mark.parametrize("measure", ["hidden_gradient", "embedding_gradient"])
def test_adapter_and_heads_alone_are_trained(make_trainer, measure):
    trainer = make_trainer(relevance_normalizer="l1", relevance_measure=measure)
    before = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    trainer.train()
    changed = {name for name, value in trainer.model.named_parameters() if not torch.equal(value, before[name])}
    assert {name.removeprefix("base_model.model.") for name in changed} == TRAINED
    padding = trainer.model.get_input_embeddings()(torch.tensor([TOKENIZER.pad_token_id]))
    assert not padding.any()  # it stays zero
    assert {"eval_loss", "eval_accuracy"} <= trainer.evaluate().keys()
    assert "relevance_loss" in trainer.state.log_history[0]


@pytest.fixture
def inputs():
    batch = BiLSTMAttentionDataCollator(TOKENIZER)(TEXTS)
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


def test_loaded_and_merged_adapters_classify_and_explain_like_the_trained_one(make_trainer, inputs, tmp_path):
    @torch.no_grad()
    def read(model):
        return model.eval()(**inputs, output_attentions=True)

    trainer = make_trainer()
    base = read(BiLSTMAttentionForClassification.from_pretrained(tmp_path / BASE))
    assert torch.equal(read(trainer.model).logits, base.logits)  # a new adapter changes nothing
    trainer.train()
    trainer.save_model()
    trained = read(trainer.model)
    assert not torch.allclose(trained.attentions, base.attentions)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert {name.removeprefix("base_model.model.") for name in saved} == {
        name.replace(".default", "").replace(".modules_to_save", "") for name in TRAINED
    }

    loaded = peft.AutoPeftModelForSequenceClassification.from_pretrained(tmp_path)
    outputs = [read(loaded), read(AutoModelForSequenceClassification.from_pretrained(tmp_path))]
    measures = [measure(loaded, inputs) for measure in (embedding_gradient, leave_one_out)]
    merged = loaded.merge_and_unload()
    assert type(merged) is BiLSTMAttentionForClassification
    merged.save_pretrained(tmp_path / "merged")
    outputs += [read(merged), read(BiLSTMAttentionForClassification.from_pretrained(tmp_path / "merged"))]
    for output in outputs:
        for name in ("logits", "attentions", "gradient_importance"):
            torch.testing.assert_close(getattr(output, name), getattr(trained, name), rtol=1e-5, atol=1e-5)
    for measure, value in zip((embedding_gradient, leave_one_out), measures, strict=True):
        torch.testing.assert_close(measure(merged, inputs), value, rtol=1e-4, atol=1e-5)


def test_the_best_adapter_is_loaded_at_the_end(make_trainer):
    options = {"save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps", "eval_steps": 1}
    # The largest loss, since that is not of the last step.
    best = {"load_best_model_at_end": True, "metric_for_best_model": "loss", "greater_is_better": True}
    trainer = make_trainer(**options, **best, learning_rate=0.5)
    trainer.train()
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert losses[-1] < max(losses)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(max(losses), rel=1e-5)


def test_what_an_adapter_cannot_stand_on_is_told(make_model, tmp_path):
    with pytest.raises(ValueError, match="the rank must be at least 1, got -1"):
        add_adapter(make_model(), TOKENIZER, "relevance", -1, tmp_path)
    assert not [*tmp_path.iterdir()]
    make_model().save_pretrained(tmp_path)
    arguments = RelevanceArguments("films", base_model=str(tmp_path))
    three = Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, 2]})
    with pytest.raises(ValueError, match=r"has the labels \{.*\}, the data \{0: '0', 1: '1', 2: '2'\}"):
        build_relevance_model(arguments, three, 0)


def test_a_run_by_recipe_is_published_and_loaded_without_this_project(hub, train, make_model, tmp_path):
    """On a model of ours by train.py to the Hub, and by the card's code in a process with peft, not our code."""
    words = {0: ["bad", "poor", "dull"], 1: ["good", "fine", "warm"]}
    (tmp_path / "texts").mkdir()
    for split in ("train", "validation", "test"):
        rows = [{"text": f"a {words[i % 2][i % 3]} film " * (1 + i % 4), "label": i % 2} for i in range(12)]
        (tmp_path / "texts" / f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    tokenizer = build_tokenizer(["a bad poor dull good fine warm film"], min_frequency=1)
    labels = {"id2label": {0: "0", 1: "1"}, "label2id": {"0": 0, "1": 1}}
    make_model(vocab_size=len(tokenizer), **labels).float().save_pretrained(tmp_path / "trained")
    tokenizer.save_pretrained(tmp_path / "trained")
    run = tmp_path / "run"
    options = {"dataset": tmp_path / "texts", "base_model": tmp_path / "trained", "output_dir": run}
    options |= {"num_train_epochs": 2, "push_to_hub": True, "hub_model_id": "user/lora"}
    train("recipes/relevance/demo_lora.yaml", **options)
    files, base = (hub.repos[f"models/user/{name}"].at("main") for name in ("lora", "lora-base"))
    files = files.files
    adapter = json.loads(files["adapter_config.json"].data)
    assert (adapter["base_model_name_or_path"], adapter["revision"]) == ("user/lora-base", base.sha)
    assert "model.safetensors" not in files
    blocks = [part.split("```")[0] for part in files["README.md"].data.decode().split("```python\n")[1:]]
    printed = hub.run("\n".join([*blocks, "print(output.logits.tolist())"]))
    scope = {}
    exec(blocks[-1].replace("user/lora", str(run)), scope)
    logits = torch.tensor(json.loads(printed.splitlines()[-1]))
    torch.testing.assert_close(logits, scope["output"].logits, rtol=1e-5, atol=1e-5)
    # On the base that was published, no other is saved or published.
    second = tmp_path / "second"
    published = BiLSTMAttentionForClassification.from_pretrained("user/lora-base")
    add_adapter(published, tokenizer, "relevance", 2, second).save_pretrained(second)
    assert not (second / BASE).exists()
    adapter = json.loads((second / "adapter_config.json").read_text())
    assert (adapter["base_model_name_or_path"], adapter["revision"]) == ("user/lora-base", base.sha)
    results = json.loads((run / "results.json").read_text())
    assert results["settings"]["lora_rank"] == results["adapter"]["r"] == 4
    assert results["settings"]["embedding_size"] == 6  # the base's
    assert (results["scale"], results["trained_parameters"] < results["parameters"]) == ("small", True)
