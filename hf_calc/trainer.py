"""CalculatorQATrainer: the Trainer with the calculator's loss parts, temperature and metrics."""

from dataclasses import dataclass, field
from pathlib import Path

import evaluate
import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments, default_data_collator

from .data_collator import CalculatorQADataCollator
from .processing_calculator_qa import as_spellings
from .span_decoding import SpanPredictions, best_spans
from .symbolic_layer import MIN_TEMPERATURE, ONE_RESULT, SEVERAL_RESULTS, check_estimator

METRICS = Path(__file__).parent / "metrics"
LOGGED_PARTS = ("end_loss", "argument_loss", "search_loss")


@dataclass
class CalculatorQATrainingArguments(TrainingArguments):
    """Arguments of a run.

    NOTE: these defaults differ from `TrainingArguments`: `remove_unused_columns=False` (the collator reads the texts),
    `label_names=["answer_spans"]`, and with `load_best_model_at_end` `metric_for_best_model="f1"`.

    Args:
        argument_loss_weight: weight of `argument_loss` beside `end_loss`; the paper has 1, and 0 leaves the choice of
            the numbers to the answer's loss alone.
        entropy_weight: price of the entropy of the choice in training, in nats, the mean over rows and the sum over
            steps; makes the model choose sooner, rightly or not.
        temperature: of the Gumbel-Softmax at the first step.
        final_temperature: at the last of several steps, reached geometrically; None keeps `temperature` throughout.
        gumbel_noise: whether training adds Gumbel noise to the scores; False is plain straight-through.
        estimator: of the gradient for the scores, see `SymbolicLayer`. `reinforce` and `marginal` run the second pass
            `num_samples` times. At argument_loss_weight 0 `gumbel_softmax` learned the arguments from number answers,
            and those that read one result hardly (README, "The calculator").
        num_samples: noises of `gumbel_rao`, results of `reinforce` and `marginal` (at most all there are).
    """

    argument_loss_weight: float = field(default=1.0, metadata={"help": "Weight of argument_loss beside end_loss."})
    entropy_weight: float = field(default=0.0, metadata={"help": "Price of the entropy of the choice of numbers."})
    temperature: float = field(default=1.0, metadata={"help": "Gumbel-Softmax temperature at the first step."})
    final_temperature: float | None = field(
        default=None, metadata={"help": "Temperature at the last step, reached geometrically; default: constant."}
    )
    gumbel_noise: bool = field(default=True, metadata={"help": "Add Gumbel noise to the scores in training."})
    estimator: str = field(
        default="straight_through_gumbel",
        metadata={"help": f"Of the gradient for the scores: {', '.join(ONE_RESULT + SEVERAL_RESULTS)}."},
    )
    num_samples: int = field(default=4, metadata={"help": "Samples of gumbel_rao, reinforce and marginal."})
    remove_unused_columns: bool = field(default=False, metadata={"help": "The collator reads the text columns."})
    label_names: list[str] = field(default_factory=lambda: ["answer_spans"], metadata={"help": "Keys of the labels."})

    def __post_init__(self):
        if self.load_best_model_at_end and self.metric_for_best_model is None:
            self.metric_for_best_model = "f1"
        super().__post_init__()
        for name in ("temperature", "final_temperature"):
            value = getattr(self, name)
            if value is not None and not MIN_TEMPERATURE <= value < float("inf"):
                raise ValueError(f"{name} must be at least {MIN_TEMPERATURE} and finite, got {value}")
        check_estimator(self.estimator, self.num_samples, self.gumbel_noise)
        for name in ("argument_loss_weight", "entropy_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")


