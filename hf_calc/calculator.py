"""The calculator F of section 4: two numbers in, the results of every operation out.

`F(72, 23) = "95 = 72 + 23 , 49 = 72 - 23 , -49 = 23 - 72"` (the paper's example has 59, which is a slip). The
calculator has two faces that say the same: `Calculator.__call__` writes the string for one pair in exact decimal
arithmetic, `Calculator.encode` writes the tokens for many pairs at once, on any device and without a Python loop over
them, because a text with 11 numbers has 55 pairs and a training step reads thousands. The tokens are those that a BERT
tokenizer which splits digits makes of the string: `9 ##5 = 7 ##2 + 2 ##3 , ...`.
"""

import decimal
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import torch

# What fits into 64-bit integers with every operation: larger operands are refused, larger products give no result.
INTEGER_DIGITS = 10
DECIMALS = 4
PRODUCT_DIGITS = 18

OPERATIONS = ("+", "-", "*", "/")

# The tokens of a result; `Calculator.encode` returns indices into this tuple, and index 0 pads.
TOKENS = ("[PAD]", "[SEP]", "-", ".", "=", ",", "+", "*", "/", *"0123456789", *(f"##{d}" for d in range(10)))
_INDEX = {token: index for index, token in enumerate(TOKENS)}
_DIGIT, _CONTINUED_DIGIT = _INDEX["0"], _INDEX["##0"]

# Of its own, so that a caller's decimal context changes nothing; decimal's "half up" rounds a half away from zero.
_CONTEXT = decimal.Context(prec=60, rounding=decimal.ROUND_HALF_UP)
_LAST_PLACE = Decimal(10) ** -DECIMALS


class Numbers(NamedTuple):
    """Exact decimal numbers as integers: value = mantissa / 10 ** decimals, with no zero at the end of the decimals.

    `mantissa` and `decimals` are int64 tensors of one shape; two numbers are equal exactly if both fields are.
    """

    mantissa: torch.Tensor
    decimals: torch.Tensor

    @classmethod
    def from_decimals(cls, values: Sequence[Decimal | None]) -> "Numbers":
        """A list of N calculable decimals as two tensors of shape (N,); None becomes what equals no number."""
        pairs = [(0, -1) if value is None else _normal_form(value) for value in values]
        pairs = torch.tensor(pairs, dtype=torch.long).view(-1, 2)
        return cls(*pairs.unbind(-1))

    @classmethod
    def stack(cls, numbers: Sequence["Numbers"], dim: int) -> "Numbers":
        """Numbers of one shape along a new dimension, as `torch.stack`."""
        return cls(*(torch.stack(field, dim) for field in zip(*numbers, strict=True)))

    def select(self, index) -> "Numbers":
        return Numbers(self.mantissa[index], self.decimals[index])


class CalculatorResults(NamedTuple):
    """What the calculator says about P pairs, each result written as three numbers `value = x op y`.

    Args:
        tokens: (P, L) indices into `TOKENS`, a [SEP] at the end of each row, then padding; a pair without any result
            is padding alone.
        values: (P, R, 3) the numbers of the R results in writing order, the result itself first.
        spans: (P, R, 3, 2) first and last token of each of these numbers; -1 where the operation gave no result.
    """

    tokens: torch.Tensor
    values: Numbers
    spans: torch.Tensor


def _normal_form(value: Decimal) -> tuple[int, int]:
    """Mantissa and decimals of one number, as `Numbers` holds them."""
    decimals = max(0, -value.normalize(_CONTEXT).as_tuple().exponent)
    return int(value.scaleb(decimals, _CONTEXT)), decimals


def is_calculable(value: Decimal) -> bool:
    """Whether the calculator takes a number: at most 10 digits before the decimal point and 4 behind it."""
    limit = 10**INTEGER_DIGITS
    return value.is_finite() and -limit < value < limit and value == value.quantize(_LAST_PLACE, context=_CONTEXT)


def format_number(value: Decimal) -> str:
    """A decimal in plain digits, without exponent, without trailing zeros and without a negative zero.

    >>> format_number(Decimal("-12.50")), format_number(Decimal("-0.0")), format_number(Decimal("1E+3"))
    ('-12.5', '0', '1000')
    """
    return f"{value.normalize(_CONTEXT):f}" if value else "0"


def pair_arguments(num_quantities: int) -> torch.Tensor:
    """All unordered pairs (i, j), i < j, of N numbers as (N (N - 1) / 2, 2), the pairs of fewer numbers first."""
    return torch.tril_indices(num_quantities, num_quantities, offset=-1).flip(0).T


