"""What benchmarks share: their command line, ways to do the same that are timed in turn, and the file of numbers."""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path


def command_line(description: str) -> argparse.ArgumentParser:
    """A parser with the option --output; `write` writes there."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="JSON file for the numbers")
    return parser


def in_turn(
    ways: dict[str, Callable[[], object]],
    rounds: int,
    warm_up: int = 0,
    figure: Callable[[list[float]], float] = statistics.median,
) -> dict[str, dict[str, float]]:
    """Times ways to do the same in turn in one process, so that a slow moment of the machine counts for all of them.

    Args:
        ways: what to call, by name; the first is what the others are held against.
        rounds: calls of each that are timed.
        warm_up: rounds before them that are not.
        figure: of the rounds' numbers; `min` is the best round.

    Returns:
        For each way the figure of its `seconds`, and that of its `ratio` to the first way of the same round.
    """
    seconds = {name: [] for name in ways}
    for turn in range(warm_up + rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    first = next(iter(seconds.values()))
    ratios = {name: [a / b for a, b in zip(taken, first, strict=True)] for name, taken in seconds.items()}
    return {
        kind: {name: figure(values) for name, values in numbers.items()}
        for kind, numbers in (("seconds", seconds), ("ratio", ratios))
    }


def write(output: Path | None, numbers: dict) -> None:
    """Writes the numbers as JSON where the command line names a file."""
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(numbers, indent=2) + "\n")
