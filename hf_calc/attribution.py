"""Which tokens an answer hangs on: gradient saliency of the second pass (figure 2 of Yoshikawa et al.)."""

from typing import NamedTuple

import torch

from .span_decoding import best_spans


class TokenSaliency(NamedTuple):
    """Saliency of one example: of the window that its answer was found in.

    Args:
        token_ids: (T,) tokens of `[CLS] Q [SEP] P [SEP] F(s) [SEP]`, without padding.
        weights: (T,) at least 0, in the unit of -log p per unit of embedding.
    """

    token_ids: torch.Tensor
    weights: torch.Tensor


def token_saliency(model, inputs) -> list[TokenSaliency]:
    """The norm of the gradient of -log p(prediction) at every embedding that the second pass reads.

    `|| d(-log p(start) p(end)) / d e_x ||` at the best span and the calculator's result for the best pair (Simonyan et
    al. 2014, as in figure 2). The model runs in evaluation mode and its gradients stay as they were.

    Args:
        model: a `BertForCalculatorQA`.
        inputs: tensors of `CalculatorQAProcessor`, without labels.

    Returns:
        One saliency for each example; all weights are 0 where there is no place for an answer.
    """
    was_training = model.training
    model.eval()
    # A frozen embedding would leave no graph behind.
    hook = model.second_encoder.get_input_embeddings().register_forward_hook(
        lambda module, args, output: output if output.requires_grad else output.requires_grad_()
    )
    try:
        with torch.enable_grad():
            outputs = model(**inputs)
            best = best_spans(outputs)
            _, num_windows = torch.unique_consecutive(outputs.example_ids, return_counts=True)
            row = num_windows.cumsum(0) - num_windows + best.window[:, 0]  # (E,)
            positions, is_text = outputs.position_ids[row], outputs.segment_ids[row] >= 0
            log_p = 0.0
            for logits, place in ((outputs.start_logits, best.start), (outputs.end_logits, best.end)):
                index = ((positions == place) & is_text).long().argmax(-1, keepdim=True)
                log_p = log_p + torch.log_softmax(logits[row], -1).gather(1, index).squeeze(-1)
            exists = best.log_probability[:, 0] > -torch.inf
            gradients = torch.autograd.grad(-log_p[exists].sum(), outputs.reader_embeds)[0]  # (B, T + L, H)
    finally:
        hook.remove()
        model.train(was_training)
    token_ids, is_token = inputs["input_ids"], inputs["attention_mask"] > 0
    if outputs.result_ids is not None:
        token_ids = torch.cat([token_ids, outputs.result_ids], 1)
        is_token = torch.cat([is_token, outputs.result_ids != model.config.pad_token_id], 1)
    rows = zip(token_ids[row], gradients[row].norm(dim=-1), is_token[row], strict=True)
    return [TokenSaliency(ids[keep], weights[keep]) for ids, weights, keep in rows]
