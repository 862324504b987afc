"""swap_numbers on texts of our own: what a reader would say, and what rules cannot know."""

from decimal import Decimal

import pytest
from datasets import Dataset
from numpy.random import default_rng

from dataset_scripts.drop.drop import FEATURES, make_row
from dataset_scripts.drop.swapped_numbers import Unsure, swap_numbers, swap_row

TOWN = (
    "As of the census of 2000, there were 24,621 people, 9,029 households, and 6,284 families in the town. "
    "The racial makeup was 81.2% White (U.S. Census), 12.7% Asian, and 2.4% from two or more races. "
    "Ancestries are Irish (12.1%), German (8.7%). Anna Lee scored 23 points and Carl Moe scored 17 points. "
    "The mill opened in 1875, closed in 1890 and burned down in 1894."
)
COMPARISONS = [  # question, answer, new answer, what changes places
    ("Which group is larger: people or families?", "people", "families", ("24,621", "6,284")),
    ("Were there fewer households or families?", "families", "households", ("9,029", "6,284")),
    ("Which race is smaller, Asian or two or more races?", "two or more races", "Asian", ("12.7", "2.4")),
    ("Is the Irish or the German ancestry larger?", "Irish", "German", ("12.1", "8.7")),
    ("Who scored more points, Anna Lee or Carl Moe?", "Anna Lee", "Carl Moe", ("23", "17")),
]


def row(question, *answers, passage=TOWN):
    kind = "number" if answers[0].replace(".", "").isdigit() else "span"
    return make_row("p", passage, question, list(answers), kind)


def swapped(*arguments, **options):
    return swap_row(row(*arguments, **options), default_rng(0))


@pytest.mark.parametrize(("question", "answer", "other", "numbers"), COMPARISONS)
def test_two_numbers_change_places_and_back(question, answer, other, numbers):
    new = swapped(question, answer)
    assert new["answer"][0] == other
    first, second = numbers
    assert new["passage"] == f"{TOWN} 100".replace(first, "#").replace(second, first).replace("#", second)
    back = swap_row(new | {"answer": [other]}, default_rng(0))
    assert (back["passage"], back["answer"][0]) == (f"{TOWN} 100", answer)


def test_a_number_between_two_mentions_of_its_name_changes_once():
    new = swapped("Which is larger: people or families?", "people", passage="9,000 people of the people, 50 families.")
    assert new["passage"] == "50 people of the people, 9,000 families. 100"


@pytest.mark.parametrize("seed", range(20))
def test_a_difference_of_new_numbers(seed):
    for question, answer in (
        ("How many more households than families were there?", "2745"),
        ("How many years after it opened did the mill close?", "15"),
    ):
        new = swap_row(row(question, answer), default_rng(seed))
        (old_large, large), (old_small, small) = new["changed"]
        assert new["passage"] == f"{TOWN} 100".replace(old_large, large).replace(old_small, small)
        assert [len(large), len(small)] == [len(old_large), len(old_small)]
        number = [Decimal(text.replace(",", "")) for text in (large, small)]
        assert new["answer"] == [str(number[0] - number[1])] != [answer]
        assert number[0] > number[1]
        if "years" in question:  # of the same century, before the fire
            assert 1800 <= number[1] < number[0] < 1894


@pytest.mark.parametrize("seed", range(20))
def test_the_rest_of_100(seed):
    new = swap_row(row("How many percent were not Asian?", "87.3"), default_rng(seed))
    ((old, share),) = new["changed"]
    assert old == "12.7"
    assert new["answer"] == [str(100 - Decimal(share))]
    # Between its neighbors 2.4, or 8.7 and 12.1 of another sentence, and 81.2; and 100 is not passed.
    assert Decimal("12.1") < Decimal(share) <= Decimal("16.4")


