"""Which numbers to calculate with, learned from comparisons, "who has more, A or B?", and their answers alone.

A number as an answer says which pairs lead to it, because the calculator's result can be searched for it; a name does
not. Here every explanation of a comparison is such a search: the amount of the first choice is larger than that of the
second, one of the two after adding or subtracting a third number, or neither. Each explanation either gives the name
that is the answer or it does not; what raises the likelihood of those that do is learned from many examples, and which
numbers they calculate with becomes the label of the layer's scores: those that are combined, or of a function that
compares as well (`changed_comparison`), all of them, and who gains or loses by it.

Two explanations always agree: a - t > b and a > b + t. No answer can tell them apart, so the text must, see
`related_pairs`.

Shapes: B rows, N numbers, D candidates, H hidden size, P = N * N * (4 N + 1) explanations.
"""

import re
from collections.abc import Sequence
from decimal import Decimal

import torch
import torch.nn.functional as F
from torch import nn

from .calculator import Numbers
from .mentions import TokenizedRows

LOWEST = -1e9
LARGER = 2  # the choice of a question that asks for the larger number itself
UNRELATED = -12.0  # log of how much rarer a sum of numbers is whose clauses share nothing
MORE = re.compile(r"\b(?:more|most|maximum|(?:larg|bigg|high|great|long)(?:er|est))\b")
LESS = re.compile(r"\b(?:less|least|minimum|(?:few|small|low|short)(?:er|est))\b")


def answered_choice(question: str, answers: Sequence[str]) -> int:
    """Who has more by the answer: 1 what stands before the last "or" of a question, 0 what is behind it, else -1.

    The answer to who has less is the other one. A question that asks for neither compares no numbers.

    >>> [answered_choice("Who has more nuts: Anna or Carl?", [name]) for name in ("anna", "Carl", "Mark")]
    [1, 0, -1]
    >>> answered_choice("Who has fewer nuts, Anna or Carl?", ["Anna"])
    0
    """
    question = re.sub(r"\bor (?:more|less|fewer)\b", "", question.casefold())  # "two or more races"
    asks_for_more = MORE.search(question) is not None
    if asks_for_more == (LESS.search(question) is not None):
        return -1
    before, found, after = question.rpartition(" or ")
    spellings = "|".join(re.escape(answer.strip().casefold()) for answer in answers if answer.strip())
    if not found or not spellings:
        return -1
    is_first = re.search(rf"(?<!\w)(?:{spellings}),?$", before) is not None
    is_second = re.match(rf"(?:{spellings})(?!\w)", after) is not None
    return -1 if is_first == is_second else int(is_first == asks_for_more)


def asks_for_larger(question: str) -> bool:
    """Whether a question asks for the larger of two numbers itself.

    >>> asks_for_larger("What is the maximum number of nuts owned either by Anna or Carl?")
    True
    >>> asks_for_larger("How many nuts has Anna or Carl?"), asks_for_larger("Which is the highest mountain?")
    (False, False)
    """
    return re.search(r"\b(?:maximum|most|highest|largest|greatest)\b.* or ", question.casefold()) is not None


def related_pairs(question: str, passage: str, starts: Sequence[int]) -> list[list[bool]]:
    """Whether two numbers of a passage stand in clauses that share a word of the question, but no common one.

    A word is common if more than half of the clauses have it.

    Args:
        starts: N first characters of the numbers, -1 for one outside the passage, which is related to all.

    Returns:
        (N, N), symmetric.

    >>> text = "Anna has 7 nuts, Carl has 3 nuts, Mark has 5 nuts, Anna gave 2 nuts to Mark."
    >>> related_pairs("Who has more nuts: Anna or Carl?", text, [9, 26, 43, 61])[3]
    [True, False, False, True]
    """
    edges = [match.end() for match in re.finditer(r"[.,;:!?]\s", passage)]
    clauses = [passage[a:b] for a, b in zip([0, *edges], [*edges, len(passage)], strict=True)]
    asked = set(re.findall(r"\w+", question.casefold()))
    words = [asked.intersection(re.findall(r"\w+", clause.casefold())) for clause in clauses]
    common = {word for word in asked if 2 * sum(word in clause for clause in words) > len(clauses)}
    own = [None if start < 0 else words[sum(edge <= start for edge in edges)] - common for start in starts]
    return [[a is None or b is None or bool(a & b) for b in own] for a in own]


