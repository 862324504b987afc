"""Rows a second of the CalculatorQA builder on one core, beside a plain loop that makes the same rows one by one.

python -m benchmarks.calculator_qa
"""

import random
import tempfile
import time

import pyarrow as pa
from datasets import disable_progress_bars

from dataset_scripts.calculator_qa.calculator_qa import BLOCK_ROWS, FEATURES, QUESTIONS, CalculatorQA, make_table

BLOCKS = 40
ROWS = BLOCKS * BLOCK_ROWS


def loop_row(config, row):
    """A row of max_transfer, of the same distribution as those of `make_table`."""
    low, high = 10 ** (config.digits - 1), 10**config.digits - 1
    a_wins, a_gives, a_asked_first, a_read_first = (row >> bit & 1 for bit in range(4))
    while True:
        a_amount, b_amount, c_amount, moved = [random.randint(low, high) for _ in range(4)]
        a_final = a_amount - moved if a_gives else a_amount + moved
        if (a_amount if a_gives else c_amount) >= moved and (a_final > b_amount if a_wins else a_final < b_amount):
            break
    a, b, c = random.sample(range(config.owners), 3)
    if (a < b) != a_read_first:
        a, b = b, a
    amounts = [random.randint(low, high) for _ in range(config.owners)]
    amounts[a], amounts[b], amounts[c] = a_amount, b_amount, c_amount
    names, item = random.sample(config.names, config.owners), random.choice(config.items)
    giver, receiver = (names[a], names[c]) if a_gives else (names[c], names[a])
    passage, quantities = "", []
    for name, verb, value in [
        *((name, "has", n) for name, n in zip(names, amounts, strict=True)),
        (giver, "gave", moved),
    ]:
        passage += f"{', ' if passage else ''}{name} {verb} "
        quantities.append({"value": value, "start": len(passage), "end": len(passage) + len(str(value))})
        passage += f"{value} {item}"
    asked = (names[a], names[b]) if a_asked_first else (names[b], names[a])
    target = max(a_final, b_amount)
    return {
        "id": f"{config.name}-train-{row}",
        "passage": f"{passage} to {receiver}.",
        "question": QUESTIONS["max"].format(item, *asked),
        "answer": str(target),
        "question_type": "max",
        "quantities": quantities,
        "gold_arguments": [a, config.owners],
        "has_transfer": True,
        "target": target,
    }


def rows_per_second(make_rows):
    """The best of three runs, each of which makes `ROWS` rows."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        make_rows()
        seconds.append(time.perf_counter() - start)
    return ROWS / min(seconds)


def main():
    disable_progress_bars()
    with tempfile.TemporaryDirectory() as cache_dir:
        builder = CalculatorQA(config_name="max_transfer", cache_dir=cache_dir, train_size=ROWS, validation_size=1)
        config = builder.config

        def loop():
            pa.Table.from_pylist([loop_row(config, row) for row in range(ROWS)], FEATURES.arrow_schema)

        def blocks():
            pa.concat_tables([make_table(config, "train", block) for block in range(BLOCKS)])

        def to_disk():
            builder.download_and_prepare(download_mode="force_redownload")

        print(f"{config.name}, {config.owners} owners, {config.digits} digits, {ROWS} rows, one core")
        rates = {"row by row": rows_per_second(loop), "make_table": rows_per_second(blocks)}
        rates["download_and_prepare"] = rows_per_second(to_disk)
        for name, rate in rates.items():
            print(f"{name:<20} {rate:>8,.0f} rows a second, ratio {rate / rates['row by row']:.1f}")


if __name__ == "__main__":
    main()
