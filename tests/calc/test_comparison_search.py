"""Explanations of comparisons: against a loop over all of them, and learned from answers alone."""

import itertools
import math
import re

import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset

from hf_calc import (
    BertForCalculatorQA,
    CalculatorQAConfig,
    CalculatorQADataCollator,
    CalculatorQAProcessor,
    CalculatorQATrainer,
    CalculatorQATrainingArguments,
)
from hf_calc.argument_scorer import ArgumentScorer
from hf_calc.calculator import pair_arguments
from hf_calc.comparison_search import (
    LARGER,
    UNRELATED,
    ComparisonSearch,
    answered_choice,
    argument_log_likelihood,
    related_pairs,
)
from hf_calc.mentions import TokenMention
from hf_calc.symbolic_function import SHIPPED

QUESTION = "Who has more nuts: Anna or Carl?"


def explain(search, numbers, values, is_related, choice, larger):
    """The likelihood of one row's answer and what it is explained by, explanation after explanation."""
    roles = search.roles(torch.relu(search.hidden(numbers)))
    count = len(values)
    first, second = (roles[:, k].softmax(0).tolist() for k in (0, 1))
    combined = torch.cat([roles[:, 2:].flatten(), torch.zeros(1)]).softmax(0).tolist()
    right, total, found = 0.0, 0.0, torch.zeros(4, count, count, count + 1)
    for a, b in itertools.permutations(range(count), 2):
        for way, weight in enumerate(combined):
            t, how = divmod(way, 4)
            weight *= first[a] * second[b]
            amounts, taken = [values[a], values[b]], (0, a, b, count)
            if t < count:
                if t in (a, b):
                    continue
                side, minus = divmod(how, 2)
                taken = (how, a, b, t)
                amounts[side] += -values[t] if minus else values[t]
                weight *= 1 if is_related[(a, b)[side]][t] else math.exp(UNRELATED)
            total += weight
            is_larger = choice == LARGER and max(amounts) == larger
            if is_larger or (amounts[0] != amounts[1] and (amounts[0] > amounts[1]) == choice):
                right += weight
                found[taken] += weight
    return math.log(right / total) if right else 0.0, found / right if right else found


def test_likelihood_and_probabilities_equal_a_loop_over_all_explanations():
    search, numbers = ComparisonSearch(6), torch.randn(7, 5, 6)
    values = torch.tensor([[5, 3, 9, 2, 7], [4, 4, 1, 8, 3], [6, -2, 5, 0, 0], [3, 3, 0, 0, 0]])[[0, 1, 2, 3, 0, 2, 3]]
    counts = [5, 5, 3, 2, 5, 3, 2]
    is_number = torch.arange(5) < torch.tensor(counts).unsqueeze(1)
    is_related = torch.rand(7, 5, 5) < 0.5
    is_related = is_related | is_related.mT
    # The fourth row has two equal numbers, and the last none of the answer: nothing explains them.
    choice, larger = torch.tensor([1, 0, 1, 0, *[LARGER] * 3]), torch.tensor([0, 0, 0, 0, 12, 8, 7])
    likelihood, explanations = search(numbers, values, is_number, is_related, choice, larger)
    for row, count in enumerate(counts):
        related = is_related[row, :count, :count].tolist()
        asked = choice[row].item(), larger[row].item()
        expected = explain(search, numbers[row, :count], values[row, :count].tolist(), related, *asked)
        assert likelihood[row].item() == pytest.approx(expected[0], abs=1e-5)
        found = explanations[row, :, :count, :count][..., [*range(count), 5]]
        torch.testing.assert_close(found, expected[1], rtol=1e-4, atol=1e-6)
        assert explanations[row].sum().item() == pytest.approx(float(count > 2), abs=1e-5)
        assert (likelihood[row] < 0) == (count > 2)


def test_rows_without_a_choice_add_nothing():
    search = ComparisonSearch(6)
    numbers = torch.randn(2, 3, 6, requires_grad=True)
    everything = torch.ones(2, 3, 3, dtype=torch.bool)
    likelihood, explanations = search(
        numbers,
        torch.tensor([[1, 2, 3], [1, 2, 3]]),
        everything[:, 0],
        everything,
        torch.tensor([-1, 1]),
        larger=torch.tensor([2, 2]),
    )
    likelihood.sum().backward()
    assert likelihood[0] == 0
    assert not explanations[0].any()
    assert not numbers.grad[0].any()
    assert numbers.grad[1].any()


