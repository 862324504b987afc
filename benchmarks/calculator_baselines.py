"""What can be right without a calculation: `python -m benchmarks.calculator_baselines`.

For the rows of every run in results/calc that was scored on CalculatorQA, how many percent of the answers are right if
transfers are ignored and the amounts compared as they are stated. A model has to be better than that on the validation
rows; on those for training (curriculum aside) it says what there is to learn beyond that.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.common import write
from dataset_scripts.calculator_qa.calculator_qa import CalculatorQA
from dataset_scripts.calculator_qa.replaced_numbers import final_amounts, read_row

RESULTS = Path(__file__).parents[1] / "results"
SIZES = ("dataset_config", "owners", "digits", "dataset_seed", "train_size", "validation_size")


def answer_as_stated(row: dict) -> str:
    """The answer to a `max` or `argmax` question of CalculatorQA if nobody had given anything away."""
    clauses, asked = read_row(row)
    stated = [clause for clause in clauses if clause["receiver"] is None]
    amounts = final_amounts(stated, np.array([int(clause["number"]) for clause in stated]), asked)
    return asked[amounts.argmax()] if row["question_type"] == "argmax" else str(amounts.max())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS / "benchmarks" / "calculator_baselines.json")
    options = parser.parse_args(arguments)
    runs = [json.loads(path.read_text())["settings"] for path in sorted((RESULTS / "calc").glob("*.json"))]
    rows = []
    for sizes in sorted({tuple(run[name] for name in SIZES) for run in runs if run.get("dataset") != "drop"}):
        names = ("config_name", "owners", "digits", "seed", "train_size", "validation_size")
        builder = CalculatorQA(**dict(zip(names, sizes, strict=True)))
        builder.download_and_prepare()
        right = {}
        for split in ("train", "validation"):
            answers = [row["answer"] == answer_as_stated(row) for row in builder.as_dataset(split=split)]
            right[split] = 100 * sum(answers) / len(answers)
        rows.append({"data": dict(zip(SIZES, sizes, strict=True)), "right": right})
        print(rows[-1])
    write(options.output, {"rows": rows})


if __name__ == "__main__":
    main()