def comparison_inputs(
    rows: TokenizedRows,
    answers: Sequence[Sequence[tuple[str, Decimal | None]]],
    values: torch.Tensor,
    is_number: torch.Tensor,
) -> dict[str, torch.Tensor]:
    """The inputs of `ComparisonSearch` but the numbers' vectors.

    Args:
        rows: B of them.
        answers: per row the spellings of its answer, each with its value if it is a number.
        values: (B, N, 2) the rows' numbers, the fields of `Numbers`.
        is_number: (B, N) where there is one.
    """
    mantissa, decimals = values.unbind(-1)
    unit = decimals.amax(-1, keepdim=True).clamp(min=0)
    is_related = torch.zeros(*is_number.shape, is_number.shape[1], dtype=torch.bool)
    choices, larger = [], []
    for row, ((question, passage), mentions) in enumerate(zip(rows.texts, rows.mentions, strict=True)):
        choices.append(answered_choice(question, [spelling for spelling, _ in answers[row]]))
        larger.append(next((value for _, value in answers[row] if value is not None), None))
        if choices[-1] < 0 and larger[-1] is not None and asks_for_larger(question):
            choices[-1] = LARGER
        if mentions:
            starts = [m.start if m.segment else -1 for m in mentions]
            related = torch.tensor(related_pairs(question, passage, starts))
            is_related[row, : len(mentions), : len(mentions)] = related
    larger = Numbers.from_decimals(larger)
    return {
        "values": mantissa * 10 ** (unit - decimals.clamp(min=0)),
        "is_number": is_number,
        "is_related": is_related,
        "choice": torch.tensor(choices).where(larger.decimals <= unit[:, 0], -1),
        "larger": larger.mantissa * 10 ** (unit[:, 0] - larger.decimals).clamp(min=0),
    }


