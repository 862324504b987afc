"""Scores by kind of question, beside what the model can answer at all.

A span reader with a calculator of one step answers if the answer stands in question or passage, or in the result of
one pair of numbers: nothing else can be right, whatever it learns. What can be is known from the processor's labels,
without a model. It is an upper bound: that two numbers of a text make the answer does not say that they are meant.
"""

from collections.abc import Callable

BATCH = 64
REACHES = ("span", "calculation", "none")


def reach(processor, rows) -> list[str]:
    """How a model of this processor can answer each row.

    Args:
        processor: a `CalculatorQAProcessor` of a single step; any candidate counts, also over its function's ceiling.
        rows: with `question`, `passage` and `answer`.

    Returns:
        Of each row `span`, if the texts hold one of the answers, else `calculation`, if a result does, else `none`.

    Raises:
        ValueError: a processor of several steps, whose results depend on the model.
    """
    if processor.num_steps > 1:
        raise ValueError(f"what can be reached is known for a single step, got num_steps={processor.num_steps}")
    found = []
    for first in range(0, len(rows), BATCH):
        part = rows[first : first + BATCH]
        batch = processor(part["question"], part["passage"], part["answer"])
        results = batch
        if "candidate_results" in batch:
            results = batch["candidate_results"](batch["candidate_arguments"])
        places = {"span": batch["answer_spans"], "calculation": results["candidate_answer_spans"]}
        examples = batch["example_ids"]
        found += ["none"] * len(part["question"])
        for way in ("calculation", "span"):  # the later one counts
            has_answer = (places[way] >= 0).flatten(1).any(-1)
            for example in examples[has_answer].tolist():
                found[first + example] = way
    return found


def scores_by(
    column: str, rows, reaches: list[str], answers: list[dict], score: Callable[[list[dict], object], dict]
) -> dict[str, dict[str, float]]:
    """What a model scores on the rows of each value of a column.

    Args:
        column: such as `question_type`.
        rows: a dataset.
        reaches: of the rows, see `reach`.
        answers: of the rows, as `CalculatorQATrainer.decode_predictions` has them.
        score: answers and rows to metrics, as `CalculatorQATrainer.score_answers`.

    Returns:
        For each value `examples`, `reachable` (the percentage that is no `none`), `exact_match` and `f1`.
    """
    values, groups = rows[column], {}
    for value in sorted(set(values)):
        places = [place for place, other in enumerate(values) if other == value]
        metrics = score([answers[place] for place in places], rows.select(places))
        groups[value] = {
            "examples": len(places),
            "reachable": 100 * sum(reaches[place] != "none" for place in places) / len(places),
        } | {name: metrics[name] for name in ("exact_match", "f1")}
    return groups
