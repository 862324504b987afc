"""Functions of the user's own: candidates, results, labels, ceiling, saving and answers against brute force."""

import calendar
import itertools
import logging
import os
import random
import re
from collections import namedtuple
from datetime import date, timedelta
from decimal import Decimal
from functools import partial

import pytest
import torch
from transformers import AutoProcessor

from hf_calc import (
    Calculator,
    CalculatorQAPipeline,
    CalculatorQAProcessor,
    SymbolicFunction,
    find_dates,
    find_names,
    find_quantities,
    look_up,
)
from hf_calc.candidate_results import is_result
from hf_calc.cli import _table
from hf_calc.span_decoding import SpanPredictions
from hf_calc.symbolic_function import SHIPPED, changed_comparison, comparison, date_difference, total

TABLE = {
    "Kyoto": {"people": 1463723, "river": "kamo"},
    "Nara": {"people": 354630, "river": None},
    "Nara Park": {"people": ""},
}
# A text for each shipped function: question, passage, answer, how many arguments, how many have a result.
TEXTS = {
    "comparison": ("Who has more?", "anna has 17 pens, carl 9 and grace 30.", "30", 2, 3),
    "changed_comparison": ("How many pens?", "anna has 17 pens, carl 9.", "26", 6, 36),
    "date_difference": ("How many days?", "from Jan 31, 2004 to 2004-03-01, or 5 May 2005", "30 days", 2, 3),
    "total": ("How many pens?", "anna has 12 pens, carl 5, grace 3 and mark 100.", "20", 4, 11),
    "look_up": ("How many people has nara?", "kyoto and nara; the river is long", "354630", 2, 4),
}
Found = namedtuple("Found", "value kind")


def find_digits(text):
    return [(int(m[0]), *m.span()) for m in re.finditer("[0-9]", text)]


def find_letters(text):
    return [(m[0], *m.span()) for m in re.finditer(r"\b[a-z]\b", text)]


def words(*values):
    return " ".join(map(str, values))


def shipped(name):
    return look_up(TABLE) if name == "look_up" else name


def tuples_by_brute_force(kinds, values, arguments, unordered, optional, exclusive, keep):
    """Proposition 1's product by itertools, also without the last, or of the last with one at most."""
    found, required = set(), len(arguments) - optional
    for count in range(required, len(arguments) + 1):
        places = [k for k in range(count) if k < required or k == count - 1 or not exclusive]
        spaces = [[k for k, kind in enumerate(kinds) if kind == arguments[place]] for place in places]
        for chosen in itertools.product(*spaces):
            is_set = all(i < j for i, j in itertools.pairwise(chosen))
            whole = [chosen[places.index(k)] if k in places else -1 for k in range(count)]
            if (is_set or not unordered) and keep(*(None if k < 0 else values[k] for k in whole)):
                found.add((*whole, *[-1] * (len(arguments) - count)))
    return found


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(
    ("arguments", "unordered", "optional", "exclusive"),
    [
        ("D", False, 0, False),
        ("DD", False, 0, False),
        ("DD", True, 0, False),
        ("DDDD", True, 2, False),
        ("DDD", False, 2, False),
        ("DLD", False, 1, False),
        ("DLDDL", False, 3, True),
    ],
)
def test_candidates_are_the_product_of_the_argument_spaces(arguments, unordered, optional, exclusive, kept):
    keep = (lambda *values: sum(map(hash, values)) % 3 > 0) if kept else None
    finders = {"D": find_digits, "L": find_letters}
    function = SymbolicFunction(words, [finders[a] for a in arguments], None, keep, unordered, optional, exclusive)
    order = list(dict.fromkeys(arguments))
    generator, rows = random.Random(0), []
    for count in range(8):
        mentions = [Found(generator.randrange(10), generator.randrange(len(order))) for _ in range(count)]
        expected = tuples_by_brute_force(
            [m.kind for m in mentions],
            [m.value for m in mentions],
            [order.index(a) for a in arguments],
            unordered,
            optional,
            exclusive,
            keep or (lambda *values: True),
        )
        tuples = [tuple(row) for row in function.argument_tuples(mentions).tolist()]
        assert len(tuples) == len(set(tuples))
        assert set(tuples) == expected
        assert tuples == sorted(tuples, key=lambda row: row[::-1])  # the first running fastest
        rows.append(mentions)
    stacked = function.stack_tuples(rows)
    assert stacked.shape[2] == len(arguments)
    for row, mentions in zip(stacked, rows, strict=True):
        tuples = function.argument_tuples(mentions)
        assert row[: len(tuples)].equal(tuples)
        assert (row[len(tuples) :] == -1).all()


