"""A BiLSTM with additive attention that tells how important each token is, by attention and by gradient.

What is unusual: with `output_attentions=True` every forward pass, also under `torch.no_grad`, returns the gradient
importance of each token beside its attention, in closed form (see relevance_loss.py). And no sequence is packed: each
direction of the LSTM reads its rows with padding moved behind the last token read, where it can reach nothing. On CPU
that is as fast as an LSTM that ignores padding; packing batches of mixed lengths takes 2.5 times as long at T = 200
and 5 times at T = 500 (timed by hand).

Shapes: B texts, T tokens, E embedding size, H hidden size of both directions together, A attention size, K labels.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_bilstm_attention import BiLSTMAttentionConfig
from .relevance_loss import at_least_fp32, gradient_times_hidden, score_gradient


@dataclass
class BiLSTMAttentionModelOutput(ModelOutput):
    """Output of `BiLSTMAttentionModel`.

    Args:
        last_hidden_state: (B, T, H) h of the BiLSTM; without meaning at padding.
        pooler_output: (B, H) the context, c = sum_t alpha_t h_t; zero for a text without tokens.
        attentions: (B, T) alpha, at least fp32; sums to 1 over the tokens of a text, zero at padding.
        attention_slopes: (B, T) h_t . de_t/dh_t, what the gradient importance needs to know of the attention; with
            output_attentions=True.
        hidden_states: the embeddings (B, T, E) and h (B, T, H), with output_hidden_states=True.
    """

    last_hidden_state: torch.Tensor | None = None
    pooler_output: torch.Tensor | None = None
    attentions: torch.Tensor | None = None
    attention_slopes: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None


@dataclass
class BiLSTMAttentionClassifierOutput(ModelOutput):
    """Output of `BiLSTMAttentionForClassification`.

    Args:
        loss: cross entropy, the mean over all B texts; with labels.
        logits: (B, K).
        attentions: (B, T) alpha, at least fp32; sums to 1 over the tokens of a text, zero at padding; with
            output_attentions=True.
        gradient_importance: (B, T) g, signed, zero at padding; with output_attentions=True.
        hidden_states: the embeddings (B, T, E) and h of the BiLSTM (B, T, H), with output_hidden_states=True.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    attentions: torch.Tensor | None = None
    gradient_importance: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None


def check_indices(name: str, indices: torch.Tensor, size: int, advice: str) -> None:
    """Raises ValueError where an index is outside 0..size - 1.

    Only on CPU, where it costs no synchronization, and not while compiling, where it would split the graph.
    """
    if indices.device.type != "cpu" or torch.compiler.is_compiling() or not indices.numel():
        return
    low, high = (int(bound) for bound in indices.aminmax())
    if low < 0 or high >= size:
        raise ValueError(f"{name} must be from 0 to {size - 1}, got {low if low < 0 else high}: {advice}")


