"""Publishing a model: the real clients against a Hub on loopback, and all that can go wrong on the way.

What a model says is asked by the same lines of code three times: from the folder that a run left, from the Hub, and
from the Hub in a process that knows nothing of this project and trusts the code in the repository.
"""

import itertools
import json
import re
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import jinja2
import pytest
from huggingface_hub import HfApi, ModelCard, constants, hf_hub_download
from safetensors import SafetensorError
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoProcessor,
    AutoTokenizer,
)

import hf_relevance  # noqa: F401, registers its classes
from adapters import add_adapter

ROOT = Path(__file__).parents[1]
CALC, REVIEWS = "user/calculator", "user/reviews"  # as in conftest.py
MODULES = ("argument_scorer", "calculator", "candidate_results", "chains", "comparison_search", "digits")
MODULES += ("losses", "mentions", "pipeline", "quantities", "span_decoding", "symbolic_function", "symbolic_layer")
CODE = {
    CALC: {f"{name}.py" for name in MODULES}
    | {f"{kind}_calculator_qa.py" for kind in ("configuration", "modeling", "processing")},
    REVIEWS: {"configuration_bilstm_attention.py", "modeling_bilstm_attention.py", "relevance_loss.py"},
}
DATA = {"README.md", "config.json", "model.safetensors", "results.json", "tokenizer.json", "tokenizer_config.json"}
FILES = {CALC: CODE[CALC] | DATA | {"processor_config.json"}, REVIEWS: CODE[REVIEWS] | DATA}

# What a model says, by all of its Auto classes and its pipeline.
USE = """
import torch
from transformers import (
    AutoConfig, AutoModel, AutoModelForQuestionAnswering, AutoModelForSequenceClassification, AutoProcessor,
    AutoTokenizer, pipeline
)

def use(place, rows, **options):
    kind = AutoConfig.from_pretrained(place, **options).model_type
    tokenizer = AutoTokenizer.from_pretrained(place, **options)
    if kind == "calculator_qa":
        task, head = "calculator-question-answering", AutoModelForQuestionAnswering
        processor = AutoProcessor.from_pretrained(place, **options)
        questions, passages = [row["question"] for row in rows], [row["passage"] for row in rows]
        assert tokenizer(questions) == processor.tokenizer(questions)
        inputs, names = processor(questions, passages), ("start_logits", "end_logits", "argument_logits")
    else:
        task, head, rows = "text-classification", AutoModelForSequenceClassification, [row["text"] for row in rows]
        inputs, names = tokenizer(rows, padding=True, return_tensors="pt"), ("logits",)
    base, model = (auto.from_pretrained(place, **options).eval() for auto in (AutoModel, head))
    with torch.no_grad():
        outputs = model(**inputs)
        shared = base(**inputs).to_tuple()[0]
    pipe = pipeline(task, model=place, device="cpu", **options)
    return [shared.tolist(), [outputs[name].tolist() for name in names], pipe(rows, batch_size=4)]
"""

# Nothing of this project can be imported, nor what only training needs.
FRESH = f"""
import importlib.util, json, os, sys

sys.modules |= dict.fromkeys(["datasets", "evaluate"])
assert not any(map(importlib.util.find_spec, ["hf_calc", "hf_relevance", "publish", "train"]))
{USE}
given, trust = json.loads(os.environ["GIVEN"]), {{"trust_remote_code": True}}
"""

ONLINE = """
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from huggingface_hub import hf_hub_download

said = {}
for repo, rows in given["rows"].items():
    for revision in ("main", "v1", given["first"][repo]):
        said[f"{repo}@{revision}"] = use(repo, rows, revision=revision, **trust)
    card = Path(hf_hub_download(repo, "README.md")).read_text()
    blocks = re.findall("```python\\n(.*?)```", card, re.DOTALL)
    assert blocks
    for block in blocks:
        with redirect_stdout(StringIO()) as printed:
            exec(block, {})
        assert printed.getvalue().strip()
    is_calculator = "calculator" in repo
    head = AutoModelForQuestionAnswering if is_calculator else AutoModelForSequenceClassification
    for auto in (head, AutoProcessor if is_calculator else AutoTokenizer):
        auto.from_pretrained(repo, **trust).push_to_hub(f"{repo}-again")
    said[f"{repo}-again"] = use(f"{repo}-again", rows, **trust)
for at in ("v1", given["pinned"], "main"):
    try:
        said[f"tampered@{at}"] = use("user/tampered", rows, revision=at, **trust)
    except RuntimeError as error:
        said[f"tampered@{at}"] = str(error)
print(json.dumps(said))
"""

