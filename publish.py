"""A trained model's folder as a model repository: its card, rendered from the run's results, and one commit of it all.

`train.py` leaves such a folder and `train.py push FOLDER user/name` sends it. What is unusual: everything is checked
before the Hub is asked for anything, and all files go in one commit, so that no revision ever holds half a model.
"""

import json
from functools import partial
from pathlib import Path

from huggingface_hub import CommitInfo, EvalResult, HfApi, ModelCard, ModelCardData
from safetensors import SafetensorError, safe_open

from hub import CARD, check_target, commit_files

CARDS = Path(__file__).parent / "model_cards"
RESULTS = "results.json"
PUBLISHED = {".safetensors", ".json", ".py"}  # and README.md; never checkpoints, pickles or texts of a corpus

# The Hub's name of what a run was scored on; generated data has none.
DATASETS = {"sst2": "SetFit/sst2", "imdb": "stanfordnlp/imdb", "newsgroups": "SetFit/20_newsgroups"}


def read_results(folder: Path) -> dict:
    """What the run wrote of itself.

    Raises:
        FileNotFoundError: there is none, and a card without measured numbers is not made.
    """
    path = folder / RESULTS
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: a card is made from a run's results alone, train the model by train.py"
        )
    return json.loads(path.read_text())


def evaluation(results: dict) -> list[EvalResult]:
    """The entries of the card's model-index."""
    settings, metrics = results["settings"], results["metrics"]
    if results["family"] == "calc":
        dataset, split, task = "calculator_qa", "validation", ("question-answering", "Question answering")
        config = settings["dataset_config"]
        values = {"f1": "DROP F1", "exact_match": "Exact match", "argument_accuracy": "Argument accuracy"}
        scores = metrics
    else:
        dataset, split, task = settings["dataset"], "test", ("text-classification", "Text classification")
        config = None
        values = {"accuracy": "Accuracy", "macro_f1": "Macro F1"}
        scores = metrics["test"]
    return [
        EvalResult(
            task_type=task[0],
            task_name=task[1],
            dataset_type=DATASETS.get(dataset, dataset),
            dataset_name=dataset,
            dataset_config=config,
            dataset_split=split,
            metric_type="f1" if name == "macro_f1" else name,
            metric_name=title,
            metric_value=round(scores[name], 2),
        )
        for name, title in values.items()
        if name in scores
    ]


def render_card(folder: Path, model_id: str) -> ModelCard:
    """The card of a folder's model from the template of its family and the run's results.

    Args:
        folder: that `train.py` left.
        model_id: under which the card's examples load the model.

    Raises:
        FileNotFoundError: the folder has no results.
    """
    results = read_results(folder)
    is_calculator = results["family"] == "calc"
    data = ModelCardData(
        model_name=results["name"],
        library_name="transformers",
        license="apache-2.0",
        language="en",
        pipeline_tag="question-answering" if is_calculator else "text-classification",
        tags=["calculator" if is_calculator else "attention", "custom_code"],
        eval_results=evaluation(results),
    )
    return ModelCard.from_template(
        data,
        str(CARDS / f"{results['family']}.md"),
        model_id=model_id,
        citation=(CARDS / "citation.bib").read_text().strip(),
        run=results,
        config=json.loads((folder / "config.json").read_text()),
    )


def check_folder(folder: Path) -> list[str]:
    """Names of the files to publish, after a look whether they are a whole model.

    Raises:
        FileNotFoundError, ValueError: something is missing or damaged, told by file.
    """
    read_results(folder)
    names = sorted(path.name for path in folder.iterdir() if path.suffix in PUBLISHED and path.is_file())
    config_name = "adapter_config.json" if "adapter_config.json" in names else "config.json"
    if config_name not in names:
        raise FileNotFoundError(f"{folder / config_name} is missing: give the folder that train.py wrote")
    try:
        config = json.loads((folder / config_name).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{folder / config_name} is damaged ({error}): save the model again") from error
    needed = {f"{target.rpartition('--')[2].partition('.')[0]}.py" for target in config.get("auto_map", {}).values()}
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        needed |= set(json.loads(index.read_text())["weight_map"].values())
    elif not any(name.endswith(".safetensors") for name in names):
        needed.add("model.safetensors")
    if missing := sorted(needed.difference(names)):
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}: save the model again")
    for name in names:
        if name.endswith(".safetensors"):
            try:
                with safe_open(folder / name, framework="pt"):
                    pass
            except SafetensorError as error:
                raise ValueError(f"{folder / name} is cut off or damaged ({error}): save the model again") from error
    return names


def push(folder: str | Path, repo_id: str, private: bool | None = None, token: str | None = None) -> CommitInfo:
    """Publishes a model's folder in one commit, with a card that loads it by `repo_id`.

    A repository that exists is gone on with if it is empty or holds a model of the same type. Files that were
    published before and are no longer in the folder are removed in the same commit.

    Args:
        folder: that `train.py` left.
        repo_id: `user/name`.
        private: of a new repository; by default as the account says.
        token: by default the one of `hf auth login` or HF_TOKEN.

    Raises:
        FileNotFoundError, ValueError: the folder holds no whole model, or the repository another one.
        PermissionError: no token, or one without the right to write there.
        ConnectionError: the Hub refused or broke off; the repository is as it was.
    """
    folder = Path(folder)
    names = check_folder(folder)
    check_target(repo_id, token)
    card = render_card(folder, repo_id)
    card.save(folder / CARD)
    check = partial(check_repository, repo_id=repo_id, folder=folder)
    return commit_files(folder, names, repo_id, "model", check, f"Publish {card.data.model_name}", private, token)


def check_repository(api: HfApi, published: set[str], repo_id: str, folder: Path) -> None:
    """Raises ValueError where a repository holds something else than a model of the folder's type."""
    for name in ("config.json", "adapter_config.json"):
        if name in published and (folder / name).is_file():
            there = json.loads(Path(api.hf_hub_download(repo_id, name)).read_text())
            here = json.loads((folder / name).read_text())
            if there.get("model_type") == here.get("model_type"):
                return
    raise ValueError(f"the name {repo_id} is taken by something else than a model of this type: choose another")