def test_a_batch_holds_every_result_of_every_row(load):
    """Two kinds of finds, ragged rows, results of all lengths: the tensors say what a loop over strings says."""
    function = SymbolicFunction(lambda a, b="": f"{'pens ' * a}{b}", [find_digits, find_letters], "many", optional=1)
    processor = load(function)
    texts = ["1 0 x", "", "2 y 3 z"], ["3 w", "none", "0"]
    batch = processor(*texts, ["pens", "w", ["y", "z"]])
    for row, pair in enumerate(zip(*texts, strict=True)):
        found = [
            (finder, value, segment, start)
            for finder in (find_digits, find_letters)
            for segment, text in enumerate(pair)
            for value, start, _ in finder(text)
        ]
        encoding = processor.tokenizer([pair[0]], [pair[1]])
        positions = [encoding.char_to_token(0, start, segment) for *_, segment, start in found]
        assert batch["mention_positions"][row, : len(found)].tolist() == positions
        seen = 0
        for arguments, ids in zip(batch["candidate_arguments"][row], batch["candidate_ids"][row], strict=True):
            values = [found[k][1] for k in arguments.tolist() if k >= 0]
            result = function.function(*values) if values else ""
            expected = processor.tokenizer(result)["input_ids"][1:] if result.strip() else []
            assert ids[ids > 0].tolist() == expected
            seen += bool(expected)
        numbers, letters = (len([f for f in found if f[0] is finder]) for finder in (find_digits, find_letters))
        empty = len([f for f in found if f[0] is find_digits and f[1] == 0])
        assert seen == numbers * (letters + 1) - empty  # only 0 without a letter has no result
    assert batch["argument_labels"].sum(1).tolist() == [6, 0, 6]


@pytest.mark.parametrize("operations", ["+-", "*/", "/"])
def test_the_calculator_as_a_plain_function_gives_the_same_tensors(tokenizer_dir, operations):
    function = SymbolicFunction(Calculator(operations), [find_quantities] * 2, name="calculator", unordered=True)
    fast = CalculatorQAProcessor.from_pretrained(tokenizer_dir, operations=operations, result_tokens=96)
    plain = CalculatorQAProcessor.from_pretrained(tokenizer_dir, function=function, result_tokens=96)
    generator, answers = random.Random(0), ["59", "-52", "118", ["0", "5.9"], "the", "0.5", "59 yards", [], "1"]
    numbers = ["59", "-59", "5.9", "1,059", "0", "7", "-52", "100", "59%", "the yards", "9999999999.9999", "59 yards"]
    texts = [[" ".join(generator.choices(numbers, k=generator.randint(0, 5))) for _ in answers * 6] for _ in range(2)]
    one, other = fast(*texts, answers * 6), plain(*texts, answers * 6)
    assert one.keys() == other.keys()
    exists = one["candidate_ids"][..., 0] > 0
    for name in one:
        if name in ("mention_positions", "candidate_arguments"):
            continue  # differ where there is none
        assert one[name].equal(other[name]), name
    assert one["candidate_arguments"][exists].equal(other["candidate_arguments"][exists])
    assert one["argument_labels"].any()
    assert exists.sum() > 100


def test_functions_that_raise_or_say_nothing_have_no_candidate_there(load, caplog):
    def divide(a, b):
        return "" if a == 3 else str(a / b)

    processor = load(SymbolicFunction(divide, [find_digits, find_digits]))
    with caplog.at_level(logging.WARNING, "hf_calc.symbolic_function"):
        batch = processor(["how many?"] * 2, ["3 0 4", "0"], ["1.0", "pens"])
        processor("how many?", "3 0 4")
    (record,) = caplog.records
    assert "divide raised for 3 of 10 tuples of arguments" in record.getMessage()
    assert "the first: ZeroDivisionError: division by zero" in record.getMessage()
    arguments = [tuple(pair) for pair in batch["candidate_arguments"][0].tolist()]
    has_result = (batch["candidate_ids"][0, :, 0] > 0).tolist()
    assert {pair for pair, has in zip(arguments, has_result, strict=True) if has} == {(1, 0), (1, 2), (2, 0), (2, 2)}
    assert not batch["candidate_ids"][1].any()
    for nothing in ("", " \n", "\u200b"):
        assert not load(SymbolicFunction(lambda a, n=nothing: n, [find_digits], "f"))("a", "1")["candidate_ids"].any()
    with pytest.raises(TypeError, match="f must return a string, '' where it has no result; got 3 for"):
        load(SymbolicFunction(lambda a: a, [find_digits], "f"))("a", "3")
    with pytest.raises(TypeError, match="got None"):
        load(SymbolicFunction(lambda a: None, [find_digits], "f"))("a", "3")

    def interrupt(a):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(SymbolicFunction(interrupt, [find_digits]))("a", "1")