OFFLINE = """
revisions = [(repo, revision) for repo, first in given["first"].items() for revision in ("main", first)]
print(json.dumps({f"{repo}@{at}": use(repo, given["rows"][repo], revision=at, **trust) for repo, at in revisions}))
"""


@pytest.fixture
def folders(trained, tmp_path):
    """Copies of those folders, to spoil."""
    return {repo: shutil.copytree(folder, tmp_path / repo) for repo, folder in trained.items()}


@pytest.fixture(scope="module")
def use():
    namespace = {}
    exec(USE, namespace)
    return namespace["use"]


def state(repo):
    """Commits of the repository, the newest first, and its files."""
    api = HfApi(token="rw")
    if not api.repo_exists(repo):
        return [], set()
    return [commit.commit_id for commit in api.list_repo_commits(repo)], {*api.list_repo_files(repo)}


def published(hub, repo):
    """The files of the newest revision and what they hold."""
    return {name: file.data for name, file in hub.repos[f"models/{repo}"].at("main").files.items()}


def scored(folder):
    """What the run itself made of its rows."""
    path = next(path for name in ("validation", "test") for path in folder.glob(f"{name}.jsonl"))
    return [json.loads(line) for line in path.read_text().splitlines()][:7]


def renumber(value, numbers):
    """The same with other numbers, no two alike."""
    if isinstance(value, dict):
        return {name: renumber(entry, numbers) for name, entry in value.items()}
    return next(numbers) / 7 if isinstance(value, float) else value


def test_a_published_model_is_used_without_this_project(hub, train, trained, options, use, tmp_path):
    given, expected = {"rows": {}, "first": {}}, {}
    for repo, folder in trained.items():
        train("push", folder, repo)
        given["rows"][repo], given["first"][repo] = scored(folder), state(repo)[0][0]
        HfApi().create_tag(repo, tag="v1")
        # A second run publishes other weights itself.
        recipe, rest = options[repo]
        places = {"output_dir": tmp_path / repo, "hub_model_id": repo}
        train(recipe, "--push_to_hub", seed=1, **places, **rest)
        rows = given["rows"][repo]
        first, second = use(folder, rows), use(tmp_path / repo, rows)
        assert first != second
        assert use(repo, rows) == second, "with the project nothing has to be trusted"
        expected |= {f"{repo}@{at}": first for at in ("v1", given["first"][repo])}
        expected |= {f"{repo}@main": second, f"{repo}-again": second}
    # Somebody changes the code behind the revision that a user has pinned.
    train("push", trained[REVIEWS], "user/tampered")
    given["pinned"] = state("user/tampered")[0][0]
    HfApi().create_tag("user/tampered", tag="v1")
    code = (trained[REVIEWS] / "relevance_loss.py").read_bytes() + b"\nraise RuntimeError('tampered')\n"
    HfApi().upload_file(path_or_fileobj=code, path_in_repo="relevance_loss.py", repo_id="user/tampered")
    expected |= {f"tampered@{at}": first for at in ("v1", given["pinned"])}
    expected["tampered@main"] = "tampered"
    environment = {"GIVEN": json.dumps(given), "HF_HOME": str(tmp_path / "home")}
    assert json.loads(hub.run(FRESH + ONLINE, **environment)) == expected
    for repo in trained:
        assert state(f"{repo}-again")[1] == FILES[repo] - {"results.json"}
    requests = list(hub.requests)
    said = json.loads(hub.run(FRESH + OFFLINE, HF_HUB_OFFLINE="1", **environment))
    assert said == {name: expected[name] for name in said}
    assert len(said) == 4
    assert hub.requests == requests


