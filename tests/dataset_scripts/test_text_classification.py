"""SST-2, IMDB and the newsgroups, from small corpora of our own in the forms of plain files, archive and Hub."""

import gzip
import io
import json
import os
import random
import re
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Value, load_dataset
from huggingface_hub import DatasetCard

from dataset_scripts.imdb.imdb import Imdb
from dataset_scripts.newsgroups.newsgroups import Newsgroups
from dataset_scripts.sst2.sst2 import Sst2, read_tree
from dataset_scripts.text_classification import main, split_development

BUILDERS = (Sst2, Imdb, Newsgroups)
SOURCES = ("data_dir", "archive", "repository")
ARCHIVES = {Sst2: "trees.zip", Imdb: "aclImdb.tar.gz", Newsgroups: "20news.tar.gz"}
SIZES = {"train": (10, 15), "validation": (2, 3), "test": (4, 5)}

# The text of a row as it is published and as the builder is to make it.
RAW = {
    Sst2: "Film {} by André ( the actor/director ) costs 8\xa01/2 or * more .",
    Imdb: "Film {}.<br /><br />Great æther,<br/>no <i>plot</i>.",
    Newsgroups: "From: anna\nSubject: {0}\n\nCarl writes:\n> They won {0}.\nThey lost {0} in Québec.\n\n--\nAnna",
}
CLEAN = {
    Sst2: RAW[Sst2],
    Imdb: "Film {}.\nGreat æther,\nno <i>plot</i>.",
    Newsgroups: "They lost {} in Québec.\n",
}


def rows(builder_class, template):
    """(split, label, number, text) of a corpus of `SIZES`."""
    numbers = iter(range(1000))
    for split in builder_class.COUNTS:
        for label, size in enumerate(SIZES[split]):
            for number in (next(numbers) for _ in range(size)):
                yield split, label, number, template.format(number)


def row_id(builder_class, label, number):
    return f"{builder_class.LABELS[label]}/{number}_{label}" if builder_class is Imdb else str(number)


def tree(sentiment, text):
    """The sentence as a right-branching tree in the treebank's escapes."""
    words = [word.replace("/", r"\/").replace("*", r"\*") for word in text.split(" ")]
    *leaves, nested = [f"(2 { {'(': '-LRB-', ')': '-RRB-'}.get(word, word) })" for word in words]
    for leaf in reversed(leaves):
        nested = f"(2 {leaf} {nested})"
    return f"({sentiment}{nested[2:]}"


def members(builder_class):
    """Path -> content of the members of the archive, some of them not for the builder."""
    if builder_class is Sst2:
        files = {"train": [], "validation": [], "test": []}
        for split, label, number, text in rows(Sst2, RAW[Sst2]):
            files[split].append(tree([[0, 1], [3, 4]][label][number % 2], text))
        names = {"train": "train", "validation": "dev", "test": "test"}
        neutral = tree(2, "It is a film .")
        return {f"trees/{names[split]}.txt": "\n".join([*trees, neutral, ""]) for split, trees in files.items()}
    if builder_class is Imdb:
        return {"aclImdb/README": "reviews", "aclImdb/train/unsup/0_0.txt": "Film."} | {
            f"aclImdb/{split}/{row_id(Imdb, label, number)}.txt": text
            for split, label, number, text in rows(Imdb, RAW[Imdb])
        }
    return {"20news-bydate-train/rec.autos/7": "From: carl\n\nA car."} | {
        f"20news-bydate-{split}/{Newsgroups.LABELS[label]}/{number}": text
        for split, label, number, text in rows(Newsgroups, RAW[Newsgroups])
    }


def write_archive(builder_class, path):
    encoded = {
        name: text.encode("latin-1" if builder_class is Newsgroups else "utf-8")
        for name, text in members(builder_class).items()
    }
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in encoded.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for name in reversed(encoded):  # an archive has its own order
                member = tarfile.TarInfo(name)
                member.size = len(encoded[name])
                archive.addfile(member, io.BytesIO(encoded[name]))


