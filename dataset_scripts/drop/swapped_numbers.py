"""DROP with other numbers and another answer, made by rules: table 1 of Yoshikawa, Heinzerling and Inui.

    comparison    the numbers of the two change places in the passage, so the answer is the other one
    difference    the two numbers become others of the same shape, the larger one the larger, and the answer theirs
    complement    the percentage becomes another of the same shape, and the answer what is then left of 100

The paper changed 300 comparisons by hand. Rules cannot read, so they take only what leaves little doubt; a row of
which they are not sure is left out, and counted by the reason. In all three

- the annotators agree (none names the other of two, some write down a number instead), and the answer is what the
  numbers say: the larger one's name, the difference, the rest of 100;
- the changed numbers stand nowhere else, neither in the passage nor in the question;
- no number beside a changed one says the same, as in "1,813 people (1.0%)";
- a new number stands between the same two of its kind (percentage, currency, year, other) as the old one did, and
  percentages of a sentence that added up to at most 100 still do: parts stay smaller than wholes, and time runs on.

Comparison: the question has two to choose from, says larger or smaller (`LARGER`, `SMALLER`), and the words beside its
"or" stand in the passage. A number belongs to a name if nothing but `CONNECTORS` and words of the question stands
between them, in the same sentence; both names come before or both after their numbers, and the numbers have the same
unit. A name that has two different numbers of a unit is unclear. Behind the number of a name that comes first, there
is a unit, or a word that is the same for both and in the question, or before it "was".

Difference: of all pairs of numbers of the passage this one alone has the answer as its difference, and none as its
sum. The words around the one number and those around the other, up to a comma or "and", each share a word with the
question that the other's do not. Times are taken if they are years of the calendar, whose first two digits stay; the
words of a year are those of its sentence, and need not differ. Questions with a superlative are left out: the new
numbers might be another pair's. The new answer, too, is the difference of these two alone.

Complement: the words around the percentage share one with the question.

    swapped, left_out = swap_numbers(rows)
"""

import math
import re
from collections import Counter
from decimal import Decimal
from itertools import combinations

import datasets
from numpy.random import Generator, default_rng

from dataset_scripts.drop.drop import CALCULATED, CHOICE, holds, is_number

DRAWS = 1000  # of which the first that fits is taken
LOOSE = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?|\.\d+")  # whatever may be read as a number
BEFORE = re.compile(r"(?:^|[^\w.,/$€£¥\-\u2212\u2013])[$€£¥]?$")
BEHIND = re.compile(r"(?! ?(?:million|billion|thousand|hundred)\b)(?!\w|/|[-\u2013]\d|[.,]\d)")
# "1,813 (1.0%)", "1,813 people (1.0%)", "(1,813; 1.0%)": two numbers that say the same.
TWICE_BEFORE = re.compile(r"\d%?(?: \w+)? ?[(;] ?[$€£¥]?$")
TWICE_BEHIND = re.compile(r"%?(?: \w+)? ?[(;] ?[$€£¥]?\d")
PERCENT = re.compile(r" ?(?:%|percent\b)")
YEAR = re.compile(r"1\d{3}|20\d\d")
TIME = re.compile(r"\b(?:years?|months?|weeks?|days?|hours?|minutes?|decades?|centuries|how long)\b", re.IGNORECASE)
SUPERLATIVE = re.compile(
    r"\b(?:long|short|larg|small|high|low|bigg|few|great|old|young|earli|lat|near|far(?:th)?)est\b"
    r"|\b(?:most|least|average|combined|total|both|and)\b",
    re.IGNORECASE,
)
ASKS = re.compile(r"\b(?:who|whose|which|what|where|how|is|are|was|were|do|does|did|has|have|had)\b", re.IGNORECASE)
LEADING_WORDS = re.compile(r"^(?:(?:the|an?|of|from|in|by|for|to|at) )+", re.IGNORECASE)
DANGLING = re.compile(r"\b(?:and|or|of|in|to|the|than|with|from)\W*$", re.IGNORECASE)
SENTENCE_END = re.compile(r"(?<![A-Z])[.!?](?=\s|$)")  # not that of "U.S."
CLAUSE_END = re.compile(r"[;:]|[.,](?!\d)|\b(?:and|while|but|whereas|versus|or|compared)\b")
LARGER = re.compile(r"\b(?:more|larger|bigger|higher|greater|largest|biggest|highest|greatest|most)\b", re.IGNORECASE)
SMALLER = re.compile(r"\b(?:less|fewer|smaller|lower|smallest|lowest|fewest|least)\b", re.IGNORECASE)
CONNECTORS = {
    "number": """a age aged ages all americans are as at being between by couples describing families from
        had have having households identified identifying in individuals is lived made married members of people
        persons population reported residents self the their themselves those to up was were who with years""",
    "name": """a about accounted accounting american ancestry approximately are around at averaged by comprised
        constituted descent estimated exactly exported for formed had has have having held is made nearly of only over
        people produced received reported representing says some speakers the to up was were with""",
}
CONNECTORS = {first: {*words.split()} for first, words in CONNECTORS.items()}
FUNCTION_WORDS = """the and for are was were had has have how many much more fewer less than compared did does there
    that this with from who whom which what when where their they them those these its his her into out not also
    other"""
