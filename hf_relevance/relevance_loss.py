"""The relevance loss of Kitada and Iyatomi: attention should weigh a token as the prediction's gradient does.

What is unusual: the gradient is written out, so nothing here runs a backward pass. An additive attention model reads
tokens h_t, scores them by e_t = v . tanh(W h_t + b), attends by alpha = softmax(e), and predicts from the context
c = sum_t alpha_t h_t. For a scalar y(c) with u = dy/dc, the poster's importance of token t, "gradient times hidden
state", is then

    g_t = h_t . dy/dh_t = alpha_t s_t + alpha_t (s_t - sum_r alpha_r s_r) k_t
    s_t = u . h_t                                                   what the token alone would add to y
    k_t = h_t . de_t/dh_t = [v * (1 - tanh(W h_t + b)^2)] . (W h_t)   how its attention score moves with it

This equals autograd to rounding, and as plain tensor operations it works under `torch.no_grad`, `inference_mode`,
`torch.compile`, DDP and with a frozen encoder, and may itself be differentiated, without a double backward.

Symbols: B texts, T tokens, K labels.
"""

import math

import torch
import torch.nn.functional as F

TARGET_SCORES = ("logit_margin", "log_probability", "probability", "loss")
NORMALIZERS = ("softmax", "l1")
DIRECTIONS = ("target_to_attention", "attention_to_target")