def write_plain(builder_class, folder):
    lines = {split: [] for split in builder_class.COUNTS}
    for split, label, number, text in rows(builder_class, RAW[builder_class]):
        row = {"id": row_id(builder_class, label, number), "label": label, "text": text}
        lines[split].append(f"{label}\t{text}" if builder_class is Sst2 else json.dumps(row))
    folder.mkdir()
    if builder_class is Sst2:
        for split, name in (("train", "train"), ("validation", "dev"), ("test", "test")):
            (folder / f"sst2_{name}.tsv").write_text(
                "\n".join(["label\tsentence", *lines[split], ""]), encoding="utf-8"
            )
    else:
        for split in lines:
            (folder / f"{split}.jsonl.gz").write_bytes(gzip.compress("\n".join([*lines[split], ""]).encode()))


def write_hub(builder_class, folder):
    """Parquet files with the columns of the copy on the Hub."""
    columns = {split: {"text": [], "label": [], "label_text": []} for split in builder_class.COUNTS}
    if builder_class is Newsgroups:  # has all groups, numbered otherwise
        columns["train"] = {"text": ["A car."], "label": [7], "label_text": ["rec.autos"]}
    for split, label, _, text in rows(
        builder_class, CLEAN[Newsgroups] if builder_class is Newsgroups else RAW[builder_class]
    ):
        columns[split]["text"].append(text)
        columns[split]["label"].append(label + 9 * (builder_class is Newsgroups))
        columns[split]["label_text"].append(builder_class.LABELS[label])
    for split, values in columns.items():
        Dataset.from_dict(values).to_parquet(folder / f"{split}-00000-of-00001.parquet")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Folder with all corpora in all forms."""
    root = tmp_path_factory.mktemp("corpora")
    for builder_class in BUILDERS:
        write_plain(builder_class, root / builder_class.BUILDER_CONFIG_CLASS.FOLDER)
        write_archive(builder_class, root / ARCHIVES[builder_class])
        write_hub(builder_class, root / f"hub-{builder_class.__name__}")
    return root


@pytest.fixture
def source(corpora):
    """Keyword arguments that name a source."""
    return lambda builder_class, name: {
        "data_dir": {"data_dir": corpora},
        "archive": {"archive": str(corpora / ARCHIVES[builder_class])},
        "repository": {"repository": str(corpora / f"hub-{builder_class.__name__}")},
    }[name]


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Builds a corpus that is thought to have been published in `SIZES`."""
    for builder_class in BUILDERS:
        monkeypatch.setattr(builder_class, "COUNTS", {split: SIZES[split] for split in builder_class.COUNTS})

    def prepare(builder_class, **parameters):
        builder = builder_class(cache_dir=tmp_path / "cache", **parameters)
        builder.download_and_prepare()
        return builder.as_dataset()

    return prepare


def texts(dataset):
    return sorted(zip(dataset["text"], dataset["label"], strict=True))


@pytest.mark.parametrize("builder_class", BUILDERS)
def test_all_sources_give_the_published_texts_and_the_same_splits(prepare, source, builder_class):
    published = {split: [] for split in builder_class.COUNTS}
    for split, label, _, text in rows(builder_class, CLEAN[builder_class]):
        published[split].append((text, label))
    validation = set()
    for name in SOURCES:
        splits = prepare(builder_class, **source(builder_class, name))
        assert list(splits) == ["train", "validation", "test"]
        if builder_class is Sst2:
            assert {split: texts(splits[split]) for split in splits} == {k: sorted(v) for k, v in published.items()}
        else:
            assert sorted(texts(splits["train"]) + texts(splits["validation"])) == sorted(published["train"])
            assert texts(splits["test"]) == sorted(published["test"])
        validation.add(tuple(texts(splits["validation"])))
    assert len(validation) == 1


@pytest.mark.parametrize("builder_class", BUILDERS)
def test_other_texts_are_prepared_as_those_of_the_corpus(builder_class):
    raw, clean = RAW[builder_class].format(7), CLEAN[builder_class].format(7)
    words = len(re.findall(r"\w+", clean))
    longer = RAW[builder_class].format("7 word")
    builder = builder_class(data_dir="raw", min_words=words, max_words=words)
    assert builder.prepared([raw, "", longer, raw]) == [clean, clean]