def pack_left(values: torch.Tensor, keep: torch.Tensor, fill: int) -> torch.Tensor:
    """Moves the kept entries of each row to its front, in order, and fills the rest.

    Args:
        values: (P, C).
        keep: (P, C) bool.
        fill: the value behind the kept entries.

    Returns:
        (P, K) with K the largest number of kept entries in a row.
    """
    rank = keep.cumsum(-1)
    width = int(rank[:, -1].max()) if rank.numel() else 0
    # Entries that are not kept are all written to one column too many, which is cut off.
    packed = values.new_full((len(values), width + 1), fill)
    return packed.scatter_(1, torch.where(keep, rank - 1, width), values)[:, :width]


class Calculator:
    """Binary arithmetic on exact decimals, all operations at once.

    + and * give one result, - and / one for each order. A quotient is rounded to 4 decimals, a half away from zero. A
    division by zero and a product of more than 18 digits (decimals counted) give no result.

    Args:
        operations: some of `+`, `-`, `*`, `/`, in writing order; the paper uses + and -.

    Raises:
        ValueError: unknown, repeated or no operations.

    >>> Calculator()(72, 23)
    '95 = 72 + 23 , 49 = 72 - 23 , -49 = 23 - 72'
    >>> Calculator(["/"])(3, 0)
    '0 = 0 / 3'
    >>> Calculator(["+"])("0.1", "0.2")
    '0.3 = 0.1 + 0.2'
    """

    def __init__(self, operations: Sequence[str] = ("+", "-")):
        if not operations or len(set(operations)) < len(operations) or not set(operations) <= set(OPERATIONS):
            raise ValueError(f"operations must be some of {' '.join(OPERATIONS)}, each once; got {operations!r}")
        self.operations = tuple(operations)

    @property
    def expressions(self) -> list[tuple[str, bool]]:
        """The R results in writing order: the operation, and whether the operands are swapped."""
        return [(op, swap) for op in self.operations for swap in ((False, True) if op in "-/" else (False,))]

    def __call__(self, a: Decimal | int | str, b: Decimal | int | str) -> str:
        """The results for one pair as a string; empty if no operation has one.

        Raises:
            ValueError: an operand that is no number or too long for the calculator (see `is_calculable`).
        """
        return " , ".join(result for result in self.results(a, b) if result is not None)

    def results(self, a: Decimal | int | str, b: Decimal | int | str) -> list[str | None]:
        """The R results for one pair, None where an operation has none; raises as `__call__`.

        >>> Calculator(["+", "/"]).results(3, 0)
        ['3 = 3 + 0', None, '0 = 0 / 3']
        """
        operands = []
        for value in (a, b):
            try:
                operands.append(Decimal(value))
            except decimal.InvalidOperation:
                raise ValueError(f"the calculator needs numbers in plain digits like '-12.5', got {value!r}") from None
            if not is_calculable(operands[-1]):
                raise ValueError(
                    f"the calculator takes numbers of at most {INTEGER_DIGITS} digits before the decimal point and "
                    f"{DECIMALS} behind it, got {value!r}: round it or leave it out"
                )
        results = []
        for operation, swap in self.expressions:
            x, y = reversed(operands) if swap else operands
            value = self._evaluate(operation, x, y)
            text = (
                None
                if value is None
                else f"{format_number(value)} = {format_number(x)} {operation} {format_number(y)}"
            )
            results.append(text)
        return results

    @staticmethod
    def _evaluate(operation: str, x: Decimal, y: Decimal) -> Decimal | None:
        if operation == "+":
            return _CONTEXT.add(x, y)
        if operation == "-":
            return _CONTEXT.subtract(x, y)
        if operation == "*":
            mantissa = _normal_form(x)[0] * _normal_form(y)[0]
            return _CONTEXT.multiply(x, y) if abs(mantissa) < 10**PRODUCT_DIGITS else None
        return _CONTEXT.quantize(_CONTEXT.divide(x, y), _LAST_PLACE) if y else None

    def evaluate(self, a: Numbers, b: Numbers) -> tuple[Numbers, torch.Tensor]:
        """The numbers of all results for P pairs, as (P, R, 3), and where an operation has a result, as (P, R)."""
        scale = torch.maximum(a.decimals, b.decimals)
        # Both operands as integers of the same unit.
        aligned_a, aligned_b = (n.mantissa * 10 ** (scale - n.decimals) for n in (a, b))
        triples, valid = [], []
        for operation, swap in self.expressions:
            operands = [(a, aligned_a), (b, aligned_b)]
            (x, aligned_x), (y, aligned_y) = reversed(operands) if swap else operands
            decimals, exists = scale, torch.ones_like(scale, dtype=torch.bool)
            if operation == "+":
                mantissa = aligned_x + aligned_y
            elif operation == "-":
                mantissa = aligned_x - aligned_y
            elif operation == "*":
                exists = x.mantissa.abs() <= (10**PRODUCT_DIGITS - 1) // y.mantissa.abs().clamp(min=1)
                mantissa = x.mantissa * y.mantissa * exists
                decimals = x.decimals + y.decimals
            else:
                exists = y.mantissa != 0
                divisor = aligned_y.abs().clamp(min=1)
                quotient = (2 * aligned_x.abs() * 10**DECIMALS + divisor) // (2 * divisor)  # rounds a half up
                mantissa = quotient * aligned_x.sign() * aligned_y.sign()
                decimals = torch.full_like(scale, DECIMALS)
            triples.append(Numbers.stack([_strip_zeros(mantissa, decimals), x, y], -1))
            valid.append(exists)
        return Numbers.stack(triples, 1), torch.stack(valid, -1)

    def encode(self, a: Numbers, b: Numbers) -> CalculatorResults:
        """The results of P pairs as tokens; equal to tokenizing `self(a, b)` for each of them.

        Args:
            a, b: the operands, fields of shape (P,), within the limits of `is_calculable`.
        """
        values, valid = self.evaluate(a, b)
        digits, keep = _write(values)
        keep = keep & valid[..., None, None]  # (P, R, 3, C)

        # What stands before each of a result's three numbers: a comma unless it is the first, "=", the operation.
        marks = [[_INDEX[","], _INDEX["="], _INDEX[operation]] for operation, _ in self.expressions]
        before = torch.tensor(marks, device=digits.device).expand(len(valid), -1, -1).unsqueeze(-1)
        keep_before = valid[..., None, None].repeat(1, 1, 3, 1)
        keep_before[..., 0, 0] &= valid.cumsum(-1) > 1
        columns, written = torch.cat([before, digits], -1), torch.cat([keep_before, keep], -1)

        last = written.flatten(1).cumsum(-1).view_as(written)[..., -1] - 1
        spans = torch.stack([last - keep.sum(-1) + 1, last], -1)
        separator = torch.full((len(valid), 1), _INDEX["[SEP]"], device=digits.device)
        tokens = pack_left(
            torch.cat([columns.flatten(1), separator], 1),
            torch.cat([written.flatten(1), valid.any(-1, keepdim=True)], 1),
            fill=_INDEX["[PAD]"],
        )
        return CalculatorResults(tokens, values, spans.masked_fill(~valid[..., None, None], -1))