@pytest.mark.parametrize("repo", FILES)
def test_a_run_says_the_same_before_and_after_it_is_published(hub, train, trained, use, repo):
    train("push", trained[repo], repo)
    rows = scored(trained[repo])
    _, _, answers = use(repo, rows)
    if repo == CALC:
        predictions = [row["prediction"] for row in rows]
        assert answers == [answer | {"score": pytest.approx(answer["score"])} for answer in predictions]
    else:
        assert [answer["score"] for answer in answers] == pytest.approx([max(row["scores"]) for row in rows], abs=1e-6)


@pytest.mark.parametrize("repo", FILES)
def test_what_is_published_is_whole_and_says_nothing_of_this_machine(hub, train, folders, contents, repo):
    folder = folders[repo]
    (folder / "checkpoint-1").mkdir()
    for name in ("checkpoint-1/model.safetensors", "pytorch_model.bin", "optimizer.pt", "predictions.jsonl"):
        (folder / name).write_bytes(b"")
    (folder / "old.json").write_text("{}")
    (folder / "README.md").write_text("mine")
    train("push", folder, repo)
    assert state(repo)[1] == FILES[repo] | {"old.json"}
    HfApi().upload_file(path_or_fileobj=b"mine", path_in_repo="NOTES.md", repo_id=repo)
    (folder / "old.json").unlink()
    before = contents(folder)
    train("push", folder, repo)
    assert contents(folder) == before
    assert (folder / "README.md").read_text() == "mine"
    assert state(repo)[1] == FILES[repo] | {"NOTES.md"}
    HfApi().delete_file("NOTES.md", repo)
    files = published(hub, repo)
    assert {name: data for name, data in files.items() if name != "README.md"} == {
        name: (folder / name).read_bytes() for name in FILES[repo] - {"README.md"}
    }
    for name in ("config.json", "processor_config.json", "tokenizer_config.json"):
        for target in json.loads(files.get(name, "{}")).get("auto_map", {}).values():
            module, _, attribute = target.partition(".")
            assert f"class {attribute}(".encode() in files[f"{module}.py"], "in this repository, and no other"
    for name, data in files.items():
        for place in (ROOT, Path.home(), tempfile.gettempdir(), sys.prefix):
            assert f"{place}/".encode() not in data, f"{name} names {place}"


@pytest.mark.parametrize("repo", FILES)
def test_what_was_loaded_is_saved_and_published_again(hub, train, trained, repo, tmp_path):
    train("push", trained[repo], repo)
    files, again = published(hub, repo), tmp_path / "again"
    auto = AutoModelForQuestionAnswering if repo == CALC else AutoModelForSequenceClassification
    auto.from_pretrained(repo).save_pretrained(again)
    (AutoProcessor if repo == CALC else AutoTokenizer).from_pretrained(repo).save_pretrained(again)
    shutil.copy(hf_hub_download(repo, "results.json"), again)
    train("push", again, f"{repo}-again", "--private")
    assert HfApi().model_info(f"{repo}-again").private
    new = published(hub, f"{repo}-again")
    assert new.keys() == files.keys()
    for name in CODE[repo] | {"model.safetensors", "results.json"}:
        assert new[name] == files[name]
    assert json.loads(new["config.json"])["auto_map"] == json.loads(files["config.json"])["auto_map"]
    assert new["README.md"].decode() == files["README.md"].decode().replace(repo, f"{repo}-again")