FUNCTION_WORDS = {*FUNCTION_WORDS.split()}
# Words that any two numbers of a text may have beside them.
COMMON_WORDS = "according number total amount percent percentage points county city census population people"
COMMON_WORDS = {*COMMON_WORDS.split()}


class Unsure(Exception):
    """A rule does not hold; its text says which."""


def demand(holds: object, reason: str) -> None:
    """Leave out a row by its reason unless something holds."""
    if not holds:
        raise Unsure(reason)


def value(text: str) -> Decimal:
    """Of a number as it is written.

    >>> value("1,200"), value(".5")
    (Decimal('1200'), Decimal('0.5'))
    """
    return Decimal(text.replace(",", ""))


def unit(passage: str, number: re.Match) -> str:
    """ "%", a currency sign, or "" of a number in a passage."""
    before = passage[: number.start()][-1:]
    return "%" if PERCENT.match(passage, number.end()) else before if before in "$€£¥" else ""


def is_plain(passage: str, number: re.Match) -> bool:
    """Whether a match of `LOOSE` is a whole number, and no part of a word, a date, a range or "2.5 million"."""
    return bool(BEFORE.search(passage[: number.start()]) and BEHIND.match(passage, number.end()))


def kind(passage: str, number: re.Match) -> str:
    """The unit of a number; years have one of their own."""
    return unit(passage, number) or ("year" if YEAR.fullmatch(number[0]) else "")


def demand_said_once(passage: str, number: re.Match) -> None:
    """Leave out a number beside which another one says the same."""
    is_twice = TWICE_BEFORE.search(passage[: number.start()]) or TWICE_BEHIND.match(passage, number.end())
    demand(not is_twice, "another number says the same")


def around(passage: str, number: re.Match, end: re.Pattern) -> set[str]:
    """Words around a number up to where `end` matches, in lower case and without the "s" of a plural."""
    first = max((m.end() for m in end.finditer(passage, 0, number.start())), default=0)
    last = end.search(passage, number.end())
    text = passage[first : number.start()] + " " + passage[number.end() : last.start() if last else None]
    return words_of(text) - COMMON_WORDS


def words_of(text: str) -> set[str]:
    """Words of a text that say something, in lower case and without the "s" of a plural.

    >>> sorted(words_of("How many more Poles were there than Tatars?"))
    ['pole', 'tatar']
    """
    words = (word for word in re.findall(r"[^\W_]+", text.lower()) if word not in FUNCTION_WORDS)
    return {word.removesuffix("s") for word in words if len(word) > 2 or word.isdecimal()}


def write(number: Decimal, pattern: str) -> str:
    """A number as another one was written, with its commas and decimals.

    >>> write(Decimal(93120), "12,345"), write(Decimal("3.1"), "20.10")
    ('93,120', '3.10')
    """
    decimals = len(pattern.partition(".")[2])
    return f"{number:{',' if ',' in pattern else ''}.{decimals}f}"


def bounds(passage: str, numbers: list[re.Match]) -> tuple[Decimal, Decimal]:
    """The next smaller and the next larger number of the same kind around the first of some numbers, those apart."""
    number, own = value(numbers[0][0]), {value(changed[0]) for changed in numbers}
    others = {value(m[0]) for m in LOOSE.finditer(passage) if kind(passage, m) == kind(passage, numbers[0])} - own
    below, above = (other for other in others if other < number), (other for other in others if other > number)
    return max(below, default=Decimal(0)), min(above, default=Decimal("Infinity"))


