"""CalculatorQAPipeline against processor, model and post-processing of one question at a time."""

import json
import os
import random
import subprocess
import sys
from decimal import Decimal

import pytest
import torch
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

from hf_calc import BertForCalculatorQA, CalculatorQAConfig, CalculatorQAPipeline, CalculatorQAProcessor
from hf_calc.pipeline import WINDOW_CHARACTERS, _by_length
from hf_calc.quantities import parse_number

TASK = "calculator-question-answering"
WORDS = ["Anna", "has", "the", "Pens", "7", "1,059", "-12.50", "\u221259", "59%", "na\u00efve", "\ud55c\uad6d", "  \n"]


def make_rows(count):
    """Texts without sense: some of one word, some of several windows, some contexts empty."""
    generator = random.Random(0)
    rows = []
    for k in range(count):
        question, context = generator.randint(1, 6), generator.randint(0, 12) if k % 4 else generator.randint(50, 80)
        texts = [" ".join(generator.choices(WORDS, k=words)) for words in (question, context)]
        rows.append({"question": f"How {texts[0]}", "context": texts[1]})
    return rows


ROWS = make_rows(20)


@pytest.fixture(scope="module")
def processor(tokenizer_dir):
    """Windows of 40 tokens, so that a quarter of ROWS has several."""
    return CalculatorQAProcessor.from_pretrained(tokenizer_dir, model_max_length=136, stride=8)


@pytest.fixture(scope="module")
def model(processor):
    """An untrained model, large weights and float64 so that no two answers are as good as each other."""
    vocabulary = len(processor.tokenizer)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(1)
    return BertForCalculatorQA(CalculatorQAConfig(vocab_size=vocabulary, initializer_range=0.4, **sizes)).double()


@pytest.fixture
def pipe(model, processor):
    return CalculatorQAPipeline(model, processor=processor, device="cpu")


@pytest.fixture(scope="module")
def folder(model, processor, tmp_path_factory):
    """A saved model with its processor, as a trainer leaves them."""
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def one_at_a_time(model, processor, row, top_k=1):
    with torch.no_grad():
        outputs = model.eval()(**processor(row["question"], row["context"]))
    found = processor.post_process_question_answering(outputs, row["question"], row["context"], top_k)[0]
    return [answer | {"score": pytest.approx(answer["score"], rel=1e-9)} for answer in found]


@pytest.mark.parametrize("top_k", [1, 5])
@pytest.mark.parametrize("batch_size", [1, 3, 16, 100])
def test_answers_equal_those_of_one_question_at_a_time(pipe, model, processor, batch_size, top_k):
    expected = [one_at_a_time(model, processor, row, top_k) for row in ROWS]
    assert {answer["segment"] for found in expected for answer in found} == {"question", "passage", "calculator"}
    if top_k == 1:
        expected = [answer for (answer,) in expected]
    assert pipe(ROWS, batch_size=batch_size, top_k=top_k) == expected
    assert pipe(ROWS[::-1], batch_size=batch_size, top_k=top_k) == expected[::-1]
    assert pipe(ROWS[0], batch_size=batch_size, top_k=top_k) == expected[0]


def test_a_place_that_several_windows_hold_comes_once(pipe):
    row = max(ROWS, key=lambda row: len(row["context"]))
    found = pipe(row, top_k=300)
    places = [(a["segment"], a["start"], a["end"], a["calculator"] * (a["segment"] == "calculator")) for a in found]
    assert len(found) == 300 == len({*places})
    assert found[0] == pipe(row)
    assert sorted(found, key=lambda answer: -answer["score"]) == found


def test_characters_cut_the_users_own_texts(pipe):
    for row, answers in zip(ROWS, pipe(ROWS, batch_size=4, top_k=20), strict=True):
        for answer in answers:
            texts = {"question": row["question"], "passage": row["context"], "calculator": answer["calculator"]}
            assert texts[answer["segment"]][answer["start"] : answer["end"]] == answer["answer"] != ""
            for operand in answer["operands"]:
                mention = texts[operand["segment"]][operand["start"] : operand["end"]]
                assert parse_number(mention) == Decimal(operand["value"])