@torch.no_grad()
def test_only_the_text_tells_which_side_a_number_was_combined_with():
    # a - t > b and a > b + t: with the same scores, both are as probable, unless the text relates one alone.
    search = ComparisonSearch(4)
    torch.nn.init.zeros_(search.roles.weight)
    torch.nn.init.zeros_(search.roles.bias)
    values, everything = torch.tensor([[8, 2, 5]]), torch.ones(1, 3, 3, dtype=torch.bool)
    is_related = everything.clone()
    is_related[0, 1, 2] = is_related[0, 2, 1] = False
    numbers, choice = torch.randn(1, 3, 4), torch.tensor([1])
    _, alike = search(numbers, values, everything[:, 0], everything, choice, choice)
    _, told = search(numbers, values, everything[:, 0], is_related, choice, choice)
    # 8 + 5 > 2 and 8 - 5 > 2, 8 > 2 + 5 and 8 > 2 - 5.
    assert alike[0, :, 0, 1, 2].tolist() == pytest.approx([alike[0, 0, 0, 1, 2].item()] * 4)
    to_first, from_first, to_second, from_second = told[0, :, 0, 1, 2].tolist()
    assert [to_second, from_first] == pytest.approx([from_second, to_first])
    assert to_first / to_second == pytest.approx(math.exp(-UNRELATED), rel=1e-4)


@pytest.mark.parametrize(
    ("question", "answer", "choice"),
    [
        (QUESTION, "Anna", 1),
        (QUESTION, "carl", 0),
        (QUESTION, "Mark", -1),
        (QUESTION, "5", -1),
        (QUESTION, "Ann", -1),
        (QUESTION, " ", -1),
        ("Which group is larger, people under 18, or people from 18 to 24?", "people under 18", 1),
        ("Which group is smaller: Asian or two or more races?", "asian", 0),
        ("Which share was lowest: that of couples or families?", "families", 1),
        ("Who ran more: Tom or Tom?", "Tom", -1),
        ("Who came first: Tom or Anna?", "Tom", -1),
        ("Was it higher or lower?", "lower", -1),
        ("How many nuts has Anna?", "Anna", -1),
    ],
)
def test_which_choice_an_answer_is(question, answer, choice):
    assert answered_choice(question, [answer]) == answered_choice(question, ["x", answer]) == choice


def test_numbers_are_related_by_whom_their_clauses_name():
    passage = "Mark has 1 nuts, Anna has 8 nuts, Carl has 3 nuts, Anna gave 2 nuts to Mark."
    related = torch.tensor(related_pairs(QUESTION, passage, [passage.index(digit) for digit in "1832"] + [-1]))
    assert related.equal(related.T)
    assert related[:4, :4].nonzero().tolist() == [[1, 1], [1, 3], [2, 2], [3, 1], [3, 3]]  # Mark is not asked for
    assert related[4].all()


ROWS = [
    {
        "question": QUESTION,
        "passage": f"Anna has {a} nuts, Carl has {c} nuts, Mark has 5.5 nuts, {gift}.",
        "answer": name,
    }
    for a, c, gift, name in [
        (9, 4, "Anna gave 2 nuts to Mark", "Anna"),
        (9, 4, "Anna gave 7 nuts to Mark", "Carl"),
        (3, 6, "Mark gave 4 nuts to Anna", "Anna"),
        (8, 6, "Mark gave 4 nuts to Carl", "Carl"),
    ]
]