@pytest.mark.parametrize("repo", FILES)
def test_the_card_has_the_numbers_of_the_results_and_no_others(hub, train, folders, repo):
    path = folders[repo] / "results.json"
    results = json.loads(path.read_text())
    use = {"original": {condition: {"f1": 0.0} for condition in ("as_is", "off", "shuffled", "wrong")}}
    m = results["metrics"] = renumber(results["metrics"] | {"use": use}, itertools.count(100))
    path.write_text(json.dumps(results))
    train("push", folders[repo], repo)
    card = ModelCard.load(repo)
    if repo == CALC:
        columns = {name: (name, m[name]) for name in ("f1", "exact_match", "argument_accuracy")}
        shown = [m[name] for name in ("f1", "exact_match", "signed_exact_match", "argument_accuracy")]
    else:
        columns = {name: (name.removeprefix("macro_"), m["test"][name]) for name in ("accuracy", "macro_f1")}
        names = ("kendall_tau", "spearman_rho", "attention_entropy", "importance_entropy")
        shown = [m[split][name] for split in ("test", "validation") for name in ("accuracy", "macro_f1", "binary_f1")]
        shown += [agreement[name] for agreement in m["agreement"].values() for name in names]
    found = [(entry.metric_type, entry.metric_value) for entry in card.data.eval_results]
    assert found == [(kind, round(value, 2)) for kind, value in columns.values()]
    assert {entry.dataset_split for entry in card.data.eval_results} == {"validation" if repo == CALC else "test"}
    assert (card.data.model_name, card.data.license, card.data.library_name) == ("demo", "apache-2.0", "transformers")
    table = re.findall(r"(?<=\| )[0-9.]+(?= \|)", card.text)
    assert [float(number) for number in table] == pytest.approx(shown, abs=0.005)
    if repo == CALC:
        used = [f"{scores['f1']:.1f}" for scores in m["use"]["original"].values()]
        assert re.findall(r"[0-9.]+[0-9]", card.text.split("Does it use its calculator? F1")[1])[:4] == used
    assert f'"{repo}"' in card.text
    assert card.text.count("@misc{") == 2


@pytest.mark.parametrize(
    ("repo", "changes", "words"),
    [
        (CALC, {"dataset": "nuts"}, "Questions from `nuts`, 8 questions"),
        (CALC, {"dataset": "nuts"}, "It learned from `nuts`: of other\nquestions"),
        (CALC, {"dataset": "drop"}, "in the configuration `max_transfer`:\n8 questions to train on and 5 for valid"),
        (CALC, {"dataset": "drop", "data_dir": "x"}, "plain files, which may be split otherwise than the Hub's:\n8"),
        (CALC, {"dataset": "drop", "add_swapped": True}, "Some training questions come twice, the second"),
        (
            CALC,
            {"dataset_config": "argmax_generalization"},
            "numbers of 1 to 1 digits in training, and of 2 in validation, which asks `argmax` alone, 8 questions",
        ),
        (
            CALC,
            {"dataset_config": "argmax_generalization"},
            "1 to 1 digits a number, and was scored with 2 alone: of other",
        ),
        (CALC, {"gradient_accumulation_steps": 3}, "2 steps of 24 questions"),
        (REVIEWS, {"gradient_accumulation_steps": 3}, "2 steps of 96 texts"),
        (CALC, {"curriculum": ["max_plain:2:1:9"]}, "configuration:owners:digits:questions: `max_plain:2:1:9`.\n"),
        (
            CALC,
            {"encoder": "runs/small"},
            "for validation.\nTraining began with the weights of `runs/small`.\n2 steps",
        ),
        (CALC, {"use_calculator": False}, "span extraction, without a calculator"),
        (CALC, {"gumbel_noise": False}, "trained by straight-through gradients without noise."),
        (CALC, {"estimator": "marginal"}, "trained by the estimator `marginal`."),
        (CALC, {"estimator": "straight_through", "gumbel_noise": False}, "estimator `straight_through` without noise"),
        (CALC, {}, "trained by a straight-through Gumbel-Softmax."),
        (CALC, {"search_comparisons": True}, "Gumbel-Softmax and a search for what explains the answers to comp"),
        (CALC, {"hide_arguments": True}, "that string. Of what was picked it sees in the text only that it is there."),
        (
            CALC,
            {"mask_mentions": True},
            "that string. What is picked depends on the words around the numbers and not",
        ),
        (CALC, {"function": "changed_comparison"}, "says how\nthey compare then, as in `1040 > 302`, and a"),
        (CALC, {"function": "total"}, "in the text, the function `total` returns a string, and a span reader"),
        (REVIEWS, {"relevance_weight": 0.0}, "left to itself"),
        (REVIEWS, {"vectors_sha256": "0ab"}, "Its word embeddings began with pre-trained vectors (SHA-256 `0ab`). 2"),
        (REVIEWS, {"vectors_sha256": "0ab"}, "Apache-2.0; the corpus and the vectors have terms of their own."),
        (
            REVIEWS,
            {"teacher": "runs/plain", "unlabeled_texts_sha256": "0ab"},
            "unlabeled ones (SHA-256 `0ab`), each as the class\nthat `runs/plain` found for it. Words in lower case",
        ),
        (REVIEWS, {}, "One run on one corpus, in English; words"),
        (REVIEWS, {"dataset": "avis"}, "One run on one corpus; words"),
        (REVIEWS, {}, "taught by its gradient"),
    ],
)
def test_a_card_has_no_holes(hub, train, folders, repo, changes, words, monkeypatch):
    monkeypatch.setattr(jinja2, "Template", partial(jinja2.Template, undefined=jinja2.StrictUndefined))
    path = folders[repo] / "results.json"
    results = json.loads(path.read_text())
    path.write_text(json.dumps(results | {"settings": results["settings"] | changes}))
    train("push", folders[repo], repo)
    card = ModelCard.load(repo)
    assert words in card.text
    assert not re.search(r"\{\{|\}\}|\{%|%\}|None", card.text)
    assert card.data.language == ("en" if changes.get("dataset") in (None, "drop") else None)
    name = changes.get("dataset", "calculator_qa" if repo == CALC else "reviews")
    assert card.data.eval_results[0].dataset_name == name
    is_the_hubs = name == "drop" and "data_dir" not in changes
    assert card.data.eval_results[0].dataset_type == ("ucinlp/drop" if is_the_hubs else name)