def reading_orders(attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions of each text's tokens from first to last and from last to first, both with the padding behind.

    Args:
        attention_mask: (B, T) 1 at tokens, 0 at padding, on whichever side.

    Returns:
        Two permutations (B, T) of 0..T - 1 in every row.

    Example:
        >>> forward, backward = reading_orders(torch.tensor([[0, 1, 1, 1]]))
        >>> forward.tolist(), backward.tolist()
        ([[1, 2, 3, 0]], [[3, 2, 1, 0]])
    """
    length = attention_mask.shape[1]
    positions = torch.arange(length, device=attention_mask.device)
    is_padding = attention_mask == 0
    return tuple(
        torch.where(is_padding, length + rank, rank).argsort(-1) for rank in (positions, length - 1 - positions)
    )


def read_in_order(lstm: nn.LSTM, inputs: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Runs a one-directional LSTM over each row in an order of its own and puts its outputs back in place.

    Args:
        lstm: time-major.
        inputs: (B, T, E).
        order: (B, T) a permutation of 0..T - 1 in every row.

    Returns:
        (B, T, H/2).
    """
    batch, length = order.shape
    rows = torch.arange(batch, device=order.device).unsqueeze(-1)
    # Flat indices reorder and transpose in a single copy: (B * T, E) -> (T * B, E).
    there = (order + rows * length).T.flatten()
    back = (order.argsort(-1) * batch + rows).flatten()
    outputs, _ = lstm(inputs.flatten(0, 1).index_select(0, there).unflatten(0, (length, batch)))
    return outputs.flatten(0, 1).index_select(0, back).unflatten(0, (batch, length))


class AdditiveAttention(nn.Module):
    """alpha = softmax(e) with e_t = v . tanh(W h_t + b) (Bahdanau et al. 2014, without a query)."""

    def __init__(self, config: BiLSTMAttentionConfig):
        super().__init__()
        self.projection = nn.Linear(config.hidden_size, config.attention_size)  # W, b
        self.score = nn.Linear(config.attention_size, 1, bias=False)  # v

    def forward(
        self, hidden: torch.Tensor, attention_mask: torch.Tensor, output_slopes: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attends.

        Args:
            hidden: (B, T, H) h.
            attention_mask: (B, T) 1 at tokens, 0 at padding.
            output_slopes: also return the slopes.

        Returns:
            alpha (B, T) and the slopes h_t . de_t/dh_t = [v * (1 - tanh(W h_t + b)^2)] . (W h_t) (B, T), both at least
            fp32.
        """
        projected = self.projection(hidden)  # (B, T, A)
        activated = projected.tanh()
        scores = at_least_fp32(self.score(activated).squeeze(-1))
        is_padding = attention_mask == 0
        # The smallest number, not -inf, whose softmax over a text without tokens would be NaN.
        attentions = scores.masked_fill(is_padding, torch.finfo(scores.dtype).min).softmax(-1)
        slopes = None
        if output_slopes:
            slopes = self.score((1 - activated.square()) * (projected - self.projection.bias))
            slopes = at_least_fp32(slopes.squeeze(-1))
        return attentions.masked_fill(is_padding, 0.0), slopes


class BiLSTMAttentionPreTrainedModel(PreTrainedModel):
    """Loading, saving and initialization; transformers initializes every layer used here."""

    config_class = BiLSTMAttentionConfig
    base_model_prefix = "bilstm"
    # Our losses are means over texts, so the Trainer must not rescale them by token counts under accumulation.
    accepts_loss_kwargs = False


class BiLSTMAttentionModel(BiLSTMAttentionPreTrainedModel):
    """Embeddings, one BiLSTM layer and additive attention, without a classifier."""

    def __init__(self, config: BiLSTMAttentionConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size, config.pad_token_id)
        self.forward_lstm = nn.LSTM(config.embedding_size, config.hidden_size // 2)
        self.backward_lstm = nn.LSTM(config.embedding_size, config.hidden_size // 2)
        self.attention = AdditiveAttention(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BiLSTMAttentionModelOutput:
        """Reads and attends.

        Args:
            input_ids: (B, T); a text may have no token, and T may be 0.
            attention_mask: (B, T) 1 at tokens, 0 at padding on either side. By default every token that is not
                `pad_token_id`, or every one of inputs_embeds.
            inputs_embeds: (B, T, E) in place of input_ids.
            output_attentions: also return attention_slopes.
            output_hidden_states: also return hidden_states.

        Raises:
            ValueError: both or neither of input_ids and inputs_embeds, a mask of another shape, token ids outside the
                vocabulary (checked on CPU).
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds, and not both")
        if inputs_embeds is None:
            advice = "load the tokenizer from the same checkpoint as the model"
            check_indices("input_ids", input_ids, self.config.vocab_size, advice)
            inputs_embeds = self.embed_tokens(input_ids)
            if attention_mask is None:
                attention_mask = input_ids != self.config.pad_token_id
        elif attention_mask is None:
            attention_mask = torch.ones(inputs_embeds.shape[:2], device=inputs_embeds.device)
        if attention_mask.shape != inputs_embeds.shape[:2]:
            raise ValueError(
                f"attention_mask must be (B, T) = {tuple(inputs_embeds.shape[:2])}, got {tuple(attention_mask.shape)}"
            )

        if attention_mask.numel():
            forward, backward = reading_orders(attention_mask)
            directions = [
                read_in_order(self.forward_lstm, inputs_embeds, forward),
                read_in_order(self.backward_lstm, inputs_embeds, backward),
            ]
            hidden = torch.cat(directions, -1)  # (B, T, H)
        else:  # an LSTM refuses to read nothing
            hidden = inputs_embeds.new_zeros(*attention_mask.shape, self.config.hidden_size)
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        attentions, slopes = self.attention(hidden, attention_mask, output_slopes=output_attentions)
        context = (attentions.to(hidden.dtype).unsqueeze(1) @ hidden).squeeze(1)  # (B, H)
        return BiLSTMAttentionModelOutput(
            last_hidden_state=hidden,
            pooler_output=context,
            attentions=attentions,
            attention_slopes=slopes,
            hidden_states=(inputs_embeds, hidden) if output_hidden_states else None,
        )


class BiLSTMAttentionForClassification(BiLSTMAttentionPreTrainedModel):
    """Classifies a text into K labels by a linear layer over the context of `BiLSTMAttentionModel`."""

    def __init__(self, config: BiLSTMAttentionConfig):
        super().__init__(config)
        self.bilstm = BiLSTMAttentionModel(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        target_score: str = "logit_margin",
        constant_attention: bool = False,
    ) -> BiLSTMAttentionClassifierOutput:
        """Classifies, and with output_attentions=True says by what.

        Args:
            input_ids, attention_mask, inputs_embeds, output_hidden_states: see `BiLSTMAttentionModel`.
            labels: (B,) the right classes; gives `loss`.
            output_attentions: also return attentions and gradient_importance.
            target_score: the scalar whose gradient is taken, see `score_gradient` in relevance_loss.py.
            constant_attention: leave out of the gradient what a token does to the attention weights.

        Raises:
            ValueError: as `BiLSTMAttentionModel`; labels outside 0..K - 1 (checked on CPU); another target_score.
        """
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        outputs = self.bilstm(
            input_ids,
            attention_mask,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        logits = self.classifier(outputs.pooler_output)

        loss = None
        if labels is not None:
            check_indices("labels", labels, self.config.num_labels, "check the data and num_labels of the config")
            loss = F.cross_entropy(at_least_fp32(logits), labels)

        importance = None
        if output_attentions:
            context_gradient = score_gradient(logits, target_score, labels) @ self.classifier.weight  # u (B, H)
            token_scores = outputs.last_hidden_state @ context_gradient.unsqueeze(-1)  # (B, T, 1)
            importance = gradient_times_hidden(
                outputs.attentions, token_scores.squeeze(-1), None if constant_attention else outputs.attention_slopes
            )
        return BiLSTMAttentionClassifierOutput(
            loss=loss,
            logits=logits,
            attentions=outputs.attentions if output_attentions else None,
            gradient_importance=importance,
            hidden_states=outputs.hidden_states,
        )
