"""The word-level tokenizer: what is a word, what is kept, and that nothing changes by saving."""

import pytest
from transformers import AutoTokenizer

from hf_relevance.tokenization import build_tokenizer

TEXTS = ["Don't stop -- a GOOD film ... isn't it?!", "a good, good film (2003) n't", "Naïve café, cafe\u0301!!!"]


def test_words():
    tokenizer = build_tokenizer(TEXTS, min_frequency=1)
    words = [tokenizer.tokenize(text) for text in TEXTS]
    assert words == [
        ["don't", "stop", "--", "a", "good", "film", "...", "isn't", "it", "?", "!"],
        ["a", "good", ",", "good", "film", "(", "2003", ")", "n't"],
        ["naïve", "café", ",", "café", "!!!"],
    ]
    seen = {word for text in words for word in text}
    assert set(tokenizer.get_vocab()) == seen | {"[PAD]", "[UNK]"}


def test_frequent_words_are_kept_in_order_of_frequency_and_others_are_unknown():
    tokenizer = build_tokenizer(iter(TEXTS), min_frequency=2)
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == [
        "[PAD]",
        "[UNK]",
        "good",
        ",",
        "a",
        "café",
        "film",
    ]
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id) == (0, 1)
    assert tokenizer.tokenize("A bad, Bad film") == ["a", "[UNK]", ",", "[UNK]", "film"]
    # Building is deterministic: the vocabulary is part of a result.
    assert build_tokenizer(TEXTS).get_vocab() == tokenizer.get_vocab()


def test_a_large_vocabulary_is_kept_whole():
    assert len(build_tokenizer(f"word{n} word{n}" for n in range(31_000))) == 31_002


def test_saving_keeps_everything(tmp_path):
    tokenizer = build_tokenizer(TEXTS)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    texts = [*TEXTS, "", "zzz", "[PAD] good [UNK]"]
    batch = loaded(texts, padding=True, return_tensors="pt")
    assert batch.keys() == {"input_ids", "attention_mask"}
    assert batch["input_ids"].equal(tokenizer(texts, padding=True, return_tensors="pt")["input_ids"])


def test_marks_in_a_text_are_read_literally():
    tokenizer = build_tokenizer(TEXTS)
    assert tokenizer("[PAD]")["input_ids"] == [1, 1, 1]
    assert tokenizer("")["input_ids"] == []


def test_bad_input_is_refused():
    with pytest.raises(TypeError, match="got one string"):
        build_tokenizer("a film")
    with pytest.raises(ValueError, match="at least 1, got 0"):
        build_tokenizer(TEXTS, min_frequency=0)
    for texts in ([], ["", " \n"], ["once"]):
        with pytest.raises(ValueError, match="no word occurs 2 times"):
            build_tokenizer(texts)