@pytest.mark.parametrize(
    ("question", "answers", "passage", "reason"),
    [
        ("Which is larger: people or families?", ["families"], TOWN, "the numbers do not say the answer"),
        ("Which came first, people or families?", ["people"], TOWN, "larger or smaller is not asked for"),
        ("Which is larger: people or castles?", ["people"], TOWN, "a name does not stand in the passage"),
        ("Which is larger: people or families?", ["mill"], TOWN, "the answer is not one of the names"),
        ("Who had more, people, households or families?", ["people"], TOWN, "three to choose from"),
        ("Which is larger: people or families?", ["people"], "9 (4%) people, 5 (2%) families.", "says the same"),
        ("Which is larger: people or families?", ["people"], "9 people, 5 families. 4 families.", "several numbers"),
        ("Which is larger: people or families?", ["people"], "9 people, 5 families and 9 dogs.", "elsewhere, too"),
        ("Which is larger: people or families?", ["people"], "9 people came. 5 families left.", "different sentences"),
        ("Which had more than 9: dogs or cats?", ["dogs"], "9 dogs, 7 cats.", "elsewhere, too"),
        ("How many more people than families?", ["18337", "18338"], TOWN, "the annotators disagree"),
        ("How many more people than families?", ["7"], TOWN, "no two numbers have this difference"),
        ("How many more dogs than cats?", ["18337"], TOWN, "the words are not those"),
        ("How many more dogs than cats?", ["2"], "9 dogs, 7 cats and 5 cows.", "several numbers have this difference"),
        ("How many more dogs than cats?", ["2"], "9 dogs, 7 cats and 2 cows.", "the answer stands in the passage"),
        ("How many more dogs than the most cats?", ["2"], "9 dogs, 7 cats.", "a superlative"),
        ("How many more dogs than cats?", ["16"], "9 dogs, 7 cats, 25 cows.", "difference or sum"),
        ("How many more dogs than cats?", ["2"], "9% dogs, 7 cats.", "different units"),
        ("How many more dogs than cats?", ["2"], "9th dogs, 7 cats.", "part of a word"),
        ("How many more dogs than cats?", ["2"], "9 (4%) dogs, 7 (3%) cats.", "says the same"),
        ("How many more than those 7 dogs?", ["2"], "9 dogs, 7 cats.", "elsewhere, too"),
        ("How many more dogs than cats?", ["15"], "1890 dogs, 1875 cats.", "years, but no time"),
        ("How many years after the flood did it close?", ["15"], "1875 dogs. In 1890 it closed.", "the words are not"),
        ("How many months after it opened did the mill close?", ["15"], TOWN, "a time that is no difference of years"),
        ("How many percent were not Asian?", ["9"], TOWN, "nothing is the rest of 100"),
        ("How many percent were not Danish?", ["87.3"], TOWN, "the words are not those of the question"),
        ("How many percent were not Danish?", ["93"], "7 Danish ships.", "the rest of 100 is no percentage"),
        ("How many percent were not Danish?", ["93"], "9 people (7%) were Danish.", "another number says the same"),
    ],
)
def test_what_is_not_sure_is_left_out(question, answers, passage, reason):
    with pytest.raises(Unsure, match=reason):
        swapped(question, *answers, passage=passage)


def test_all_rows_and_the_reasons():
    texts = [(question, answer) for question, answer, *_ in COMPARISONS]
    rows = [row(*text) for text in (*texts, ("Who came first, people or families?", "people"), ("Who won?", "people"))]
    rows = Dataset.from_list(rows, features=FEATURES)
    new, counts = swap_numbers(rows)
    assert new["id"][:] == rows["id"][: len(COMPARISONS)]
    assert counts["comparison"] == {"swapped": len(COMPARISONS), "larger or smaller is not asked for": 1}
    assert swap_numbers(rows)[0].to_list() == new.to_list()
    none, _ = swap_numbers(rows.select([len(COMPARISONS)]))
    assert (len(none), none.features) == (0, new.features)
