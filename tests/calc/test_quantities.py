"""Which numbers a text holds: a table of tricky texts, and every number in every writing comes back exactly."""

import random
import re
from decimal import Decimal

import pytest

from hf_calc.quantities import find_quantities, parse_number

MINUS, EN_DASH = "\u2212", "\u2013"
OTHER_DIGITS = "\u0663 \uff15"  # Arabic 3 and full-width 5

# Texts in which every number to be found stands in <>, and the values of these.
TEXTS = [
    ("", ""),
    ("no numbers", ""),
    ("<7>", "7"),
    ("<0> and <007>", "0 7"),
    ("He had <5>. <3> were lost.", "5 3"),
    ("In <1999>, <2,000> men; <12>: <3>!", "1999 2000 12 3"),
    # Decimals.
    ("<3.5> and <0.50> and <.5>", "3.5 0.5 0.5"),
    ("It was <3>.", "3"),
    ("a...<5>, <1>..<2>", "5 1 2"),
    ("No.<5>", "5"),
    # Thousands separators, and lists.
    ("<1,234> <12,345.50> <1,234,567>.", "1234 12345.5 1234567"),
    ("<0,000>", "0"),
    ("<2>,<3>,<45>", "2 3 45"),
    ("<2>, <300>", "2 300"),
    ("<1>,<2345> and <1234>,<567>", "1 2345 1234 567"),
    ("<1>,<23>,<456> and <1>,<000>,<00>", "1 23 456 1 0 0"),
    # Negative numbers, and hyphens.
    ("<-3> (<-4>) [<-5>,<-6>] =<-7> $<-8>", "-3 -4 -5 -6 -7 -8"),
    (f"<{MINUS}1,234.5> and <-.5>", "-1234.5 -0.5"),
    (f"<3>-<2>, <3>{MINUS}<2>, <3> - <2>, <3>{EN_DASH}<2>", "3 2 3 2 3 2 3 2"),
    ("(<3>)-<2>, <5>%-<10>%, <10>°-<15>°, <2.5>-<2>", "3 2 5 10 10 15 2.5 2"),
    ("<2001>--<05>", "2001 5"),
    ("a <59>-yard run", "59"),
    # Signs of the unit are not part of a number.
    ("<12>% of $<3.5>, £<10>, €<7>, <20>°, #<1>", "12 3.5 10 7 20 1"),
    ("+<5>, ~<6>, '<7>', \"<8>\"", "5 6 7 8"),
    # Glued to letters: names, ordinals, decades, units.
    ("B52, 3rd, 12th, 1990s, 5km, 10,000m, -3m, 1.5x, 0x1F, v2, x_1, H2O", ""),
    (f"½, 3½, 5², {OTHER_DIGITS}", ""),
    # Chains: versions, dates.
    ("1.2.3, 24.12.2003, v1.2, 1,234.5.6", ""),
    ("version <1.2>.", "1.2"),
    # Limits of the calculator.
    ("<9999999999> and 10000000000", "9999999999"),
    ("<-9,999,999,999.9999> and 10,000,000,000", "-9999999999.9999"),
    ("<0.0001>, 0.00001, <1.50000>", "0.0001 1.5"),
    ("1" + "0" * 1_000_001, ""),  # more than decimal's exponents hold
]

# Found because nothing but characters is looked at, though no reader would count with them.
FALSE_FINDS = [
    ("F-<16>, COVID-<19>, Boeing <747>", "16 19 747"),
    ("<2003>-<04>-<05>, <24>/<12>, <10>:<30>", "2003 4 5 24 12 10 30"),
    ("-$<5>", "5"),
    ("(<5>) losses", "5"),
    ("<5>'<-6>' tall", "5 -6"),
    ("1e-<5>, a.<5>, <1>/<2>", "5 5 1 2"),
    ("B1,<234>", "234"),
    ("<1> <000>, <1>'<000>", "1 0 1 0"),
]

