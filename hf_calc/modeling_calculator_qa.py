"""BertForCalculatorQA: reading comprehension with a calculator inside (section 4 of Yoshikawa et al.).

What is unusual: the encoder runs twice. The first pass, over `[CLS] Q [SEP] P [SEP]`, scores every pair of numbers;
the symbolic layer turns the scores into the calculator's result for one pair; the second pass reads
`[CLS] Q [SEP] P [SEP] F(s) [SEP]` and extracts the answer from question, passage or result. The loss reaches the
first pass through the second by the straight-through gradient of `SymbolicLayer`.

Shapes: B rows (a long passage makes several), T tokens of question and passage, N numbers, D candidate pairs,
L tokens of a result, S answer spans, H hidden size.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import BertModel, BertPreTrainedModel
from transformers.utils import ModelOutput

from .configuration_calculator_qa import CalculatorQAConfig
from .symbolic_layer import SymbolicLayer


@dataclass
class CalculatorQAModelOutput(ModelOutput):
    """Output of `BertForCalculatorQA`.

    Positions run over the second pass as it is laid out in memory, T + L of them (T without a calculator): question
    and passage with their padding, then the result. `position_ids` counts them over real tokens.

    Args:
        loss: end_loss + argument_loss, the paper's objective; `CalculatorQATrainer` weighs the second.
        end_loss: -log p(answer) by span extraction, the mean over all B rows; a row without answer spans adds 0.
        argument_loss: binary cross entropy of eq. 2 against the pairs whose result is the answer, summed over the
            pairs, the mean over all B rows; a row without such a pair adds 0.
        start_logits: (B, T + L) fp32, the smallest number where no answer can start.
        end_logits: (B, T + L) likewise.
        argument_logits: (B, D) fp32 scores of the candidate pairs, the smallest number where there is none.
        argument_index: (B,) the pair given to the calculator, -1 where there is none.
        result_ids: (B, L) tokens of the calculator's result, padding behind its end.
        segment_ids: (B, T + L) 0 question, 1 passage, 2 result, -1 special tokens and padding.
        position_ids: (B, T + L) place in `[CLS] Q [SEP] P [SEP] F(s) [SEP]` without padding.
        example_ids: (B,) handed on from the input.
        reader_embeds: (B, T + L, H) word embeddings read by the second pass, where saliency takes its gradients.
        hidden_states: of the second pass, with output_hidden_states=True.
        attentions: of the second pass, with output_attentions=True and eager attention.
    """

    loss: torch.Tensor | None = None
    end_loss: torch.Tensor | None = None
    argument_loss: torch.Tensor | None = None
    start_logits: torch.Tensor | None = None
    end_logits: torch.Tensor | None = None
    argument_logits: torch.Tensor | None = None
    argument_index: torch.Tensor | None = None
    result_ids: torch.Tensor | None = None
    segment_ids: torch.Tensor | None = None
    position_ids: torch.Tensor | None = None
    example_ids: torch.Tensor | None = None
    reader_embeds: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


def check_token_ids(input_ids: torch.Tensor, vocab_size: int) -> None:
    """Raises ValueError for ids outside the vocabulary.

    Only on CPU, where it costs no synchronization, and not while compiling, where it would split the graph.
    """
    if input_ids.device.type != "cpu" or torch.compiler.is_compiling() or not input_ids.numel():
        return
    if int(input_ids.max()) >= vocab_size:
        raise ValueError(
            f"input_ids holds {int(input_ids.max())}, but the vocabulary has {vocab_size} tokens: load the processor "
            "from the same checkpoint as the model"
        )


def span_marginal_log_likelihood(
    start_logits: torch.Tensor, end_logits: torch.Tensor, spans: torch.Tensor
) -> torch.Tensor:
    """log sum over the answer's spans (s, t) of p(start = s) p(end = t), in fp32.

    Args:
        start_logits, end_logits: (B, T).
        spans: (B, S, 2) first and last positions, padded with -1.

    Returns:
        (B,), 0 for a row without spans, so that it adds nothing to a loss.
    """
    is_span = spans[..., 0] >= 0  # (B, S)
    start, end = (
        torch.log_softmax(logits.float(), -1).gather(1, spans[..., side].clamp(min=0))
        for side, logits in enumerate((start_logits, end_logits))
    )
    log_likelihood = (start + end).masked_fill(~is_span, torch.finfo(torch.float32).min).logsumexp(-1)
    return torch.where(is_span.any(-1), log_likelihood, 0.0)


def argument_cross_entropy(argument_logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy between p = softmax(scores) (eq. 2) and 0/1 labels, summed over the candidates.

    A sum, not a mean: what a labelled example weighs does not depend on how many numbers its text has.

    Args:
        argument_logits: (B, D) fp32, the smallest number at what is no candidate.
        labels: (B, D) 1 where the result contains the answer.

    Returns:
        (B,), 0 for a row without a positive label.
    """
    log_p = torch.log_softmax(argument_logits, -1).clamp(max=-1e-6)  # log(1 - p) stays finite
    cross_entropy = -torch.where(labels > 0, log_p, torch.log(-torch.expm1(log_p))).sum(-1)
    return torch.where((labels > 0).any(-1), cross_entropy, 0.0)


