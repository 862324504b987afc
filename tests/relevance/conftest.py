"""A small model whose attention is far from uniform, and a batch of texts of every length and padding."""

import pytest
import torch

from hf_relevance import BiLSTMAttentionConfig, BiLSTMAttentionForClassification


@pytest.fixture
def make_model():
    """Makes a model in double precision; keyword arguments change its configuration."""

    def make(**kwargs):
        sizes = {
            "vocab_size": 40,
            "embedding_size": 6,
            "hidden_size": 8,
            "attention_size": 5,
            "initializer_range": 1.0,
        }
        return BiLSTMAttentionForClassification(BiLSTMAttentionConfig(**sizes | kwargs)).double()

    return make


@pytest.fixture
def batch():
    """Six texts of 6, 4, 3, 1, 0 and 4 tokens in 6 places: padded on the right, on the left, on both, with holes."""
    attention_mask = torch.tensor(
        [
            [1, 1, 1, 1, 1, 1],
            [1, 1, 1, 1, 0, 0],
            [0, 0, 0, 1, 1, 1],
            [0, 0, 1, 0, 0, 0],
            [0, 0, 0, 0, 0, 0],
            [1, 0, 1, 1, 0, 1],
        ]
    )
    input_ids = torch.randint(1, 40, attention_mask.shape) * attention_mask
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": torch.tensor([0, 1, 0, 1, 0, 1])}
