"""The losses of `BertForCalculatorQA`, of answers and of arguments, as functions of tensors.

Shapes as in `modeling_calculator_qa`: B rows (a long passage makes several), T tokens, D candidates, S answer spans.
"""

import torch

from .symbolic_layer import SymbolicLayerOutput, combine_samples, log_probabilities

MISSING_ANSWER = -20.0  # log p of an answer that only other results have; a blind guess of a span in 512 tokens: -12.5


def answer_log_likelihood(
    start_logits: torch.Tensor, end_logits: torch.Tensor, spans: torch.Tensor, same_example: torch.Tensor
) -> torch.Tensor:
    """log sum over the answer's spans (s, t) of p(start = s) p(end = t).

    The windows of a long passage are normalized together, as `best_spans` compares them, so that one without the
    answer learns to stand back.

    Args:
        start_logits, end_logits: (B, T) in fp32, the smallest number where no answer can be.
        spans: (B, S, 2) first and last positions, padded with -1.
        same_example: (B, B) whether two rows are windows of one example.

    Returns:
        (B,) of each row's example; 0 for an example without spans, so that it adds nothing to a loss.
    """
    lowest = torch.finfo(start_logits.dtype).min
    is_span = spans[..., 0] >= 0  # (B, S)
    places = spans.clamp(min=0)
    scores = start_logits.gather(1, places[..., 0]) + end_logits.gather(1, places[..., 1])
    answer = scores.masked_fill(~is_span, lowest).logsumexp(-1)  # (B,)
    total = (start_logits.logsumexp(-1) + end_logits.logsumexp(-1)).clamp(min=lowest)  # a row without text
    answer, total = (row.masked_fill(~same_example, lowest).logsumexp(-1) for row in (answer, total))
    has_answer = (same_example & is_span.any(-1)).any(-1)
    return torch.where(has_answer, answer - total, 0.0)


def argument_cross_entropy(argument_logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy between p = softmax(scores) (eq. 2) and 0/1 labels, summed over the candidates.

    A sum and not a mean, and divided by the number of right candidates: what a labelled row weighs does not depend on
    how many numbers its text has, or how often it repeats them.

    Args:
        argument_logits: (B, D) fp32, the smallest number at what is no candidate.
        labels: (B, D) 1 where the result contains the answer.

    Returns:
        (B,), 0 for a row without a positive label.
    """
    log_p = torch.log_softmax(argument_logits, -1).clamp(max=-1e-6)  # log(1 - p) stays finite
    cross_entropy = -torch.where(labels > 0, log_p, torch.log(-torch.expm1(log_p))).sum(-1)
    num_right = (labels > 0).sum(-1)
    return torch.where(num_right > 0, cross_entropy / num_right.clamp(min=1), 0.0)


def right_argument_loss(argument_logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """-log of the probability of all right candidates together, by the softmax of the scores (eq. 2).

    For the steps of a chain, of which a search finds several beginnings, some of them by chance: one of them is
    enough, and what many rows have in common wins, where a cross entropy would ask for each.

    Args:
        argument_logits: (B, D) fp32, the smallest number at what is no candidate.
        labels: (B, D) 1 where a candidate is right.

    Returns:
        (B,), 0 for a row without a right candidate.
    """
    is_right = labels > 0
    log_p = torch.log_softmax(argument_logits, -1)
    right = log_p.masked_fill(~is_right, torch.finfo(log_p.dtype).min).logsumexp(-1)
    return torch.where(is_right.any(-1), -right, 0.0)


def sampled_answer_loss(
    estimator: str,
    log_likelihood: torch.Tensor,
    spans: torch.Tensor,
    result: SymbolicLayerOutput,
    same_example: torch.Tensor,
) -> torch.Tensor:
    """The loss of the answer from R results of each row, see `combine_samples`.

    The windows of a long passage choose independently: their probabilities multiply. `marginal` sums over the best of
    all windows, the second best of all and so on, as many as the window with the fewest candidates (but 0) has, and
    not over all combinations: of several windows it is an approximation.

    Args:
        estimator: `reinforce` or `marginal`.
        log_likelihood: (R * B,) of `answer_log_likelihood`, samples apart.
        spans: (R * B, S, 2) it was made from; a sample without any has log p = `MISSING_ANSWER` if another has some.
        result: of the symbolic layer.
        same_example: (B, B) whether two rows are windows of one example.

    Returns:
        (B,) of each row's example; 0 for an example that has no spans in any sample.
    """
    log_p = torch.where(same_example, log_probabilities(result).unsqueeze(1), 0.0).sum(-1)  # (R, B)
    has_answer = (same_example & (spans[..., 0] >= 0).any(-1).view(-1, 1, len(same_example))).any(-1)  # (R, B)
    is_missing = ~has_answer & has_answer.any(0)
    losses = -log_likelihood.view(log_p.shape).masked_fill(is_missing, MISSING_ANSWER)
    return combine_samples(estimator, losses, log_p)


def mean_over_examples(rows: torch.Tensor, same_example: torch.Tensor) -> torch.Tensor:
    """The mean over examples of (B,) values of their rows, an example's rows averaged first."""
    share = 1 / same_example.sum(-1)
    return (rows * share).sum() / share.sum()
