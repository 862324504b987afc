"""The collator against the tokenizer's own padding, and what it refuses."""

import pytest
import torch

from hf_relevance import BiLSTMAttentionDataCollator
from hf_relevance.tokenization import build_tokenizer

TEXTS = ["a good film", "", "film", "a film unseen"]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", ["label", "labels"])
def test_batch_equals_padding_by_the_tokenizer(side, name):
    tokenizer = build_tokenizer(TEXTS, min_frequency=1)
    tokenizer.padding_side = side
    features = [{"text": text, name: i % 2, "input_ids": tokenizer(text)["input_ids"]} for i, text in enumerate(TEXTS)]
    batch = BiLSTMAttentionDataCollator(tokenizer)(features)
    expected = tokenizer(TEXTS, padding=True, return_tensors="pt") | {"labels": torch.tensor([0, 1, 0, 1])}
    assert batch.keys() == expected.keys()
    assert all(batch[key].equal(expected[key]) for key in batch)


def test_padding_already_there_stays_padding_and_empty_texts_have_one_place():
    collate = BiLSTMAttentionDataCollator(build_tokenizer(TEXTS, min_frequency=1))
    batch = collate([{"input_ids": [2, 3, 0, 0]}, {"input_ids": torch.tensor([3])}])
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 0, 0, 0]]
    assert batch.keys() == {"input_ids", "attention_mask"}
    empty = collate([{"input_ids": []}, {"input_ids": []}])
    assert {key: tensor.tolist() for key, tensor in empty.items()} == {
        "input_ids": [[0], [0]],
        "attention_mask": [[0], [0]],
    }


@pytest.mark.parametrize("labels", [(0, None), (0, 0.5), (1, "1"), (1, "good"), (0, [1]), (0, float("nan"))])
def test_bad_labels_are_refused(labels):
    collate = BiLSTMAttentionDataCollator(build_tokenizer(TEXTS, min_frequency=1))
    with pytest.raises(ValueError, match="whole numbers, one a text"):
        collate([{"input_ids": [1], "label": label} for label in labels])


def test_texts_must_be_tokenized():
    collate = BiLSTMAttentionDataCollator(build_tokenizer(TEXTS, min_frequency=1))
    with pytest.raises(ValueError, match=r"got columns \['label', 'text'\]: tokenize"):
        collate([{"input_ids": [1], "label": 0}, {"text": "a film", "label": 0}])
