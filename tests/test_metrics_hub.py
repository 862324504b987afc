"""The metrics' cards; on the Hub: published as Spaces, taken by evaluate, without this project and by processes."""

import doctest
import json
import shutil
from pathlib import Path

import evaluate
import pytest
import yaml
from huggingface_hub import HfApi, SpaceCard

ROOT = Path(__file__).parents[1]
METRICS = {path.parent.name: path.parent for path in ROOT.glob("hf_*/metrics/*/README.md")}
ROWS = {
    "accuracy_f1": ([0, 1, 2, 2, 1], [0, 2, 2, 2, 1]),
    "argument_accuracy": (
        [["72", "23"], [], ["1", "2"], ["7", "8"], ["3", "4"]],
        [["23", "72"], [], ["1", "3"], ["7", "8"], ["5", "6"]],
    ),
    "attention_agreement": (
        [[0.1, 0.2, 0.7], [0.5, 0.3, 0.2, 0.0], [1.0], [0.2, 0.5, 0.3], [0.4, 0.4, 0.2]],
        [[1.0, -2.0, 3.0], [4.0, 1.0, 2.0, 0.0], [1.0], [3.0, 2.0, 1.0], [2.0, 1.0, 0.5]],
    ),
    "chain_accuracy": (
        [[["5", "1"], ["2", "7"]], None, [["1", "5"]], [["1", "2"], []]],
        [[[["5", "1"], ["7", "2"]], [["7", "2"], ["5", "1"]]], [], [[["5", "1"], ["6", "2"]]], [[["1", "2"]]]],
    ),
    "drop_f1": (["59", "-59", ["Romo", "Hill"], None, "7"], [["59"], ["59"], [["Hill", "Owens"]], ["7"], ["7", "8"]]),
}

FRESH = """
import importlib.util, json, multiprocessing, os

assert not any(map(importlib.util.find_spec, ["hf_calc", "hf_relevance", "publish", "train"]))

import doctest, shutil
import evaluate
from huggingface_hub import hf_hub_download

given, said, processes = json.loads(os.environ["GIVEN"]), {}, multiprocessing.get_context("fork")

def part(name, rank, ranks, queue):
    metric = evaluate.load(name, num_process=ranks, process_id=rank, experiment_id="parts")
    predictions, references = given["rows"][name]
    for row in range(rank, len(predictions), ranks):
        metric.add_batch(predictions=predictions[row : row + 1], references=references[row : row + 1])
    queue.put(metric.compute())

for name, (predictions, references) in given["rows"].items():
    metric, rows = evaluate.load(name), {"predictions": predictions, "references": references}
    said[name] = [metric.compute(**rows)]
    # By several processes, of which the first has the result.
    queue = processes.Queue()
    parts = [processes.Process(target=part, args=(name, rank, 3, queue)) for rank in range(3)]
    for process in parts:
        process.start()
    said[name] += [result for result in (queue.get(timeout=60) for _ in parts) if result is not None]
    for process in parts:
        process.join()
    # The examples of card and script; one of the card imports a copy of the script.
    script = name.partition("/")[2] + ".py"
    shutil.copy(hf_hub_download(name, script, repo_type="space"), script)
    with open(hf_hub_download(name, "README.md", repo_type="space"), encoding="utf-8") as card:
        texts = [card.read(), metric.inputs_description]
    for text in texts:
        examples = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
        assert doctest.DocTestRunner().run(examples) == (0, len(examples.examples)) and examples.examples
    assert "hf_" not in "".join(texts)

pair = ["user/drop_f1", "user/argument_accuracy"]
predictions, references = given["rows"][pair[1]]
said["combined"] = evaluate.combine(pair).compute(predictions=predictions, references=references)
said["first"] = evaluate.load(pair[0], revision=given["first"]).compute(predictions=["7"], references=[["7"]])
evaluate.config.HF_EVALUATE_OFFLINE = True
said["offline"] = evaluate.load(pair[1]).compute(predictions=predictions, references=references)
print(json.dumps(said))
"""


def compute(metric, rows):
    return metric.compute(predictions=rows[0], references=rows[1])