def check_option(name: str, value: str, choices: tuple[str, ...]):
    """Raises ValueError where `value` is none of `choices`, naming them."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_temperature(temperature: float):
    """Raises ValueError where `temperature` is not a positive finite number."""
    if not 0 < temperature < math.inf:
        raise ValueError(f"the temperature of the relevance target must be positive and finite, got {temperature}")


def at_least_fp32(tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers in fp32, or in their own type where that is wider."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def score_gradient(
    logits: torch.Tensor, target_score: str = "logit_margin", labels: torch.Tensor | None = None
) -> torch.Tensor:
    """dy/dz, the gradient of the chosen scalar y in the logits z, with p = softmax(z).

    The poster takes y to be the prediction, so k is the predicted class, and no label is needed:

    - `logit_margin`: y = z_k - z_j, j the strongest other class; dy/dz = 1_k - 1_j. The default: unlike the others it
      does not vanish as the model grows sure, so the importance of a text does not either.
    - `log_probability`: y = log p_k; dy/dz = 1_k - p. Weighs a text by what is left to doubt, all classes considered.
    - `probability`: y = p_k; dy/dz = p_k (1_k - p). What changes the reported probability, hardly anything near 1.
    - `loss`: y = -log p_l, l the label (the predicted class where labels are None); dy/dz = p - 1_l. The poster's
      title speaks of the gradient of the loss; a text predicted right hardly counts, one predicted wrong counts most.

    With two labels all four have the same direction (1, -1) and differ by a factor per text, which the normalizer
    `l1` cancels; they make a difference with `softmax` or more labels.

    Args:
        logits: (B, K).
        target_score: one of the four.
        labels: (B,) of `loss`.

    Returns:
        (B, K).

    Raises:
        ValueError: another target_score.
    """
    check_option("target_score", target_score, TARGET_SCORES)
    best, other = logits.topk(2).indices.unbind(-1)

    def one_hot(index):
        return torch.zeros_like(logits).scatter(-1, index.unsqueeze(-1), 1.0)

    if target_score == "logit_margin":
        return one_hot(best) - one_hot(other)
    chosen = labels if target_score == "loss" and labels is not None else best
    probabilities = logits.softmax(-1)
    others = probabilities.scatter(-1, chosen.unsqueeze(-1), 0.0)
    # 1_k - p, without 1 - p_k, which rounds to 0 where the model is sure.
    gradient = one_hot(chosen) * others.sum(-1, keepdim=True) - others
    if target_score == "loss":
        return -gradient
    if target_score == "probability":
        gradient = gradient * probabilities.gather(-1, best.unsqueeze(-1))
    return gradient


def gradient_times_hidden(
    attentions: torch.Tensor, token_scores: torch.Tensor, attention_slopes: torch.Tensor | None = None
) -> torch.Tensor:
    """g_t = alpha_t s_t + alpha_t (s_t - sum_r alpha_r s_r) k_t, the importance of every token (see the module).

    Args:
        attentions: (B, T) alpha, zero at padding.
        token_scores: (B, T) s_t = u . h_t.
        attention_slopes: (B, T) k_t. None holds the attention constant, g_t = alpha_t s_t: what a token says, without
            what it does to the weights of all.

    Returns:
        (B, T), signed; zero at padding.
    """
    importance = attentions * token_scores
    if attention_slopes is None:
        return importance
    mean = importance.sum(-1, keepdim=True)
    return importance + attentions * (token_scores - mean) * attention_slopes


def relevance_target(
    gradient_importance: torch.Tensor,
    attention_mask: torch.Tensor,
    normalizer: str = "softmax",
    temperature: float = 1.0,
) -> torch.Tensor:
    """log sigma(g), the distribution over a text's tokens that its attention is drawn to, in fp32.

    - `softmax`: softmax(|g| / temperature), the poster's. At the start of training it is almost uniform, because |g_t|
      is about logit/T: its entropy, 1 being uniform, is .996 at T = 18 and 1.000 at T = 182. In long texts it stays so
      (1.000 on IMDB), in the short ones of SST it falls to .44 (metrics.training.target_entropy of
      results/relevance/*_poster-seed*.json). Where it is uniform, a temperature of about 1/T would sharpen it.
    - `l1`: |g|^(1/temperature) / sum |g|^(1/temperature), free of the scale of g. Where all g are 0, uniform.

    Args:
        gradient_importance: (B, T) g.
        attention_mask: (B, T) 1 at tokens, 0 at padding. Unmasked padding, |g| = 0, would take softmax mass (69% for 3
            tokens and 7 of padding).
        normalizer, temperature: see above.

    Returns:
        (B, T) log-probabilities, very negative at padding; without meaning in a text without tokens.

    Raises:
        ValueError: another normalizer, or a temperature that is not positive and finite.
    """
    check_option("normalizer", normalizer, NORMALIZERS)
    check_temperature(temperature)
    scores = at_least_fp32(gradient_importance).abs()
    if normalizer == "l1":
        scores = scores.clamp(min=torch.finfo(scores.dtype).tiny).log()
    scores = (scores / temperature).masked_fill(attention_mask == 0, torch.finfo(scores.dtype).min)
    return scores.log_softmax(-1)


def relevance_loss(
    attentions: torch.Tensor,
    gradient_importance: torch.Tensor,
    attention_mask: torch.Tensor,
    normalizer: str = "softmax",
    temperature: float = 1.0,
    detach_target: bool = True,
    direction: str = "target_to_attention",
) -> torch.Tensor:
    """L_r = KL(sigma(g) || alpha), summed over the tokens of a text and averaged over the texts, in fp32.

    The defaults are the poster's form, and **it flattens the attention** in long texts, where sigma(g) is almost
    uniform (see `relevance_target`): there agreement falls with g itself, and with measures that no loss has seen in
    short texts as well. `normalizer="l1"` keeps attention peaked, but costs accuracy at weight 1, and runs differ
    widely: while the scores are near 0 the target is as peaked as later, and means nothing yet. A smaller weight, say
    0.1, lets the model learn first.

    h_t tells of other tokens than t too, so a target made at the hidden states says little of the words. The trainer
    can make it at the embeddings instead (`relevance_measure`): with l1 and weight 1 that raised the agreement with
    leave-one-out, which no loss here trains on, by .2 to .3 on three corpora, on two of them at the same accuracy. The
    tables stand in README, "The relevance loss".

    Args:
        attentions: (B, T) alpha.
        gradient_importance: (B, T) g, or any other signed measure of what a token is worth.
        attention_mask: (B, T) 1 at tokens, 0 at padding.
        normalizer, temperature: of sigma, see `relevance_target`.
        detach_target: True takes sigma(g) as given, so that attention alone learns. False lets g give way too, so
            that their agreement says still less.
        direction: `target_to_attention`, the poster's, is KL(sigma(g) || alpha): attention must reach all that the
            target finds important. `attention_to_target` is KL(alpha || sigma(g)): attention must leave what the
            target finds unimportant, and may keep to a part of the rest.

    Returns:
        A scalar. A text of one token or none adds 0, and counts in the mean.

    Raises:
        ValueError: shapes that differ, and options that do not exist.
    """
    check_option("direction", direction, DIRECTIONS)
    if not attentions.shape == gradient_importance.shape == attention_mask.shape:
        raise ValueError(
            "attentions, gradient_importance and attention_mask must have one shape (B, T); got "
            f"{tuple(attentions.shape)}, {tuple(gradient_importance.shape)} and {tuple(attention_mask.shape)}"
        )
    log_target = relevance_target(gradient_importance, attention_mask, normalizer, temperature)
    if detach_target:
        log_target = log_target.detach()
    attentions = at_least_fp32(attentions)
    # Attention below the smallest normal number would have an infinite gradient: 1 / alpha.
    log_attention = attentions.clamp(min=torch.finfo(attentions.dtype).tiny).log()
    # The difference is masked before it is multiplied: 0 times a huge number is no safe 0 in the backward pass.
    difference = (log_target - log_attention).masked_fill(attention_mask == 0, 0.0)
    terms = log_target.exp() * difference if direction == "target_to_attention" else attentions * -difference
    return terms.sum(-1).mean()


def normalized_entropy(probabilities: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """H(p) / log(n) over the n tokens of each text: 1 is uniform, 0 is one token alone.

    Args:
        probabilities: (B, T), of any value at padding.
        attention_mask: (B, T) 1 at tokens, 0 at padding.

    Returns:
        (B,) fp32; 0 for texts under two tokens, where it is not defined.
    """
    probabilities = at_least_fp32(probabilities).masked_fill(attention_mask == 0, 0.0)
    lengths = attention_mask.sum(-1).clamp(min=2).to(probabilities.dtype)
    return torch.special.entr(probabilities).sum(-1) / lengths.log()


def conicity(hidden_states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """mean_t cos(h_t, m), m = mean_t h_t: how narrow a cone the hidden states of a text fill, averaged over the texts.

    An LSTM mixes what it reads, so that h_t tells of the neighbors of token t almost as much as of t, and attention on
    h_t is no statement on the token. Mohankumar et al. (2020, "Towards Transparent and Explainable Attention Models")
    add this mean to the loss, so that hidden states of different tokens differ. It knows of no measure of importance.

    Args:
        hidden_states: (B, T, H) h, of any value at padding.
        attention_mask: (B, T) 1 at tokens, 0 at padding.

    Returns:
        A scalar, at least fp32: 1 if all states of a text point one way, 0 if they cancel out. A text without tokens
        adds 0, and counts in the mean.
    """
    is_token = attention_mask != 0
    hidden_states = at_least_fp32(hidden_states).masked_fill(~is_token.unsqueeze(-1), 0.0)
    means = F.normalize(hidden_states.sum(1), dim=-1)  # (B, H)
    # Only lengths of states are divided by, (B, T): states of length 1 would be another (B, T, H) to write.
    cosines = (hidden_states @ means.unsqueeze(-1)).squeeze(-1) / hidden_states.norm(dim=-1).clamp(min=1e-12)
    return (cosines.sum(-1) / is_token.sum(-1).clamp(min=1)).mean()