def test_a_card_names_labels_that_transformers_does_not_save(train_py, folders):
    model = AutoModelForSequenceClassification.from_pretrained(folders[REVIEWS])
    model.config.id2label = {0: "LABEL_0", 1: "LABEL_1"}
    model.save_pretrained(folders[REVIEWS])
    assert "id2label" not in json.loads((folders[REVIEWS] / "config.json").read_text())
    card = train_py["render_card"](folders[REVIEWS], REVIEWS)
    assert "A classifier of texts into LABEL_0, LABEL_1: word" in card.text


@pytest.mark.parametrize("repo", FILES)
def test_a_card_counts_the_rows_of_a_step_over_processes(train_py, folders, repo):
    path = folders[repo] / "results.json"
    results = json.loads(path.read_text())
    for processes, rows in (({}, "8" if repo == CALC else "32"), ({"processes": 2}, "16" if repo == CALC else "64")):
        path.write_text(json.dumps(results | {"hardware": {"device": "cpu", "cpus": 2} | processes}))
        assert f"2 steps of {rows} " in train_py["render_card"](folders[repo], repo).text


def test_the_card_of_a_baseline_speaks_of_no_calculations(train_py, folders):
    path = folders[CALC] / "results.json"
    results = json.loads(path.read_text())
    results["settings"]["use_calculator"] = False
    del results["metrics"]["argument_accuracy"]
    path.write_text(json.dumps(results))
    text = train_py["render_card"](folders[CALC], CALC).text
    assert not re.search("It calculates|was given|argument accuracy", text)


@pytest.mark.parametrize("repo", FILES)
def test_a_model_in_several_files_is_published_whole_or_not_at_all(hub, train, refuse, folders, use, repo):
    folder, rows = folders[repo], scored(folders[repo])
    auto = AutoModelForQuestionAnswering if repo == CALC else AutoModelForSequenceClassification
    auto.from_pretrained(folder).save_pretrained(folder, max_shard_size="2KB")
    train("push", folder, repo)
    assert len([name for name in state(repo)[1] if name.endswith(".safetensors")]) > 1
    assert use(repo, rows) == use(folder, rows)
    next(folder.glob("model-00002-*")).unlink()
    assert "lacks model-0000" in refuse("push", folder, repo)


STAGES = ("POST .*/create", "GET /api/models/", "POST .*/preupload/", "POST .*/batch", "PUT", "POST .*/commit/")
HOW = (500, 503, "close", "hang")
# The last two look at what is published.
FAULTS = [*itertools.product(STAGES, HOW, [0, 1]), *itertools.product(["GET /user/"], HOW, [1]), ("HEAD", 500, 1)]