def test_the_processor_makes_what_the_search_takes(processor):
    batch = CalculatorQADataCollator(processor, comparisons=True)(ROWS)["comparisons"]
    assert batch["choice"].tolist() == [1, 0, 1, 0]
    assert batch["values"][0].tolist() == [90, 40, 55, 20]
    assert batch["is_number"].all()
    assert batch["is_related"][3].nonzero().tolist() == [[0, 0], [1, 1], [1, 3], [3, 1], [3, 3]]
    question = "What is the maximum number of nuts owned either by Anna or Carl?"
    answers = [["6", "six"], ["5.5"], ["0.25"], ["Carl"]]
    batch = processor([question] * 4, [row["passage"] for row in ROWS], answers, comparisons=True)["comparisons"]
    assert batch["choice"].tolist() == [LARGER, LARGER, -1, 0]  # no sum of these numbers has two decimals
    assert batch["larger"][:2].tolist() == [60, 55]
    assert processor(QUESTION, ROWS[0]["passage"], "6", comparisons=True)["comparisons"]["choice"].tolist() == [-1]
    assert "comparisons" not in CalculatorQADataCollator(processor)(ROWS)
    assert "comparisons" not in processor(QUESTION, ROWS[0]["passage"], comparisons=True)  # without an answer


def test_the_expected_log_probability_of_arguments_equals_a_loop():
    explanations = torch.rand(3, 4, 4, 4, 5)
    for dim in (2, 3, 4):  # what is no number explains nothing
        explanations[2].select(dim - 1, 3).zero_()
    explanations[:, 1:, ..., 4] = 0
    changed = SHIPPED["changed_comparison"].argument_tuples([TokenMention(0, 0, 1, 0, 1, 0, 0)] * 4).tolist()
    for arguments in (pair_arguments(4).tolist(), changed):
        scores, expected = torch.randn(3, len(arguments) + 1), []
        candidates = torch.tensor([*arguments, [-1] * len(arguments[0])]).repeat(3, 1, 1)
        candidates[2][(candidates[2] == 3).any(-1)] = -1
        scores[candidates[..., 0] < 0] = torch.finfo(torch.float32).min
        for row, p in enumerate(explanations):
            expected.append(0.0)
            for candidate, log_p in zip(candidates[row].tolist(), scores[row].log_softmax(-1), strict=True):
                if candidate[0] < 0:
                    continue
                if len(candidate) == 6:
                    a, b, *changes = candidate
                    label = p[next(((way, a, b, t) for way, t in enumerate(changes) if t >= 0), (0, a, b, 4))]
                else:
                    label = 0.0
                    for i, j in (candidate, candidate[::-1]):
                        label += p[:2, i, :, j].sum() + p[2:, :, i, j].sum() + p[0, i, j, 4]
                expected[-1] += label * log_p
        found = argument_log_likelihood(explanations, candidates, scores)
        torch.testing.assert_close(found, torch.stack(expected))


@pytest.mark.parametrize("num_arguments", [2, 6])
def test_names_alone_teach_a_scorer_all_of_its_arguments(num_arguments):
    """Vectors say what a number is: the first choice's, the second's, what the first won or lost, or another."""
    rows, count = 128, 5
    values = torch.randint(1, 50, (rows, count))
    kinds = torch.stack([torch.randperm(count) for _ in range(rows)])
    place = kinds.argsort(-1)  # of each kind
    first, second, change = values.gather(1, place[:, :3]).T
    is_won = torch.rand(rows) < 0.5
    difference = first + torch.where(is_won, change, -change) - second
    choice = torch.where(difference == 0, -1, (difference > 0).long())
    is_related = torch.eye(count, dtype=torch.bool).repeat(rows, 1, 1)
    is_related[range(rows), place[:, 0], place[:, 2]] = is_related[range(rows), place[:, 2], place[:, 0]] = True
    numbers = F.pad(F.one_hot(kinds, count).float(), (0, 1))
    numbers[..., count] = is_won.unsqueeze(-1) & (kinds == 2)
    arguments = pair_arguments(count)
    if num_arguments == 6:
        arguments = SHIPPED["changed_comparison"].argument_tuples([TokenMention(0, 0, 1, 0, 1, 0, 0)] * count)
    arguments = arguments.expand(rows, -1, -1)
    search, scorer = ComparisonSearch(6), ArgumentScorer(6, num_arguments)
    optimizer = torch.optim.Adam([*search.parameters(), *scorer.parameters()], lr=0.03)
    for _ in range(100):
        likelihood, explanations = search(numbers, values, values > 0, is_related, choice, choice)
        likelihood = likelihood + argument_log_likelihood(explanations, arguments, scorer(numbers, arguments))
        optimizer.zero_grad()
        likelihood.mean().neg().backward()
        optimizer.step()
    chosen, right = arguments[0][scorer(numbers, arguments).argmax(-1)], place[:, [0, 2]]
    if num_arguments == 6:
        right = F.pad(place[:, :2], (0, 4), value=-1)
        right[range(rows), torch.where(is_won, 2, 3)] = place[:, 2]
    else:  # a + t is t + a
        chosen, right = chosen.sort(-1).values, right.sort(-1).values
    assert (chosen == right).all(-1).float().mean() > 0.95