def _strip_zeros(mantissa: torch.Tensor, decimals: torch.Tensor) -> Numbers:
    """Removes the zeros at the end of the decimals, the normal form of `Numbers`."""
    for _ in range(int(decimals.max()) if decimals.numel() else 0):
        strip = (decimals > 0) & (mantissa % 10 == 0)
        mantissa, decimals = torch.where(strip, mantissa // 10, mantissa), decimals - strip.long()
    return Numbers(mantissa, decimals)


def _write(values: Numbers) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens of numbers in columns, and which of them are written; both (..., C).

    The columns are a sign, the digits before the decimal point, right aligned, the point, and the decimals. Every
    number has all of them, so that no loop over numbers is needed; packing leaves out what a number does not need.
    """
    magnitude, unit = values.mantissa.abs(), 10**values.decimals
    whole, places = (magnitude // unit).unsqueeze(-1), values.decimals.unsqueeze(-1)
    largest, most_places = (int(n.max()) if n.numel() else 0 for n in (whole, places))
    powers = 10 ** torch.arange(len(str(largest)) - 1, -1, -1, device=unit.device)
    place = torch.arange(most_places, device=unit.device)

    whole_written = (whole >= powers) | (powers == 1)
    is_first = whole_written.cumsum(-1) == 1
    whole_digits = whole // powers % 10 + torch.where(is_first, _DIGIT, _CONTINUED_DIGIT)
    fraction = (magnitude % unit).unsqueeze(-1) * 10 ** (most_places - places)
    decimals = fraction // 10 ** (most_places - 1 - place) % 10 + torch.where(place == 0, _DIGIT, _CONTINUED_DIGIT)
    sign, point = (torch.full_like(whole, _INDEX[token]) for token in "-.")
    return (
        torch.cat([sign, whole_digits, point, decimals], -1),
        torch.cat([values.mantissa.unsqueeze(-1) < 0, whole_written, places > 0, place < places], -1),
    )
