"""Training with the relevance loss, L = cross entropy + relevance_weight * L_r + diversity_weight * conicity."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import evaluate
import torch
from datasets import Dataset
from transformers import EvalPrediction, PreTrainedModel, Trainer, TrainingArguments

from .attribution import gradient_at_embeddings
from .relevance_loss import (
    DIRECTIONS,
    NORMALIZERS,
    TARGET_SCORES,
    check_option,
    check_temperature,
    conicity,
    normalized_entropy,
    relevance_loss,
    relevance_target,
)

METRICS = Path(__file__).parent / "metrics"
LOGGED_PARTS = ("cross_entropy_loss", "relevance_loss", "conicity", "attention_entropy", "target_entropy")
MEASURES = ("hidden_gradient", "embedding_gradient")


@dataclass
class RelevanceTrainingArguments(TrainingArguments):
    """Facts of a run: everything of `TrainingArguments`, and the relevance loss. See relevance_loss.py for formulas.

    NOTE: these defaults differ from `TrainingArguments`, after the recipe of Jain and Wallace (2019): learning_rate
    1e-3, constant; per_device_train_batch_size 32; num_train_epochs 8; weight_decay 1e-5; and the optimizer. With
    load_best_model_at_end, metric_for_best_model is accuracy.

    The default loss is the poster's, whose target is almost uniform in all but short texts: it flattens the attention.
    relevance_normalizer l1 keeps it peaked (`relevance_loss` says more); with relevance_measure embedding_gradient and
    a relevance_weight of 1, attention agreed best with leave-one-out of what stayed within a point of accuracy on two
    corpora; on a third, IMDB, it costs 2.4 points, for which more texts made up (results/NOTES.md).

    What is trained on proves nothing: with relevance_measure embedding_gradient the agreement with that gradient is no
    independent evidence any more, and leave-one-out alone is. diversity_weight trains on no measure at all.

    Raises:
        ValueError: a weight that is negative or not finite, a temperature that is not positive and finite, an option
            that does not exist, the embedding gradient without relevance_detach_target, another `optim` with amsgrad.
    """

    learning_rate: float = 1e-3
    lr_scheduler_type: str = "constant"
    per_device_train_batch_size: int = 32
    num_train_epochs: float = 8
    weight_decay: float = 1e-5

    amsgrad: bool = field(
        default=True,
        metadata={"help": "Adam with amsgrad and weight decay inside the gradient, as the recipe; false: see optim."},
    )
    relevance_weight: float = field(
        default=1.0, metadata={"help": "Lambda, the weight of the relevance loss; 0 is plain cross entropy."}
    )
    relevance_measure: str = field(
        default="hidden_gradient",
        metadata={
            "help": "What the target is made of: hidden_gradient (the poster, in closed form) or embedding_gradient, "
            "which runs back through the BiLSTM to the words; see attribution.py for both."
        },
    )
    relevance_target_score: str = field(
        default="logit_margin",
        metadata={"help": f"The scalar whose gradient is taken: {', '.join(TARGET_SCORES)}."},
    )
    relevance_constant_attention: bool = field(
        default=False,
        metadata={
            "help": "Leave out of the hidden gradient what a token does to the attention weights; the embedding "
            "gradient never has it."
        },
    )
    relevance_normalizer: str = field(
        default="softmax",
        metadata={"help": "softmax (the poster; flattens the attention in longer texts) or l1 (keeps it peaked)."},
    )
    relevance_temperature: float = field(
        default=1.0, metadata={"help": "Of the target distribution; lower is sharper."}
    )
    relevance_detach_target: bool = field(
        default=True, metadata={"help": "Take the gradient as given, so that attention alone follows."}
    )
    relevance_direction: str = field(
        default="target_to_attention",
        metadata={"help": "KL(target || attention), target_to_attention, or the reverse, attention_to_target."},
    )
    diversity_weight: float = field(
        default=0.0,
        metadata={"help": "Weight of the conicity of the hidden states, so that each tells of its own word; 0: none."},
    )

    def __post_init__(self):
        if self.load_best_model_at_end and self.metric_for_best_model is None:
            self.metric_for_best_model = "accuracy"
        super().__post_init__()
        if self.amsgrad and self.optim != self.default_optim:
            raise ValueError(f"optim {self.optim.value} needs amsgrad false: with amsgrad the optimizer is Adam")
        for name in ("relevance_weight", "diversity_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"{name} must be 0 or a positive finite number, got {getattr(self, name)}; 0 trains without this "
                    "part of the loss"
                )
        check_temperature(self.relevance_temperature)
        check_option("relevance_measure", self.relevance_measure, MEASURES)
        if self.relevance_measure == "embedding_gradient" and not self.relevance_detach_target:
            raise ValueError(
                "relevance_measure embedding_gradient needs relevance_detach_target: only the hidden gradient has a "
                "closed form that can itself be differentiated"
            )
        check_option("relevance_target_score", self.relevance_target_score, TARGET_SCORES)
        check_option("relevance_normalizer", self.relevance_normalizer, NORMALIZERS)
        check_option("relevance_direction", self.relevance_direction, DIRECTIONS)


class RelevanceTrainer(Trainer):
    """`Trainer` whose loss is cross entropy + relevance_weight * relevance loss + diversity_weight * conicity.

    With one of the weights, every training log also has the means since the last one, over all texts and processes, of
    `cross_entropy_loss`, `relevance_loss`, `conicity`, and over texts of two tokens or more `attention_entropy` and
    `target_entropy`, both normalized: 1 is uniform. A baseline, both weights 0, costs and logs nothing more.

    Evaluation gives accuracy, macro F1 and binary F1. Where texts are grouped by length, those of training are; the
    others stay in their order, and so do their predictions.

    Args:
        model: a `BiLSTMAttentionForClassification`.
        args: of the run.
        kwargs: everything else of `Trainer`.

    Raises:
        ValueError: a tokenizer (processing_class) whose vocabulary is not the model's, training texts of one class,
            relevance_target_score loss with another loss than the model's own.
    """

    def __init__(self, model: PreTrainedModel, args: RelevanceTrainingArguments, **kwargs):
        super().__init__(model, args, **{"compute_metrics": self._accuracy_f1} | kwargs)
        self._part_sums = torch.zeros(2, len(LOGGED_PARTS), device=args.device)
        if args.relevance_target_score == "loss" and (self.label_smoother or self.compute_loss_func):
            raise ValueError(
                "relevance_target_score loss takes the gradient of the model's own loss, which label_smoothing_factor "
                "and compute_loss_func replace: leave them out, or take another score"
            )
        if self.processing_class is not None and len(self.processing_class) != self.model.config.vocab_size:
            raise ValueError(
                f"the tokenizer has {len(self.processing_class)} words, but the model {self.model.config.vocab_size}: "
                "build the model with vocab_size=len(tokenizer), or load both from the same checkpoint"
            )
        if isinstance(self.train_dataset, Dataset) and "label" in self.train_dataset.column_names:
            classes = self.train_dataset.unique("label")
            if len(classes) < 2:
                raise ValueError(f"the training texts are all of class {classes}: there is nothing to learn from one")

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Adds the weighted relevance loss and conicity to the loss of `Trainer`, see there."""
        args = self.args
        if not (args.relevance_weight or args.diversity_weight):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        goes_to_words = args.relevance_measure == "embedding_gradient"
        if goes_to_words and not torch.is_grad_enabled():
            # Evaluation needs the graph as well, and cuDNN has no backward pass of an LSTM in evaluation mode.
            with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
                return self.compute_loss(model, inputs, return_outputs, num_items_in_batch)
        options = {
            "output_attentions": True,
            "output_hidden_states": True,
            "target_score": args.relevance_target_score,
            "constant_attention": args.relevance_constant_attention,
        }
        bare, read = self.accelerator.unwrap_model(model), dict(inputs)
        if goes_to_words:
            # Looked up here, so that the gradient at them comes from the one reading that the loss needs anyway.
            embeddings = bare.get_input_embeddings()(read.pop("input_ids")).requires_grad_()
            read["inputs_embeds"] = embeddings
        cross_entropy, outputs = super().compute_loss(
            model, {**read, **options}, return_outputs=True, num_items_in_batch=num_items_in_batch
        )
        cross_entropy = cross_entropy.mean()  # DataParallel has one a device
        importance, target_score = outputs.gradient_importance, args.relevance_target_score
        if goes_to_words:
            importance = gradient_at_embeddings(bare, outputs, embeddings, target_score, inputs["labels"])
        attention_mask = inputs["attention_mask"]
        relevance = relevance_loss(
            outputs.attentions,
            importance,
            attention_mask,
            args.relevance_normalizer,
            args.relevance_temperature,
            args.relevance_detach_target,
            args.relevance_direction,
        )
        # A part of weight 0 is logged, but not worth a backward pass.
        with torch.set_grad_enabled(torch.is_grad_enabled() and bool(args.diversity_weight)):
            cone = conicity(outputs.hidden_states[-1], attention_mask)
        parts = ((args.relevance_weight, relevance), (args.diversity_weight, cone))
        loss = cross_entropy + sum(weight * part for weight, part in parts if weight)
        if model.training:
            self._collect((cross_entropy, relevance, cone), outputs.attentions, importance, attention_mask)
        return (loss, outputs) if return_outputs else loss

    @torch.no_grad()
    def _collect(self, means, attentions, importance, attention_mask):
        """Adds (value * n, n) of each part of a batch, n the texts it is a mean of; on the device, without a wait."""
        log_target = relevance_target(
            importance, attention_mask, self.args.relevance_normalizer, self.args.relevance_temperature
        )
        texts = len(attention_mask)
        entropies = [normalized_entropy(weights, attention_mask).sum() for weights in (attentions, log_target.exp())]
        counts = (attention_mask.sum(-1) > 1).sum().repeat(len(LOGGED_PARTS))
        counts[: len(means)] = texts
        self._part_sums += torch.stack([torch.stack([*(mean * texts for mean in means), *entropies]), counts])

    def log(self, logs, start_time=None):
        """Adds the parts of the loss to a training log."""
        if "loss" in logs and (self.args.relevance_weight or self.args.diversity_weight):
            sums, counts = self.accelerator.reduce(self._part_sums, "sum").tolist()
            logs |= {name: sums[i] / max(counts[i], 1) for i, name in enumerate(LOGGED_PARTS)}
            self._part_sums.zero_()
        super().log(logs, start_time)

    def _accuracy_f1(self, prediction: EvalPrediction) -> dict[str, float]:
        metric = evaluate.load(str(METRICS / "accuracy_f1"))
        return metric.compute(predictions=prediction.predictions.argmax(-1), references=prediction.label_ids)

    def _get_eval_sampler(self, eval_dataset):
        return torch.utils.data.SequentialSampler(eval_dataset)

    def get_decay_parameter_names(self, model) -> list[str]:
        """Those of `Trainer`, the attention left out, as in the recipe of Jain and Wallace."""
        return [name for name in super().get_decay_parameter_names(model) if "attention" not in name.split(".")]

    @staticmethod
    def get_optimizer_cls_and_kwargs(args, model=None):
        """Adam with amsgrad where `args` say so, else the choice of `Trainer`."""
        if not args.amsgrad:
            return Trainer.get_optimizer_cls_and_kwargs(args, model)
        return torch.optim.Adam, {
            "lr": args.learning_rate,
            "betas": (args.adam_beta1, args.adam_beta2),
            "eps": args.adam_epsilon,
            "amsgrad": True,
            "fused": True,  # most parameters are embeddings, where this takes a fifth of the time
        }