@pytest.mark.parametrize("builder_class", BUILDERS)
@pytest.mark.parametrize("name", SOURCES)
def test_columns_are_text_label_and_an_id_where_there_is_one(prepare, source, builder_class, name):
    splits = prepare(builder_class, **source(builder_class, name))
    columns = {"text": Value("string"), "label": ClassLabel(names=list(builder_class.LABELS))}
    has_ids = builder_class is not Sst2 and name != "repository"
    assert splits["train"].features == Features(columns | ({"id": Value("string")} if has_ids else {}))
    if has_ids:
        known = {
            row_id(builder_class, label, number): text
            for _, label, number, text in rows(builder_class, CLEAN[builder_class])
        }
        assert {row["id"]: row["text"] for dataset in splits.values() for row in dataset} == known


def test_streaming_gives_the_same(prepare, source, tmp_path):
    for builder_class in BUILDERS:
        for name in SOURCES:
            parameters = source(builder_class, name)
            streamed = builder_class(cache_dir=tmp_path, **parameters).as_streaming_dataset(split="test")
            assert list(streamed) == prepare(builder_class, **parameters)["test"].to_list()


def make_rows(copies):
    return [{"text": f"Film {number}.", "label": number % 3 > 0} for number in range(300)] + copies


def test_development_split_is_stratified_complete_and_independent_of_the_order():
    corpus = make_rows([])
    train, validation = split_development(corpus, 0.2, seed=0)
    assert Counter(row["label"] for row in validation) == {0: 20, 1: 40}
    assert sorted(train + validation, key=str) == sorted(corpus, key=str)
    assert train == [row for row in corpus if row in train], "in the order of the corpus"
    shuffled = random.Random(0).sample(corpus, len(corpus))
    assert {str(row) for row in split_development(shuffled, 0.2, seed=0)[1]} == {str(row) for row in validation}
    other = split_development(corpus, 0.2, seed=1)[1]
    assert sum(row in validation for row in other) == pytest.approx(0.2 * 60, abs=4 * (0.2 * 0.8 * 60) ** 0.5)


def test_copies_of_a_text_do_not_all_fall_to_one_side():
    train, validation = split_development(make_rows([{"text": "", "label": 0}] * 100), 0.2, seed=0)
    assert sum(not row["text"] for row in validation) == pytest.approx(20, abs=4 * (0.2 * 0.8 * 100) ** 0.5)
    assert sum(not row["text"] for row in train + validation) == 100


def test_validation_share_and_seed_make_the_development_split(prepare, source):
    def validation(**parameters):
        return texts(prepare(Imdb, **source(Imdb, "data_dir"), **parameters)["validation"])

    assert Counter(label for _, label in validation(validation_share=0.25)) == {0: 2, 1: 4}  # 2.5 and 3.75
    assert validation(seed=0) == validation() != validation(seed=1)


@pytest.mark.parametrize("builder_class", BUILDERS)
@pytest.mark.parametrize("name", SOURCES)
def test_other_counts_are_refused_unless_accepted(prepare, source, monkeypatch, builder_class, name):
    published = {split: (sizes[0], sizes[1] + (split == "test")) for split, sizes in builder_class.COUNTS.items()}
    monkeypatch.setattr(builder_class, "COUNTS", published)
    with pytest.raises(ValueError, match=r"'test': \(4, 5\).*'test': \(4, 6\)} were published.*check_counts=False"):
        prepare(builder_class, **source(builder_class, name))
    splits = prepare(builder_class, **source(builder_class, name), check_counts=False)
    assert Counter(splits["test"]["label"]) == {0: 4, 1: 5}


@pytest.fixture
def folder(tmp_path):
    """Plain files that a test may spoil."""
    for builder_class in BUILDERS:
        write_plain(builder_class, tmp_path / builder_class.BUILDER_CONFIG_CLASS.FOLDER)
    return tmp_path


PLAIN = {Sst2: "sst2/sst2_test.tsv", Imdb: "imdb/test.jsonl.gz", Newsgroups: "20news/test.jsonl.gz"}


@pytest.mark.parametrize("builder_class", BUILDERS)
@pytest.mark.parametrize("kept", [0.5, -1])
def test_a_plain_file_cut_off_is_refused(prepare, folder, builder_class, kept):
    path = folder / PLAIN[builder_class]
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept > 0 else kept])
    with pytest.raises(ValueError, match=rf"{path.name} is cut off"):
        prepare(builder_class, data_dir=folder, check_counts=False)