@pytest.mark.parametrize(("stage", "how", "is_published"), FAULTS)
def test_a_push_that_fails_changes_nothing(
    hub, train, refuse, folders, contents, monkeypatch, stage, how, is_published
):
    folder = folders[REVIEWS]
    if is_published:
        train("push", folder, REVIEWS)
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    before, disk = state(REVIEWS), contents(folder)
    with monkeypatch.context() as patch:
        patch.setattr("hub.TIMEOUT", 0.05)
        patch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.05)
        patch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between tries
        hub.fail(stage, how, times=7)  # as often as the client tries
        said = f"answered {how}" if isinstance(how, int) and stage != "HEAD" else "broke off"
        assert f"not published: the Hub {said}, user/reviews is as it was" in refuse("push", folder, REVIEWS)
    hub.faults.clear()
    assert contents(folder) == disk
    commits, files = state(REVIEWS)
    assert (commits, files) == before or (not is_published and (len(commits), files) == (1, set())), "made, but empty"
    train("push", folder, REVIEWS)
    commits, files = state(REVIEWS)
    assert (len(commits), files) == (2 + is_published, FILES[REVIEWS])


def test_a_file_that_cannot_be_read_is_told_as_that(hub, refuse, folders):
    weights = folders[REVIEWS] / "model.safetensors"
    # It goes away while the others are on their way.
    hub.fail("POST .*/batch", lambda answer: (weights.unlink(), answer)[1])
    said = refuse("push", folders[REVIEWS], REVIEWS)
    assert said == f"not published: [Errno 2] No such file or directory: '{weights}'"
    assert state(REVIEWS)[1] == set()


@pytest.fixture
def adapter(trained, tmp_path):
    """The folder of an adapter with its base."""
    pytest.importorskip("peft")
    model, tokenizer = (
        auto.from_pretrained(trained[REVIEWS]) for auto in (AutoModelForSequenceClassification, AutoTokenizer)
    )
    add_adapter(model, tokenizer, "relevance", 2, tmp_path / "lora").save_pretrained(tmp_path / "lora")
    shutil.copy(trained[REVIEWS] / "results.json", tmp_path / "lora")
    return tmp_path / "lora"


# What peft asks of any model of transformers.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_no_base_is_published_for_an_adapter_that_cannot_be(hub, train, refuse, adapter):
    def fails(message, *committed):
        assert message in refuse("push", adapter, "user/lora")
        hub.faults.clear()
        assert [repo for repo in ("user/lora-base", "user/lora") if state(repo)[1]] == [*committed]

    (adapter / "base" / "config.json").rename(adapter / "config")
    assert "base/config.json is missing" in refuse("push", adapter, "user/lora")
    assert not hub.repos
    (adapter / "config").rename(adapter / "base" / "config.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", "ro")
        assert "may not write to user/lora (403)" in refuse("push", adapter, "user/lora")
        assert not hub.repos
    hub.fail("GET /api/models/user/lora(?!-)", 500, times=7)
    fails("the Hub answered 500, user/lora is as it was")
    HfApi().create_repo("user/lora-base")
    HfApi().upload_file(path_or_fileobj=b"", path_in_repo="weights.bin", repo_id="user/lora-base")
    fails("the name user/lora-base is taken", "user/lora-base")
    del hub.repos["models/user/lora-base"]
    HfApi().upload_file(path_or_fileobj=b"", path_in_repo="weights.bin", repo_id="user/lora")
    fails("the name user/lora is taken", "user/lora")
    HfApi().delete_file("weights.bin", "user/lora")
    train("push", adapter, "user/lora")
    assert state("user/lora-base")[1] >= {"model.safetensors", "config.json"}
    assert state("user/lora")[1] >= {"adapter_model.safetensors", "adapter_config.json"}


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (None, "there is no token of the Hub: run `hf auth login`, or set HF_TOKEN"),
        ("ro", "the token may not write to user/reviews (403): No right to write here"),
        ("none", "the token may not write to user/reviews (401): Invalid credentials in Authorization header"),
    ],
)
def test_without_the_right_to_write_nothing_is_done(hub, refuse, trained, contents, monkeypatch, token, message):
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    else:
        monkeypatch.delenv("HF_TOKEN")
    before = contents(trained[REVIEWS])
    assert refuse("push", trained[REVIEWS], REVIEWS) == f"not published: {message}"
    assert not hub.repos
    assert contents(trained[REVIEWS]) == before


