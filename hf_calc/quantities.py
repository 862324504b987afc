"""Finding the numbers of a text, each with its exact value and its place."""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple

from .calculator import is_calculable


class Quantity(NamedTuple):
    """A number in a text: its exact value and its characters, `text[start:end]`, a sign included."""

    value: Decimal
    start: int
    end: int


# Commas separate thousands only if that accounts for the whole chain: "1,234,567", but "1,23,456" is a list of three.
_DIGITS = r"(?:(?<![0-9],)[0-9]{1,3}(?:,[0-9]{3})+(?!,?[0-9])|[0-9]+)(?:\.[0-9]+)?|(?<!\.)\.[0-9]+"
# A minus sign belongs to a number if nothing stands before it that it could be a hyphen or a subtraction of: "(-3" but
# not "3-2", "F-16" or "2001--05". Numbers glued to letters ("B52", "3rd", "1990s") and chains ("1.2.3") are none; the
# digits are an atomic group, (?>...), so that none of them is found in part ("10,000m" holds no 10).
_NUMBER = re.compile(rf"(?:(?<![\w.)\]%°\-\u2212])[-\u2212])?(?<!\w)(?<![0-9]\.)(?>{_DIGITS})(?!\w)(?!\.[0-9])")

_ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VALUES = dict(zip((*_ONES, *_TEENS, *_TENS), (*range(1, 20), *range(20, 100, 10)), strict=True))
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}


def _words_pattern() -> str:
    """Zero, a number below 1000, scales in falling order, or digits before a scale."""
    scales = "|".join(_SCALES)
    small = rf"(?:(?:{'|'.join(_TENS)})(?:[- ](?:{'|'.join(_ONES)})\b)?|{'|'.join(_TEENS + _ONES)})\b"
    # "one hundred and two hundred" and "one thousand and two thousand" are two numbers each.
    below_1000 = rf"{small}(?: hundred\b(?: (?:and )?{small}(?! hundred\b))?)?"
    rest = rf"(?:,? (?:and )?{below_1000}(?! (?:hundred|{scales})\b))?"
    patterns = []
    for scale in _SCALES:
        patterns.append(rf"{below_1000} {scale}\b{rest}")
        rest = rf"(?:,? (?:and )?{below_1000} {scale}\b)?{rest}"
    return rf"\b(?:zero\b|{'|'.join(patterns)}|{below_1000})|(?P<digits>{_NUMBER.pattern}) (?:{scales})\b"


_WORDS = re.compile(_words_pattern(), re.IGNORECASE)


def parse_number(text: str) -> Decimal:
    """The value of a number written in digits, with separators, either minus sign, or without a leading zero."""
    return Decimal(text.replace(",", "").replace("\u2212", "-"))


def find_quantities(text: str, number_words: bool = False) -> list[Quantity]:
    """All numbers of a text that the calculator takes, in reading order.

    Integers, decimals, thousands separators, negatives (hyphen or U+2212); a percentage counts by the number before
    its sign, which is not part of the mention. Numbers beyond `is_calculable` are left out. Nothing but characters is
    looked at, so some finds are no amounts: the 16 of "F-16", the parts of "2003-04-05", the 5 of "-$5".

    Args:
        number_words: also English words up to billions ("twenty-one", "two hundred and five", "3.5 million"). They
            cost false finds ("one of them"), so they are off by default.

    >>> [str(q.value) for q in find_quantities("From 3-2 to -1,234.50 in 12% of F-16s")]
    ['3', '2', '-1234.50', '12']
    >>> [str(q.value) for q in find_quantities("Twenty-one men and 3.5 million euros", number_words=True)]
    ['21', '3500000.0']
    """
    found = [Quantity(parse_number(m[0]), *m.span()) for m in _NUMBER.finditer(text)]
    if number_words:
        words = [Quantity(_words_value(m), *m.span()) for m in _WORDS.finditer(text)]
        # "3.5 million" replaces the "3.5" inside it.
        found = [q for q in found if not any(w.start <= q.start < w.end for w in words)]
        found = sorted(found + words, key=lambda q: q.start)
    return [q for q in found if is_calculable(q.value)]


def number_value(text: str, find_numbers: Callable[[str], Sequence[Quantity]]) -> Decimal | None:
    """The value of a text that is a number, perhaps with a currency sign or percent, and nothing else.

    >>> number_value(" $1,200 ", find_quantities), number_value("9 yards", find_quantities)
    (Decimal('1200'), None)
    """
    text = text.strip().lstrip("$£€¥").removesuffix("%").strip()
    numbers = find_numbers(text)
    if len(numbers) == 1 and (numbers[0].start, numbers[0].end) == (0, len(text)):
        return numbers[0].value
    return None


def find_answers(
    text: str, answers: Sequence[tuple[str, Decimal | None]], numbers: Sequence[Quantity]
) -> set[tuple[int, int]]:
    """Where a text holds answers: a number where its value stands, other text as whole words, in either case.

    Words cut none of its numbers: "9 yards" is in "9 yards", but not in "-9 yards" or "1.9 yards".

    Args:
        answers: each with its value if it is a number.
        numbers: of the text.

    Returns:
        The characters `text[start:end]` of each.
    """
    values = [value for _, value in answers]
    found = {(number.start, number.end) for number in numbers if number.value in values}
    for words in (spelling.strip() for spelling, value in answers if value is None):
        for match in re.finditer(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE) if words else ():
            if not any(number.start < edge < number.end for number in numbers for edge in match.span()):
                found.add(match.span())
    return found


def _words_value(match: re.Match) -> Decimal:
    """The value of a match of `_WORDS`: ones and tens add up, hundred multiplies, a scale closes its group."""
    total, group = Decimal(0), Decimal(0)
    text = match[0]
    if match["digits"]:
        group, text = parse_number(match["digits"]), text[len(match["digits"]) :]
    for word in re.findall(r"[a-z]+", text.lower()):
        if word in _SCALES:
            total, group = total + group * _SCALES[word], Decimal(0)
        elif word == "hundred":
            group *= 100
        else:
            group += _VALUES.get(word, 0)
    return total + group