def draw(rng: Generator, pattern: str, low: Decimal, high: Decimal) -> Decimal:
    """A number between two others, of the same shape: as many digits, as many decimals, and of a year the century."""
    digits, decimals = pattern.replace(",", "").replace(".", "").lstrip("0"), len(pattern.partition(".")[2])
    first, end = 10 ** (len(digits) - 1), 10 ** len(digits)
    if YEAR.fullmatch(pattern):
        first, end = int(pattern[:2]) * 100, int(pattern[:2]) * 100 + 100
    first = max(first, int(low.scaleb(decimals)) + 1)
    end = min(end, math.ceil(high.scaleb(decimals))) if high.is_finite() else end
    demand(first < end, "no other numbers of this shape")
    return Decimal(int(rng.integers(first, end))).scaleb(-decimals)


def replace(passage: str, numbers: list[re.Match], texts: list[str]) -> str:
    """A passage with other texts in place of some numbers."""
    for number, text in sorted(zip(numbers, texts, strict=True), key=lambda pair: -pair[0].start()):
        passage = passage[: number.start()] + text + passage[number.end() :]
    return passage


def keeps_shares(old: str, new: str) -> bool:
    """Whether no sentence's percentages, which may be the shares of a whole, newly add up to more than 100."""

    def total(sentence: str) -> Decimal:
        return sum(value(m[0]) for m in LOOSE.finditer(sentence) if PERCENT.match(sentence, m.end()))

    sentences = zip(SENTENCE_END.split(old), SENTENCE_END.split(new), strict=True)
    return all(total(after) <= max(100, total(before)) for before, after in sentences)


def agreed_value(answers: list[str]) -> Decimal:
    """The value of an answer that all annotators agree on."""
    numbers = [answer.removesuffix("%").strip() for answer in answers]
    demand(all(map(is_number, numbers)) and len({*map(value, numbers)}) == 1, "the annotators disagree")
    return value(numbers[0])


def names_to_choose_from(question: str, passage: str) -> list[str]:
    """The longest runs of words before and after "or" that the passage holds as well."""
    before, after = CHOICE.split(question.rstrip(" ?"), maxsplit=1)
    *_, chunk = ["", *re.split("[,:;]", before.rstrip(" ,"))[:-1]]
    demand(not chunk or ASKS.search(chunk), "three to choose from")
    before, after = before.split(), after.split()
    runs = [
        [" ".join(before[first:]) for first in range(len(before))],
        [" ".join(after[:last]) for last in range(len(after), 0, -1)],
    ]
    names = []
    for side in runs:
        side = [LEADING_WORDS.sub("", run.strip(" ,:;-")) for run in side if not DANGLING.search(run)]
        found = next((run for run in side if words_of(run) and named(run).search(passage)), None)
        demand(found, "a name does not stand in the passage")
        names.append(found)
    return names


def named(name: str) -> re.Pattern:
    """Where a name stands, in either case, in the singular or plural."""
    return re.compile(rf"(?<![\w-]){re.escape(name.removesuffix('s'))}s?(?![\w-])", re.IGNORECASE)


def links(passage: str, name: str, first: str, words: set[str]) -> dict[str, list[re.Match]]:
    """The numbers that belong to a name, by their units.

    Args:
        first: which comes first, "number" or "name".
        words: that may stand between, beside `CONNECTORS`.
    """
    found = {}
    # "French Canadian" is another name than "French".
    mentions = [m for m in named(name).finditer(passage) if not re.match(r" [A-Z]", passage[m.end() :])]
    for number in LOOSE.finditer(passage):
        if not is_plain(passage, number) or passage[number.end() :][:1] == "-":
            continue
        for mention in mentions:
            left, right = (number, mention) if first == "number" else (mention, number)
            between = passage[left.end() : right.start()]
            if left.end() > right.start() or len(between) > 60 or re.search(r"\d|[.,;]", between):
                continue
            between = {*re.findall(r"[^\W\d_]+", PERCENT.sub("", between).lower())}
            if between <= CONNECTORS[first] | words and not re.match(r"\W*per\b", passage[right.end() :]):
                found.setdefault(unit(passage, number), []).append(number)
                break  # of two mentions, either will do
    return found


def noun_behind(passage: str, number: re.Match) -> str:
    """The word behind a number without the "s" of a plural, or its unit; "was" if that stands before the number."""
    if unit(passage, number) or re.search(r"\b(?:was|is) $", passage[: number.start()]):
        return unit(passage, number) or "was"
    word = re.match(r"\W*([^\W\d_]*)", passage[number.end() :])[1]
    return word.lower().removesuffix("s")


