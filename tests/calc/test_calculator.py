"""The calculator: exact against fractions, and both of its faces say the same."""

import decimal
import itertools
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from hf_calc import Calculator
from hf_calc.calculator import OPERATIONS, TOKENS, Numbers, format_number, is_calculable, pack_left

# Ends of ranges, signs, zeros in every place, quotients that round to 0 or lie half way between two roundings.
SPECIAL = [
    Decimal(sign + digits)
    for sign in ("", "-")
    for digits in (
        *("0", "1", "3", "10", "100.01", "20000", "40000", "0.5", "0.0001", "0.0005", "999999999"),
        *("1000000000", "9999999999", "9999999999.9999", "3162277.6601", "0.3162", "123456789.0123"),
    )
]


def random_decimals(count, generator, decimals=True):
    """Numbers of every length, positive and negative, half of them integers (all without `decimals`)."""
    digits = generator.integers(1, 11, count)
    places = generator.integers(0, 5, count) * generator.integers(0, 2, count) * decimals
    mantissas = generator.integers(-(10 ** (digits + places)) + 1, 10 ** (digits + places))
    return [Decimal(m).scaleb(-p) for m, p in zip(mantissas.tolist(), places.tolist(), strict=True)]


def encode(calculator, pairs):
    return calculator.encode(*(Numbers.from_decimals(side) for side in zip(*pairs, strict=True)))


def tokenize(strings):
    """Results as a BERT tokenizer that splits digits makes them, [SEP] at the end: (P, L) indices into TOKENS.

    Works on all characters at once, with no knowledge of what they mean.
    """
    index = np.zeros(256, dtype=np.int64)
    for character in "0123456789+-*/=.,":
        index[ord(character)] = TOKENS.index(character)
    index[ord(";")] = TOKENS.index("[SEP]")
    characters = np.frombuffer(";".join(["", *strings, ""]).encode(), np.uint8)
    before, characters = characters[:-1], characters[1:]
    is_digit = np.char.isdigit(characters.view("S1"))
    follows_digit = np.char.isdigit(before.view("S1"))
    tokens = index[characters] + (TOKENS.index("##0") - TOKENS.index("0")) * (is_digit & follows_digit)
    is_end = characters == ord(";")
    keep = (characters != ord(" ")) & ~(is_end & (before == ord(";")))
    row = (is_end.cumsum() - is_end)[keep]
    lengths = np.bincount(row, minlength=len(strings))
    column = np.arange(len(row)) - (lengths.cumsum() - lengths)[row]
    packed = np.zeros((len(strings), lengths.max()), dtype=np.int64)
    packed[row, column] = tokens[keep]
    return torch.from_numpy(packed)


def assert_faces_agree(calculator, pairs):
    assert encode(calculator, pairs).tokens.equal(tokenize([calculator(*pair) for pair in pairs]))


def test_both_faces_agree_on_100_000_pairs():
    generator = np.random.default_rng(0)
    for block in range(10):
        first, second = (random_decimals(10_000, generator, decimals=block % 2) for _ in range(2))
        assert_faces_agree(Calculator(), list(zip(first, second, strict=True)))


@pytest.mark.parametrize("operations", [OPERATIONS, OPERATIONS[::-1], *OPERATIONS])
def test_both_faces_agree_on_all_operations_and_at_the_limits(operations):
    generator = np.random.default_rng(1)
    pairs = list(zip(*(random_decimals(2_000, generator) for _ in range(2)), strict=True))
    assert_faces_agree(Calculator(operations), pairs + list(itertools.product(SPECIAL, SPECIAL)))


def test_token_face_is_what_the_tokenizer_makes_of_the_string(processor):
    calculator, tokenizer = Calculator(OPERATIONS), processor.tokenizer
    pairs = [(a, b) for a, b in itertools.product(SPECIAL[::3], SPECIAL[1::3])]
    for row, (a, b) in zip(encode(calculator, pairs).tokens.tolist(), pairs, strict=True):
        expected = [*tokenizer.tokenize(calculator(a, b)), "[SEP]"]
        assert [TOKENS[k] for k in row] == expected + ["[PAD]"] * (len(row) - len(expected))