@pytest.mark.parametrize("function", ["arithmetic", "changed_comparison"])
def test_training_learns_what_to_calculate_with_from_names_alone(function, tokenizer_dir, sizes, tmp_path):
    torch.manual_seed(0)
    processor = CalculatorQAProcessor.from_pretrained(tokenizer_dir, function=function)
    model = BertForCalculatorQA(CalculatorQAConfig(**sizes | processor.calculation, search_comparisons=True))
    trainer = CalculatorQATrainer(
        model=model,
        args=CalculatorQATrainingArguments(
            str(tmp_path), max_steps=100, per_device_train_batch_size=4, learning_rate=3e-3, use_cpu=True,
            logging_steps=50, report_to="none", disable_tqdm=True, save_strategy="no",
        ),
        data_collator=CalculatorQADataCollator(processor, comparisons=True),
        train_dataset=Dataset.from_list(ROWS),
        processing_class=processor,
    )  # fmt: skip
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trainer.train()
    assert not [name for name, p in model.named_parameters() if torch.equal(before[name], p)]
    first, last = (entry["search_loss"] for entry in trainer.state.log_history if "search_loss" in entry)
    assert last < first / 2
    batch = CalculatorQADataCollator(processor)(ROWS)
    with torch.no_grad():
        output = model.eval()(**batch)
    if function == "arithmetic":
        taken = batch["candidate_arguments"][range(4), output.argument_index].tolist()
        assert taken == [[0, 3], [0, 3], [0, 3], [1, 3]]
    else:  # of four rows also other explanations than the right ones are true
        results = processor.tokenizer.batch_decode(output.result_ids)
        assert [re.search("[<>]", result)[0] for result in results] == [*"><><"]


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({"num_steps": 2}, "arithmetic, 2 and True"),
        ({"function": "comparison"}, "comparison, 1 and True"),
        ({"digit_tokens": False}, "arithmetic, 1 and False"),
    ],
)
def test_comparisons_of_another_calculation_are_refused(tokenizer_dir, options, got):
    processor = CalculatorQAProcessor.from_pretrained(tokenizer_dir, **options)
    for answers in ("Anna", None):
        with pytest.raises(
            ValueError, match=f"is for the functions arithmetic and changed_comparison, .* got {got}: leave"
        ):
            processor(QUESTION, ROWS[0]["passage"], answers, comparisons=True)


def test_comparisons_for_a_model_that_does_not_search_them_are_refused(processor, sizes):
    model = BertForCalculatorQA(CalculatorQAConfig(**sizes))
    with pytest.raises(ValueError, match="the inputs have comparisons, the model no search_comparisons: make"):
        model(**CalculatorQADataCollator(processor, comparisons=True)(ROWS))


def test_what_cannot_be_searched_is_refused(processor, sizes, tmp_path):
    for wrong in ({"use_calculator": False}, {"num_arguments": 3}):
        with pytest.raises(ValueError, match="search_comparisons needs"):
            CalculatorQAConfig(search_comparisons=True, **wrong)
    with pytest.raises(ValueError, match=r"needs CalculatorQADataCollator\(..., comparisons=True\)"):
        CalculatorQATrainer(
            model=BertForCalculatorQA(CalculatorQAConfig(**sizes, search_comparisons=True)),
            args=CalculatorQATrainingArguments(str(tmp_path), use_cpu=True, report_to="none"),
            data_collator=CalculatorQADataCollator(processor),
            train_dataset=Dataset.from_list(ROWS),
            processing_class=processor,
        )
