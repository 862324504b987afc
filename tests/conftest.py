"""What every test shares: no network, a cache of its own, one thread a process, a fixed seed."""

import os
import tempfile

import pytest

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