def test_the_model_reads_no_more_rows_than_a_batch_and_little_padding(pipe, processor, monkeypatch):
    shapes = []
    forward = pipe.model.forward

    def spy(**inputs):
        shapes.append(tuple(inputs["input_ids"].shape))
        return forward(**inputs)

    monkeypatch.setattr(pipe.model, "forward", spy)
    pipe(question="How many?", context="the pens " * 200, batch_size=3)
    assert [rows for rows, _ in shapes] == [3, 3, 3, 3, 3, 1]  # 16 windows
    shapes.clear()
    contexts = [" ".join(["pens"] * (k % 10)) for k in range(20)]
    pipe(question="How many?", context=contexts, batch_size=2)
    widths = sorted(processor("How many?", context)["input_ids"].shape[1] for context in contexts)
    assert sorted(shapes) == [(2, width) for width in widths[::2]]


def test_batches_are_of_similar_length():
    generator = random.Random(0)
    for batch_size in (1, 4, 7):
        lengths = [generator.choice([0, 10, 500, 5 * WINDOW_CHARACTERS]) for _ in range(40)]
        batches = list(_by_length(lengths, batch_size))
        assert sorted(place for batch in batches for place in batch) == list(range(40))
        assert [lengths[k] for batch in batches for k in batch] == sorted(lengths, reverse=True)
        for batch in batches:
            assert len(batch) <= batch_size
            assert len(batch) == 1 or sum(lengths[k] for k in batch) <= batch_size * WINDOW_CHARACTERS


class Rows(TorchDataset):
    """Rows without an iterator, and without an error behind the last."""

    def __getitem__(self, place):
        return ROWS[place % 5]

    def __len__(self):
        return 5


def test_all_ways_to_ask_give_the_same_answers(pipe):
    rows = ROWS[:5]
    questions, contexts = ([row[name] for row in rows] for name in ("question", "context"))
    dataset, expected = Dataset.from_list(rows), [pipe(row) for row in rows]
    for answers in (
        [pipe(question=q, context=c) for q, c in zip(questions, contexts, strict=True)],
        pipe(rows),
        pipe(tuple(rows)),
        pipe([{"question": row["question"], "passage": row["context"], "answer": "7"} for row in rows]),
        pipe(question=questions, context=contexts),
        pipe(question=dataset["question"], context=dataset["context"]),
        pipe(dataset[:]),
    ):
        assert answers == expected
    nested = KeyDataset(Dataset.from_dict({"asked": rows}), "asked")
    for many in ((row for row in rows), dataset, dataset.to_iterable_dataset(), Rows(), nested):
        answers = pipe(many)
        assert next(answers) == expected[0]
        assert list(answers) == expected[1:]
    assert pipe([]) == []
    assert list(pipe(iter([]))) == []


def test_one_text_serves_a_list_of_the_other(pipe):
    questions, contexts = [row["question"] for row in ROWS[:3]], [row["context"] for row in ROWS[:3]]
    assert pipe(question=questions, context=contexts[1]) == [pipe(question=q, context=contexts[1]) for q in questions]
    assert pipe(question=questions[1], context=contexts) == [pipe(question=questions[1], context=c) for c in contexts]


@pytest.mark.parametrize(("batch_size", "ahead"), [(1, 1), (2, 100)])
def test_a_generator_is_read_as_far_ahead_as_said(pipe, batch_size, ahead):
    taken = 0

    def rows():
        nonlocal taken
        for taken in range(1, 1000):  # noqa: B007
            yield {"question": "How many?", "context": "the pens"}

    answers = pipe(rows(), batch_size=batch_size)
    assert taken <= 1  # transformers looks at the first
    next(answers)
    assert taken == ahead


def test_defaults_of_the_pipeline(model, processor):
    pipe = CalculatorQAPipeline(model, processor=processor, device="cpu", top_k=3, batch_size=4)
    assert [len(answers) for answers in pipe(ROWS[:2])] == [3, 3]
    assert isinstance(pipe(ROWS[0], top_k=1), dict)


def test_a_model_that_comes_from_training_draws_no_noise(model, processor):
    expected = one_at_a_time(model, processor, ROWS[4])
    assert [CalculatorQAPipeline(model.train(), processor=processor, device="cpu")(ROWS[4])] == expected


