"""Publishing an export: the real clients against a Hub on loopback, and all that can go wrong on the way."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import load_dataset
from huggingface_hub import HfApi

from dataset_scripts.calculator_qa.calculator_qa import CalculatorQA
from dataset_scripts.export import export, main, push
from dataset_scripts.reviews.reviews import Reviews
from dataset_scripts.sst2.sst2 import Sst2
from dataset_scripts.text_classification import main as export_corpus

# Python 3.12, where pyarrow has threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")

ROOT = Path(__file__).parents[2]
CALCULATOR = {"owners": 3, "digits": 2, "train_size": 1100, "validation_size": 7}
REVIEWS = {"train_size": 20, "validation_size": 3, "test_size": 2}
REPO = "user/reviews"
SHARDS = [f"default/{split}-00000-of-00001.parquet" for split in ("test", "train", "validation")]


def write(output, seed=0, **options):
    head = {"license": "apache-2.0", "pretty_name": "Reviews"}
    export(Reviews, ["default"], REVIEWS | {"seed": seed}, output, "\n# Reviews\n".format, **head, **options)
    return output


def state():
    """Commits of the repository, the newest first, and its files, without the one that it starts with."""
    api = HfApi(token="rw")
    if not api.repo_exists(REPO, repo_type="dataset"):
        return [], []
    commits = [commit.commit_id for commit in api.list_repo_commits(REPO, repo_type="dataset")]
    return commits, sorted({*api.list_repo_files(REPO, repo_type="dataset")} - {".gitattributes"})


def test_a_command_publishes_what_load_dataset_reads_in_every_way(hub, tmp_path):
    names = ["max_transfer", "argmax_generalization"]
    options = [f"--{name}={value}" for name, value in CALCULATOR.items()]
    command = [sys.executable, "-m", "dataset_scripts.calculator_qa.calculator_qa", "--output", str(tmp_path / "data")]
    command += ["--configs", *names, *options, "--num_proc=2", "--push_to_hub=user/calculator"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{hub.endpoint}/datasets/user/calculator/commit/")
    files = HfApi().list_repo_files("user/calculator", repo_type="dataset")
    shards = [path.relative_to(tmp_path / "data").as_posix() for path in (tmp_path / "data").rglob("*.parquet")]
    assert len(shards) == 6, "a process makes a file, and the blocks of a split are 3 and 1"
    assert {*files} - {".gitattributes"} == {"README.md", *shards}, "no script"
    printed = hub.run(
        """
        import json
        from datasets import disable_progress_bars, load_dataset

        disable_progress_bars()
        read = {"default": load_dataset("user/calculator", split="validation").to_list()}
        for name in ("max_transfer", "argmax_generalization"):
            read[name] = {split: rows.to_list() for split, rows in load_dataset("user/calculator", name).items()}
            streams = load_dataset("user/calculator", name, streaming=True)
            read[f"{name} streamed"] = {split: list(rows) for split, rows in streams.items()}
        again = {"num_proc": 2, "download_mode": "force_redownload"}
        read["by two"] = load_dataset("user/calculator", "max_transfer", split="train", **again).to_list()
        read["part"] = load_dataset("user/calculator", "max_transfer", split="train[:1%]").to_list()
        print(json.dumps(read))
        """
    )
    read = json.loads(printed)
    for name in names:
        builder = CalculatorQA(config_name=name, cache_dir=tmp_path / "cache", **CALCULATOR)
        builder.download_and_prepare()
        built = {split: rows.to_list() for split, rows in builder.as_dataset().items()}
        assert read[name] == read[f"{name} streamed"] == built
        if name == CalculatorQA.DEFAULT_CONFIG_NAME:
            assert (read["default"], read["by two"]) == (built["validation"], built["train"])
            assert read["part"] == built["train"][:11]


def test_a_corpus_is_published_without_where_it_lay(hub, tmp_path):
    folder = tmp_path / "corpora" / "sst2"
    folder.mkdir(parents=True)
    for name in ("train", "dev", "test"):
        (folder / f"sst2_{name}.tsv").write_text("label\tsentence\n0\tA bad film .\n1\tA good film .\n")
    arguments = ["--output", str(tmp_path / "data"), "--data_dir", str(folder.parent), "--no-check_counts"]
    export_corpus(Sst2, [*arguments, "--num_proc=2", "--push_to_hub=user/sst2", "--private"])
    rows = load_dataset(HfApi().snapshot_download("user/sst2", repo_type="dataset"), split="test")
    assert rows.to_list() == [{"text": "A bad film .", "label": 0}, {"text": "A good film .", "label": 1}]
    card = Path(HfApi().hf_hub_download("user/sst2", "README.md", repo_type="dataset")).read_text()
    assert "\n  data_dir: corpora\n" in card
    assert str(tmp_path) not in card
    assert "repository" not in card, "which was not read"
    assert HfApi().dataset_info("user/sst2").private


def test_publishing_again_replaces_everything_in_one_commit(hub, tmp_path):
    large = write(tmp_path / "large", num_proc=3)
    push(large, REPO)
    push(large, REPO)  # changes nothing
    first, files = state()
    assert len(first) == 2, "the one that makes the repository, and ours"
    assert len([name for name in files if "train" in name]) == 3
    HfApi().upload_file(path_or_fileobj=b"mine", path_in_repo="NOTES.md", repo_id=REPO, repo_type="dataset")
    small = write(tmp_path / "small", seed=1)
    main([str(small), REPO])
    commits, files = state()
    assert commits[2:] == first
    assert files == ["NOTES.md", "README.md", *SHARDS]
    there = HfApi().snapshot_download(REPO, repo_type="dataset")
    for name in ("README.md", *SHARDS):
        assert Path(there, name).read_bytes() == (small / name).read_bytes()


def fault(request, how, times=1):
    return lambda hub, patch: hub.fail(request, how, times)


def token(value):
    return lambda hub, patch: patch.setenv("HF_TOKEN", value)


ALL = 6 * len(SHARDS)  # tries


@pytest.mark.parametrize(
    ("prepare", "error", "message"),
    [
        (token("ro"), PermissionError, r"the token may not write to user/reviews \(403\): .*right"),
        (token("none"), PermissionError, r"the token may not write to user/reviews \(401\): .*Invalid"),
        (fault("POST .*/create", 500), ConnectionError, "the Hub answered 500, user/reviews is as it was"),
        (fault("GET .*/datasets/", 500), ConnectionError, "the Hub answered 500"),
        (fault("POST .*/preupload/", 503, ALL), ConnectionError, "the Hub answered 503"),
        (fault("POST .*/objects/batch", 500, ALL), ConnectionError, "the Hub answered 500"),
        (fault("PUT", 500, ALL), ConnectionError, "the Hub answered 500"),
        (fault("PUT", "close", ALL), ConnectionError, "the Hub broke off, user/reviews is as it was"),
        (fault("PUT", "hang", ALL), ConnectionError, "the Hub broke off.*timed out"),
        (fault("POST .*/commit/", 500), ConnectionError, "the Hub answered 500"),
        (fault("POST .*/commit/", "close"), ConnectionError, "the Hub broke off"),
        (fault("POST .*/commit/", "hang"), ConnectionError, "the Hub broke off.*timed out"),
    ],
)
@pytest.mark.parametrize("published", [False, True])
def test_a_push_that_fails_changes_nothing(hub, tmp_path, monkeypatch, prepare, error, message, published):
    output = write(tmp_path / "data")
    if published:
        push(write(tmp_path / "before", seed=1), REPO)
    before = state()
    with monkeypatch.context() as patch:
        patch.setattr("hub.TIMEOUT", 0.2)
        patch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between tries
        prepare(hub, patch)
        with pytest.raises(error, match=message) as caught:
            push(output, REPO)
    assert "\n" not in str(caught.value)
    hub.faults.clear()
    commits, files = state()
    assert (commits, files) == before or (not published and (len(commits), files) == (1, [])), "made, but empty"
    push(output, REPO)
    commits, files = state()
    assert (len(commits), files) == (2 + published, ["README.md", *SHARDS])


def test_somebody_who_commits_meanwhile_is_not_overwritten(hub, tmp_path, monkeypatch):
    output, create_commit = write(tmp_path / "data"), HfApi.create_commit

    def create_second_commit(api, *args, **options):
        monkeypatch.setattr(HfApi, "create_commit", create_commit)
        api.upload_file(path_or_fileobj=b"mine", path_in_repo="NOTES.md", repo_id=REPO, repo_type="dataset")
        return api.create_commit(*args, **options)

    monkeypatch.setattr(HfApi, "create_commit", create_second_commit)
    with pytest.raises(ConnectionError, match="the Hub answered 412"):
        push(output, REPO)
    assert state()[1] == ["NOTES.md"]


@pytest.mark.parametrize(
    "card", [None, "# Mine", "---\npretty_name: Reviews\n---", "---\nbuilder: Sst2\n---", "---\n[\n---"]
)
def test_a_taken_name_is_refused(hub, tmp_path, card):
    api = HfApi()
    api.create_repo(REPO, repo_type="dataset")
    name, content = ("train.csv", "text") if card is None else ("README.md", card)
    api.upload_file(path_or_fileobj=content.encode(), path_in_repo=name, repo_id=REPO, repo_type="dataset")
    before = state()
    with pytest.raises(ValueError, match="user/reviews is taken by something else than a dataset of Reviews: choose"):
        push(write(tmp_path / "data"), REPO)
    assert state() == before


def test_another_ones_name_is_refused(hub, tmp_path):
    with pytest.raises(PermissionError, match=r"the token may not write to other/reviews \(403\)"):
        push(write(tmp_path / "data"), "other/reviews")


def test_without_a_token_nothing_is_done(hub, tmp_path, monkeypatch):
    output = write(tmp_path / "data")
    monkeypatch.delenv("HF_TOKEN")
    for work in (lambda: push(output, REPO), lambda: write(tmp_path / "more", push_to_hub=REPO)):
        with pytest.raises(
            PermissionError, match="there is no token of the Hub: run `hf auth login`, or set HF_TOKEN"
        ):
            work()
    assert hub.requests == []
    assert [*tmp_path.iterdir()] == [output]


def cut_off(shard):
    shard.write_bytes(shard.read_bytes()[:-10])


def swap(shard):
    shard.write_bytes(shard.with_name("test-00000-of-00001.parquet").read_bytes())


@pytest.mark.parametrize(
    ("spoil", "name", "error", "message"),
    [
        (cut_off, SHARDS[1], ValueError, "train-00000-of-00001.parquet is cut off or damaged .*: export it again"),
        (Path.unlink, SHARDS[1], ValueError, "default has 0 rows of train, by its card 20: export it again"),
        (swap, SHARDS[1], ValueError, "default has 2 rows of train, by its card 20"),
        (Path.unlink, "README.md", FileNotFoundError, "README.md is not the card of an export: give a folder"),
    ],
)
def test_a_folder_that_is_not_whole_is_not_published(hub, tmp_path, spoil, name, error, message):
    output = write(tmp_path / "data")
    spoil(output / name)
    with pytest.raises(error, match=message):
        push(output, REPO)
    assert hub.requests == []


@pytest.mark.parametrize("name", ["reviews", "user/", "/reviews", "datasets/user/reviews"])
def test_a_name_is_of_a_user_and_a_repository(hub, tmp_path, name):
    with pytest.raises(ValueError, match=f"must be named user/name, got '{name}'"):
        write(tmp_path / "data", push_to_hub=name)
    assert not [*tmp_path.iterdir()]
