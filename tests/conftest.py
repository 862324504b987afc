"""What tests share: no network, a cache of their own, one thread a process, a fixed seed; train.py and a Hub."""

import os
import resource
import runpy
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.hub_server import HubServer

ROOT = Path(__file__).parents[1]

# Set before torch and the Hugging Face libraries are imported, which read them then; processes started by a test
# inherit them.
HF_HOME = tempfile.TemporaryDirectory(prefix="hf-home-")
os.environ["HF_HOME"] = HF_HOME.name  # a data set cached from an older version of the code must not answer for today's
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # the tensors of tests are small: a second thread costs more than it brings


@pytest.fixture(autouse=True)
def seed():
    """Seed random, numpy and torch, so that the numbers of a test do not depend on the tests before it."""
    from transformers import set_seed

    set_seed(0)


def pytest_unconfigure():
    HF_HOME.cleanup()


@pytest.fixture(scope="session")
def train_py():
    """What train.py, which is run and never imported, defines."""
    return runpy.run_path(str(ROOT / "train.py"), run_name="train")


@pytest.fixture(scope="session")
def train(train_py):
    """Runs train.py in this process with the words and options of a command line."""
    import torch

    def run(*words, **options):
        command = [str(word) for word in (*words, *(f"--{name}={value}" for name, value in options.items()))]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["train.py", *command])
            patch.chdir(ROOT)
            try:
                train_py["main"]()
            finally:
                torch.set_num_threads(1)

    return run


@pytest.fixture(scope="session")
def options(tmp_path_factory):
    """Recipe and options of a run of seconds for each model, without where it goes."""
    from transformers import BertConfig, BertModel, BertTokenizer, set_seed

    folder = tmp_path_factory.mktemp("encoder")
    letters = "0123456789abcdefghijklmnopqrstuvwxyz"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"+-=,.?", *letters, *(f"##{one}" for one in letters)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    BertTokenizer(vocab=vocabulary, model_max_length=512).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    set_seed(0)
    BertModel(BertConfig(vocab_size=len(tokens), initializer_range=0.4, **sizes)).save_pretrained(folder)
    common = {"max_steps": 2, "disable_tqdm": True}
    recipe = folder / "recipe.yaml"
    recipe.write_text("family: calc\nname: demo\nreport_to: none\n")  # nothing else, which the card tells all the same
    calc = {"encoder": folder, "owners": 3, "digits": 2, "train_size": 8, "validation_size": 5}
    reviews = {"embedding_size": 4, "hidden_size": 6, "attention_size": 4, "agreement_texts": 5}
    return {
        "user/calculator": (recipe, calc | common),
        "user/reviews": ("recipes/relevance/demo.yaml", reviews | common),
    }


@pytest.fixture(scope="session")
def trained(train, options, tmp_path_factory):
    """The folders that two runs left, by the repository that they would go to; to be left as they are."""
    folders = {repo: tmp_path_factory.mktemp("runs") / "run" for repo in options}
    for repo, (recipe, rest) in options.items():
        train(recipe, output_dir=folders[repo], **rest)
    return folders


@pytest.fixture
def refuse(train):
    """What a command that must fail says: one line."""

    def run(*words, **options):
        with pytest.raises(SystemExit) as end:
            train(*words, **options)
        assert isinstance(end.value.code, str), "which Python prints to the error output before it exits with 1"
        assert "\n" not in end.value.code
        return end.value.code

    return run


@pytest.fixture
def full_disk():
    """Lets no file get larger than some bytes in a `with` block, which is as good as a full disk."""

    @contextmanager
    def limit(size):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return limit


@pytest.fixture
def contents():
    """What the files below a folder hold."""
    return lambda folder: {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def hub(monkeypatch, tmp_path_factory):
    """A Hub for this process, too, by what the libraries read from the environment when they are imported."""
    from huggingface_hub import close_session, constants

    with HubServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        url = f"{server.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("cache")))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("transformers.utils.hub._hf_api", None, raising=False)  # made once, of the first Hub
        yield server
        close_session()
