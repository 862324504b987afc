"""BertForCalculatorQA: reading comprehension with a calculator inside (section 4 of Yoshikawa et al.).

What is unusual: the encoder runs twice. The first pass, over `[CLS] Q [SEP] P [SEP]`, scores every pair of numbers;
the symbolic layer turns the scores into the calculator's result for one pair; the second pass reads
`[CLS] Q [SEP] P [SEP] F(s) [SEP]` and extracts the answer from question, passage or result. The loss reaches the
first pass through the second by the straight-through gradient of `SymbolicLayer`.

With several steps, every further pass chooses again, from the numbers of the text and the results so far (see
chains.py), and the last one answers: `[CLS] Q [SEP] P [SEP] F(s1) [SEP] F(s2) [SEP]` for two.

Shapes: B rows (a long passage makes several), T tokens of question and passage, N numbers, D candidate pairs,
L tokens of a result, S answer spans, H hidden size. In training, the estimators `reinforce` and `marginal` read R
results of each row: the second pass has R * B rows, sample after sample.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers import BertModel, BertPreTrainedModel
from transformers.utils import ModelOutput, can_return_tuple

from .argument_scorer import ArgumentScorer
from .calculator import TOKENS, Calculator, Numbers
from .chains import NOTHING, answer_places, chosen_results, step_candidates, step_labels
from .comparison_search import ComparisonSearch, argument_log_likelihood
from .configuration_calculator_qa import CalculatorQAConfig
from .digits import join_places
from .losses import (
    answer_log_likelihood,
    argument_cross_entropy,
    mean_over_examples,
    right_argument_loss,
    sampled_answer_loss,
)
from .mentions import argument_tokens, count_tokens, mask_mentions
from .symbolic_layer import ONE_RESULT, SEVERAL_RESULTS, SymbolicLayer, SymbolicLayerOutput

VOCABULARY_ADVICE = "load the processor from the same checkpoint as the model"


@dataclass
class CalculatorQAModelOutput(ModelOutput):
    """Output of `BertForCalculatorQA`.

    Positions run over the last pass as it is laid out in memory, T + L of them (T without a calculator): question and
    passage with their padding, then the result, and of several steps that of each with its own padding, L together.
    `position_ids` counts them over real tokens. Where the estimator reads R results of each row, all but the losses,
    `argument_logits` and `example_ids` have R * B rows.

    Args:
        loss: end_loss + argument_loss, the paper's objective (`CalculatorQATrainer` weighs the second), + search_loss.
        end_loss: -log p(answer) by span extraction, the mean over examples; one without answer spans adds 0.
        argument_loss: binary cross entropy of eq. 2 against the pairs whose result is the answer, the mean over
            examples; one without such a pair adds 0. Of several steps the sum of `right_argument_loss`, each against
            its `step_labels`.
        search_loss: -log p(choice) under all explanations of a comparison, less the expected log-probability of what
            they calculate with, the mean over examples; one without a choice adds 0.
        start_logits: (B, T + L) fp32, the smallest number where no answer can start.
        end_logits: (B, T + L) likewise.
        argument_logits: (B, D) fp32 scores of the candidates, the smallest number where there is none, or over the
            ceiling of a `SymbolicFunction` where it was not kept; of several steps, those of the first.
        step_argument_logits: of several steps, those of the second and so on, each with a D of its own.
        argument_index: (B,) the candidate chosen, -1 where there is none. Of several steps (B, num_steps) candidates
            as `step_arguments` counts them, 0 for doing nothing.
        result_ids: (B, L) tokens of the calculator's result, padding behind its end.
        segment_ids: (B, T + L) 0 question, 1 passage, 2 result, -1 special tokens and padding.
        position_ids: (B, T + L) place in `[CLS] Q [SEP] P [SEP] F(s) [SEP]` without padding.
        example_ids: (B,) the example that each row belongs to.
        reader_embeds: (B, T + L, H) word embeddings read by the last pass, where saliency takes its gradients.
        hidden_states: of the last pass, with output_hidden_states=True.
        attentions: of the last pass, with output_attentions=True and eager attention.
    """

    loss: torch.Tensor | None = None
    end_loss: torch.Tensor | None = None
    argument_loss: torch.Tensor | None = None
    search_loss: torch.Tensor | None = None
    start_logits: torch.Tensor | None = None
    end_logits: torch.Tensor | None = None
    argument_logits: torch.Tensor | None = None
    step_argument_logits: tuple[torch.Tensor, ...] | None = None
    argument_index: torch.Tensor | None = None
    result_ids: torch.Tensor | None = None
    segment_ids: torch.Tensor | None = None
    position_ids: torch.Tensor | None = None
    example_ids: torch.Tensor | None = None
    reader_embeds: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class _Choice(NamedTuple):
    """How the symbolic layer chooses in a call, in its order, behind the offset of digits' places (B,)."""

    offset: torch.Tensor | None
    temperature: float
    noise: bool
    generator: torch.Generator | None
    estimator: str
    num_samples: int