@pytest.mark.parametrize("builder_class", BUILDERS)
def test_an_archive_cut_off_or_damaged_anywhere_is_refused(prepare, source, tmp_path, builder_class):
    content = Path(source(builder_class, "archive")["archive"]).read_bytes()
    path = tmp_path / ARCHIVES[builder_class]
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
    for damaged in (flipped, *(content[:place] for place in (*random.sample(range(len(content)), 10), -1))):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{path.name} is cut off or damaged"):
            prepare(builder_class, archive=str(path), check_counts=False)


@pytest.mark.parametrize("builder_class", BUILDERS)
def test_another_archive_is_refused(prepare, source, builder_class):
    other = {Sst2: Imdb, Imdb: Newsgroups, Newsgroups: Sst2}[builder_class]
    with pytest.raises(ValueError, match=r"'train': \(0, 0\)"):
        prepare(builder_class, **source(other, "archive"))
    with pytest.raises(ValueError, match="needs some of each"):
        prepare(builder_class, **source(other, "archive"), check_counts=False)


@pytest.mark.parametrize("builder_class", BUILDERS)
def test_what_is_missing_is_named(prepare, folder, builder_class):
    (folder / PLAIN[builder_class]).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{PLAIN[builder_class]} is missing"):
        prepare(builder_class, data_dir=folder)
    with pytest.raises(FileNotFoundError, match=r"none.zip is missing"):
        prepare(builder_class, archive=str(folder / "none.zip"))
    with pytest.raises(ConnectionError, match=rf"{builder_class().config.repository}.*data_dir or archive"):
        prepare(builder_class)  # tests are offline


@pytest.mark.parametrize(
    ("builder_class", "content", "message"),
    [
        (Sst2, "", "must start with the columns"),
        (
            Sst2,
            "sentence\tlabel\nA film .\t1\n",
            "must start with the columns 'label.tsentence', got 'sentence.tlabel'",
        ),
        (Sst2, "label\tsentence\n1\tA film .\t7\n", "line 2 must have the columns"),
        (Sst2, "label\tsentence\nA film .\n", "line 2 must have the columns"),
        (Sst2, "label\tsentence\n2\tA film .\n", "line 2: label must be 0 to 1, got 2"),
        (Sst2, "label\tsentence\n-1\tA film .\n", "line 2: label must be 0 to 1, got '-1'"),
        (Sst2, "label\tsentence\n1\tAndr\xe9 .\n", "cut off or damaged"),
        (Imdb, '{"id": "1", "label": 0, "text": "A film."\n', "line 1 is not JSON"),
        (Imdb, '{"label": 0, "text": "A film."}\n', "line 1 must be an object of id, label, text"),
        (Imdb, '{"id": "1", "label": 0, "text": "A film.", "stars": 3}\n', "line 1 must be an object"),
        (Imdb, '["id", "label", "text"]\n', "line 1 must be an object"),
        (Imdb, '{"id": "1", "label": true, "text": "A film."}\n', "label must be 0 to 1, got True"),
        (Imdb, '{"id": "1", "label": "pos", "text": "A film."}\n', "label must be 0 to 1, got 'pos'"),
        (Imdb, '{"id": "1", "label": 0, "text": null}\n', "text and id must be strings"),
        (Newsgroups, '{"id": 1, "label": 0, "text": "A game."}\n', "text and id must be strings"),
    ],
)
def test_other_columns_labels_and_values_are_refused(prepare, folder, builder_class, content, message):
    path = folder / PLAIN[builder_class]
    encoded = content.encode("latin-1")
    path.write_bytes(gzip.compress(encoded) if path.suffix == ".gz" else encoded)
    with pytest.raises(ValueError, match=rf"{path.name}.*{message}"):
        prepare(builder_class, data_dir=folder, check_counts=False)