def test_texts_without_numbers_or_tokens(pipe):
    answer = pipe(question="How many?", context="")
    assert (answer["segment"], answer["operands"], answer["calculator"]) == ("question", [], "")
    nothing = {"question": "\u200b", "context": ""}  # a space of no width is no token
    answer = {"score": 0.0, "answer": "", "segment": "passage", "start": 0, "end": 0, "operands": [], "calculator": ""}
    assert pipe(nothing) == answer
    assert pipe([nothing, ROWS[0]], batch_size=2) == [answer, pipe(ROWS[0])]
    assert pipe(nothing, top_k=2) == []


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((), "the input must be a dict with the texts `question` and `context`, got .*None"),
        (("How many?",), "the input must be a dict .* got 'How many"),
        ((5,), "the input must be a dict .* got 5"),
        (({"question": "a", "context": None},), "the input must be a dict .* got .*'context': None"),
        (([ROWS[0], {"question": "a"}],), "input 1 must be a dict .* got .*'question': 'a'"),
        (([ROWS[0], "a"],), "input 1 must be a dict .* got 'a'"),
        ((iter([ROWS[0], {"context": "a"}]),), "input 1 must be a dict"),
        (({"question": " \n", "context": "a"},), "the input has an empty question: there is nothing to answer"),
        (([ROWS[0], {"question": "pens " * 40, "context": "a"}],), "question 1, 'pens .* has 40 tokens, but only 21"),
        (({"question": ["a", "b"], "context": ["c"]},), "2 of `question` and 1 of `context`: give as many"),
    ],
)
def test_what_cannot_be_asked_is_told(pipe, inputs, message):
    with pytest.raises(ValueError, match=message):
        list(pipe(*inputs))


def test_wrong_options_are_told(pipe):
    for options, message in (
        ({"top_k": 0}, "top_k must be a number from 1 on, got 0"),
        ({"top_k": 1.5}, "got 1.5"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"question": "a"}, "got inputs and also a question"),
    ):
        with pytest.raises(ValueError, match=message):
            pipe(ROWS, **options)
    with pytest.raises(TypeError, match="topk"):
        pipe(ROWS, topk=2)


def test_made_by_name_from_a_folder_and_saved_again(folder, pipe, tmp_path):
    loaded = pipeline(TASK, model=str(folder), device="cpu")
    assert type(loaded) is CalculatorQAPipeline
    assert loaded.processor.stride == 8
    assert loaded(ROWS, batch_size=4) == pipe(ROWS, batch_size=4)
    loaded.save_pretrained(tmp_path)
    again = pipeline(TASK, model=str(tmp_path), device="cpu")
    assert again(ROWS, batch_size=4) == pipe(ROWS, batch_size=4)
    assert pipeline(TASK, model=str(folder), device="cpu", dtype="bfloat16")(ROWS[0]).keys() == pipe(ROWS[0]).keys()


REMOTE = """
import json, sys
sys.modules["hf_calc"] = None  # as where it is not installed
from transformers import AutoModelForQuestionAnswering, AutoProcessor, pipeline

folder, *again, question, context = sys.argv[1:]
trust = {"trust_remote_code": True}
found = []
for place in (folder, *again):
    pipe = pipeline("calculator-question-answering", model=place, device="cpu", **trust)
    found.append(pipe(question=question, context=context, top_k=3))
    if place == folder:  # saved as a pipeline, and from there as a model and a processor
        pipe.save_pretrained(again[0])
        AutoModelForQuestionAnswering.from_pretrained(again[0], **trust).save_pretrained(again[1])
        AutoProcessor.from_pretrained(again[0], **trust).save_pretrained(again[1])
print(json.dumps(found))
"""


def test_remote_code_answers_without_the_package_and_can_be_saved_again(folder, pipe, tmp_path):
    row, again = ROWS[0], [tmp_path / "pipeline", tmp_path / "parts"]
    process = subprocess.run(
        [sys.executable, "-c", REMOTE, str(folder), *map(str, again), row["question"], row["context"]],
        cwd=tmp_path,
        env=os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    expected = [answer | {"score": pytest.approx(answer["score"])} for answer in pipe(row, top_k=3)]
    assert json.loads(process.stdout.splitlines()[-1]) == [expected] * 3
    shipped = {path.name for path in folder.glob("*.py")}
    assert "pipeline.py" in shipped
    for place in (folder, *again):
        assert {path.name for path in place.glob("*.py")} == shipped
        assert pipeline(TASK, model=str(place), device="cpu")(row, top_k=3) == expected  # no trust asked for here