def exact_results(operations, a, b):
    """What the calculator should say, as fractions: a list of (value, x, operation, y)."""
    for operation in operations:
        for x, y in [(a, b), (b, a)][: 2 if operation in "-/" else 1]:
            p, q = Fraction(x), Fraction(y)
            if operation in "+-":
                yield p + q if operation == "+" else p - q, p, operation, q
            elif operation == "*":
                # 18 digits, all decimals of the operands counted.
                digits = [int(format_number(n).replace(".", "")) for n in (x, y)]
                if abs(digits[0] * digits[1]) < 10**18:
                    yield p * q, p, operation, q
            elif y:
                rounded = Fraction(int(abs(p / q) * 10**4 + Fraction(1, 2)), 10**4)
                yield rounded if p / q > 0 else -rounded, p, operation, q


def test_results_are_exact():
    generator = np.random.default_rng(2)
    pairs = list(zip(*(random_decimals(2_000, generator) for _ in range(2)), strict=True))
    calculator = Calculator(OPERATIONS)
    for a, b in pairs + list(itertools.product(SPECIAL, SPECIAL)):
        said = [re.fullmatch(r"(\S+) = (\S+) (\S) (\S+)", result) for result in calculator(a, b).split(" , ")]
        said = [(Fraction(m[1]), Fraction(m[2]), m[3], Fraction(m[4])) for m in said]
        assert said == list(exact_results(OPERATIONS, a, b))


def test_spans_hold_the_numbers_of_the_results():
    generator = np.random.default_rng(3)
    pairs = list(zip(*(random_decimals(300, generator) for _ in range(2)), strict=True))
    pairs += itertools.product(SPECIAL[::2], SPECIAL[::3])
    calculator = Calculator(OPERATIONS)
    results = encode(calculator, pairs)
    for row, (a, b) in enumerate(pairs):
        tokens = [TOKENS[k] for k in results.tokens[row]]
        found = []
        for spans, *numbers in zip(*(field[row].tolist() for field in (results.spans, *results.values)), strict=True):
            if spans != [[-1, -1]] * 3:
                texts = ["".join(tokens[i : j + 1]).replace("##", "") for i, j in spans]
                assert texts == [format_number(Decimal(m).scaleb(-d)) for m, d in zip(*numbers, strict=True)]
                assert tokens[spans[0][1] + 1] == tokens[spans[1][0] - 1] == "="
                found.append(f"{texts[0]} = {texts[1]} {tokens[spans[2][0] - 1]} {texts[2]}")
        assert " , ".join(found) == calculator(a, b)


def test_zero_has_no_sign():
    zeros = [("5", "5"), ("-0.0", "0"), ("0", "-7"), ("-7", "0.00"), ("-1", "99999")]
    calculator = Calculator(OPERATIONS)
    for a, b in zeros:
        assert not re.search(r"-0(?![.\d])", calculator(a, b))
        assert "0 = " in calculator(a, b)
    assert_faces_agree(calculator, [(Decimal(a), Decimal(b)) for a, b in zeros])


@pytest.mark.parametrize(
    ("operations", "a", "b", "text"),
    [
        ("+-", 72, 23, "95 = 72 + 23 , 49 = 72 - 23 , -49 = 23 - 72"),
        ("+", "0.1", "0.2", "0.3 = 0.1 + 0.2"),
        ("/", 3, 0, "0 = 0 / 3"),
        ("/", 0, 0, ""),
        ("/+", 0, 0, "0 = 0 + 0"),
        ("/", 1, 3, "0.3333 = 1 / 3 , 3 = 3 / 1"),
        ("/", "-0.0001", 2, "-0.0001 = -0.0001 / 2 , -20000 = 2 / -0.0001"),
        ("*", 999999999, 1000000001, "999999999999999999 = 999999999 * 1000000001"),
        ("*", 1000000000, 1000000000, ""),
        ("*", "0.0001", "0.0001", "0.00000001 = 0.0001 * 0.0001"),
        ("*", "1.50", "-20", "-30 = 1.5 * -20"),
    ],
)
def test_results_in_writing(operations, a, b, text):
    assert Calculator(operations)(a, b) == text


