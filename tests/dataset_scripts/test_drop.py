"""DROP read from plain files and from a copy of the Hub's, and what its rows say of themselves."""

import gzip
import json

import pytest
from datasets import Dataset, load_dataset

from dataset_scripts.drop import drop
from dataset_scripts.drop.drop import Drop, main, question_type

PASSAGE = "In 2010, 120 Poles, 80 Tatars and 20.5% Danes lived there. The Poles won and the Tatars lost."
QUESTIONS = {  # question -> answers, type of the answer, of the question
    "Were there more Poles or Tatars?": (["Poles", "the Poles"], "span", "comparison"),
    "How many percent were not Danes?": (["79.5"], "number", "complement"),
    "How many more Poles than Tatars were there?": (["40"], "number", "difference"),
    "How many sides are named?": (["2", "two"], "number", "count"),
    "Which year was it?": (["  2010", "2010"], "date", "other"),
    "Who are named first?": (["Poles and Tatars"], "spans", "other"),
    "What happened?": (["The Poles won and the Tatars lost"], "span", "other"),
}


def write(folder, **more):
    (folder / "drop").mkdir(exist_ok=True)
    rows = [{"passage_id": "p", "passage": PASSAGE, "question": q, "answers": a[0]} for q, a in QUESTIONS.items()]
    for split in ("train", "validation"):
        with gzip.open(folder / "drop" / f"{split}.jsonl.gz", "wt") as file:
            file.write("".join(json.dumps(row | more) + "\n" for row in rows))


def build(tmp_path, name="all", **options):
    builder = Drop(config_name=name, cache_dir=str(tmp_path / "cache"), **options)
    builder.download_and_prepare()
    return builder.as_dataset(split="validation")


def test_rows_of_plain_files_and_what_is_asked_for(tmp_path):
    write(tmp_path)
    rows = build(tmp_path, data_dir=str(tmp_path))
    assert rows["question"][:] == [*QUESTIONS]
    for row, (answers, answer_type, kind) in zip(rows, QUESTIONS.values(), strict=True):
        assert (row["answer_type"], row["question_type"]) == (answer_type, kind), row
        assert row["answer"] == list(dict.fromkeys(answer.strip() for answer in answers))
        assert row["passage"] == f"{PASSAGE} 100"
    assert len({*rows["id"]}) == len(rows)
    numbers = build(tmp_path, "numbers", data_dir=str(tmp_path))
    assert numbers["question_type"][:] == ["comparison", "complement", "difference"]


def test_the_hubs_rows_are_the_same_where_it_tells(tmp_path, monkeypatch):
    write(tmp_path)
    from_files = build(tmp_path, data_dir=str(tmp_path))
    kinds = {"spans": "span"}
    rows = [
        {
            "section_id": "p",
            "query_id": "q",
            "passage": PASSAGE,
            "question": question,
            "answers_spans": {"spans": answers, "types": [kinds.get(kind, kind)] * len(answers)},
        }
        for question, (answers, kind, _) in QUESTIONS.items()
    ]
    rows[5]["answers_spans"] = {"spans": ["Poles", "Tatars"], "types": ["span", "span"]}
    monkeypatch.setattr(drop.datasets, "load_dataset", lambda repository, split: Dataset.from_list(rows))
    rows_of = build(tmp_path)
    assert rows_of["id"][:] == from_files["id"][:]
    assert rows_of["question_type"][:] == from_files["question_type"][:]
    assert rows_of["answer"][5] == ["Poles", "Tatars"]  # one annotator's spans, or two annotators
    train = [*drop.hub_rows(drop.DropConfig(), "train")]
    assert (train[5]["answer"], train[5]["answer_type"]) == (["Poles and Tatars"], "spans")


@pytest.mark.parametrize(
    ("question", "answer", "kind"),
    [
        ("Which group is larger: under the age of 18 or 18 to 24?", "18 to 24", "comparison"),
        ("Which is smaller, Asian or two or more races?", "Asian", "comparison"),
        ("Which countries had 20% or more of exports?", "Italy", "other"),
        ("How many percent weren't 65 or older?", "91.2", "complement"),
        ("How many percent want peace?", "91.2", "other"),
        ("How many years passed between the wars?", "30", "difference"),
        ("By how many points did they win?", "3", "difference"),
        ("How many runs longer than 30 yards were there?", "3", "count"),
        ("How many total points were scored?", "51", "other"),
        ("How many yards was the longest run?", "51", "other"),
    ],
)
def test_question_types(question, answer, kind):
    assert question_type(question, "", answer, "number" if drop.is_number(answer) else "span") == kind


def test_a_changed_file_is_read_again(tmp_path):
    write(tmp_path)
    assert len(build(tmp_path, data_dir=str(tmp_path))) == len(QUESTIONS)
    write(tmp_path, answers=["other words"])
    assert build(tmp_path, data_dir=str(tmp_path))["answer"][0] == ["other words"]


def test_export(tmp_path):
    write(tmp_path)
    main(["--output", str(tmp_path / "out"), "--data_dir", str(tmp_path)])
    rows = load_dataset(str(tmp_path / "out"), "numbers", split="train", cache_dir=str(tmp_path / "other"))
    assert rows["answer"][1] == ["79.5"]
    assert "Poles / the Poles" in (tmp_path / "out" / "README.md").read_text()


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train\.jsonl\.gz is missing"):
        build(tmp_path, data_dir=str(tmp_path))
    needed = "line 1 must have a list of answers, texts, got"
    for answers in ([], "59", [59], [None]):
        write(tmp_path, answers=answers)
        with pytest.raises(ValueError, match=needed):
            build(tmp_path, data_dir=str(tmp_path))
    write(tmp_path, question="What happened?")
    with pytest.raises(ValueError, match="the train part has no question of difference"):
        build(tmp_path, data_dir=str(tmp_path), question_types=("difference",))
    with pytest.raises(ValueError, match="question_types must be among"):
        Drop(question_types=("sum",))