class CalculatorQATrainer(Trainer):
    """Trains `BertForCalculatorQA` and evaluates it by DROP F1 and argument accuracy.

    `processing_class` is a `CalculatorQAProcessor`, the datasets have the columns `question`, `passage` and `answer`
    (a text, or several spellings of it) and may have `quantities` and `gold_arguments` (see
    dataset_scripts/calculator_qa), from which argument accuracy is measured where the function takes two; for a model
    of several steps `gold_chains`, from which the accuracy of the whole chain and of its first steps is. By default,
    `data_collator` is the `CalculatorQADataCollator` of processor and model.

    Raises:
        TypeError: `processing_class` is something else, or a dataset is.
        ValueError: processor, model, arguments and datasets do not go together, told by what does not.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if not hasattr(self.processing_class, "calculation"):  # the class may be one that came with a model
            raise TypeError(
                f"processing_class must be a CalculatorQAProcessor, got a {type(self.processing_class).__name__}: "
                "load it from the model's checkpoint, CalculatorQAProcessor.from_pretrained(...)"
            )
        if self.args.n_gpu > 1:
            raise ValueError(
                f"{self.args.n_gpu} GPUs in one process would be DataParallel, which cannot split texts of several "
                "windows: run one process a GPU by `accelerate launch`, or show it one (CUDA_VISIBLE_DEVICES=0)"
            )
        if self.compute_metrics is not None or not self.args.eval_do_concat_batches:
            raise ValueError(
                "answers are scored by score_answers, once all are there: override it in place of compute_metrics, "
                "and leave eval_do_concat_batches as it is"
            )
        if self.data_collator is default_data_collator:  # none was given
            comparisons = self.model.config.search_comparisons
            self.data_collator = CalculatorQADataCollator(self.processing_class, comparisons=comparisons)
        self._part_sums = torch.zeros(1 + len(LOGGED_PARTS), device=self.args.device)  # examples, then the parts
        self._drop_f1, self._argument_accuracy, self._chain_accuracy = (
            evaluate.load(str(METRICS / name), keep_in_memory=True)
            for name in ("drop_f1", "argument_accuracy", "chain_accuracy")
        )
        self._check_processor()
        evaluation = self.eval_dataset if isinstance(self.eval_dataset, dict) else {"evaluation": self.eval_dataset}
        for name, rows in ({"training": self.train_dataset} | evaluation).items():
            if rows is not None:
                self._check_rows(name, rows)
        if self.train_dataset is not None:
            self._check_answers_stand_somewhere()

    def _check_processor(self) -> None:
        tokenizer, config = self.processing_class.tokenizer, self.model.config
        largest = max(tokenizer.get_vocab().values())
        if largest >= config.vocab_size or tokenizer.model_max_length > config.max_position_embeddings:
            raise ValueError(
                f"the processor's token ids go up to {largest} and its rows to {tokenizer.model_max_length} tokens, "
                f"but the model knows {config.vocab_size} and {config.max_position_embeddings}: load both from the "
                "same checkpoint, or lower model_max_length"
            )
        for name, needed in self.processing_class.calculation.items() if config.use_calculator else ():
            got = getattr(config, name)
            # What a result is made of, the model knows only for several steps, and the digits for their places.
            is_read = name in ("num_arguments", "num_steps") or config.num_steps > 1 or config.digit_places
            if is_read and needed != got:
                raise ValueError(
                    f"the processor, of the function {self.processing_class.function}, has {name}={needed} and the "
                    f"model {got}: give CalculatorQAConfig(..., **processor.calculation)"
                )
        if config.digit_places and not self.processing_class.digit_tokens:
            raise ValueError(f"digit_places={config.digit_places} needs digit_tokens, which alone have a place")
        if self.args.entropy_weight and not config.use_calculator:
            raise ValueError(
                "entropy_weight is a price on the calculator's choice: leave it 0, or use_calculator=True"
            )
        if config.num_steps > 1 and self.args.estimator in SEVERAL_RESULTS:
            raise ValueError(
                f"num_steps={config.num_steps} needs an estimator of {', '.join(ONE_RESULT)}; got "
                f"{self.args.estimator}"
            )

    def _check_rows(self, name: str, rows) -> None:
        """Fails before the first step where a row would end a run in the middle."""
        if not isinstance(rows, Dataset):
            raise TypeError(f"the {name} set must be a datasets.Dataset, got a {type(rows).__name__}")
        if missing := [column for column in ("question", "passage", "answer") if column not in rows.column_names]:
            raise ValueError(f"the {name} set has the columns {rows.column_names} and lacks {', '.join(missing)}")
        if not len(rows):
            raise ValueError(f"the {name} set has no rows")
        for column in ("question", "passage"):
            if wrong := [place for place, text in enumerate(rows[column]) if not isinstance(text, str)]:
                raise ValueError(f"the {name} set has no text as {column} of row {wrong[0]}")
        try:
            as_spellings(rows["answer"])
            self.processing_class.check_questions(rows["question"])
        except ValueError as error:
            raise ValueError(f"the {name} set cannot be used: {error}") from error

    def _check_answers_stand_somewhere(self) -> None:
        """Fails before the first step where training could learn nothing."""
        size = min(256, len(self.train_dataset))
        batch = self.data_collator([self.train_dataset[row] for row in range(size)])
        if self.model.config.search_comparisons and "comparisons" not in batch:
            raise ValueError("a model with search_comparisons needs CalculatorQADataCollator(..., comparisons=True)")
        places = [batch["answer_spans"]]
        if "candidate_results" in batch:  # over the ceiling, what the results are depends on the model
            return
        if self.model.config.num_steps > 1:
            places.append(batch["answer_values"][..., 1])  # any number may be a result
        elif self.model.config.use_calculator:
            places.append(batch["candidate_answer_spans"])
        if not any((spans >= 0).any() for spans in places):
            raise ValueError(
                f"none of the first {size} training rows has its answer in question, passage or a calculator's "
                "result: check the column `answer` and the processor's operations or function"
            )

    def _get_eval_sampler(self, eval_dataset):
        return torch.utils.data.SequentialSampler(eval_dataset)  # whatever the order in training is

    @property
    def temperature(self) -> float:
        """The temperature of the current step, a function of `state.global_step` so that a resumed run agrees."""
        first, last = self.args.temperature, self.args.final_temperature
        if last is None or not self.state.max_steps:
            return first
        # Behind the last step, where the log still asks, it stays.
        return first * (last / first) ** min(1.0, self.state.global_step / max(1, self.state.max_steps - 1))

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """end_loss + argument_loss_weight * argument_loss + search_loss, and the price of the choice's entropy."""
        facts = {name: getattr(self.args, name) for name in ("gumbel_noise", "estimator", "num_samples")}
        outputs = model(**inputs, temperature=self.temperature, **facts)
        loss = outputs.end_loss
        if outputs.argument_loss is not None:
            loss = loss + self.args.argument_loss_weight * outputs.argument_loss
        if outputs.search_loss is not None:
            loss = loss + outputs.search_loss
        if self.args.entropy_weight and model.training:
            for scores in (outputs.argument_logits, *(outputs.step_argument_logits or ())):
                log_p = torch.log_softmax(scores, -1)
                loss = loss - self.args.entropy_weight * (log_p.exp() * log_p).sum(-1).mean()
        if model.training:
            # The processor numbers the examples of a batch from 0: their count, without waiting for the device.
            parts = [getattr(outputs, part) for part in LOGGED_PARTS]
            parts = torch.stack([loss.new_ones(()), *(loss.new_zeros(()) if p is None else p.detach() for p in parts)])
            self._part_sums += parts * (outputs.example_ids[-1] + 1)
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the mean of every loss part since the last log, over all examples of all processes."""
        if "loss" in logs:
            examples, *sums = self.accelerator.reduce(self._part_sums, "sum").tolist()
            logs |= {part: total / examples for part, total in zip(LOGGED_PARTS, sums, strict=True)}
            logs["temperature"] = self.temperature
            self._part_sums.zero_()
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
        """Adds `f1`, `exact_match`, `signed_exact_match` and argument accuracies where the dataset has the answers."""
        loss_only = self.args.prediction_loss_only  # what is given is so only because there is no compute_metrics
        output = super().evaluation_loop(dataloader, description, loss_only, ignore_keys, metric_key_prefix)
        rows = dataloader.dataset
        if "answer" in rows.column_names and not loss_only:
            metrics = self.score_answers(self.decode_predictions(output.predictions, rows), rows)
            output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in metrics.items()})
        return output

    def decode_predictions(self, predictions: tuple, rows) -> list[dict]:
        """The best answer of each row (see `CalculatorQAProcessor.decode_spans`) from what `predict` returned."""
        spans = SpanPredictions(*(torch.as_tensor(field) for field in predictions))
        answers = self.processing_class.decode_spans(spans, rows["question"], rows["passage"])
        return [found[0] if found else {"answer": "", "operands": [], "steps": []} for found in answers]

    def score_answers(self, answers: list[dict], rows) -> dict[str, float]:
        """The metrics of answers to rows, both as `decode_predictions` has them."""
        predicted = [found["answer"] for found in answers]
        metrics = self._drop_f1.compute(predictions=predicted, references=as_spellings(rows["answer"]))
        if self.model.config.num_steps > 1:
            if "gold_chains" not in rows.column_names:
                return metrics
            chosen = [[[o["value"] for o in step["operands"]] for step in found["steps"]] for found in answers]
            accuracy = self._chain_accuracy.compute(predictions=chosen, references=rows["gold_chains"])
            del accuracy["counted"]
            return metrics | {"argument_accuracy": accuracy.pop("chain_accuracy")} | accuracy
        config = self.model.config
        if not config.use_calculator or config.num_arguments != 2 or "gold_arguments" not in rows.column_names:
            return metrics
        gold = zip(rows["quantities"], rows["gold_arguments"], strict=True)
        right = [[quantities[k] for k in arguments or []] for quantities, arguments in gold]

        def accuracy(chosen_key, right_key) -> float:
            return self._argument_accuracy.compute(
                predictions=[[*map(chosen_key, o)] if len(o) == 2 else [] for o in (a["operands"] for a in answers)],
                references=[[right_key(quantity) for quantity in pair] for pair in right],
            )["argument_accuracy"]

        # A mention is known by its segment and first character; the right ones are all in the passage.
        return metrics | {
            "argument_accuracy": accuracy(lambda o: f"{o['segment']} {o['start']}", lambda q: f"passage {q['start']}"),
            "argument_accuracy_by_value": accuracy(lambda o: o["value"], lambda q: str(q["value"])),
        }