class _Calculation(NamedTuple):
    """What there is to read once all is calculated, and of the calculation what the losses and the output need.

    Args:
        inputs: of the last pass, each (R * B, T + L, ...).
        segment_ids: (R * B, T + L).
        answer_spans: (R * B, S, 2) in text and results, None without answers.
        choices: the fields of `CalculatorQAModelOutput` on what was chosen.
        losses: those of the choices by their names there, (B,) each.
        result: of a single step, all R results.
    """

    inputs: dict[str, torch.Tensor]
    segment_ids: torch.Tensor
    answer_spans: torch.Tensor | None
    choices: dict[str, torch.Tensor]
    losses: dict[str, torch.Tensor]
    result: SymbolicLayerOutput | None = None


def check_indices(name: str, indices: torch.Tensor, size: int, advice: str) -> None:
    """Raises ValueError where an index is outside 0..size - 1.

    Only on CPU, where it costs no synchronization, and not while compiling, where it would split the graph.
    """
    if indices.device.type != "cpu" or torch.compiler.is_compiling() or not indices.numel():
        return
    low, high = (int(bound) for bound in indices.aminmax())
    if low < 0 or high >= size:
        raise ValueError(f"{name} must be from 0 to {size - 1}, got {low if low < 0 else high}: {advice}")