class ArgumentScorer(nn.Module):
    """Scores pairs of numbers by a 2-layer ReLU network over their concatenated vectors (section 4).

    `W [a; b] = W1 a + W2 b`, so each number is multiplied once and no (B, D, 2H) tensor of pairs is made.
    """

    def __init__(self, hidden_size: int):
        super().__init__()
        self.first = nn.Linear(hidden_size, hidden_size)
        self.second = nn.Linear(hidden_size, hidden_size, bias=False)
        self.score = nn.Linear(hidden_size, 1, bias=False)  # what all pairs share, a softmax does not see

    def forward(self, numbers: torch.Tensor, arguments: torch.Tensor) -> torch.Tensor:
        """(B, N, H) number vectors and (B, D, 2) indices of both arguments to (B, D) scores."""
        first, second = (
            side.gather(1, arguments[..., k, None].expand(-1, -1, side.shape[-1]))
            for k, side in enumerate((self.first(numbers), self.second(numbers)))
        )
        return self.score(torch.relu(first + second)).squeeze(-1)


class BertForCalculatorQA(BertPreTrainedModel):
    """BERT that may compute before it answers; loads the encoder of any BERT checkpoint.

    `config.use_calculator=False` leaves one pass of BERT with span extraction, the baseline of table 4.
    """

    config_class = CalculatorQAConfig
    # Our losses are means over rows, so the Trainer must not rescale them by token counts under accumulation.
    accepts_loss_kwargs = False
    _keys_to_ignore_on_load_unexpected = (r"pooler",)

    def __init__(self, config: CalculatorQAConfig):
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        if config.use_calculator:
            self.argument_scorer = ArgumentScorer(config.hidden_size)
            self.symbolic_layer = SymbolicLayer(config.pad_token_id)
            if not config.share_encoder:
                self.reader = BertModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, output_loading_info: bool = False, **kwargs):
        """Loads one of our checkpoints, or starts from a BERT checkpoint with new heads.

        A reader of its own (share_encoder=False) that the checkpoint lacks starts as a copy of its encoder.

        Raises:
            ValueError: a checkpoint of this class without some of its weights, whose answers would be random.
        """
        model, info = super().from_pretrained(pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs)
        missing = sorted(info["missing_keys"])
        if missing and cls.__name__ in (model.config.architectures or []):
            raise ValueError(
                f"{pretrained_model_name_or_path} is a {cls.__name__} checkpoint but lacks {', '.join(missing)}: "
                "save it again with save_pretrained, or start from a BERT checkpoint to train new heads"
            )
        if any(key.startswith("reader.") for key in missing):
            model.reader.load_state_dict(model.bert.state_dict())
        return (model, info) if output_loading_info else model

    @property
    def second_encoder(self) -> BertModel:
        """The encoder that reads the result and answers: `bert` again, or `reader`."""
        return self.reader if self.config.use_calculator and not self.config.share_encoder else self.bert

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor,
        segment_ids: torch.Tensor,
        quantity_positions: torch.Tensor | None = None,
        candidate_arguments: torch.Tensor | None = None,
        candidate_ids: torch.Tensor | None = None,
        answer_spans: torch.Tensor | None = None,
        candidate_answer_spans: torch.Tensor | None = None,
        argument_labels: torch.Tensor | None = None,
        example_ids: torch.Tensor | None = None,
        temperature: float = 1.0,
        gumbel_noise: bool = True,
        generator: torch.Generator | None = None,
        **kwargs,
    ) -> CalculatorQAModelOutput:
        """Reads, computes, reads again and extracts. `CalculatorQAProcessor` makes all tensors.

        Args:
            input_ids, attention_mask, token_type_ids: (B, T) `[CLS] Q [SEP] P [SEP]`, padded on the right.
            segment_ids: (B, T) 0 question, 1 passage, -1 special tokens and padding.
            quantity_positions: (B, N) first token of each number, 0 where there is none.
            candidate_arguments: (B, D, 2) indices into the numbers.
            candidate_ids: (B, D, L) tokens of each pair's result; a row of padding alone is no candidate.
            answer_spans: (B, S, 2) first and last position of every span of question and passage that equals the
                answer, padded with -1; gives `end_loss`.
            candidate_answer_spans: (B, D, S, 2) the same in each candidate's result.
            argument_labels: (B, D) 1.0 where the result is the answer; gives `argument_loss`.
            example_ids: (B,) the example each row belongs to.
            temperature, gumbel_noise, generator: facts of the run, see `SymbolicLayer`; they matter in training.
            kwargs: for the encoder: output_attentions, output_hidden_states.

        Raises:
            ValueError: token ids outside the vocabulary (checked on CPU, where it costs no synchronization).
        """
        check_token_ids(input_ids, self.config.vocab_size)
        reader = self.second_encoder
        reader_inputs = {
            "inputs_embeds": reader.get_input_embeddings()(input_ids),
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": (attention_mask.cumsum(-1) - 1).clamp(min=0),
        }
        output = CalculatorQAModelOutput(segment_ids=segment_ids, example_ids=example_ids)
        if self.config.use_calculator:
            first_inputs = reader_inputs
            if reader is not self.bert:
                first_inputs = reader_inputs | {"inputs_embeds": self.get_input_embeddings()(input_ids)}
            hidden = self.bert(**first_inputs).last_hidden_state
            numbers = hidden.gather(1, quantity_positions.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
            result = self.symbolic_layer(
                self.argument_scorer(numbers, candidate_arguments),
                candidate_ids,
                reader.get_input_embeddings().weight,
                temperature,
                gumbel_noise,
                generator,
            )
            output.argument_logits, output.argument_index = result.scores, result.index
            output.result_ids = result.token_ids
            reader_inputs, output.segment_ids = self._append(reader_inputs, segment_ids, result)
            if answer_spans is not None:
                answer_spans = self._chosen_spans(
                    answer_spans, candidate_answer_spans, result.index, input_ids.shape[1]
                )
        read = reader(**reader_inputs, **kwargs)

        logits = self.qa_outputs(read.last_hidden_state).float()
        logits = logits.masked_fill((output.segment_ids < 0).unsqueeze(-1), torch.finfo(torch.float32).min)
        output.start_logits, output.end_logits = logits.unbind(-1)
        output.position_ids, output.reader_embeds = reader_inputs["position_ids"], reader_inputs["inputs_embeds"]
        output.hidden_states, output.attentions = read.hidden_states, read.attentions
        if answer_spans is not None:
            log_likelihood = span_marginal_log_likelihood(output.start_logits, output.end_logits, answer_spans)
            output.loss = output.end_loss = -log_likelihood.mean()
            if self.config.use_calculator and argument_labels is not None:
                output.argument_loss = argument_cross_entropy(output.argument_logits, argument_labels).mean()
                output.loss = output.end_loss + output.argument_loss
        return output

    def _append(self, inputs: dict[str, torch.Tensor], segment_ids: torch.Tensor, result) -> tuple[dict, torch.Tensor]:
        """The second pass's inputs: the result behind the padding, its positions counted on from the last real token.

        BERT has two token types: the result shares the passage's.
        """
        is_token = (result.token_ids != self.config.pad_token_id).long()  # (B, L)
        positions = inputs["attention_mask"].sum(-1, keepdim=True) + torch.arange(
            is_token.shape[1], device=is_token.device
        )
        # The last token of a result is [SEP], no place for an answer.
        is_text = is_token.roll(-1, dims=1) * is_token
        is_text[:, -1:] = 0
        appended = {
            "inputs_embeds": torch.cat([inputs["inputs_embeds"], result.embeddings], 1),
            "attention_mask": torch.cat([inputs["attention_mask"], is_token], 1),
            "token_type_ids": torch.cat([inputs["token_type_ids"], is_token], 1),
            "position_ids": torch.cat([inputs["position_ids"], positions * is_token], 1),
        }
        return appended, torch.cat([segment_ids, torch.where(is_text > 0, 2, -1)], 1)

    @staticmethod
    def _chosen_spans(answer_spans, candidate_answer_spans, index, result_start: int) -> torch.Tensor:
        """(B, S, 2) spans in question and passage, and those in the chosen result, which starts at `result_start`."""
        rows = torch.arange(len(index), device=index.device)
        chosen = candidate_answer_spans[rows, index.clamp(min=0)]
        chosen = torch.where(chosen >= 0, chosen + result_start, -1)
        return torch.cat([answer_spans, chosen], 1)