@pytest.mark.parametrize(
    ("builder_class", "columns", "message"),
    [
        (Sst2, {"sentence": ["A film ."], "label": [0]}, r"lacks \['text'\].* of SetFit/sst2"),
        (Imdb, {"text": ["A film."]}, r"lacks \['label'\].* of stanfordnlp/imdb"),
        (Imdb, {"text": ["A film."], "label": [-1]}, "train row 0: label must be 0 to 1, got -1"),
        (Newsgroups, {"text": ["A game."], "label": [9]}, r"lacks \['label_text'\].* of SetFit/20_newsgroups"),
    ],
)
def test_a_repository_with_other_columns_or_withheld_labels_is_refused(
    prepare, tmp_path, builder_class, columns, message
):
    (tmp_path / "hub").mkdir()
    Dataset.from_dict(columns).to_parquet(tmp_path / "hub" / "train-00000-of-00001.parquet")
    with pytest.raises(ValueError, match=message):
        prepare(builder_class, repository=str(tmp_path / "hub"))


@pytest.mark.parametrize("broken", ["(3 (2 a) (3 film)", "3 (2 a) (3 film))", "()", "film", "(3 )"])
def test_a_broken_tree_is_refused(broken):
    with pytest.raises(ValueError, match="is not a whole tree"):
        read_tree(broken)


def test_texts_out_of_bounds_are_left_out_and_counted(prepare, folder, caplog):
    path = folder / PLAIN[Sst2]
    published = path.read_text(encoding="utf-8")  # texts of 13 words
    kept, left_out = ["0\tOne .", "1\t" + "film " * 12 + "'end'"], ["0\t", "1\t... --", "1\t" + "film " * 14]
    path.write_text("\n".join([published + kept[0], *left_out, kept[1], ""]), encoding="utf-8")
    everything = prepare(Sst2, data_dir=folder, check_counts=False)["test"]
    assert len(everything) == 14
    assert "" in everything["text"]
    assert caplog.records == []
    bounded = prepare(Sst2, data_dir=folder, check_counts=False, min_words=1, max_words=13)["test"]
    assert {*texts(everything)} - {*texts(bounded)} == {(line[2:], int(line[0])) for line in left_out}
    assert [record.getMessage() for record in caplog.records] == ["Sst2: 3 of 14 texts of test left out"]
    with pytest.raises(ValueError, match=r"train has \(0, 0\) texts .* change min_words"):
        prepare(Sst2, data_dir=folder, check_counts=False, max_words=12)


def test_the_development_split_is_made_of_what_is_kept(prepare, source):
    with pytest.raises(ValueError, match=r"validation has \(0, 0\) texts .* validation_share"):
        prepare(Newsgroups, **source(Newsgroups, "archive"), validation_share=0.01)


def test_changed_files_are_read_again(prepare, folder):
    before = prepare(Sst2, data_dir=folder, check_counts=False)["test"]
    path = folder / PLAIN[Sst2]
    path.write_text(path.read_text(encoding="utf-8") + "1\tOne more film .\n", encoding="utf-8")
    after = prepare(Sst2, data_dir=folder, check_counts=False)["test"]
    assert {*texts(after)} - {*texts(before)} == {("One more film .", 1)}
    # What lies beside a corpus is not read.
    key = Sst2(data_dir=folder).config_id
    (folder / "vectors.bin").touch()
    assert Sst2(data_dir=folder).config_id == key


def test_markup_is_kept_on_request(prepare, source):
    for name in SOURCES:
        test = prepare(Imdb, **source(Imdb, name), strip_markup=False)["test"]
        assert texts(test) == sorted(
            (text, label) for split, label, _, text in rows(Imdb, RAW[Imdb]) if split == "test"
        )


@pytest.mark.parametrize("builder_class", BUILDERS)
@pytest.mark.parametrize("name", SOURCES)
def test_export_reads_back_the_same(prepare, source, tmp_path, builder_class, name):
    parameters = {key: str(value) for key, value in source(builder_class, name).items()}
    arguments = ["--output", str(tmp_path / "data"), *(f"--{key}={value}" for key, value in parameters.items())]
    built = prepare(builder_class, **parameters, min_words=1)
    main(builder_class, [*arguments, "--min_words", "1"])
    loaded = load_dataset(str(tmp_path / "data"), cache_dir=tmp_path / "cache")
    assert {split: dataset.to_list() for split, dataset in loaded.items()} == {
        k: v.to_list() for k, v in built.items()
    }
    assert loaded["train"].features == built["train"].features
    card = DatasetCard.load(tmp_path / "data" / "README.md")
    assert card.data.pretty_name == builder_class.CARD_DATA["pretty_name"]
    assert card.data.task_categories == ["text-classification"]
    assert "- min_words: 1\n" in card.text
    # Where the files lay is nobody's business.
    assert ("from plain files with" if name == "data_dir" else Path(parameters[name]).name) in card.text
    assert str(Path(parameters[name]).parent) not in card.text or name == "repository"
    with pytest.raises(FileExistsError, match="choose a new folder"):
        main(builder_class, arguments)


