"""From data to a score, by the commands and on the Hub, for each family: another one uses it without our code."""

import json
from pathlib import Path

import pytest

from dataset_scripts.calculator_qa.calculator_qa import main as make_questions
from dataset_scripts.reviews.reviews import main as make_reviews

ROOT = Path(__file__).parents[1]

# In a process that has nothing of this project: data, model and metric from the Hub.
SCORE = {
    "calc": """
        rows = load_dataset("user/data", "max_transfer", split="validation").to_list()
        ask = pipeline("calculator-question-answering", model="user/model", trust_remote_code=True)
        predictions = [found["answer"] for found in ask(rows, batch_size=4)]
        references = [[row["answer"]] for row in rows]
        metric = evaluate.load("user/drop_f1")
    """,
    "relevance": """
        rows = load_dataset("user/data", split="test")
        classify = pipeline("text-classification", model="user/model", trust_remote_code=True)
        predictions = rows.features["label"].str2int([found["label"] for found in classify([*rows["text"]])])
        references = [*rows["label"]]
        metric = evaluate.load("user/accuracy_f1")
    """,
}
FRESH = """
        import importlib.util, json
        import evaluate
        from datasets import disable_progress_bars, load_dataset
        from transformers import pipeline

        disable_progress_bars()
        assert not any(map(importlib.util.find_spec, ["hf_calc", "hf_relevance", "publish", "train"]))
"""
PRINT = """
        print(json.dumps([len(rows), metric.compute(predictions=predictions, references=references)]))
"""


@pytest.mark.parametrize("family", SCORE)
def test_from_data_to_a_score(hub, train, options, tmp_path, family):
    is_calculator = family == "calc"
    recipe, settings = options["user/calculator" if is_calculator else "user/reviews"]
    sizes = ["--train_size=8", "--validation_size=6"]
    if is_calculator:
        make, sizes, split = (
            make_questions,
            [*sizes, "--owners=3", "--digits=2", "--configs=max_transfer"],
            "validation",
        )
    else:
        make, sizes, split = make_reviews, [*sizes, "--test_size=7"], "test"
    make([f"--output={tmp_path / 'data'}", *sizes, "--push_to_hub=user/data"])
    places = {"dataset": tmp_path / "data", "output_dir": tmp_path / "run"}
    train(recipe, "--push_to_hub", hub_model_id="user/model", **settings | places)
    metric = "hf_calc/metrics/drop_f1" if is_calculator else "hf_relevance/metrics/accuracy_f1"
    train("push", ROOT / metric, f"user/{Path(metric).name}")
    rows, scores = json.loads(hub.run(FRESH + SCORE[family] + PRINT).splitlines()[-1])
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    metrics = results["metrics"] if is_calculator else results["metrics"]["test"]
    assert (rows, results["steps"]) == (results["examples"][split], 2)
    assert scores == pytest.approx({name: metrics[name] for name in scores})