def compared_numbers(question: str, passage: str, names: list[str]) -> tuple[list[re.Match], list[re.Match]]:
    """The numbers of the one name and of the other, the same number each time."""
    found = []
    words = {*re.findall(r"[^\W\d_]+", question.lower())} - {"or", "and", *" ".join(names).lower().split()}
    for first in ("number", "name"):
        ours, theirs = (links(passage, name, first, words) for name in names)
        for kind in ours.keys() & theirs.keys():
            pair = ours[kind], theirs[kind]
            if first == "name":
                nouns = {noun_behind(passage, number) for numbers in pair for number in numbers}
                if len(nouns) > 1 or not nouns <= words_of(question) | {*"%$€£¥", "was"}:
                    continue
            found.append(pair)
    demand(found, "no numbers beside the names")
    demand(len(found) == 1, "several numbers beside the names")
    for numbers in found[0]:
        demand(len({number[0] for number in numbers}) == 1, "several numbers beside the names")
        for number in numbers:
            demand_said_once(passage, number)
    return found[0]


def swap_comparison(row: dict, rng: Generator) -> tuple[str, list[str], list[list[str]]]:
    """The passage with the two numbers in each other's place, the new answer, and what became what."""
    question, passage = row["question"], row["passage"]
    asked = re.sub(r"\bor more\b", "", question)  # "two or more races"
    is_larger, is_smaller = (bool(direction.search(asked)) for direction in (LARGER, SMALLER))
    demand(is_larger != is_smaller, "larger or smaller is not asked for")
    names = names_to_choose_from(question, passage)
    chosen = {index for answer in row["answer"] for index, name in enumerate(names) if is_same(name, answer)}
    demand(len(chosen) == 1, "the answer is not one of the names")
    ours, theirs = compared_numbers(question, passage, names)
    values = [value(numbers[0][0]) for numbers in (ours, theirs)]
    wins = values[0] > values[1] if is_larger else values[0] < values[1]
    demand(values[0] != values[1] and chosen == {0 if wins else 1}, "the numbers do not say the answer")
    for number, mentions in zip(values, (ours, theirs), strict=True):
        places = {m.start() for m in LOOSE.finditer(f"{passage} {question}") if value(m[0]) == number}
        demand(places == {m.start() for m in mentions}, "a number stands elsewhere, too")
    sentences = {len(SENTENCE_END.findall(passage, 0, numbers[0].start())) for numbers in (ours, theirs)}
    demand(len(sentences) == 1, "the numbers stand in different sentences")
    other = names[0 if chosen == {1} else 1]
    spellings = dict.fromkeys([other, named(other).search(passage)[0]])
    swapped = replace(passage, [*ours, *theirs], [theirs[0][0]] * len(ours) + [ours[0][0]] * len(theirs))
    return swapped, [*spellings], [[ours[0][0], theirs[0][0]], [theirs[0][0], ours[0][0]]]


def is_same(name: str, answer: str) -> bool:
    """Whether an answer is a name, or holds it, or is held by it, as whole words."""
    name, answer = (re.sub(r"(?<=\w)s\b", "", text.lower()) for text in (name, answer))
    return holds(name, answer) or holds(answer, name)


def pairs_of(passage: str, result: Decimal) -> tuple[set[tuple[Decimal, Decimal]], bool]:
    """The pairs of values with a difference, the larger one first, and whether two add up to it."""
    values = sorted({value(number[0]) for number in LOOSE.finditer(passage)}, reverse=True)
    pairs = {pair for pair in combinations(values, 2) if pair[0] - pair[1] == result}
    return pairs, any(a + b == result for a, b in combinations(values, 2))


def the_mention(row: dict, number: Decimal) -> re.Match:
    """The place of a number of the passage, if it is the only one and nothing beside it says the same."""
    passage = row["passage"]
    mention, *elsewhere = (m for m in LOOSE.finditer(f"{passage} {row['question']}") if value(m[0]) == number)
    demand(not elsewhere, "a number stands elsewhere, too")
    demand(is_plain(passage, mention), "a number is part of a word, a date or a range")
    demand_said_once(passage, mention)
    return mention


