"""Whether a model answers by its calculator: its scores when the result that it reads is taken away or another.

High F1 does not say so. The paper's models answered many questions without the calculator that they had (table 3), and
kept their answers when the numbers were changed (table 1). Here a forward hook has the symbolic layer return another
result, and the next pass reads it: all else, weights, text and what is hidden of it, stays as it is. Of several steps
every result is replaced, and a later step chooses from what the steps before it wrote.
"""

import math
from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import torch

from .calculator import format_number
from .chains import NOTHING
from .span_decoding import SpanPredictions, first_rows
from .symbolic_layer import SymbolicLayerOutput

CONDITIONS = ("off", "shuffled", "wrong")


def calculator_use(trainer, rows, seed: int = 0) -> dict[str, float | dict[str, float]]:
    """What a model scores when it reads the calculator's result, and when it reads another.

    - as_is: the result of the pair that the model chose.
    - off: none; of several steps, each does nothing.
    - shuffled: that of another example of the batch.
    - wrong: that of other arguments of the same example, drawn among those whose result reads otherwise and is no
      right answer, though an operand may be. A step that did nothing still does. Over the ceiling of a
      `SymbolicFunction` it is drawn among those that are kept, and may be right, since a batch does not say which
      results are.

    A model that uses the result loses with each of them; one that answers without it keeps its scores.

    Args:
        trainer: a `CalculatorQATrainer`. Batches have its size, or a few rows more so that none has a single row.
        rows: a dataset with answers.
        seed: of what is shuffled and drawn.

    Returns:
        `examples`, their number, and for each condition `f1` and `exact_match`, for `as_is` also `argument_accuracy`
        if the rows have it. The others have `unchanged` instead: the percentage of results that stayed the same for
        want of another, such as those of a text with only two numbers; of several steps each counts. A model without a
        calculator has `as_is` alone.
    """
    metrics = trainer.predict(rows, metric_key_prefix="as_is").metrics
    names = ("f1", "exact_match", "argument_accuracy")
    as_is = {name: metrics[f"as_is_{name}"] for name in names if f"as_is_{name}" in metrics}
    use = {"examples": len(rows), "as_is": as_is}
    for condition in CONDITIONS if trainer.model.config.use_calculator else ():
        answers, unchanged = answers_with_other_results(trainer, rows, condition, seed)
        scores = trainer.score_answers(answers, rows)
        use[condition] = {name: scores[name] for name in ("f1", "exact_match")} | {"unchanged": unchanged}
    return use