def test_what_is_typed_is_only_text(load, make_model, tmp_path, monkeypatch):
    """Code, templates, tokens and patterns in a text, as names and as results."""
    monkeypatch.chdir(tmp_path)
    hostile = [
        "__import__('os').system('touch hacked')",
        "{0.__class__} %s ${HOME} `touch hacked`",
        "[SEP] [PAD] [CLS]",
        "(?<!a)(b|*[",
        "'; drop table x --",
    ]
    function = SymbolicFunction(lambda name: name, [find_names(hostile)], name="echo")
    processor = load(function)
    passage = " and ".join(hostile)
    batch = processor(hostile[0], passage, [hostile])
    assert batch["candidate_ids"].shape[1] == 6
    assert batch["argument_labels"].tolist() == [[1.0] * 6]
    for ids, result in zip(batch["candidate_ids"][0, 1:], hostile, strict=True):
        assert (ids[: len(processor.tokenizer.tokenize(result))] > 0).all()
        assert not {2, 3} & set(ids[ids > 0][:-1].tolist())  # no mark of the tokenizer but the last
    answers = CalculatorQAPipeline(make_model(processor), processor=processor, device="cpu")(
        question=hostile[0], context=passage, top_k=200
    )
    for answer in answers:
        texts = {"question": hostile[0], "passage": passage, "calculator": answer["calculator"]}
        assert texts[answer["segment"]][answer["start"] : answer["end"]] == answer["answer"]
        assert answer["operands"][0]["value"] == answer["calculator"]
    assert {answer["segment"] for answer in answers} == {"question", "passage", "calculator"}
    assert not os.listdir(tmp_path)


def month_after(start, count):
    """The day `count` months on, or the first of the next month where it has no such day; by counting days."""
    year, month = start.year, start.month
    for _ in range(count):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    length = calendar.monthrange(year, month)[1]
    return date(year, month, start.day) if start.day <= length else date(year, month, length) + timedelta(days=1)


def test_date_difference_by_counting():
    generator = random.Random(0)
    ends = [date(y, m, calendar.monthrange(y, m)[1]) for y in (1999, 2000, 2004, 2100) for m in (1, 2, 3, 4, 12)]
    days = ends + [date(1999, 1, 1) + timedelta(days=generator.randrange(2000)) for _ in range(20)]
    for a, b in itertools.product(days, days):
        if abs((a - b).days) > 2500:
            continue
        first, last = min(a, b), max(a, b)
        months = next(n for n in itertools.count() if month_after(first, n + 1) > last)
        years = next(n for n in itertools.count() if month_after(first, 12 * (n + 1)) > last)
        numbers = [int(n) for n in re.findall(r"[0-9]+", date_difference(a, b))]
        assert numbers == [last.toordinal() - first.toordinal(), months, years]
    assert date_difference(date(2004, 2, 29), date(2005, 3, 1)) == "366 days , 12 months , 1 year"
    assert date_difference(date(2004, 1, 30), date(2004, 1, 31)) == "1 day , 0 months , 0 years"


def test_comparisons_and_total_in_exact_decimals():
    numbers = [Decimal(n) for n in ("-3", "-2.5", "0", "0.10", "0.1", "9", "17", "1234567.0001")]
    for a, b in itertools.product(numbers, numbers):
        big, sign, small = comparison(a, b).split()
        assert (Decimal(big), Decimal(small)) == (max(a, b), min(a, b))
        assert sign == ("=" if a == b else ">")
    for a, b, change, way in itertools.product(numbers, numbers, [None, *numbers], range(4)):
        given = [] if change is None else [*[None] * way, change]
        gains = [change or 0, -(change or 0)]
        amounts = (a + gains[way], b) if way < 2 else (a, b + gains[way - 2])
        left, sign, right = changed_comparison(a, b, *given).split()
        assert (Decimal(left), Decimal(right)) == amounts
        assert {"=": amounts[0] == amounts[1], "<": amounts[0] < amounts[1], ">": amounts[0] > amounts[1]}[sign]
    for count in (2, 3, 4):
        for chosen in itertools.combinations(numbers, count):
            result, shown = total(*chosen).split(" , ")
            value, terms = result.split(" = ")
            assert Decimal(value) == sum(chosen)
            assert [Decimal(term) for term in terms.split(" + ")] == list(chosen)
            assert shown == f"{count} numbers"


