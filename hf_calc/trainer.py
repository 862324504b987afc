"""CalculatorQATrainer: the Trainer with the calculator's loss parts, temperature and metrics."""

from dataclasses import dataclass, field
from pathlib import Path

import evaluate
import torch
from transformers import Trainer, TrainingArguments

from .span_decoding import SpanPredictions, best_spans

METRICS = Path(__file__).parent / "metrics"
LOGGED_PARTS = ("end_loss", "argument_loss")


@dataclass
class CalculatorQATrainingArguments(TrainingArguments):
    """Arguments of a run.

    NOTE: these defaults differ from `TrainingArguments`: `remove_unused_columns=False` (the collator reads the texts),
    `label_names=["answer_spans"]`, and `metric_for_best_model="f1"`, used with `load_best_model_at_end`.

    Args:
        argument_loss_weight: weight of `argument_loss` beside `end_loss`; the paper has 1, and 0 leaves the choice of
            the numbers to the answer's loss alone.
        temperature: of the straight-through Gumbel-Softmax at the first step.
        final_temperature: at the last step, reached geometrically; None keeps `temperature` throughout.
        gumbel_noise: whether training adds Gumbel noise to the scores; False is plain straight-through.
    """

    argument_loss_weight: float = field(default=1.0, metadata={"help": "Weight of argument_loss beside end_loss."})
    temperature: float = field(default=1.0, metadata={"help": "Gumbel-Softmax temperature at the first step."})
    final_temperature: float | None = field(
        default=None, metadata={"help": "Temperature at the last step, reached geometrically; default: constant."}
    )
    gumbel_noise: bool = field(default=True, metadata={"help": "Add Gumbel noise to the scores in training."})
    remove_unused_columns: bool = field(default=False, metadata={"help": "The collator reads the text columns."})
    label_names: list[str] = field(default_factory=lambda: ["answer_spans"], metadata={"help": "Keys of the labels."})
    metric_for_best_model: str = field(default="f1", metadata={"help": "The metric of the best checkpoint."})

    def __post_init__(self):
        super().__post_init__()
        for name in ("temperature", "final_temperature"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be above 0 and finite, got {value}")
        if not 0 <= self.argument_loss_weight < float("inf"):
            raise ValueError(f"argument_loss_weight must be at least 0 and finite, got {self.argument_loss_weight}")


class CalculatorQATrainer(Trainer):
    """Trains `BertForCalculatorQA` and evaluates it by DROP F1 and argument accuracy.

    `processing_class` is a `CalculatorQAProcessor`, the datasets have the columns `question`, `passage` and `answer`
    (a text, or several spellings of it) and may have `quantities` and `gold_arguments` (see
    dataset_scripts/calculator_qa), from which argument accuracy is measured.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._part_sums = torch.zeros(len(LOGGED_PARTS), device=self.args.device)
        self._num_rows = 0
        largest = max(self.processing_class.tokenizer.get_vocab().values())
        if largest >= self.model.config.vocab_size:
            raise ValueError(
                f"the processor's token ids go up to {largest}, but the model knows {self.model.config.vocab_size}: "
                "load both from the same checkpoint"
            )
        if self.train_dataset is not None:
            self._check_answers(self.train_dataset)

    def _check_answers(self, rows, sample: int = 256) -> None:
        """Fails before the first step where training could learn nothing."""
        if missing := [name for name in ("question", "passage", "answer") if name not in rows.column_names]:
            raise ValueError(f"the training set has the columns {rows.column_names} and lacks {', '.join(missing)}")
        batch = self.data_collator([rows[k] for k in range(min(sample, len(rows)))])
        if not (batch["answer_spans"] >= 0).any() and not (batch["candidate_answer_spans"] >= 0).any():
            raise ValueError(
                f"none of the first {min(sample, len(rows))} training rows has its answer in question, passage or a "
                "calculator's result: check the column `answer` and the processor's operations"
            )

    @property
    def temperature(self) -> float:
        """The temperature of the current step, a function of `state.global_step` so that a resumed run agrees."""
        first, last = self.args.temperature, self.args.final_temperature
        if last is None or not self.state.max_steps:
            return first
        return first * (last / first) ** (self.state.global_step / self.state.max_steps)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """end_loss + argument_loss_weight * argument_loss."""
        outputs = model(**inputs, temperature=self.temperature, gumbel_noise=self.args.gumbel_noise)
        loss = outputs.end_loss
        if outputs.argument_loss is not None:
            loss = loss + self.args.argument_loss_weight * outputs.argument_loss
        if model.training:
            parts = [outputs[part] for part in LOGGED_PARTS]
            parts = torch.stack([loss.new_zeros(()) if part is None else part.detach() for part in parts])
            self._part_sums += parts * len(inputs["input_ids"])
            self._num_rows += len(inputs["input_ids"])
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the mean of every loss part since the last log, over all rows of all processes."""
        if "loss" in logs:
            sums = torch.cat([self._part_sums, self._part_sums.new_tensor([self._num_rows])])
            *sums, num_rows = self.accelerator.reduce(sums, "sum").tolist()
            logs |= {part: total / num_rows for part, total in zip(LOGGED_PARTS, sums, strict=True)}
            logs["temperature"] = self.temperature
            self._part_sums.zero_()
            self._num_rows = 0
        super().log(logs, start_time)

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """The best span of each example, as tensors of one shape in every process whatever the texts' lengths."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            if all(name in inputs for name in self.label_names):
                loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
                loss = loss.detach()
            else:
                loss, outputs = None, model(**inputs)
        return loss, None if prediction_loss_only else tuple(best_spans(outputs)), None

    def evaluation_loop(
        self, dataloader, description, prediction_loss_only=None, ignore_keys=None, metric_key_prefix="eval"
    ):
        """Adds `f1`, `exact_match`, `signed_exact_match` and `argument_accuracy` where the dataset has the answers."""
        output = super().evaluation_loop(dataloader, description, False, ignore_keys, metric_key_prefix)
        rows = dataloader.dataset
        if "answer" in rows.column_names:
            metrics = self._metrics(self.decode_predictions(output.predictions, rows), rows)
            output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in metrics.items()})
        return output

    def decode_predictions(self, predictions: tuple, rows) -> list[dict]:
        """The best answer of each row (see `CalculatorQAProcessor.decode_spans`) from what `predict` returned."""
        spans = SpanPredictions(*(torch.as_tensor(field) for field in predictions))
        answers = self.processing_class.decode_spans(spans, rows["question"], rows["passage"])
        return [found[0] if found else {"answer": "", "operands": []} for found in answers]

    def _metrics(self, answers: list[dict], rows) -> dict[str, float]:
        gold = [[answer] if isinstance(answer, str) else answer for answer in rows["answer"]]
        metrics = _load_metric("drop_f1").compute(predictions=[found["answer"] for found in answers], references=gold)
        if self.model.config.use_calculator and "gold_arguments" in rows.column_names:
            pairs = zip(rows["quantities"], rows["gold_arguments"], strict=True)
            right = [[quantities[k] for k in arguments] for quantities, arguments in pairs]
            # A mention is known by its segment and first character; the gold ones are all in the passage.
            mentions = {
                "argument_accuracy": (
                    [[f"{o['segment']} {o['start']}" for o in found["operands"]] for found in answers],
                    [[f"passage {quantity['start']}" for quantity in pair] for pair in right],
                ),
                "argument_accuracy_by_value": (
                    [[o["value"] for o in found["operands"]] for found in answers],
                    [[str(quantity["value"]) for quantity in pair] for pair in right],
                ),
            }
            for name, (predictions, references) in mentions.items():
                scores = _load_metric("argument_accuracy").compute(predictions=predictions, references=references)
                metrics[name] = scores["argument_accuracy"]
        return metrics


def _load_metric(name: str) -> evaluate.Metric:
    return evaluate.load(str(METRICS / name), keep_in_memory=True)
