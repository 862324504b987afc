"""What stands in both families word for word: the same text, and the same behavior on the same inputs."""

import inspect
import json

import pytest
import torch
from transformers import AutoConfig

from hf_calc import CalculatorQAConfig, modeling_calculator_qa
from hf_relevance import BiLSTMAttentionConfig, modeling_bilstm_attention

BOTH = [modeling_calculator_qa.check_indices, modeling_bilstm_attention.check_indices]


def test_the_copies_are_the_same_text():
    assert inspect.getsource(BOTH[0]) == inspect.getsource(BOTH[1])


@pytest.mark.parametrize("check_indices", BOTH)
def test_indices_outside_their_range_are_told(check_indices):
    for right in ([0, 4], []):
        check_indices("labels", torch.tensor(right), 5, "look at the data")
    for wrong in ([0, 5], [-1, 2]):
        with pytest.raises(ValueError, match=r"labels must be from 0 to 4, got (5|-1): look at the data"):
            check_indices("labels", torch.tensor(wrong), 5, "look at the data")


@pytest.mark.parametrize("config_class", [CalculatorQAConfig, BiLSTMAttentionConfig])
def test_a_model_of_a_newer_format_is_refused(config_class, tmp_path):
    config = config_class()
    config.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).format_version == 1
    saved = json.loads((tmp_path / "config.json").read_text())
    changes = {"format_version": 2, "num_steps": 2, "num_arguments": 3}  # which a newer format may allow
    (tmp_path / "config.json").write_text(json.dumps(saved | changes))
    with pytest.raises(ValueError, match="has format 2 and this code reads up to 1: upgrade"):
        AutoConfig.from_pretrained(tmp_path)