# With number_words. In <> what is found with them.
WORDS = [
    ("<Zero>, <one>, <ten>, <nineteen>, <Twenty>", "0 1 10 19 20"),
    ("<Twenty-one> men, <twenty two> boys, a <thirty-five>-year-old", "21 22 35"),
    ("<one hundred>, <one hundred five>, <two hundred and six>, <eleven hundred>", "100 105 206 1100"),
    ("<one thousand>, <two thousand and three>, <two thousand, three hundred>", "1000 2003 2300"),
    ("<one hundred twenty-three million four hundred fifty-six thousand seven hundred and eighty-nine>", "123456789"),
    ("<nine billion and one>", "9000000001"),
    ("<3.5 million>, <-2 thousand>, $<1,250 thousand>, <7> <8> <9> billions", "3500000 -2000 1250000 7 8 9"),
    ("<3>-<2>, B52, <5> hundred", "3 2 5"),
    ("<five> and <six>, <twenty> and <one>", "5 6 20 1"),
    ("between <one hundred> and <two hundred>", "100 200"),
    ("<five thousand> and <three thousand>, <one million>, <two million>", "5000 3000 1000000 2000000"),
    ("<two thousand> and <three hundred thousand>", "2000 300000"),
    ("someone, tone, oneness, weighty, fourth, seventeenth, hundred, a million, hundreds, thousandth", ""),
    ("ninety-nine billion, 99 billion, <0.000001 million>", "1"),
    # False finds.
    ("<one> of them, <one>-third, no <one>, <twenty>-first", "1 1 1 20"),
    ("<nineteen> <ninety-nine>", "19 99"),
    ("<two thousand, three> of them", "2003"),
]


def marked(text):
    """A text with <> around its numbers: the text without them, and the places of the numbers."""
    spans, plain = [], ""
    for piece in re.split("(<[^>]*>)", text):
        number = piece[1:-1] if piece.startswith("<") else None
        if number is not None:
            spans.append((len(plain), len(plain) + len(number)))
        plain += piece if number is None else number
    return plain, spans


@pytest.mark.parametrize(
    ("text", "values", "number_words"),
    [(*row, False) for row in TEXTS + FALSE_FINDS] + [(*row, True) for row in WORDS],
    ids=lambda value: str(value)[:40],
)
def test_tricky_texts(text, values, number_words):
    plain, spans = marked(text)
    found = find_quantities(plain, number_words)
    assert [(q.start, q.end) for q in found] == spans
    assert [q.value for q in found] == [Decimal(value) for value in values.split()]


@pytest.mark.parametrize("text", [row[0] for row in TEXTS + FALSE_FINDS])
def test_number_words_change_nothing_in_a_text_without_them(text):
    plain, _ = marked(text)
    assert find_quantities(plain, number_words=True) == find_quantities(plain)


def test_number_words_are_off_by_default():
    assert find_quantities("twenty-one men, one hundred, zero") == []
    assert find_quantities("3.5 million and 7 thousand") == [(Decimal("3.5"), 0, 3), (Decimal(7), 16, 17)]


# Around numbers: nothing here could be part of one, or make a minus sign a hyphen.
FRAMES = ["{}", "He has {}.", "({})", "{}%", "${}", "{}, {}, {}", "x={};", "'{}' of {}", "{}-yard", "{}/{}", "{}: {}"]


def write(value, generator):
    """A number in a random writing."""
    text = f"{abs(value):{generator.choice(['f', ',f'])}}"
    if text.startswith("0.") and generator.random() < 0.5:
        text = text[1:]
    return (generator.choice(["-", MINUS]) if value < 0 else "") + text


def test_every_number_in_every_writing_comes_back():
    generator = random.Random(0)
    for _ in range(3_000):
        values = []
        for _ in range(3):
            places = generator.choice([0, 0, 1, 2, 4])
            largest = 10 ** generator.randint(1, 10 + places) - 1
            values.append(Decimal(generator.randint(-largest, largest)).scaleb(-places))
        texts = [write(value, generator) for value in values]
        assert [parse_number(text) for text in texts] == values
        frame = generator.choice(FRAMES)
        text, count = frame.format(*texts), frame.count("{}")
        found = find_quantities(text)
        assert [q.value for q in found] == values[:count]
        assert [text[q.start : q.end] for q in found] == texts[:count]


ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
ONES += ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SCALES = [(10**9, "billion"), (10**6, "million"), (10**3, "thousand"), (100, "hundred")]


def spell(number, generator):
    """A positive number in a random spelling of its words."""
    for scale, name in SCALES:
        if number >= scale:
            text, rest = f"{spell(number // scale, generator)} {name}", number % scale
            joint = generator.choice([" ", " and "] + [", ", ", and "] * (scale > 100))
            return f"{text}{joint}{spell(rest, generator)}" if rest else text
    if number < 20:
        return ONES[number - 1]
    tens = TENS[number // 10 - 2]
    return f"{tens}{generator.choice('- ')}{ONES[number % 10 - 1]}" if number % 10 else tens


def test_every_spelled_number_comes_back():
    generator = random.Random(1)
    large = (generator.randrange(1, 10 ** generator.randint(3, 10)) for _ in range(1000))
    for number in (*range(1, 1200), *large, 10**10 - 1):
        words = spell(number, generator)
        words = generator.choice([words, words.capitalize(), words.upper()])
        text = f"They had {words}; then (7) more."
        found = find_quantities(text, number_words=True)
        assert [q.value for q in found] == [number, 7]
        assert text[found[0].start : found[0].end] == words