def close_to(scores):
    """The order in which rows are added up shows in the last digits."""
    return {name: pytest.approx(score) for name, score in scores.items()}


def test_metrics_are_loaded_from_the_hub_without_this_project(hub, train, contents, tmp_path):
    assert METRICS.keys() == ROWS.keys()
    # An older version, which scored from 0 to 1.
    older = shutil.copytree(METRICS["drop_f1"], tmp_path / "drop_f1")
    script = older / "drop_f1.py"
    script.write_text(script.read_text().replace("100 * np.mean", "1 * np.mean"))
    train("push", older, "user/drop_f1")
    first = hub.repos["spaces/user/drop_f1"].at("main").sha
    scores = {}
    for name, folder in METRICS.items():
        disk = contents(folder)
        train("push", folder, f"user/{name}")
        assert contents(folder) == disk
        assert set(hub.repos[f"spaces/user/{name}"].at("main").files) == {"README.md", f"{name}.py", "index.html"}
        scores[name] = compute(evaluate.load(str(folder)), ROWS[name])
    given = {"first": first, "rows": {f"user/{name}": rows for name, rows in ROWS.items()}}
    said = json.loads(hub.run(FRESH, GIVEN=json.dumps(given)).splitlines()[-1])
    for name in METRICS:
        assert said[f"user/{name}"] == [scores[name], close_to(scores[name])]
    both = compute(evaluate.load(str(METRICS["drop_f1"])), ROWS["argument_accuracy"]) | scores["argument_accuracy"]
    assert said["combined"] == both
    assert said["first"] == {"exact_match": 1, "f1": 1, "signed_exact_match": 1}
    assert said["offline"] == scores["argument_accuracy"]


@pytest.mark.parametrize("name", METRICS)
def test_cards_have_the_fields_of_evaluate_and_their_examples_run(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    card = (METRICS[name] / "README.md").read_text(encoding="utf-8")
    fields = yaml.safe_load(card.split("---")[1])
    assert {"title", "emoji", "colorFrom", "colorTo", "sdk", "pinned", "tags", "description"} <= fields.keys()
    assert fields["tags"] == ["evaluate", "metric"]
    test = doctest.DocTestParser().get_doctest(card, {}, name, None, 0)
    assert doctest.DocTestRunner().run(test) == (0, len(test.examples))
    assert len(test.examples) >= 4


def test_a_new_space_is_gone_on_with_and_another_one_is_refused(hub, train, refuse):
    for name, taken in (("drop_f1", False), ("accuracy_f1", True)):
        repo = f"user/{name}"
        HfApi().create_repo(repo, repo_type="space", space_sdk="static")
        # What the Hub makes such a Space with, and what somebody has put there.
        for path in ("README.md", "index.html", "style.css", *(["app.py"] if taken else [])):
            HfApi().upload_file(path_or_fileobj=b"", path_in_repo=path, repo_id=repo, repo_type="space")
        before = hub.repos[f"spaces/{repo}"].at("main")
        if taken:
            assert "is taken by something else than the metric" in refuse("push", METRICS[name], repo)
            assert hub.repos[f"spaces/{repo}"].at("main") is before
        else:
            train("push", METRICS[name], repo)
            card = SpaceCard.load(repo)
            assert (card.data.sdk, card.data.tags) == ("static", ["evaluate", "metric"])
            assert f'evaluate.load("{repo}")' in card.text


def test_what_cannot_be_a_metric_of_the_hub_is_told(hub, refuse, tmp_path):
    folder = shutil.copytree(METRICS["drop_f1"], tmp_path / "drop_f1")
    message = "evaluate finds drop_f1.py in a repository of that name alone: push to user/drop_f1"
    assert refuse("push", folder, "user/f1") == f"not published: {message}"
    (folder / "README.md").unlink()
    assert "lacks README.md, the metric's card" in refuse("push", folder, "user/drop_f1")
    assert not hub.requests
    hub.fail("POST .*/commit/", 500)
    assert "the Hub answered 500" in refuse("push", METRICS["drop_f1"], "user/drop_f1")
    assert not hub.repos["spaces/user/drop_f1"].at("main").files