def token_types(segment_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """BERT's token types of `[CLS] Q [SEP] P [SEP]`: 1 behind the second special token, 0 before and at padding.

    Args:
        segment_ids: (B, T) 0 question, 1 passage, -1 special tokens and padding.
        attention_mask: (B, T) 1 at tokens, 0 at padding.

    Returns:
        (B, T).

    Example:
        >>> token_types(torch.tensor([[-1, 0, -1, 1, -1, -1]]), torch.tensor([[1, 1, 1, 1, 1, 0]])).tolist()
        [[0, 0, 0, 1, 1, 0]]
    """
    is_special = (segment_ids < 0).long()
    return (is_special.cumsum(-1) - is_special > 1) * attention_mask


def gather_mentions(hidden: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """The hidden states (B, T, H) at the positions (B, N)."""
    return hidden.gather(1, positions.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))


def linear_fp32(layer: nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
    """A last layer's scores in at least fp32 also under autocast: in bf16, near ones would tie."""
    with torch.autocast(inputs.device.type, enabled=False):
        scores = layer(inputs.to(layer.weight.dtype))
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


class BertForCalculatorQA(BertPreTrainedModel):
    """BERT that may compute before it answers; loads the encoder of any BERT checkpoint.

    `config.use_calculator=False` leaves one pass of BERT with span extraction, the baseline of table 4. With
    `config.num_steps` above 1 one scorer chooses in all steps, and one encoder reads all results.

    Raises:
        ValueError: `config.calculator_token_ids` are not those of `calculator.TOKENS` with the model's own padding.
    """

    config_class = CalculatorQAConfig
    # Our losses are means over examples, so the Trainer must not rescale them by token counts under accumulation.
    accepts_loss_kwargs = False
    _keys_to_ignore_on_load_unexpected = (r"pooler",)

    def __init__(self, config: CalculatorQAConfig):
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        if config.use_calculator:
            self.argument_scorer = ArgumentScorer(config.hidden_size, config.num_arguments)
            self.symbolic_layer = SymbolicLayer(config.pad_token_id)
            if config.search_comparisons:
                self.comparison_search = ComparisonSearch(config.hidden_size)
            if not config.share_encoder:
                self.reader = BertModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        if config.num_steps > 1:
            self.calculator = Calculator(config.operations)
        if config.digit_places:
            self.digit_places = nn.Embedding(config.digit_places + 1, config.hidden_size, padding_idx=0)
        ids, pad = config.calculator_token_ids or [], config.pad_token_id
        if (config.num_steps > 1 or config.digit_places) and (len(ids) != len(TOKENS) or ids[0] != pad):
            raise ValueError(
                f"calculator_token_ids must be {len(TOKENS)} ids, the first of them {pad} for padding, got {ids}: "
                "take processor.calculation"
            )
        self.post_init()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, output_loading_info: bool = False, **kwargs):
        """Loads one of our checkpoints, or starts from a BERT checkpoint with new heads.

        A reader of its own (share_encoder=False) that the checkpoint lacks starts as a copy of its encoder.

        Raises:
            ValueError: a checkpoint without a BERT encoder, or one of this class without its heads, whose answers
                would be random.
        """
        model, info = super().from_pretrained(pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs)
        if any(key.startswith("bert.") for key in info["missing_keys"]):
            raise ValueError(f"{pretrained_model_name_or_path} holds no BERT encoder: start from a BERT checkpoint")
        missing = {key for key in info["missing_keys"] if not key.startswith("reader.")}
        if missing and cls.__name__ in (model.config.architectures or []):
            raise ValueError(
                f"{pretrained_model_name_or_path} is a {cls.__name__} checkpoint but lacks "
                f"{', '.join(sorted(missing))}: it is damaged, or the configuration asks for what it was trained "
                "without; leave that out, or start from a BERT checkpoint to train new heads"
            )
        if len(missing) < len(info["missing_keys"]):
            model.reader.load_state_dict(model.bert.state_dict())
        return (model, info) if output_loading_info else model

    @property
    def second_encoder(self) -> BertModel:
        """The encoder that reads the result and answers: `bert` again, or `reader`."""
        return self.reader if self.config.use_calculator and not self.config.share_encoder else self.bert

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        segment_ids: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
        mention_positions: torch.Tensor | None = None,
        mention_ends: torch.Tensor | None = None,
        candidate_arguments: torch.Tensor | None = None,
        candidate_ids: torch.Tensor | None = None,
        candidate_results=None,
        answer_spans: torch.Tensor | None = None,
        candidate_answer_spans: torch.Tensor | None = None,
        argument_labels: torch.Tensor | None = None,
        quantity_values: torch.Tensor | None = None,
        answer_values: torch.Tensor | None = None,
        comparisons: dict[str, torch.Tensor] | None = None,
        example_ids: torch.Tensor | None = None,
        temperature: float = 1.0,
        gumbel_noise: bool = True,
        generator: torch.Generator | None = None,
        estimator: str = "straight_through_gumbel",
        num_samples: int = 4,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        **kwargs,
    ) -> CalculatorQAModelOutput:
        """Reads, computes, reads again and extracts. `CalculatorQAProcessor` makes all tensors.

        Args:
            input_ids, attention_mask: (B, T) `[CLS] Q [SEP] P [SEP]`, padded on the right.
            segment_ids: (B, T) 0 question, 1 passage, -1 special tokens and padding.
            token_type_ids: (B, T) by default told from the segments: PEFT takes them and does not hand them on.
            mention_positions: (B, N) first token of each mention, 0 where there is none.
            mention_ends: (B, N) last token of each mention, -1 where there is none; for `config.hide_arguments` and
                `config.mask_mentions`.
            candidate_arguments: (B, D, K) indices into the mentions, -1 for one left out; all -1 is no candidate.
            candidate_ids: (B, D, L) tokens of each pair's result; a row of padding alone is no candidate.
            candidate_results: over the ceiling of a `SymbolicFunction`, a `CandidateResults` that makes candidate_ids,
                candidate_answer_spans and argument_labels for the candidates that are kept.
            answer_spans: (B, S, 2) first and last position of every span of question and passage that equals the
                answer, padded with -1; gives `end_loss`.
            candidate_answer_spans: (B, D, S, 2) the same in each candidate's result.
            argument_labels: (B, D) 1.0 where the result is the answer; gives `argument_loss`.
            quantity_values, answer_values: (B, N, 2) and (B, A, 2) the numbers of the text and the spellings of the
                answer, as the fields of `Numbers`. With several steps they stand in for all that is of candidates.
            comparisons: what a model with `config.search_comparisons` learns the arguments of comparisons from, see
                `ComparisonSearch`; gives `search_loss`.
            example_ids: (B,) the example each row belongs to; by default each row is one.
            temperature, gumbel_noise, generator, estimator, num_samples: facts of the run, see `SymbolicLayer`; they
                matter in training.
            output_attentions, output_hidden_states: of the last pass; by default as the config says.
            kwargs: none; PEFT names inputs that every other model for question answering has, and gives None.

        Raises:
            TypeError: an input that this model does not have.
            ValueError: token ids outside the vocabulary, or more tokens than the encoder takes (checked on CPU);
                inputs for another number of steps, comparisons for a model that does not search them, or training in
                several steps with an estimator of several results.
        """
        if unknown := [name for name, value in kwargs.items() if value is not None]:
            raise TypeError(f"forward got {', '.join(unknown)}: give what CalculatorQAProcessor makes")
        num_steps = self.config.num_steps
        if (quantity_values is None) != (num_steps == 1):
            raise ValueError(
                f"the model has num_steps={num_steps}, but the inputs are of a processor with "
                f"{'1' if quantity_values is None else 'several'}: load both from the same checkpoint"
            )
        if comparisons is not None and not self.config.search_comparisons:
            raise ValueError(
                "the inputs have comparisons, the model no search_comparisons: make it so, or the collator without"
            )
        if num_steps > 1 and self.training and estimator in SEVERAL_RESULTS:
            raise ValueError(f"num_steps={num_steps} needs an estimator of {', '.join(ONE_RESULT)}; got {estimator}")
        if token_type_ids is None:
            token_type_ids = token_types(segment_ids, attention_mask)
        if example_ids is None:
            example_ids = torch.arange(len(input_ids), device=input_ids.device)
        reader, offset = self.second_encoder, None
        if self.config.digit_places:
            offset = torch.zeros(len(input_ids), dtype=torch.long, device=input_ids.device)
            if self.training:
                offset.random_(self.config.digit_places // 2 + 1, generator=generator)
        inputs = {
            "inputs_embeds": self._embed(reader, input_ids, offset),
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": count_tokens(attention_mask),
        }
        calculation = _Calculation(inputs, segment_ids, answer_spans, choices={}, losses={})
        if self.config.use_calculator:
            if reader is not self.bert:
                inputs = inputs | {"inputs_embeds": self._embed(self.bert, input_ids, offset)}
            if self.config.mask_mentions:
                inputs = mask_mentions(inputs, mention_positions, mention_ends)
            hidden = self.bert(**inputs).last_hidden_state
            choice = _Choice(offset, temperature, gumbel_noise, generator, estimator, num_samples)
            if num_steps > 1:
                values = (quantity_values, answer_values)
                calculation = self._take_steps(calculation, hidden, mention_positions, *values, choice)
            else:
                candidates = {
                    "candidate_arguments": candidate_arguments,
                    "candidate_ids": candidate_ids,
                    "candidate_answer_spans": candidate_answer_spans,
                    "argument_labels": argument_labels,
                }
                calculation = self._take_step(
                    calculation,
                    gather_mentions(hidden, mention_positions),
                    (mention_positions, mention_ends),
                    candidates,
                    candidate_results,
                    comparisons,
                    choice,
                )
        inputs, segment_ids = calculation.inputs, calculation.segment_ids
        advice = "cut the passage into shorter windows (`model_max_length` of the tokenizer)"
        check_indices("positions", inputs["position_ids"], self.config.max_position_embeddings, advice)
        read = reader(**inputs, output_attentions=output_attentions, output_hidden_states=output_hidden_states)
        logits = linear_fp32(self.qa_outputs, read.last_hidden_state)
        logits = logits.masked_fill((segment_ids < 0).unsqueeze(-1), torch.finfo(logits.dtype).min)
        start_logits, end_logits = logits.unbind(-1)
        losses = {}
        if answer_spans is not None:
            losses = self._losses(start_logits, end_logits, calculation, example_ids, estimator)
        return CalculatorQAModelOutput(
            **losses,
            **calculation.choices,
            start_logits=start_logits,
            end_logits=end_logits,
            segment_ids=segment_ids,
            position_ids=inputs["position_ids"],
            example_ids=example_ids,
            reader_embeds=inputs["inputs_embeds"],
            hidden_states=read.hidden_states,
            attentions=read.attentions,
        )

    @staticmethod
    def _losses(
        start_logits, end_logits, calculation: _Calculation, example_ids, estimator
    ) -> dict[str, torch.Tensor]:
        """The parts of the loss, each a mean over examples, and their sum; see `CalculatorQAModelOutput`."""
        same_example = example_ids.unsqueeze(1) == example_ids
        num_results = len(start_logits) // len(example_ids)
        same_reading = torch.block_diag(*[same_example] * num_results)  # (R * B, R * B)
        spans, result = calculation.answer_spans, calculation.result
        log_likelihood = answer_log_likelihood(start_logits, end_logits, spans, same_reading)
        rows = {"end_loss": -log_likelihood} | calculation.losses
        if num_results > 1:
            rows["end_loss"] = sampled_answer_loss(estimator, log_likelihood, spans, result, same_example)
        losses = {name: mean_over_examples(values, same_example) for name, values in rows.items()}
        return {"loss": sum(losses.values())} | losses

    def _embed(self, encoder: BertModel, input_ids: torch.Tensor, offset: torch.Tensor | None) -> torch.Tensor:
        """(B, T) tokens to (B, T, H) word embeddings of an encoder, with those of digits' places."""
        check_indices("input_ids", input_ids, self.config.vocab_size, VOCABULARY_ADVICE)
        if offset is None:
            return encoder.get_input_embeddings()(input_ids)
        return self._embed_joined(encoder, self._join_places(input_ids, offset))

    def _join_places(self, token_ids: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """Token ids (B, ..., L) that also say the places of digits, counted from offset (B,), see `join_places`."""
        config = self.config
        digits = config.calculator_token_ids[-20:]
        return join_places(token_ids, offset, config.digit_places, config.vocab_size, digits)

    def _embed_joined(self, encoder: BertModel, ids: torch.Tensor) -> torch.Tensor:
        """Embeddings of tokens, with those of their places."""
        size = self.config.vocab_size
        return encoder.get_input_embeddings()(ids % size) + self.digit_places(ids // size)

    def _choose(self, scores: torch.Tensor, candidate_ids: torch.Tensor, choice: _Choice) -> SymbolicLayerOutput:
        """One candidate of each row, or R, by their scores (B, D)."""
        check_indices("candidate_ids", candidate_ids, self.config.vocab_size, VOCABULARY_ADVICE)
        offset, *choice = choice
        if offset is None:
            embedding = self.second_encoder.get_input_embeddings()
            is_sharded = hasattr(embedding.weight, "full_tensor")  # by FSDP: only the module can look tokens up
            return self.symbolic_layer(scores, candidate_ids, embedding if is_sharded else embedding.weight, *choice)
        embed = partial(self._embed_joined, self.second_encoder)
        result = self.symbolic_layer(scores, self._join_places(candidate_ids, offset), embed, *choice)
        return result._replace(token_ids=result.token_ids % self.config.vocab_size)

    def _take_step(
        self, text: _Calculation, mentions, places: tuple, candidates: dict, make_results, comparisons, choice: _Choice
    ) -> _Calculation:
        """A single step: the text with the result of one candidate, or of R, behind it.

        Args:
            text: to read, without a result.
            mentions: (B, N, H) vectors of the mentions.
            places: of their first and last tokens, (B, N) each.
            candidates: the inputs of `forward` that are of candidates; `make_results` is candidate_results there.
            comparisons: see `forward`.
        """
        all_arguments, kept = candidates["candidate_arguments"], None
        scores = self.argument_scorer(mentions, all_arguments)
        lowest = torch.finfo(scores.dtype).min
        if make_results is not None:  # over the ceiling, the best alone get results
            all_scores = scores.masked_fill(all_arguments[..., 0] < 0, lowest)
            kept = all_scores.topk(make_results.function.max_candidates, -1).indices
            scores, arguments = scores.gather(1, kept), torch.take_along_dim(all_arguments, kept.unsqueeze(-1), 1)
            candidates = {"candidate_arguments": arguments} | make_results(arguments)
        result = self._choose(scores, candidates["candidate_ids"], choice)
        logits, index = result.scores, result.index
        num_results = len(index) // len(scores)
        if kept is None:
            all_scores = logits
        else:  # places among all
            logits = torch.full_like(all_scores, lowest).scatter(1, kept, logits)
            place = kept.repeat(num_results, 1).gather(1, index.clamp(min=0).unsqueeze(-1))
            index = torch.where(index < 0, -1, place.squeeze(-1))
        inputs, segment_ids, answer_spans = text[:3]
        if num_results > 1:
            inputs = {name: torch.cat([rows] * num_results) for name, rows in inputs.items()}
            segment_ids = torch.cat([segment_ids] * num_results)
        if self.config.hide_arguments:
            chosen, embeds = result.index, inputs["inputs_embeds"]
            if not self.training:  # what the scores say, also where another result is given (faithfulness.py)
                best, chosen = result.scores.max(-1)
                chosen = chosen.masked_fill(best == lowest, -1)
            is_hidden = argument_tokens(chosen, candidates["candidate_arguments"], *places, embeds.shape[1])
            inputs = inputs | {"inputs_embeds": embeds.masked_fill(is_hidden.unsqueeze(-1), 0.0)}
        if answer_spans is not None:
            in_results = candidates["candidate_answer_spans"]
            answer_spans = self._chosen_spans(answer_spans, in_results, result.index, segment_ids.shape[1])
        losses, labels = {}, candidates.get("argument_labels")
        if labels is not None:
            losses["argument_loss"] = argument_cross_entropy(result.scores, labels)
        if comparisons is not None:  # it has labels for all candidates
            likelihood, explanations = self.comparison_search(mentions, **comparisons)
            losses["search_loss"] = -likelihood - argument_log_likelihood(explanations, all_arguments, all_scores)
        choices = {"argument_logits": logits, "argument_index": index, "result_ids": result.token_ids}
        return _Calculation(*self._append(inputs, segment_ids, result), answer_spans, choices, losses, result)

    def _take_steps(
        self, text: _Calculation, hidden, mention_positions, quantity_values, answer_values, choice: _Choice
    ) -> _Calculation:
        """Several steps: the text with all their results behind it.

        A step gets its gradient from all that is read behind its result, by the later steps' scores and by the answer.
        It gets none through the values of the results, which decide what the candidates of a later step are and say,
        and none from the answer where it did nothing, since nothing of it is read.
        """
        mantissa, decimals = quantity_values.unbind(-1)
        known = Numbers(F.pad(mantissa, (1, 0)), F.pad(decimals, (1, 0), value=-1))  # (B, M), as in chains.py
        answers = None if text.answer_spans is None else Numbers(*answer_values.unbind(-1))
        positions = F.pad(mention_positions, (1, 0))  # (B, M)
        token_ids = torch.tensor(self.config.calculator_token_ids, device=hidden.device)
        inputs, segment_ids, answer_spans = text[:3]
        results, losses, num_known = [], [], 1  # nothing, and the results so far
        for step in range(self.config.num_steps):
            if step:
                hidden = self.second_encoder(**inputs).last_hidden_state
            room = self.config.max_position_embeddings - inputs["attention_mask"].sum(-1)
            candidates = step_candidates(self.calculator, known, room)
            arguments = candidates.arguments.expand(len(hidden), -1, -1)
            scores = self.argument_scorer(gather_mentions(hidden, positions), arguments)
            result = self._choose(scores, token_ids[candidates.tokens], choice)
            # The [SEP] of doing nothing made it a candidate; it is not read.
            is_nothing = (result.index == NOTHING).unsqueeze(-1)
            result = result._replace(token_ids=result.token_ids.masked_fill(is_nothing, self.config.pad_token_id))
            results.append(result)
            written, start = chosen_results(candidates, result.index), segment_ids.shape[1]
            if answers is not None:
                left = self.config.num_steps - step
                labels = step_labels(self.calculator, known, num_known - 1, candidates, answers, left)
                losses.append(right_argument_loss(result.scores, labels))
                spans = answer_places(written, answers)
                answer_spans = torch.cat([answer_spans, torch.where(spans < 0, -1, spans + start)], 1)
            inputs, segment_ids = self._append(inputs, segment_ids, result)
            first = written.spans[..., 0, 0]  # (B, R)
            insert = torch.where(first < 0, 0, first + start), *written.values.select((..., 0))
            positions, *known = (
                torch.cat([old[:, :num_known], new, old[:, num_known:]], 1)
                for old, new in zip((positions, *known), insert, strict=True)
            )
            known, num_known = Numbers(*known), num_known + first.shape[1]
        choices = {
            "argument_logits": results[0].scores,
            "step_argument_logits": tuple(result.scores for result in results[1:]),
            "argument_index": torch.stack([result.index for result in results], -1),
            "result_ids": torch.cat([result.token_ids for result in results], 1),
        }
        losses = {"argument_loss": sum(losses)} if losses else {}
        return _Calculation(inputs, segment_ids, answer_spans, choices, losses)

    def _append(self, inputs: dict[str, torch.Tensor], segment_ids: torch.Tensor, result) -> tuple[dict, torch.Tensor]:
        """The second pass's inputs: the result behind the padding, its positions counted on from the last real token.

        BERT has two token types: the result shares the passage's.
        """
        is_token = (result.token_ids != self.config.pad_token_id).long()  # (B, L)
        mask = torch.cat([inputs["attention_mask"], is_token], 1)
        is_text = F.pad(is_token[:, 1:], (0, 1))  # the last token of a result is [SEP], no place for an answer
        appended = {
            "inputs_embeds": torch.cat([inputs["inputs_embeds"], result.embeddings], 1),
            "attention_mask": mask,
            "token_type_ids": torch.cat([inputs["token_type_ids"], is_token], 1),
            "position_ids": count_tokens(mask),
        }
        return appended, torch.cat([segment_ids, torch.where(is_text > 0, 2, -1)], 1)

    @staticmethod
    def _chosen_spans(answer_spans, candidate_answer_spans, index, result_start: int) -> torch.Tensor:
        """(R * B, S, 2) spans in question and passage, and those in the chosen result, starting at `result_start`."""
        rows = torch.arange(len(index), device=index.device) % len(answer_spans)
        chosen = candidate_answer_spans[rows, index.clamp(min=0)]
        chosen = torch.where(chosen >= 0, chosen + result_start, -1)
        return torch.cat([answer_spans[rows], chosen], 1)