def argument_log_likelihood(explanations: torch.Tensor, arguments: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """The expected log-probability of what explanations calculate with, by the softmax of the scores (eq. 2).

    Args:
        explanations: (B, 4, N, N, N + 1) probabilities as `ComparisonSearch` has them, which get no gradient.
        arguments: (B, D, K) numbers of each candidate, -1 for one left out. Two are the pair to calculate with: a
            number and what is added to it or taken from it, in either order, or if there is none, both that are
            compared. Six are those of `changed_comparison`.
        scores: (B, D) in fp32, the smallest number at what is no candidate.

    Returns:
        (B,), 0 where no explanation is probable.
    """
    labels = explanations.detach()
    first, second, changes = arguments.tensor_split((1, 2), -1)
    index = first.squeeze(-1), second.squeeze(-1)
    if changes.shape[-1]:
        change, way = changes.max(-1)  # -1, the last: as they are
        index = torch.where(change < 0, 0, way), *index, change
    else:
        on_first, on_second = labels[:, :2].sum(1), labels[:, 2:].sum(1)
        pairs = on_first[..., :-1].sum(2) + on_second[..., :-1].sum(1) + on_first[..., -1]
        labels = pairs + pairs.mT
    rows = torch.arange(len(scores), device=scores.device).unsqueeze(-1)
    is_candidate = (arguments[..., 0] >= 0) & (scores > torch.finfo(scores.dtype).min)
    labels = labels[rows, *index].masked_fill(~is_candidate, 0.0)  # (B, D)
    return (labels * torch.log_softmax(scores, -1)).masked_fill(labels == 0, 0.0).sum(-1)


class ComparisonSearch(nn.Module):
    """The likelihood of the named choice under all explanations, and the probability of each given that choice.

    An explanation is (a, b, t, how): the numbers of the first and the second choice and a third one that is added to
    or taken from one of them, or none. Its prior is p(a) p(b) p(t, how), each a softmax over a 2-layer ReLU network on
    the numbers' vectors, times exp(`UNRELATED`) where the two numbers to be combined are not related. Then

        log p(choice) = log sum over explanations that give it - log sum over all.

    The larger number as an answer has its log p likewise. Numbers that are equal in the end explain no name.
    The sums over P explanations are exact; N = 12 has 7,056.

    Args:
        hidden_size: H.
    """

    def __init__(self, hidden_size: int):
        super().__init__()
        self.hidden = nn.Linear(hidden_size, hidden_size)
        self.roles = nn.Linear(hidden_size, 6)  # first, second; t as first + t, first - t, second + t, second - t

    def forward(
        self,
        numbers: torch.Tensor,
        values: torch.Tensor,
        is_number: torch.Tensor,
        is_related: torch.Tensor,
        choice: torch.Tensor,
        larger: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores all explanations.

        Args:
            numbers: (B, N, H) vectors.
            values: (B, N) int64 in one unit for each row.
            is_number, is_related: (B, N) and (B, N, N) bool.
            choice: (B,) 1 where the first choice has more by the answer, 0 the second, `LARGER` where the answer is
                the number of the one that has more, -1 for none of this.
            larger: (B,) int64 that number, in the row's unit.

        Returns:
            (B,) log-likelihoods, and (B, 4, N, N, N + 1) the probability, given the answer, that number a of the first
            choice is compared with number b of the second after t was added to a, taken from a, added to b or taken
            from b. Behind the last t, of the first of these, they are compared as they are. Both are 0 where no
            explanation gives the answer.
        """
        batch, count = values.shape
        with torch.autocast(numbers.device.type, enabled=False):
            roles = self.roles(torch.relu(self.hidden(numbers.to(self.hidden.weight.dtype)))).float()
        roles = roles.masked_fill(~is_number.unsqueeze(-1), LOWEST)
        first, second, combined = roles.split([1, 1, 4], -1)
        combined = F.pad(combined.flatten(1), (0, 1)).log_softmax(-1)  # the last: none
        scores = first.log_softmax(1).view(batch, count, 1, 1) + second.log_softmax(1).view(batch, 1, count, 1)
        # (B, N, N, 4 N + 1): a number has one role, and combining unrelated ones is rare.
        same = torch.eye(count, dtype=torch.bool, device=values.device)
        penalty = torch.where(is_related, 0.0, UNRELATED).masked_fill(same, LOWEST)  # (B, i, t)
        how = penalty.unsqueeze(-1).expand(-1, -1, -1, 2)  # + and -
        idle = torch.zeros_like(how).masked_fill(same.unsqueeze(-1), LOWEST)  # t is not the other choice's number
        on_first = torch.cat([how, idle], -1).flatten(2).unsqueeze(2)  # (B, a, 1, 4 N)
        on_second = torch.cat([idle, how], -1).flatten(2).unsqueeze(1)  # (B, 1, b, 4 N)
        scores = scores + torch.cat(
            [
                combined[:, :-1].view(batch, 1, 1, -1) + on_first + on_second,
                combined[:, -1].view(batch, 1, 1, 1).expand(-1, count, count, 1),
            ],
            -1,
        )
        scores = scores.masked_fill(same.unsqueeze(-1), LOWEST)

        # What each way to combine adds to first - second, and to first + second.
        signs = values.new_tensor([[1, -1, -1, 1], [1, -1, 1, -1]])
        change = (values.view(batch, 1, count, 1) * signs.unsqueeze(1)).flatten(2)
        change = F.pad(change, (0, 1)).view(batch, 2, 1, 1, -1)
        first, second = values.view(batch, count, 1, 1), values.view(batch, 1, count, 1)
        difference, both = first - second + change[:, 0], first + second + change[:, 1]  # (B, N, N, 4 N + 1)
        choice, larger = choice.view(-1, 1, 1, 1), larger.view(-1, 1, 1, 1)
        gives = difference.sign() == 2 * choice - 1  # neither: -3, and the larger: 3, which are no sign
        gives |= (choice == LARGER) & (both + difference.abs() == 2 * larger)
        right = scores.masked_fill(~gives, LOWEST).flatten(1)
        total = right.logsumexp(-1)
        is_explained = total > LOWEST / 2
        likelihood = torch.where(is_explained, total - scores.flatten(1).logsumexp(-1), 0.0)

        posterior = (right - total.unsqueeze(-1)).exp() * is_explained.unsqueeze(-1)
        combined, compared = posterior.view(scores.shape).split([4 * count, 1], -1)
        combined = combined.unflatten(-1, (count, 4))  # (B, a, b, t, 4)
        compared = F.pad(compared.unsqueeze(-1), (0, 3))
        return likelihood, torch.cat([combined, compared], -2).movedim(-1, 1)