@pytest.mark.parametrize(
    ("name", "content"), [("config.json", b'{"model_type": "bert"}'), ("config.json", b"{"), ("weights.bin", b"")]
)
def test_a_taken_name_is_refused(hub, refuse, trained, name, content):
    HfApi().create_repo(REVIEWS)
    HfApi().upload_file(path_or_fileobj=content, path_in_repo=name, repo_id=REVIEWS)
    before = state(REVIEWS)
    message = "the name user/reviews is taken by something else than a model of this type: choose another"
    assert refuse("push", trained[REVIEWS], REVIEWS) == f"not published: {message}"
    assert state(REVIEWS) == before
    assert "must be named user/name" in refuse("push", trained[REVIEWS], "reviews")


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize("repo", FILES)
@pytest.mark.parametrize(
    ("spoil", "name", "message"),
    [
        (Path.unlink, "results.json", "results.json is missing: a card is made from a run's results alone"),
        (cut_off, "results.json", "results.json is damaged"),
        (lambda path: path.write_text("{}"), "results.json", "results.json lacks examples, family,"),
        (Path.unlink, "config.json", "config.json is missing: give the folder that train.py wrote"),
        (cut_off, "config.json", "config.json is damaged"),
        (Path.unlink, "model.safetensors", "lacks model.safetensors: save the model again"),
        (cut_off, "model.safetensors", "model.safetensors is cut off or damaged"),
        (Path.unlink, "modeling_*.py", "lacks modeling_"),
        (Path.unlink, "[rs]*.py", "lacks "),
    ],
)
def test_a_folder_that_is_not_whole_is_not_published(hub, refuse, folders, contents, repo, spoil, name, message):
    for path in folders[repo].glob(name):
        spoil(path)
    disk = contents(folders[repo])
    assert message in refuse("push", folders[repo], repo)
    assert not hub.requests
    assert contents(folders[repo]) == disk


def test_a_run_that_cannot_publish_says_so_before_it_trains_or_keeps_the_model(
    hub, refuse, options, tmp_path, monkeypatch, capsys
):
    recipe, rest = options[REVIEWS]
    rest = rest | {"output_dir": tmp_path / "run", "hub_model_id": REVIEWS}
    monkeypatch.delenv("HF_TOKEN")
    assert refuse(recipe, "--push_to_hub", **rest).startswith("not published: there is no token of the Hub")
    assert (capsys.readouterr().out, [*tmp_path.iterdir()]) == ("", [])
    monkeypatch.setenv("HF_TOKEN", "ro")
    message = "the token may not write to user/reviews (403): No right to write here"
    assert refuse(recipe, "--push_to_hub", **rest) == f"not published: {message}"
    assert {path.name for path in (tmp_path / "run").iterdir()} >= FILES[REVIEWS]
    assert not hub.repos


def test_what_is_wrong_with_a_published_model_is_said_when_it_is_loaded(hub, train, trained):
    def load():
        return AutoModelForSequenceClassification.from_pretrained(REVIEWS)

    def replace(name, change):
        data = change((trained[REVIEWS] / name).read_bytes())
        HfApi().upload_file(path_or_fileobj=data, path_in_repo=name, repo_id=REVIEWS)

    train("push", trained[REVIEWS], REVIEWS)
    hub.fail("GET .*/model.safetensors", lambda data: data[:-1])
    with pytest.raises(OSError, match="Consistency check failed: file should be of size"):
        load()
    load()  # what had come is not taken for the file
    replace("model.safetensors", lambda data: data[:-1])
    with pytest.raises(SafetensorError, match="Error while deserializing header"):
        load()
    replace("config.json", lambda data: data.replace(b'"format_version": 1', b'"format_version": 2'))
    with pytest.raises(ValueError, match="has format 2 and this code reads up to 1: upgrade hf-calc-relevance"):
        load()
