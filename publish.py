"""A trained model's folder as a model repository: its card, rendered from the run's results, and one commit of it all.

`train.py` leaves such a folder and `train.py push FOLDER user/name` sends it. What is unusual: everything is checked
before the Hub is asked for anything, and all files go in one commit, so that no revision ever holds half a model. The
folder stays as it is. A metric's folder goes the same way, into a Space, where `evaluate.load` looks for it.
"""

import argparse
import json
import re
from contextlib import suppress
from functools import partial
from pathlib import Path

from huggingface_hub import CommitInfo, EvalResult, HfApi, ModelCard, ModelCardData, hf_hub_download
from safetensors import SafetensorError, safe_open
from transformers.dynamic_module_utils import get_relative_imports

from adapters import ADAPTER, BASE
from hub import CARD, check_target, commit_files, errors_in_a_line, open_repository

CARDS = Path(__file__).parent / "model_cards"
RESULTS = "results.json"
CONFIG = "config.json"  # of a model
PUBLISHED = {".safetensors", ".json", ".py"}  # and README.md; never checkpoints, pickles or texts of a corpus
NEW_SPACE = {CARD, "index.html", "style.css"}  # that the Hub puts into a static Space when it makes one
SHOWN = {"name", "family", "seed", "metrics", "settings", "hardware", "seconds", "steps", "parameters", "examples"}

# The Hub's name of what a run was scored on; generated data has none.
DATASETS = {
    "drop": "ucinlp/drop",
    "sst2": "SetFit/sst2",
    "imdb": "stanfordnlp/imdb",
    "newsgroups": "SetFit/20_newsgroups",
}
ENGLISH = {None, "reviews", *DATASETS}  # None is what calculator_qa generates; of other data the language is not known


def read_results(folder: Path) -> dict:
    """What the run wrote of itself.

    Raises:
        FileNotFoundError: there is none, and a card without measured numbers is not made.
        ValueError: it is damaged or not a run's.
    """
    path = folder / RESULTS
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: a card is made from a run's results alone, train the model by train.py"
        )
    try:
        results = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}): train the model again") from error
    if missing := sorted(SHOWN.difference(results)):
        raise ValueError(f"{path} lacks {', '.join(missing)}, which the card shows: train the model again")
    return results