def test_look_up():
    function = look_up(TABLE)
    assert {(row, column): function(row, column) for row in TABLE for column in ("people", "river")} == {
        ("Kyoto", "people"): "1463723",
        ("Kyoto", "river"): "kamo",
        ("Nara", "people"): "354630",
        ("Nara", "river"): "",
        ("Nara Park", "people"): "",
        ("Nara Park", "river"): "",
    }


def test_names_are_found_as_whole_words_the_longest_first():
    names = ["York", "New York", "c++", "3rd Ave.", "\u00c9vry", "stra\u00dfe"]
    text = "NEW YORK, york; Yorkshire, New  York, C++ (3rd ave.) \u00e9vry, stra\u00dfe \u017ftrasse new York"
    found = find_names(names)(text)
    assert [m.value for m in found] == [
        *("New York", "York", "York", "c++", "3rd Ave.", "\u00c9vry", "stra\u00dfe", "New York")
    ]
    assert all(text[m.start : m.end].lower() == m.value.lower() for m in found)
    assert [m.value for m in find_names(["strasse"])("\u017ftrasse")] == ["strasse"]  # a long s is an s in either case
    for wrong in ([], ["a", " "], ["us", "US"], [1], [None, "a"]):
        with pytest.raises(ValueError, match="names must"):
            find_names(wrong)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("April 5, 2003; apr. 5 2003; 5 April 2003; 5th of April, 2003; 2003-04-05", ["2003-04-05"] * 5),
        ("29 Feb 2004, 29 Feb 2003, February 30, 2004, 2004-13-01, 2004-00-10, 0 May 2004", ["2004-02-29"]),
        ("12003-04-05 2003-04-055 2003-04-05-06 1-2003-04-05 x2003-04-05", []),
        ("mayor 5, 2003, 4/5/2003, April 2003, May 5, 03, Sept. 1st, 1999", ["1999-09-01"]),
        ("\u0661\u0662 May 2003", []),
        ("0000-01-01", []),
    ],
)
def test_dates(text, found):
    assert [str(mention.value) for mention in find_dates(text)] == found


@pytest.mark.parametrize("name", [*SHIPPED, "look_up"])
def test_every_shipped_function_from_text_to_tensors(load, name):
    question, passage, answer, num_arguments, num_results = TEXTS[name]
    processor = load(shipped(name))
    batch = processor(question, passage, answer)
    assert processor.num_arguments == num_arguments == batch["candidate_arguments"].shape[2]
    assert (batch["candidate_ids"][0, :, 0] > 0).sum() == num_results
    right = batch["candidate_ids"][0][batch["argument_labels"][0] > 0]
    results = {
        "comparison": ["30 > 17", "30 > 9"],
        "changed_comparison": ["26 > 17", "26 > 9"] * 2,
        "date_difference": ["30 days , 1 month , 0 years"],
        "total": ["20 = 12 + 5 + 3 , 3 numbers"],
        "look_up": ["354630", "354630"],  # Nara of the question, and of the passage
    }[name]
    assert [ids[ids > 0].tolist() for ids in right] == [processor.tokenizer(r)["input_ids"][1:] for r in results]


def test_what_shows_how_a_result_came_about_makes_no_label(load):
    string = "95 = 72 + 23 , 49 = 72 - 23 , 7 > 5 and 3 numbers , 30 days"
    parts = [(m.start(), int(m[0])) for m in re.finditer("[0-9]+", string)]
    assert [n for start, n in parts if is_result(string, start)] == [95, 49, 7, 30]
    processor = load("comparison")
    for answer, labels in (("17", [1, 0, 0]), ("9", [0, 0, 0]), ("30", [0, 1, 1])):
        batch = processor("who?", "17 9 30", answer)
        assert batch["argument_labels"].tolist() == [labels]
        holds = batch["candidate_answer_spans"][0, :, 0, 0] >= 0  # as an answer it may be read even so
        assert holds.tolist() == [answer in pair for pair in (("17", "9"), ("17", "30"), ("9", "30"))]


