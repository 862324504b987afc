"""Rows a second of the CalculatorQA builder beside a plain loop that makes the same rows, and of its export.

    python -m benchmarks.calculator_qa [--rows N] [--output FILE]

The first part runs on one core. The second writes N rows as Parquet by one process and by two, each time in a command
of its own, without the time to start Python. Its memory is the peak of what all processes of the command hold, with
the pages that they share counted once, and counted for each.
"""

import contextlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import datasets
import psutil
import pyarrow as pa
from datasets import disable_progress_bars

from benchmarks.common import command_line, in_turn, write
from dataset_scripts.calculator_qa.calculator_qa import BLOCK_ROWS, FEATURES, QUESTIONS, CalculatorQA, make_table

BLOCKS = 40
ROWS = BLOCKS * BLOCK_ROWS
EXPORT = """
import sys, time
from dataset_scripts.calculator_qa.calculator_qa import main
start = time.perf_counter()
main(sys.argv[1:])
print(time.perf_counter() - start)
"""


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


def resident_mb(process):
    """Memory of a process and of all that it started (Linux), with shared pages counted once, and for each."""
    once = for_each = 0
    with contextlib.suppress(psutil.NoSuchProcess):  # one that has just ended holds nothing
        for one in [process, *process.children(recursive=True)]:
            memory = one.memory_full_info()
            once, for_each = once + memory.pss / 2**20, for_each + memory.rss / 2**20
    return once, for_each


def export_rows(rows, num_proc):
    """Time and peaks of memory of an export."""
    peaks = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        sizes = [f"--train_size={rows}", "--validation_size=1", f"--num_proc={num_proc}"]
        command = [sys.executable, "-c", EXPORT, f"--output={folder}/data", "--configs=max_transfer", *sizes]
        process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        while process.poll() is None:
            peaks = [max(pair) for pair in zip(peaks, resident_mb(process), strict=True)]
            time.sleep(0.1)
        if process.returncode:
            raise RuntimeError(f"{process.args} ended with {process.returncode}: is there room in {folder}?")
        seconds = float(process.stdout.read())
        written = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
    return {
        "processes": num_proc,
        "rows": rows,
        "seconds": seconds,
        "rows_per_second": rows / seconds,
        "peak_mb": peaks[0],
        "peak_mb_shared_for_each": peaks[1],
        "written_mb": written / 2**20,
    }


def rates_on_one_core():
    """Rows a second of three ways to make them, of each the best of three rounds."""
    with tempfile.TemporaryDirectory() as cache_dir:
        builder = CalculatorQA(config_name="max_transfer", cache_dir=cache_dir, train_size=ROWS, validation_size=1)
        config = builder.config

        def loop():
            pa.Table.from_pylist([loop_row(config, row) for row in range(ROWS)], FEATURES.arrow_schema)

        def blocks():
            pa.concat_tables([make_table(config, "train", block) for block in range(BLOCKS)])

        def to_disk():
            builder.download_and_prepare(download_mode="force_redownload")

        ways = {"row by row": loop, "make_table": blocks, "download_and_prepare": to_disk}
        return {name: ROWS / seconds for name, seconds in in_turn(ways, 3, figure=min)["seconds"].items()}


def main():
    parser = command_line(__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="to export, by default 200,000")
    arguments = parser.parse_args()
    disable_progress_bars()
    print(f"max_transfer, 10 owners, 7 digits, {ROWS:,} rows, one core")
    rates = rates_on_one_core()
    for name, rate in rates.items():
        print(f"{name:<20} {rate:>8,.0f} rows a second, ratio {rate / rates['row by row']:.1f}")
    print(f"export of {arguments.rows:,} rows")
    exports = []
    for num_proc in (1, 2):
        exports.append(row := export_rows(arguments.rows, num_proc))
        ratio = row["rows_per_second"] / exports[0]["rows_per_second"]
        peak = f"peak {row['peak_mb']:.0f} MB, {row['peak_mb_shared_for_each']:.0f} MB with shared pages for each"
        print(f"{num_proc} processes {row['rows_per_second']:>17,.0f} rows a second, ratio {ratio:.2f}, {peak}")
    write(arguments.output, {"datasets": datasets.__version__, "rows_per_second": rates, "export": exports})


if __name__ == "__main__":
    main()