def evaluation(results: dict) -> list[EvalResult]:
    """The entries of the card's model-index."""
    settings, metrics = results["settings"], results["metrics"]
    names = {} if settings.get("data_dir") else DATASETS  # plain files may be split otherwise
    if results["family"] == "calc":
        dataset, split = settings["dataset"] or "calculator_qa", "validation"
        task = "question-answering", "Question answering"
        config = settings["dataset_config"]
        values = {"f1": "DROP F1", "exact_match": "Exact match", "argument_accuracy": "Argument accuracy"}
        scores = metrics
    else:
        split = "test" if "test" in metrics else "validation"
        dataset, task = settings["dataset"], ("text-classification", "Text classification")
        config = settings.get("dataset_config")
        values = {"accuracy": "Accuracy", "macro_f1": "Macro F1"}
        scores = metrics[split]
    return [
        EvalResult(
            task_type=task[0],
            task_name=task[1],
            dataset_type=names.get(dataset, dataset),
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


def has_base(adapter: dict) -> bool:
    """Whether the folder of an adapter has its base too: then it is named by its path, else by its name on the Hub."""
    return Path(adapter["base_model_name_or_path"]).is_absolute()


def read_config(folder: Path) -> dict:
    """The configuration of a folder's model, or of the base of its adapter."""
    path = folder / CONFIG
    if (folder / ADAPTER).is_file():
        adapter = json.loads((folder / ADAPTER).read_text())
        path = folder / BASE / CONFIG
        if not has_base(adapter):
            path = hf_hub_download(adapter["base_model_name_or_path"], CONFIG, revision=adapter["revision"])
    return json.loads(Path(path).read_text())


def render_card(folder: Path, model_id: str, base_id: str | None = None) -> ModelCard:
    """The card of a folder's model from the template of its family and the run's results.

    Args:
        folder: that `train.py` left.
        model_id: under which the card's examples load the model.
        base_id: the Hub's name of what an adapter stands on.

    Raises:
        FileNotFoundError, ValueError: the folder has no results, or damaged ones.
    """
    results = read_results(folder)
    is_english = results["settings"]["dataset"] in ENGLISH
    is_calculator, is_adapter = results["family"] == "calc", (folder / ADAPTER).is_file()
    data = ModelCardData(
        model_name=results["name"],
        base_model=base_id,
        library_name="peft" if is_adapter else "transformers",
        license="apache-2.0",
        language="en" if is_english else None,
        pipeline_tag="question-answering" if is_calculator else "text-classification",
        tags=["calculator" if is_calculator else "attention", "custom_code", *(["lora"] if is_adapter else [])],
        eval_results=evaluation(results),
    )
    return ModelCard.from_template(
        data,
        str(CARDS / f"{results['family']}.md"),
        model_id=model_id,
        citation=(CARDS / "citation.bib").read_text().strip(),
        run=results,
        is_english=is_english,
        config=read_config(folder),
    )


def check_folder(folder: Path) -> list[str]:
    """Names of the files to publish, after a look whether they are a whole model, or a whole adapter.

    Raises:
        FileNotFoundError, ValueError: something is missing or damaged, told by file.
    """
    names = sorted(path.name for path in folder.iterdir() if path.suffix in PUBLISHED and path.is_file())
    config_name = ADAPTER if ADAPTER in names else CONFIG
    if config_name not in names:
        raise FileNotFoundError(f"{folder / config_name} is missing: give the folder that train.py wrote")
    needed = {"adapter_model.safetensors" if config_name == ADAPTER else "model.safetensors"}
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        needed = set(json.loads(index.read_text())["weight_map"].values())
    for name in {config_name, "processor_config.json"}.intersection(names):
        try:
            targets = json.loads((folder / name).read_text()).get("auto_map", {}).values()
        except json.JSONDecodeError as error:
            raise ValueError(f"{folder / name} is damaged ({error}): save the model again") from error
        needed |= {f"{target.rpartition('--')[2].partition('.')[0]}.py" for target in targets}
    code = [folder / name for name in names if name.endswith(".py")]
    needed |= {f"{module}.py" for path in code for module in get_relative_imports(path)}
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
    """Publishes the folder of a model, or of a metric, in one commit, with a card that loads it by `repo_id`.

    A repository that exists is gone on with if it is empty or holds a model of the same type, or that metric. Files
    that were published before and are no longer in the folder are removed in the same commit. The base in an
    adapter's folder goes first, to `user/name-base`, and what is published of the adapter names that commit of it.

    Args:
        folder: that `train.py` left, or with a metric's script and card.
        repo_id: `user/name`.
        private: of a new repository; by default as the account says.
        token: by default the one of `hf auth login` or HF_TOKEN.

    Raises:
        FileNotFoundError, ValueError: the folder holds no whole model, or the repository something else.
        PermissionError: no token, or one without the right to write there.
        ConnectionError: the Hub refused or broke off; the repository is as it was.
    """
    folder = Path(folder).resolve()
    script = folder / f"{folder.name}.py"
    if script.is_file() and "(evaluate.Metric)" in script.read_text(encoding="utf-8"):
        return push_metric(folder, repo_id, private, token)
    files = {name: folder / name for name in check_folder(folder)}
    check_target(repo_id, token)
    adapter, base_id = None, None
    if ADAPTER in files:
        adapter = json.loads(files[ADAPTER].read_text())
        base_id = f"{repo_id}-base" if has_base(adapter) else adapter["base_model_name_or_path"]
        if has_base(adapter):
            check_folder(folder / BASE)
    card = render_card(folder, repo_id, base_id)
    files[CARD] = str(card).encode()
    check = partial(check_repository, repo_id=repo_id, folder=folder)
    if adapter and has_base(adapter):
        open_repository(repo_id, "model", check, private, token)  # no base is published for what cannot be
        commit = push_base(folder / BASE, base_id, repo_id, private, token)
        adapter |= {"base_model_name_or_path": base_id, "revision": commit.oid}
        files[ADAPTER] = json.dumps(adapter, indent=2, sort_keys=True).encode()
    return commit_files(files, repo_id, "model", check, f"Publish {card.data.model_name}", private, token)


def push_base(folder: Path, base_id: str, adapter_id: str, private: bool | None, token: str | None) -> CommitInfo:
    """Publishes what an adapter stands on, as it was before training; see `push`."""
    data = ModelCardData(library_name="transformers", license="apache-2.0", tags=["custom_code"])
    card = ModelCard.from_template(data, str(CARDS / "base.md"), base_id=base_id, adapter_id=adapter_id)
    files = {name: folder / name for name in check_folder(folder)} | {CARD: str(card).encode()}
    check = partial(check_repository, repo_id=base_id, folder=folder)
    return commit_files(files, base_id, "model", check, f"Publish the base of {adapter_id}", private, token)


def check_repository(api: HfApi, published: set[str], repo_id: str, folder: Path) -> None:
    """Raises ValueError where a repository holds something else than a model of the folder's type."""
    for name in (CONFIG, ADAPTER):
        if name in published and (folder / name).is_file():
            here = json.loads((folder / name).read_text())
            with suppress(json.JSONDecodeError):
                there = json.loads(Path(api.hf_hub_download(repo_id, name)).read_text())
                if all(there.get(key) == here.get(key) for key in ("model_type", "task_type", "target_modules")):
                    return
    raise ValueError(f"the name {repo_id} is taken by something else than a model of this type: choose another")


def push_metric(folder: Path, repo_id: str, private: bool | None, token: str | None) -> CommitInfo:
    """Publishes a metric's script and card, whose examples load it by `repo_id` then, or from a copy; see `push`."""
    name, script = folder.name, f"{folder.name}.py"
    check_target(repo_id, token)
    user, repository = repo_id.split("/")
    if repository != name:
        raise ValueError(f"evaluate finds {script} in a repository of that name alone: push to {user}/{name}")
    if not (folder / CARD).is_file():
        raise FileNotFoundError(f"{folder} lacks {CARD}, the metric's card")
    page = f'<meta charset="utf-8"><p>A metric: <code>evaluate.load("{repo_id}")</code>. Its card is among the files.'
    files = {"index.html": page.encode()}
    for file in (script, CARD):
        text = (folder / file).read_text(encoding="utf-8")
        text = re.sub(rf'evaluate\.load\("[^"]*{name}"\)', f'evaluate.load("{repo_id}")', text)
        files[file] = re.sub(rf"from [\w.]+\.{name} import", f"from {name} import", text).encode()

    def check_repository(api: HfApi, published: set[str]) -> None:
        if script not in published and not published <= NEW_SPACE:
            raise ValueError(f"the name {repo_id} is taken by something else than the metric {name}")

    return commit_files(files, repo_id, "space", check_repository, f"Publish {name}", private, token)


def push_command(argv: list[str]) -> None:
    """`train.py push FOLDER user/name [--private]`."""
    parser = argparse.ArgumentParser(prog="train.py push", description="Publishes a folder on the Hub.")
    parser.add_argument("folder", help="that train.py left, with its results, or of a metric")
    parser.add_argument("repository", help="user/name, new or with a model of the same type or with that metric")
    parser.add_argument("--private", action="store_true", default=None, help="if the repository is new")
    options = parser.parse_args(argv)
    with errors_in_a_line("not published"):
        print(push(options.folder, options.repository, options.private).commit_url)
