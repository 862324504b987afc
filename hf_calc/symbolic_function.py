"""SymbolicFunction: a function of the user's own as F (section 3, proposition 1 of Yoshikawa et al.).

The function is plain Python: K arguments in, a string out. A finder for each argument says which mentions in a text
can fill it: `find_quantities`, `find_dates`, `find_names(...)` or any other function from a text to (value, start,
end). The candidates of a text are the product of these argument spaces.

What is unusual: a function is only ever called with what finders found. Nothing that a text or a saved file says is
evaluated as code, so a file names a function, and `SHIPPED` holds those that are restored by name.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from transformers.utils import logging

from .calculator import format_number
from .quantities import find_quantities

logger = logging.get_logger(__name__)


class Mention(NamedTuple):
    """What a finder found: a value that may be an argument, and its characters, `text[start:end]`."""

    value: Any
    start: int
    end: int


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY = r"([0-9]{1,2})(?:st|nd|rd|th)?"
_DATE = re.compile(
    rf"(?<!\w)(?<![0-9]-)(?:([0-9]{{4}})-([0-9]{{2}})-([0-9]{{2}})|{_MONTH} {_DAY},? ([0-9]{{4}})"
    rf"|{_DAY}(?: of)? {_MONTH},? ([0-9]{{4}}))(?!\w|-[0-9])",
    re.IGNORECASE,
)


def find_dates(text: str) -> list[Mention]:
    """All dates of a text that have a day, a month and a year of four digits, as `datetime.date`, in reading order.

    The month stands in English words, or the whole as in ISO 8601. "4/5/2003" is none: it is two days, by the country.

    >>> [str(mention.value) for mention in find_dates("From 2003-04-05 to May 1st, 2004, not Feb. 30, 2004")]
    ['2003-04-05', '2004-05-01']
    """
    found = []
    for match in _DATE.finditer(text):
        year, month, day = (part for part in match.groups() if part)
        if match[4]:  # month, day, year
            year, month, day = day, year, month
        elif match[7]:  # day, month, year
            year, day = day, year
        number = int(month) if month.isdigit() else _MONTHS.index(month[:3].lower()) + 1
        try:
            found.append(Mention(date(int(year), number, int(day)), *match.span()))
        except ValueError:  # the 30th of February
            continue
    return found


def find_names(names: Iterable[str]) -> Callable[[str], list[Mention]]:
    """A finder of names, whole words in either case, the longest where several begin; the keys of a table, for one.

    The value of a mention is the name as it was given here.

    Raises:
        ValueError: no names, one that is no text or blank, or two that are the same in lower case.

    >>> find_names({"York": 1, "New York": 2})("from new york to York, not to Yorkshire")
    [Mention(value='New York', start=5, end=13), Mention(value='York', start=17, end=21)]
    """
    names = list(names)
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"names must be texts that are not blank, at least one; got {names!r:.200}")
    if len({name.casefold() for name in names}) < len(names):
        raise ValueError(f"names must differ in more than their case, got {names!r:.200}")
    names.sort(key=len, reverse=True)
    pattern = "|".join(f"({re.escape(name)})" for name in names)
    return partial(_find_names, re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE), names)


def _find_names(pattern: re.Pattern, names: list[str], text: str) -> list[Mention]:
    return [Mention(names[match.lastindex - 1], *match.span()) for match in pattern.finditer(text)]


class SymbolicFunction:
    """A Python function and what may be its arguments.

    A result is what the function returns. Where it raises an `Exception` or returns an empty string, those arguments
    have none and are no candidate; the log says once how many raised. A result may say behind ` = `, ` > ` or ` < `
    how it came about, up to the next ` , `, as in `95 = 72 + 23 , 49 = 72 - 23`. The model reads all of it and may
    answer from all of it, but arguments count as right (`argument_labels`) only by what stands before such a sign: a
    comparison `17 > 9` is right where the answer is 17, and not where it is 9, which it merely repeats.

    Args:
        function: of K values, returns a string. It is called for every candidate and in every process, so it should
            be quick and depend on nothing but its arguments.
        arguments: K finders, each a function from a text to mentions, (value, start, end).
        name: under which a processor saves it; by default that of the function.
        keep: a filter, called with the values of each candidate; False leaves it out.
        unordered: whether the arguments are a set: every set of different mentions once, in reading order. Else they
            are tuples, and where two arguments have the same finder one mention may fill both.
        optional: how many of the last arguments may be left out; function and filter are called without them then.
        exclusive: whether at most one of the optional arguments is given; those left out before it are None.
        max_candidates: the ceiling. A batch in which a row has more candidates gets no results from the processor: the
            model scores all of them after its first pass, and results are made for the best of each row alone, so
            that arguments beyond these can be neither chosen nor learned from (but by a search of comparisons). All
            tuples are listed and scored even so.
            The batch then holds the function: workers of a DataLoader can only hand on one that can be imported.

    Raises:
        TypeError: a function or finder that cannot be called.
        ValueError: no arguments, a set of unlike finders or with exclusive arguments, numbers out of range, or a
            function or filter that does not take as many values.

    >>> def larger(a, b):
    ...     return f"{max(a, b)} = larger of {a} and {b}"
    >>> function = SymbolicFunction(larger, [find_quantities, find_quantities], unordered=True)
    >>> function(Decimal(3), Decimal(17))
    '17 = larger of 3 and 17'
    """

    def __init__(
        self,
        function: Callable[..., str],
        arguments: Sequence[Callable[[str], Iterable[tuple[Any, int, int]]]],
        name: str | None = None,
        keep: Callable[..., bool] | None = None,
        unordered: bool = False,
        optional: int = 0,
        exclusive: bool = False,
        max_candidates: int = 1024,
    ):
        arguments = list(arguments)
        for each in (function, *arguments, *([keep] if keep else [])):
            if not callable(each):
                raise TypeError(f"needed a function, finders as find_quantities and perhaps a filter, got {each!r}")
        self.name = name or getattr(function, "__name__", "")
        if not self.name:
            raise ValueError(f"{function!r} has no name of its own: give one by `name`")
        if not arguments or not 0 <= optional < len(arguments) or max_candidates < 1:
            raise ValueError(
                f"needed at least one argument, less of them optional than there are, and max_candidates of at least "
                f"1; got {len(arguments)}, {optional} and {max_candidates}"
            )
        self.finders = list(dict.fromkeys(arguments))
        if unordered and (len(self.finders) > 1 or exclusive):
            raise ValueError("unordered arguments are a set: all of them have one finder, and none is exclusive")
        self.function, self.keep = function, keep
        self.kinds = [self.finders.index(finder) for finder in arguments]
        self.unordered, self.optional, self.exclusive = unordered, optional, exclusive
        self.max_candidates = max_candidates
        for each in (function, keep):
            for count in (len(arguments) - optional, len(arguments)):
                self._check_takes(each, count)
        self._told: set[str] = set()

    @property
    def num_arguments(self) -> int:
        """K."""
        return len(self.kinds)

    @staticmethod
    def _check_takes(function: Callable | None, count: int) -> None:
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # no filter, or a function written in C
            return
        try:
            signature.bind(*[None] * count)
        except TypeError as error:
            raise ValueError(f"{function!r} cannot be called with {count} values: {error}") from None

    def __deepcopy__(self, memo):
        # A processor is copied whenever it is printed or saved, and a user's function may hold what has no copy.
        return self

    def __call__(self, *values) -> str:
        """The result for one tuple of arguments, "" where there is none."""
        return self.results([values])[0]

    def results(self, arguments: Iterable[Sequence[Any]]) -> list[str]:
        """The results for tuples of arguments, "" where there is none.

        Raises:
            TypeError: the function returned anything but a string.
        """
        results, errors = [], []
        for values in arguments:
            try:
                results.append(self.function(*values))
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")
                results.append("")
            if not isinstance(results[-1], str):
                raise TypeError(
                    f"{self.name} must return a string, '' where it has no result; got {results[-1]!r} for {values!r}"
                )
        if errors:
            self.tell_once(
                "raised",
                f"{self.name} raised for {len(errors)} of {len(results)} tuples of arguments, which are no candidate; "
                f"the first: {errors[0]}",
            )
        return results

    def tell_once(self, what: str, message: str) -> None:
        """Logs a warning, but no second one of what it is about: numbers in it would make each another message."""
        if what not in self._told:
            logger.warning(f"{message} (told once)")
            self._told.add(what)

    def stack_tuples(self, rows: Sequence[Sequence]) -> torch.Tensor:
        """(B, D, K) candidates of B rows, see `argument_tuples`, at least one a row; a row of -1 is none."""
        tuples = [self.argument_tuples(mentions) for mentions in rows]
        stacked = torch.full((len(rows), max(1, *map(len, tuples)), self.num_arguments), -1)
        for row, chosen in zip(stacked, tuples, strict=True):
            row[: len(chosen)] = chosen
        return stacked

    def argument_tuples(self, mentions: Sequence) -> torch.Tensor:
        """All candidates of one row, the first argument running fastest.

        Args:
            mentions: N of them, with `value` and `kind`, the place of its finder in `finders`.

        Returns:
            (D, K) indices into the mentions, -1 for arguments left out.
        """
        given = tuple(mention.kind for mention in mentions)
        tuples = _tuples_of_kinds(given, tuple(self.kinds), self.optional, self.unordered, self.exclusive)
        if self.keep is not None:
            values = [mention.value for mention in mentions]
            kept = [bool(self.keep(*self.given(values, row))) for row in tuples.tolist()]
            tuples = tuples[torch.tensor(kept, dtype=torch.bool)]
        return tuples

    @staticmethod
    def given(mentions: Sequence[Any], arguments: Sequence[int]) -> list[Any]:
        """What a candidate takes: of each argument its mention, None for one left out, nothing behind the last.

        >>> SymbolicFunction.given("abc", [2, 0, -1, 1, -1])
        ['c', 'a', None, 'b']
        """
        last = max(place for place, index in enumerate(arguments) if index >= 0)
        return [mentions[index] if index >= 0 else None for index in arguments[: last + 1]]


@lru_cache(maxsize=4)  # texts side by side mostly have as many mentions
def _tuples_of_kinds(
    given: tuple[int, ...], needed: tuple[int, ...], optional: int, unordered: bool, exclusive: bool
) -> torch.Tensor:
    """(D, K) all tuples of mentions of `given` kinds whose K kinds are those needed; not to be written to."""
    kinds = torch.tensor(given, dtype=torch.long)
    spaces = [(kinds == kind).nonzero()[:, 0] for kind in needed]
    required = len(needed) - optional
    tuples = spaces[0].unsqueeze(1)
    for place, space in enumerate(spaces[1:], 1):
        if place >= required:
            space = torch.cat([space.new_tensor([-1]), space])
        added = space.repeat_interleave(len(tuples)).unsqueeze(1)
        tuples = torch.cat([tuples.repeat(len(space), 1), added], 1)
        before, last = tuples[:, -2], tuples[:, -1]
        if exclusive:
            follows = (tuples[:, required:-1] < 0).all(-1)
        else:  # behind an argument left out there is none, and sets are in reading order
            follows = (before >= 0) & ((before < last) | (not unordered))
        tuples = tuples[(last < 0) | follows]
    return tuples


def comparison(a: Decimal, b: Decimal) -> str:
    """Two numbers, the larger first.

    >>> comparison(Decimal(9), Decimal(17)), comparison(Decimal("-0.50"), Decimal("-.5"))
    ('17 > 9', '-0.5 = -0.5')
    """
    low, high = sorted((a, b))
    return f"{format_number(high)} {'>' if high > low else '='} {format_number(low)}"


def changed_comparison(
    first: Decimal,
    second: Decimal,
    first_gained: Decimal | None = None,
    first_lost: Decimal | None = None,
    second_gained: Decimal | None = None,
    second_lost: Decimal | None = None,
) -> str:
    """How two numbers compare, as they are or after one of them gained or lost a third one.

    >>> changed_comparison(Decimal(72), Decimal(80)), changed_comparison(Decimal(72), Decimal(80), Decimal(23))
    ('72 < 80', '95 > 80')
    >>> changed_comparison(Decimal(72), Decimal(80), second_lost=Decimal(23))
    '72 > 57'
    """
    first += (first_gained or 0) - (first_lost or 0)
    second += (second_gained or 0) - (second_lost or 0)
    sign = "=" if first == second else ">" if first > second else "<"
    return f"{format_number(first)} {sign} {format_number(second)}"


def date_difference(a: date, b: date) -> str:
    """The time between two dates in days, whole months and whole years.

    A month is over on the day of the same number; where the month has none, on the first of the next.

    >>> date_difference(date(2003, 4, 5), date(2004, 5, 4))
    '395 days , 12 months , 1 year'
    """
    first, last = sorted((a, b))
    months = 12 * (last.year - first.year) + last.month - first.month - (last.day < first.day)
    counts = {"day": (last - first).days, "month": months, "year": months // 12}
    return " , ".join(f"{count} {unit}{'' if count == 1 else 's'}" for unit, count in counts.items())


def total(*values: Decimal) -> str:
    """The sum of numbers, and how many there are.

    >>> total(Decimal(12), Decimal("-0.5"), Decimal(3))
    '14.5 = 12 + -0.5 + 3 , 3 numbers'
    """
    return f"{format_number(sum(values))} = {' + '.join(map(format_number, values))} , {len(values)} numbers"


def look_up(table: Mapping[str, Mapping[str, Any]]) -> SymbolicFunction:
    """A look-up in a table, {row: {column: value}}; rows and columns are what the text mentions by name.

    It has to be given again when a processor is loaded, since the table is not saved.

    >>> look_up({"Kyoto": {"population": 1463723}, "Nara": {"population": 354630}})("Nara", "population")
    '354630'
    """
    columns = dict.fromkeys(column for row in table.values() for column in row)
    return SymbolicFunction(partial(_look_up, table), [find_names(table), find_names(columns)], name="look_up")


def _look_up(table: Mapping[str, Mapping[str, Any]], row: str, column: str) -> str:
    value = table[row].get(column)
    return "" if value is None else str(value)


# By name, beside "arithmetic", that of `Calculator`.
SHIPPED = {
    function.name: function
    for function in (
        SymbolicFunction(comparison, [find_quantities] * 2, unordered=True),
        SymbolicFunction(changed_comparison, [find_quantities] * 6, optional=4, exclusive=True, max_candidates=64),
        SymbolicFunction(date_difference, [find_dates] * 2, unordered=True),
        SymbolicFunction(total, [find_quantities] * 4, unordered=True, optional=2),
    )
}


def resolve(function: SymbolicFunction | str) -> SymbolicFunction:
    """A function itself, or the shipped one of a name.

    Raises:
        TypeError: neither of both.
        ValueError: no shipped function has this name, or one has that of another function.
    """
    names = ", ".join(["arithmetic", *SHIPPED])
    if isinstance(function, str):
        if function not in SHIPPED:
            raise ValueError(
                f"{function!r} is none of the functions that are known by name ({names}): give the SymbolicFunction "
                f"itself, CalculatorQAProcessor.from_pretrained(..., function={function})"
            )
        return SHIPPED[function]
    if not isinstance(function, SymbolicFunction):
        raise TypeError(f"function must be a SymbolicFunction or one of {names}; got {function!r}")
    if function.name in ("arithmetic", *SHIPPED) and SHIPPED.get(function.name) is not function:
        raise ValueError(f"{function.name} is a shipped function, as are {names}: give yours another `name`")
    return function