def swap_difference(row: dict, rng: Generator) -> tuple[str, list[str], list[list[str]]]:
    """The passage with two other numbers, their difference, and what became what."""
    question, passage, answer = row["question"], row["passage"], agreed_value(row["answer"])
    demand(not SUPERLATIVE.search(question), "a superlative or several numbers")
    demand(not any(value(m[0]) == answer for m in LOOSE.finditer(passage)), "the answer stands in the passage")
    pairs, is_sum = pairs_of(passage, answer)
    demand(pairs, "no two numbers have this difference")
    demand(len(pairs) == 1 and not is_sum, "several numbers have this difference or sum")
    large, small = (the_mention(row, number) for number in pairs.pop())
    demand(unit(passage, large) == unit(passage, small), "the numbers have different units")
    years = [YEAR.fullmatch(number[0]) and not unit(passage, number) for number in (large, small)]
    is_time = bool(TIME.search(question))
    if is_time:
        demand(all(years) and re.search(r"\byears?\b", question), "a time that is no difference of years")
    else:
        demand(not any(years), "years, but no time is asked for")
    end = SENTENCE_END if is_time else CLAUSE_END
    ours, theirs = (around(passage, number, end) & words_of(question) for number in (large, small))
    fits = ours and theirs if is_time else ours - theirs and theirs - ours
    demand(fits, "the words are not those of the question")
    others = {value(m[0]) for text in (passage, question) for m in LOOSE.finditer(text)}
    limits = bounds(passage, [large, small]), bounds(passage, [small, large])
    for _ in range(DRAWS):
        drawn = [draw(rng, number[0], *between) for number, between in zip((large, small), limits, strict=True)]
        if drawn[0] <= drawn[1] or others & {*drawn}:
            continue
        result = drawn[0] - drawn[1]
        texts = [write(number, old[0]) for number, old in zip(drawn, (large, small), strict=True)]
        swapped = replace(passage, [large, small], texts)
        pairs, is_sum = pairs_of(swapped, result)
        is_sure = len(pairs) == 1 and not is_sum and keeps_shares(passage, swapped)
        if result != answer and result not in others and is_sure:
            return swapped, [f"{result:f}"], [[large[0], texts[0]], [small[0], texts[1]]]
    raise Unsure("no other numbers of this shape")


def swap_complement(row: dict, rng: Generator) -> tuple[str, list[str], list[list[str]]]:
    """The passage with another percentage, the rest of 100, and what became what."""
    question, passage, answer = row["question"], row["passage"], agreed_value(row["answer"])
    demand(not any(value(m[0]) == answer for m in LOOSE.finditer(passage)), "the answer stands in the passage")
    demand(any(value(m[0]) == 100 - answer for m in LOOSE.finditer(passage)), "nothing is the rest of 100")
    number = the_mention(row, 100 - answer)
    demand(unit(passage, number) == "%", "the rest of 100 is no percentage")
    demand(around(passage, number, CLAUSE_END) & words_of(question), "the words are not those of the question")
    others = {value(m[0]) for text in (passage, question) for m in LOOSE.finditer(text)}
    for _ in range(DRAWS):
        drawn = draw(rng, number[0], *bounds(passage, [number]))
        text = write(drawn, number[0])
        swapped = replace(passage, [number], [text])
        if 0 < drawn < 100 and not others & {drawn, 100 - drawn} and keeps_shares(passage, swapped):
            return swapped, [f"{100 - drawn:f}"], [[number[0], text]]
    raise Unsure("no other numbers of this shape")


RULES = dict(zip(CALCULATED, (swap_comparison, swap_complement, swap_difference), strict=True))


def swap_row(row: dict, rng: Generator) -> dict:
    """A row of dataset_scripts/drop with other numbers, another answer, and `changed`, pairs of old and new numbers.

    Raises:
        Unsure: the rules are not sure of it.
        KeyError: a question type that has no rule.
    """
    passage, answer, changed = RULES[row["question_type"]](row, rng)
    return row | {"passage": passage, "answer": answer, "changed": changed}


def swap_numbers(rows: datasets.Dataset, seed: int = 0) -> tuple[datasets.Dataset, dict[str, dict[str, int]]]:
    """All rows whose numbers can be changed, changed; the same for the same seed.

    Args:
        rows: of dataset_scripts/drop; question types without a rule are left out.
        seed: of the numbers.

    Returns:
        The changed rows, in their order, with `changed`; and for each question type how many rows were left out for
        which reason, and `swapped`, how many were not.
    """
    rng = default_rng(seed)
    swapped, counts = [], {kind: Counter() for kind in CALCULATED}
    for row in rows:
        if row["question_type"] in RULES:
            try:
                swapped.append(swap_row(row, rng))
            except Unsure as reason:
                counts[row["question_type"]][str(reason)] += 1
            else:
                counts[row["question_type"]]["swapped"] += 1
    changed = {"changed": datasets.List(datasets.List(datasets.Value("string")))}
    features = datasets.Features(rows.features | changed)
    # By columns, which there are even where no row is left.
    columns = {name: [row[name] for row in swapped] for name in features}
    return datasets.Dataset.from_dict(columns, features=features), {
        kind: dict(count.most_common()) for kind, count in counts.items()
    }
