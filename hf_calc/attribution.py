"""Which tokens an answer hangs on: gradient saliency of the second pass (figure 2 of Yoshikawa et al.).

The paper shows one example, in which the numbers of the two people asked for stand out, above all their first digits.
`saliency_shares` says of all examples of a dataset how much of the saliency lies there.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from .span_decoding import best_spans, first_rows

SHARES = ("of_numbers", "of_all", "first_digits", "calculator", "by_length")


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
            row = first_rows(num_windows) + best.window[:, 0]  # (E,)
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


def saliency_shares(trainer, rows, asked: list[list[int]]) -> dict[str, dict[str, float]]:
    """How much of the saliency lies on the numbers of the people asked for, in percent, by question type.

    - of_numbers: of what lies on all numbers of the passage.
    - by_length: what of_numbers would be if every token of a number had the same.
    - of_all: of what lies on all tokens of question, passage and result.
    - first_digits: of what lies on the numbers asked for, how much on their first tokens.
    - calculator: of what lies on all tokens, how much on the calculator's result.

    Args:
        trainer: a `CalculatorQATrainer`; batches have its size, and it computes as in training, in bf16 if that did.
        rows: a dataset with `question_type` and `quantities`, the numbers of a passage with their characters.
        asked: for each row indices into its `quantities`.

    Returns:
        For each question type `examples`, their number, and the means of the shares over them.

    Raises:
        ValueError: a passage too long for a single window.
    """
    processor, size = trainer.processing_class, trainer.args.eval_batch_size
    shares = {}
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        texts = batch["question"], batch["passage"]
        inputs, encoding = processor(*texts).to(trainer.args.device), processor.tokenizer(*texts)
        if len(inputs["input_ids"]) > len(texts[0]):
            raise ValueError("a passage has several windows, but saliency is of the window of the answer: shorten it")
        for row, found in enumerate(token_saliency(trainer.model, inputs)):
            places = [
                [encoding.char_to_token(row, character, 1) for character in (number["start"], number["end"] - 1)]
                for number in batch["quantities"][row]
            ]
            chosen = torch.tensor(asked[start + row])
            found = example_shares(found.weights, torch.tensor(places), chosen, len(encoding["input_ids"][row]))
            shares.setdefault(batch["question_type"][row], []).append(found)
    means = {kind: torch.stack(found).mean(0).tolist() for kind, found in shares.items()}
    return {kind: {"examples": len(shares[kind])} | dict(zip(SHARES, means[kind], strict=True)) for kind in shares}


def example_shares(weights: torch.Tensor, places: torch.Tensor, asked: torch.Tensor, length: int) -> torch.Tensor:
    """The `SHARES` of one example in percent.

    Args:
        weights: (T,) saliency of `[CLS] Q [SEP] P [SEP] F(s) [SEP]`.
        places: (N, 2) first and last token of each number of the passage.
        asked: (A,) which of the numbers are asked for.
        length: of `[CLS] Q [SEP] P [SEP]`.

    Returns:
        (5,); 0 where there is nothing to have a share of.

    Example:
        >>> weights = torch.tensor([1.0, 2.0, 1.0, 4.0, 0.0, 1.0, 1.0])  # [CLS] 1 ##2 3 [SEP] 1 [SEP]
        >>> example_shares(weights, torch.tensor([[1, 2], [3, 3]]), torch.tensor([0]), 5).round().tolist()
        [43.0, 30.0, 67.0, 20.0, 67.0]
    """
    weights = weights.double().cpu()
    first, behind = places[:, 0], places[:, 1] + 1
    total = F.pad(weights.cumsum(0), (1, 0))  # before each token
    numbers, tokens = total[behind] - total[first], (behind - first).double()  # (N,)
    mass = numbers[asked].sum()
    parts = torch.stack([mass, mass, weights[first[asked]].sum(), total[-1] - total[length], tokens[asked].sum()])
    whole = torch.stack([numbers.sum(), total[-1], mass, total[-1], tokens.sum()])
    return 100 * parts / whole.clamp(min=torch.finfo(whole.dtype).tiny)