def answers_with_other_results(trainer, rows, condition: str, seed: int = 0) -> tuple[list[dict], float]:
    """The answer to each row under one of `CONDITIONS`, and `unchanged`; see `calculator_use`.

    The model is the one that `trainer.predict` prepared. `operands` and `calculator` of an answer belong to the result
    that was read if the answer stands in it, else they are empty.
    """
    generator = torch.Generator().manual_seed(seed)
    answers, unchanged = [], []
    num_batches = min(math.ceil(len(rows) / trainer.args.eval_batch_size), max(1, len(rows) // 2))
    for places in np.array_split(np.arange(len(rows)), num_batches):
        batch_rows = rows.select(places)
        batch = trainer.data_collator([*batch_rows])
        source = torch.arange(len(batch["example_ids"]))  # (B,) the row whose result a row is given
        others, chosen = [], None
        if condition == "shuffled":
            source = rows_of_others(batch["example_ids"], generator)
            others, chosen, source = results_of_others(trainer, batch, source)
        tokenizer, vocab_size = trainer.processing_class.tokenizer, trainer.model.config.vocab_size
        replace = result_replacer(condition, batch, tokenizer, vocab_size, generator, unchanged, iter(others))
        predictions = predict_hooked(trainer, batch, {trainer.model.symbolic_layer: replace})
        predictions, examples = in_texts_of_source(predictions, batch, source, chosen)
        answers += trainer.decode_predictions(predictions, batch_rows.select(examples))
    return answers, 100 * torch.cat(unchanged).float().mean().item()


def predict_hooked(trainer, batch: dict, hooks: dict) -> SpanPredictions:
    """The best spans of a batch, while modules have forward hooks."""
    handles = [module.register_forward_hook(hook) for module, hook in hooks.items()]
    try:
        _, predictions, _ = trainer.prediction_step(trainer.model, batch, prediction_loss_only=False)
    finally:
        for handle in handles:
            handle.remove()
    return SpanPredictions(*(field.cpu() for field in predictions))


def results_of_others(trainer, batch: dict, source: torch.Tensor) -> tuple[list, torch.Tensor, torch.Tensor]:
    """The results for a batch as it is, and those of others.

    Returns:
        What each call of the symbolic layer returns, and the same with the rows (B,) of others, in pairs;
        `argument_index` of the model's output, which counts all candidates also over the ceiling of a function; and
        the rows again, with its own for one behind which the other's results do not fit.
    """
    as_is, chosen = [], []
    hooks = {
        trainer.model.symbolic_layer: lambda layer, inputs, output: as_is.append(output),
        trainer.model: lambda model, inputs, output: chosen.append(output.argument_index.cpu()),
    }
    predict_hooked(trainer, batch, hooks)
    pad_token_id = trainer.model.symbolic_layer.pad_token_id
    written = sum((own.token_ids != pad_token_id).sum(-1).cpu() for own in as_is)  # (B,)
    room = trainer.model.config.max_position_embeddings - batch["attention_mask"].sum(-1)
    source = torch.where(written[source] <= room, source, torch.arange(len(source)))
    others = [SymbolicLayerOutput(*(field[source.to(field.device)] for field in own)) for own in as_is]
    return list(zip(as_is, others, strict=True)), chosen[0], source


def result_replacer(
    condition: str,
    batch: dict,
    tokenizer,
    vocab_size: int,
    generator: torch.Generator,
    unchanged: list[torch.Tensor],
    others: Iterator[tuple[SymbolicLayerOutput, ...]],
):
    """The hook that has a `SymbolicLayer` return another result, in every call of it.

    Args:
        condition: one of `CONDITIONS`.
        batch: what the model got.
        tokenizer: of its tokens.
        vocab_size: of the model, whose ids may say the places of digits, too, see `join_places`.
        generator: of what is drawn.
        unchanged: gets, for each call, (B,) whether the result stayed the same.
        others: for `shuffled`, see `results_of_others`.
    """
    is_chain = "quantity_values" in batch

    def replace(layer, inputs, output):
        scores, candidate_ids, *rest = inputs
        if condition == "shuffled":
            output, replaced = next(others)
        elif condition == "off":
            candidate_ids = candidate_ids.clone()
            candidate_ids[:, NOTHING + 1 if is_chain else 0 :] = layer.pad_token_id
            replaced = layer.forward(scores, candidate_ids, *rest)  # not `layer(...)`, which calls this hook
        else:
            if is_chain:
                labels = results_in(candidate_ids % vocab_size, batch["answer_values"], tokenizer).float()
                labels[:, NOTHING] = 1.0
                labels[output.index == NOTHING] = 1.0
            else:
                labels = batch.get("argument_labels")
            scores = scores_of_wrong(scores, candidate_ids, output.token_ids, layer.pad_token_id, labels, generator)
            replaced = layer.forward(scores, candidate_ids, *rest)
        replaced = replaced._replace(scores=output.scores)  # the choice, which stays the model's own
        unchanged.append((replaced.token_ids == output.token_ids).all(-1).cpu())
        return replaced

    return replace


def results_in(candidate_ids: torch.Tensor, answer_values: torch.Tensor, tokenizer) -> torch.Tensor:
    """Which results are the answer: its digits stand before a `=`. A number that ends in the same digits counts too.

    Args:
        candidate_ids: (B, D, L).
        answer_values: (B, A, 2) the spellings of the answer, as the fields of `Numbers`.
        tokenizer: of the results.

    Returns:
        (B, D) bool.
    """
    found = torch.zeros(candidate_ids.shape[:2], dtype=torch.bool, device=candidate_ids.device)
    for row, spellings in enumerate(answer_values.tolist()):
        for mantissa, decimals in spellings:
            text = format_number(Decimal(mantissa).scaleb(-decimals))
            ids = tokenizer(f"{text} =", add_special_tokens=False, return_tensors="pt").input_ids[0]
            if decimals >= 0 and len(ids) <= candidate_ids.shape[2]:
                windows = candidate_ids[row].unfold(1, len(ids), 1)  # (D, L - len(ids) + 1, len(ids))
                found[row] |= (windows == ids.to(windows.device)).all(-1).any(-1)
    return found


def rows_of_others(example_ids: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """For each row a row of another example, in one random cycle of the examples, so that none is its own.

    Args:
        example_ids: (B,) counted from 0, the windows of an example side by side.

    Returns:
        (B,) rows: of an example's windows the first gets the first of the other example, and so on, from the first
        again where that one has fewer. A batch of one example keeps its own.
    """
    num_windows = torch.bincount(example_ids)  # (E,)
    first_row = first_rows(num_windows)
    order = torch.randperm(len(num_windows), generator=generator)
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    window = torch.arange(len(example_ids)) - first_row[example_ids]
    other = other[example_ids]
    return first_row[other] + window % num_windows[other]


def scores_of_wrong(
    scores: torch.Tensor,
    candidate_ids: torch.Tensor,
    result_ids: torch.Tensor,
    pad_token_id: int,
    labels: torch.Tensor | None,
    generator: torch.Generator,
) -> torch.Tensor:
    """Scores whose best candidate is a wrong one drawn at random, or as they were where a row has none.

    Args:
        scores: (B, D) of the candidates.
        candidate_ids: (B, D, L).
        result_ids: (B, L) of the result that is not to be chosen.
        labels: (B, D) 1.0 at right candidates, which are not drawn; None where it is unknown which are right.

    Returns:
        (B, D).
    """
    is_wrong = (candidate_ids != result_ids.unsqueeze(1)).any(-1) & (candidate_ids[..., 0] != pad_token_id)
    if labels is not None:
        is_wrong &= labels.to(scores.device) == 0
    drawn = torch.rand(scores.shape, generator=generator).to(scores).masked_fill(~is_wrong, -1.0)
    return torch.where(is_wrong.any(-1, keepdim=True), drawn, scores)


def in_texts_of_source(
    predictions: SpanPredictions, batch: dict, source: torch.Tensor, chosen: torch.Tensor | None
) -> tuple[SpanPredictions, torch.Tensor]:
    """Each answer in the texts where it can be read: one in a result in those of the example whose result it is.

    Args:
        predictions: of each example the best, with the windows and positions of its own rows.
        batch: what the model got.
        source: (B,) the row whose result a row was given.
        chosen: the candidate, or of several steps the candidates, that each row chose for itself; by default those of
            the predictions.

    Returns:
        The predictions for other texts, and (E,) the example of each.
    """
    examples, length = batch["example_ids"], batch["attention_mask"].sum(-1)
    first_row = first_rows(torch.bincount(examples)).unsqueeze(-1)  # (E, 1)
    row = first_row + predictions.window
    in_result = predictions.start >= length[row]
    chosen = predictions.argument_index if chosen is None else chosen[source[row]]
    if chosen.dim() == 3:  # of several steps
        chosen = torch.where(in_result.unsqueeze(-1), chosen, NOTHING)
    else:
        chosen = torch.where(in_result, chosen, -1)
    read = torch.where(in_result, source[row], row)
    moved = length[read] - length[row]
    predictions = predictions._replace(
        window=read - first_row[examples[read]].squeeze(-1),
        start=predictions.start + moved,
        end=predictions.end + moved,
        argument_index=chosen,
    )
    return predictions, examples[read].squeeze(-1)
