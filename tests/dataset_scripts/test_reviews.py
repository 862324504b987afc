"""Reviews against an oracle that reads nothing but the text, against counting and against a linear model."""

import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from datasets import ClassLabel, Features, List, Value, load_dataset
from huggingface_hub import DatasetCard

from dataset_scripts.reviews import reviews
from dataset_scripts.reviews.reviews import Reviews, main
from hf_relevance.tokenization import build_tokenizer

SIZES = {"train": 2000, "validation": 400, "test": 400}
SMALL = {"train_size": 40, "validation_size": 16, "test_size": 8}
PAIRS = {"good": "bad", "great": "awful", "nice": "poor", "pleasant": "terrible", "impressive": "disappointing"}
BAD = {*PAIRS.values()}


@pytest.fixture
def prepare(tmp_path):
    def prepare(**parameters):
        builder = Reviews(cache_dir=tmp_path / "cache", **parameters)
        builder.download_and_prepare()
        return builder.as_dataset()

    return prepare


def understand(text):
    """What the text says, clause by clause."""
    deciding, hearsay, start = [], [], 0
    for clause in re.split(r" [,.] ?", text)[:-1]:
        words = clause.split(" ")
        opinions = [place for place, word in enumerate(words) if word in BAD | PAIRS.keys()]
        if opinions and re.fullmatch(r"my \w+ called it \w+", clause):
            hearsay.append(words[opinions[0]] not in BAD)
        elif opinions:
            deciding.append((start, words, opinions))
        start += len(words) + 1
    ((start, words, (last,)),) = deciding
    (called_good,) = hearsay
    (place,) = {*words} & {"hotel", "library", "museum", "restaurant", "theater"}
    negated, word = "not" in words[:last], words[last]
    return SimpleNamespace(
        label=int((word in BAD) == negated),
        rationale=[start + words.index("not"), start + last] if negated else [start + last],
        word=word,
        pair={word, PAIRS.get(word)} & BAD,
        negated=negated,
        place=place,
        hearsay=called_good,
    )


def test_label_and_rationale_follow_from_the_text(prepare):
    splits = prepare()
    assert {split: len(dataset) for split, dataset in splits.items()} == SIZES
    assert splits["train"].features == Features(
        {"text": Value("string"), "label": ClassLabel(names=["neg", "pos"]), "rationale": List(Value("int32"))}
    )
    for dataset in splits.values():
        for row in dataset:
            text = understand(row["text"])
            assert (row["label"], row["rationale"]) == (text.label, text.rationale), row["text"]


def test_words_are_the_tokens_and_15_to_40_a_text(prepare):
    texts = prepare()["train"]["text"][:]
    tokenizer = build_tokenizer(texts, min_frequency=1)
    assert [tokenizer.tokenize(text) for text in texts] == [text.split() for text in texts]
    lengths = {len(text.split()) for text in texts}
    assert min(lengths) >= 15
    assert max(lengths) <= 40
    assert len(lengths) > 10


def test_cells_are_equally_frequent_so_labels_are_even_given_any_part(prepare):
    for split, dataset in prepare().items():
        texts = [understand(text) for text in dataset["text"]]
        cells = Counter((text.hearsay, text.place, *text.pair, text.negated, text.label) for text in texts)
        assert len(cells) == 2 * 5 * 5 * 2 * 2
        for (*_, negated, _), count in cells.items():
            assert count == SIZES[split] // 400 * (1 if negated else 3)


def test_sizes_need_not_fill_the_cells(prepare):
    for dataset in prepare(**SMALL).values():
        counts = Counter((text.negated, text.label) for text in map(understand, dataset["text"]))
        eighth = len(dataset) // 8
        assert counts == {(False, 0): 3 * eighth, (False, 1): 3 * eighth, (True, 0): eighth, (True, 1): eighth}


def test_counting_words_earns_little(prepare):
    splits = prepare()
    vocabulary = sorted({word for text in splits["train"]["text"] for word in text.split()})
    labels = {split: np.array(dataset["label"]) for split, dataset in splits.items()}
    counts = {
        split: np.array([[text.split().count(word) for word in vocabulary] for text in dataset["text"]])
        for split, dataset in splits.items()
    }
    weights = np.linalg.lstsq(counts["train"], labels["train"] - 0.5)[0]
    for split, dataset in splits.items():
        assert np.mean((counts[split] @ weights > 0) == labels[split]) == pytest.approx(5 / 8, abs=0.08)
        taken_at_its_word = [understand(text).word not in BAD for text in dataset["text"]]
        assert np.mean(taken_at_its_word == labels[split]) == 3 / 4


def test_no_text_is_made_twice(prepare, monkeypatch):
    for name in ("DECIDING", "ADVERBS", "RELATIVES", "CELLS"):
        monkeypatch.setattr(reviews, name, getattr(reviews, name)[:1])
    monkeypatch.setattr(reviews, "NEUTRAL", reviews.NEUTRAL[1:5])  # 720 texts of two neutral clauses are possible
    splits = prepare()
    texts = [text for dataset in splits.values() for text in dataset["text"]]
    assert len(set(texts)) == len(texts) == sum(SIZES.values())
    longer = prepare(train_size=2100)
    assert all(longer[split]["text"][:] == splits[split]["text"][:] for split in ("validation", "test"))


def test_reviews_depend_on_the_seed_alone(prepare, tmp_path):
    first, other = prepare(**SMALL), prepare(**SMALL, seed=1)
    again = Reviews(cache_dir=tmp_path / "again", **SMALL)
    for split, dataset in first.items():
        assert list(again.as_streaming_dataset(split=split)) == dataset.to_list()
        assert not {*dataset["text"]} & {*other[split]["text"]}


def test_cache_tells_parameters_apart(tmp_path):
    changes = [{}, *({name: 5} for name in (*SMALL, "seed"))]
    assert len({Reviews(cache_dir=tmp_path, **change).cache_dir for change in changes}) == len(changes)


def test_export_reads_back_the_same(prepare, tmp_path):
    options = [f"--{name}={value}" for name, value in SMALL.items()]
    main(["--output", str(tmp_path / "data"), *options])
    loaded, built = load_dataset(str(tmp_path / "data"), cache_dir=str(tmp_path / "loaded")), prepare(**SMALL)
    assert {split: dataset.to_list() for split, dataset in loaded.items()} == {
        split: dataset.to_list() for split, dataset in built.items()
    }
    assert loaded["train"].features == built["train"].features
    card = DatasetCard.load(tmp_path / "data" / "README.md")
    assert card.data.license == "apache-2.0"
    assert f"> {built['train'][0]['text']}\n" in card.text
    assert "- test_size: 8\n" in card.text
    with pytest.raises(FileExistsError, match="choose a new folder"):
        main(["--output", str(tmp_path / "data")])


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"train_size": 0}, ValueError, "train_size must be at least 1, got 0"),
        ({"validation_size": -1}, ValueError, "validation_size must be at least 1"),
        ({"test_size": 8.0}, TypeError, "test_size must be an integer, got 8.0"),
        ({"train_size": True}, TypeError, "train_size must be an integer, got True"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"color": "red"}, TypeError, "color"),
    ],
)
def test_wrong_parameters_fail_at_construction(tmp_path, parameters, error, message):
    with pytest.raises(error, match=message):
        Reviews(cache_dir=tmp_path, **parameters)