def test_export_of_a_broken_corpus_writes_nothing(prepare, source, tmp_path, monkeypatch):
    monkeypatch.setattr(Imdb, "COUNTS", {"train": (1, 1), "test": (1, 1)})
    arguments = ["--output", str(tmp_path / "data"), "--archive", source(Imdb, "archive")["archive"]]
    with pytest.raises(ValueError, match="were published"):
        main(Imdb, arguments)
    assert not (tmp_path / "data").exists()
    main(Imdb, [*arguments, "--no-check_counts", "--validation_share", "0.4", "--no-strip_markup"])
    assert len(load_dataset(str(tmp_path / "data"), cache_dir=tmp_path / "cache")["validation"]) == 10


@pytest.mark.parametrize(
    ("builder_class", "parameters", "error", "message"),
    [
        (Sst2, {"data_dir": "a", "archive": "b"}, ValueError, "exclude each other"),
        (Sst2, {"check_counts": 1}, TypeError, "check_counts must be True or False"),
        (Sst2, {"min_words": -1}, ValueError, "0 <= min_words <= max_words must hold, got -1 and inf"),
        (Sst2, {"min_words": 3, "max_words": 2}, ValueError, "must hold, got 3 and 2"),
        (Sst2, {"min_words": True}, TypeError, "min_words must be an integer"),
        (Sst2, {"max_words": 2.5}, TypeError, "max_words must be an integer"),
        (Sst2, {"validation_share": 0.1}, TypeError, "unexpected keyword argument 'validation_share'"),
        (Imdb, {"validation_share": 0.0}, ValueError, "validation_share must be between 0 and 1"),
        (Imdb, {"validation_share": 1.0}, ValueError, "validation_share must be between 0 and 1"),
        (Imdb, {"validation_share": "0.1"}, TypeError, "validation_share must be a float"),
        (Imdb, {"seed": 0.5}, TypeError, "seed must be an integer"),
        (Imdb, {"strip_markup": "yes"}, TypeError, "strip_markup must be True or False"),
        (Newsgroups, {"data_dir": "a", "remove": "headers"}, TypeError, "remove must be a list or tuple"),
        (Newsgroups, {"data_dir": "a", "remove": ["header"]}, ValueError, "remove must be among"),
        (Newsgroups, {"remove": ["headers"]}, ValueError, "needs data_dir or archive"),
    ],
)
def test_wrong_parameters_fail_at_construction(tmp_path, builder_class, parameters, error, message):
    with pytest.raises(error, match=message):
        builder_class(cache_dir=tmp_path, **parameters)


@pytest.mark.skipif("CORPORA_DIR" not in os.environ, reason="needs CORPORA_DIR, a folder of sst2/, imdb/ and 20news/")
@pytest.mark.parametrize(
    ("builder_class", "train", "validation"),
    [
        (Sst2, {0: 3310, 1: 3610}, {0: 428, 1: 444}),
        (Imdb, {0: 10_000, 1: 10_000}, {0: 2500, 1: 2500}),
        (Newsgroups, {0: 478, 1: 480}, {0: 119, 1: 120}),
    ],
)
def test_the_published_corpora(tmp_path, builder_class, train, validation):
    builder = builder_class(data_dir=os.environ["CORPORA_DIR"], cache_dir=tmp_path)
    builder.download_and_prepare()
    counts = {split: Counter(dataset["label"]) for split, dataset in builder.as_dataset().items()}
    assert counts == {"train": train, "validation": validation, "test": dict(enumerate(builder.COUNTS["test"]))}