@pytest.mark.parametrize("operations", [("+", "-"), OPERATIONS])
def test_no_pairs_give_empty_tensors_of_the_right_shape(operations):
    none = Numbers.from_decimals([])
    results = Calculator(operations).encode(none, none)
    count = len(Calculator(operations).expressions)
    shapes = [t.shape for t in (results.tokens, *results.values, results.spans)]
    assert shapes == [(0, 0), (0, count, 3), (0, count, 3), (0, count, 3, 2)]
    assert Calculator("/").encode(*[Numbers.from_decimals([Decimal(0)])] * 2).tokens.shape == (1, 0)


def test_a_result_does_not_depend_on_the_pairs_beside_it():
    pairs = list(itertools.product(SPECIAL[::5], SPECIAL[2::5]))
    together = encode(Calculator(OPERATIONS), pairs)
    for row, pair in enumerate(pairs):
        alone = encode(Calculator(OPERATIONS), [pair])
        width = alone.tokens.shape[1]
        assert together.tokens[row, :width].equal(alone.tokens[0])
        assert not together.tokens[row, width:].any()
        assert together.spans[row].equal(alone.spans[0])


def test_two_7_digit_numbers_take_74_tokens():
    largest = Decimal(9_999_999)
    assert encode(Calculator(), [(largest, Decimal(1_000_000))]).tokens.shape == (1, 74)
    assert encode(Calculator(), [(largest, largest)]).tokens.shape[1] < 74


def test_decimals_as_integers_and_back():
    values = [Decimal(text) for text in ("1.50", "-1.5", "100", "1E+2", "-0.0", "0.0001", "9999999999.9999")]
    numbers = Numbers.from_decimals([*values, None])
    assert numbers.mantissa.tolist() == [15, -15, 100, 100, 0, 1, 99999999999999, 0]
    assert numbers.decimals.tolist()[:-1] == [1, 1, 0, 0, 0, 4, 4]
    # Equal numbers have equal fields, and None equals none of them, not even 0.
    for (i, x), (j, y) in itertools.product(enumerate([*values, None]), repeat=2):
        assert (x == y) == all(bool(field[i] == field[j]) for field in numbers)


def test_pack_left():
    values, keep = torch.randint(100, (50, 7)), torch.rand(50, 7) < 0.3
    packed = pack_left(values, keep, fill=-1)
    assert packed.shape[1] == keep.sum(1).max()
    for row, value, kept in zip(packed, values, keep, strict=True):
        assert row.tolist() == value[kept].tolist() + [-1] * (len(row) - int(kept.sum()))
    assert pack_left(values[:0], keep[:0], fill=0).shape == (0, 0)
    assert pack_left(values, keep & False, fill=0).shape == (50, 0)


CALCULABLE = ["0", "-9999999999.9999", "9999999999", "1.50000", "1E+9", "-0.0001"]
NOT_CALCULABLE = ["10000000000", "-1E+10", "0.00001", "9999999999.99995", "1e9999999", "-1e-9999999", "NaN"]


def test_limits():
    assert all(is_calculable(Decimal(text)) for text in CALCULABLE)
    assert not any(is_calculable(Decimal(text)) for text in NOT_CALCULABLE)


@pytest.mark.parametrize("value", [*NOT_CALCULABLE, 0.1])
def test_numbers_beyond_the_limits_are_refused(value):
    with pytest.raises(ValueError, match=re.escape(f"behind it, got {value!r}: round it or leave it out")):
        Calculator()(1, value)


@pytest.mark.parametrize("value", ["", "twelve", "1,000", "5%"])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match=re.escape(f"needs numbers in plain digits like '-12.5', got {value!r}")):
        Calculator()(value, 1)


@pytest.mark.parametrize("operations", [[], ["+", "+"], ["+", "%"], ["plus"], None])
def test_wrong_operations_are_refused(operations):
    with pytest.raises(ValueError, match=re.escape(f"some of + - * /, each once; got {operations!r}")):
        Calculator(operations)


def test_the_callers_decimal_context_changes_nothing():
    text = Calculator(OPERATIONS)("9999999999.9999", "0.0003")
    with decimal.localcontext(prec=3, rounding=decimal.ROUND_UP, traps=[decimal.Inexact]):
        assert Calculator(OPERATIONS)("9999999999.9999", "0.0003") == text