def test_number_words_count_for_functions_too(load):
    for number_words, count in ((True, 1), (False, 0)):
        batch = load("total", number_words=number_words)("how many?", "anna has two pens and 3 yards", "five")
        assert (batch["candidate_ids"][..., 0] > 0).sum() == count
        assert batch["argument_labels"].sum() == count


def test_a_result_too_long_for_its_window_is_no_candidate(load, caplog):
    logging.Logger.warning_once.cache_clear()
    processor = load(
        SymbolicFunction(lambda a: "pens " * a, [find_digits], "pens"), model_max_length=32, stride=2, result_tokens=8
    )
    with caplog.at_level(logging.WARNING, "hf_calc.candidate_results"):
        batch = processor("how many?", "3 7 9 " + "the " * 14, "pens")
    assert (batch["attention_mask"].sum(1) <= 24).all()
    assert (batch["candidate_ids"][0, :, 0] > 0).tolist() == [True, True, False]
    assert batch["candidate_ids"].shape[2] == 8  # of what fits
    assert batch["argument_labels"][0].tolist() == [1, 1, 0]
    (record,) = caplog.records
    assert "A result of pens does not fit" in record.getMessage()


def test_wrong_functions_are_told(load, processor):
    finders = [find_digits, find_digits]
    for error, message, call in (
        (TypeError, "needed a function, finders .* got 5", lambda: SymbolicFunction(5, finders)),
        (TypeError, "got 'numbers'", lambda: SymbolicFunction(words, ["numbers"])),
        (ValueError, "has no name of its own", lambda: SymbolicFunction(partial(words), finders)),
        (ValueError, "at least one argument", lambda: SymbolicFunction(words, [])),
        (ValueError, "got 2, 2 and 1024", lambda: SymbolicFunction(words, finders, optional=2)),
        (ValueError, "got 2, 0 and 0", lambda: SymbolicFunction(words, finders, max_candidates=0)),
        (ValueError, "one finder", lambda: SymbolicFunction(words, [find_digits, find_letters], unordered=True)),
        (ValueError, "none is exclusive", lambda: SymbolicFunction(words, finders, unordered=True, exclusive=True)),
        (ValueError, "called with 2 values", lambda: SymbolicFunction(lambda a: "", finders)),
        (ValueError, "called with 1 values", lambda: SymbolicFunction(lambda a, b: "", finders, optional=1)),
        (ValueError, "called with 2 values", lambda: SymbolicFunction(words, finders, keep=lambda a: True)),
        (TypeError, "function must be a SymbolicFunction or one of arithmetic, comparison", lambda: load(words)),
        (ValueError, "'sum' is none of the functions .*arithmetic, comparison", lambda: load("sum")),
        (ValueError, "total is a shipped function", lambda: load(SymbolicFunction(words, finders, name="total"))),
        (ValueError, "arithmetic is a shipped", lambda: load(SymbolicFunction(words, finders, name="arithmetic"))),
        (ValueError, "found 1 at characters 2 to 2", lambda: load(
            SymbolicFunction(words, [lambda text: [(1, 2, 2)]]))("the", "the")),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize("name", [*SHIPPED, "look_up"])
def test_saving_keeps_the_function(load, name, tmp_path):
    processor, given = load(shipped(name)), {"function": look_up(TABLE)} if name == "look_up" else {}
    for k in range(2):  # a loaded one is saved as well
        processor.save_pretrained(tmp_path / str(k))
        if given:
            with pytest.raises(ValueError, match=r"'look_up' is none of .*from_pretrained\(\.\.\., function=look_up"):
                AutoProcessor.from_pretrained(tmp_path / str(k))
        loaded = AutoProcessor.from_pretrained(tmp_path / str(k), **given)
        assert loaded.function == name
        before, after = (p(*TEXTS[name][:3]) for p in (processor, loaded))
        assert before.keys() == after.keys()
        assert all(before[key].equal(after[key]) for key in before)
        processor = loaded


def test_a_function_that_cannot_be_copied_or_pickled_is_saved_by_name(load, tmp_path):
    lock = open(os.devnull)  # noqa: SIM115
    function = SymbolicFunction(partial(lambda file, a: f"{a}", lock), [find_digits], name="mine")
    processor = load(function)
    processor.save_pretrained(tmp_path)
    assert "mine" in (tmp_path / "processor_config.json").read_text()
    assert "SymbolicFunction" not in (tmp_path / "processor_config.json").read_text()
    loaded = CalculatorQAProcessor.from_pretrained(tmp_path, function=function)
    assert loaded.calculator is function
    lock.close()


@pytest.mark.parametrize("name", [*SHIPPED, "look_up"])
def test_a_step_moves_every_parameter(load, make_model, make_trainer, tmp_path, name):
    processor, rows = load(shipped(name)), [TEXTS[name][:3]]
    rows += [(question, passage, question.split()[0]) for question, passage, _ in rows]  # one that is always found
    model = make_model(processor)
    trainer = make_trainer(processor, model, tmp_path, rows)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    trainer.train()
    assert not [key for key, p in model.named_parameters() if torch.equal(before[key], p)]
    assert trainer.evaluate()["eval_loss"] > 0


def test_a_model_for_another_number_of_arguments_is_refused(load, make_model, make_trainer, tmp_path):
    processor = load("total")
    model = make_model(processor, num_arguments=2)
    rows = [TEXTS["total"][:3]]
    with pytest.raises(ValueError, match="total, has num_arguments=4 and the model 2: give"):
        make_trainer(processor, model, tmp_path, rows)
    with pytest.raises(ValueError, match="candidates of 4 arguments, but the model takes 2: make it with num_arg"):
        model(**processor(*rows[0]))
    rows = [(*rows[0][:2], "12")]
    make_trainer(processor, make_model(processor, num_arguments=2, use_calculator=False), tmp_path, rows)


def test_argument_accuracy_is_of_two_arguments_alone(load, make_model, make_trainer, tmp_path):
    processor = load("total")
    trainer = make_trainer(processor, make_model(processor), tmp_path, [TEXTS["total"][:3]])
    rows = trainer.eval_dataset.add_column("quantities", [[{"value": 12, "start": 9}, {"value": 5, "start": 23}]])
    metrics = trainer.evaluate(rows.add_column("gold_arguments", [[0, 1]]))
    assert "eval_f1" in metrics
    assert not any("argument_accuracy" in name for name in metrics)


@pytest.mark.parametrize("name", [*SHIPPED, "look_up"])
def test_answers_name_operands_and_result(load, make_model, name):
    question, passage, *_ = TEXTS[name]
    processor = load(shipped(name))
    pipe = CalculatorQAPipeline(make_model(processor), processor=processor, device="cpu")
    answers = pipe(question=question, context=passage, top_k=300)
    assert "calculator" in {answer["segment"] for answer in answers}
    for answer in answers:
        texts = {"question": question, "passage": passage, "calculator": answer["calculator"]}
        assert texts[answer["segment"]][answer["start"] : answer["end"]] == answer["answer"]
        mentions = [o and texts[o["segment"]][o["start"] : o["end"]] for o in answer["operands"]]
        finders = processor.calculator.finders
        read = [m and next(found[0].value for f in finders if (found := f(m))) for m in mentions]
        assert answer["calculator"] == processor.calculator(*read) != ""
        assert [o and o["value"] for o in answer["operands"]] == [value and str(value) for value in read]


def test_an_argument_left_out_before_another_is_no_operand_but_has_its_place(load):
    processor, question, passage = load("changed_comparison"), "Who has more?", "anna has 17, carl 9, she gave 5."
    tuples = processor(question, passage)["candidate_arguments"][0].tolist()
    for chosen, values, result in (
        ([0, 1, -1, 2, -1, -1], ["17", "9", None, "5"], "12 > 9"),
        ([0, 1, 2, -1, -1, -1], ["17", "9", "5"], "22 > 9"),
        ([0, 1, -1, -1, 2, -1], ["17", "9", None, None, "5"], "17 > 14"),
        ([0, 1, -1, -1, -1, -1], ["17", "9"], "17 > 9"),
    ):
        place = torch.tensor([[0]])
        spans = SpanPredictions(place.float(), place, place + 1, place + 1, place + tuples.index(chosen))
        ((answer,),) = processor.decode_spans(spans, question, passage)
        assert [o and o["value"] for o in answer["operands"]] == values
        assert answer["calculator"] == result
        shown = _table({"passage": "", "question": "", "answers": [answer]})
        assert (", -, " in shown) == (None in values)


def test_a_text_without_arguments(load, make_model):
    processor = load("total")
    batch = processor("how many?", "5 pens", "5")
    assert batch["candidate_arguments"].tolist() == [[[-1] * 4]]
    assert batch["candidate_ids"].tolist() == [[[0]]]
    assert batch["argument_labels"].tolist() == [[0.0]]
    answer = CalculatorQAPipeline(make_model(processor), processor=processor, device="cpu")(
        question="how many?", context="5 pens"
    )
    assert (answer["operands"], answer["calculator"]) == ([], "")
