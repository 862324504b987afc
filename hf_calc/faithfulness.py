"""Whether a model answers by its calculator: its scores when the result that it reads is taken away or another.

High F1 does not say so. The paper's models answered many questions without the calculator that they had (table 3), and
kept their answers when the numbers were changed (table 1). Here the symbolic layer is called again with other inputs,
by a forward hook, and the second pass reads what it then returns: all else, weights and text, stays as it is.
"""

import math

import numpy as np
import torch

from .span_decoding import SpanPredictions

CONDITIONS = ("off", "shuffled", "wrong")


def calculator_use(trainer, rows, seed: int = 0) -> dict[str, float | dict[str, float]]:
    """What a model scores when it reads the calculator's result, and when it reads another.

    - as_is: the result of the pair that the model chose.
    - off: none.
    - shuffled: that of another example of the batch.
    - wrong: that of another pair of the same example, drawn among those whose result reads otherwise and holds no
      right answer.

    A model that uses the result loses with each of them; one that answers without it keeps its scores.

    Args:
        trainer: a `CalculatorQATrainer`. Batches have its size, or a few rows more so that none has a single row.
        rows: a dataset with answers.
        seed: of what is shuffled and drawn.

    Returns:
        `examples`, their number, and for each condition `f1` and `exact_match`, for `as_is` also `argument_accuracy`
        if the rows have it. The others have `unchanged` instead: the percentage of results that stayed the same for
        want of another, such as those of a text with only two numbers. A model without a calculator has `as_is` alone.

    Raises:
        ValueError: a model of several steps, where another result would make other candidates of the next step.
    """
    if trainer.model.config.num_steps > 1:
        raise ValueError(f"use is measured of a single step, the model has num_steps={trainer.model.config.num_steps}")
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
        if condition == "shuffled":
            source = rows_of_others(batch["example_ids"], generator)

        replace = result_replacer(condition, source, batch, generator, unchanged)
        hook = trainer.model.symbolic_layer.register_forward_hook(replace)
        try:
            _, predictions, _ = trainer.prediction_step(trainer.model, batch, prediction_loss_only=False)
        finally:
            hook.remove()
        predictions = SpanPredictions(*(field.cpu() for field in predictions))
        predictions, examples = in_texts_of_source(predictions, batch, source)
        answers += trainer.decode_predictions(predictions, batch_rows.select(examples))
    return answers, 100 * torch.cat(unchanged).float().mean().item()


def result_replacer(
    condition: str, source: torch.Tensor, batch: dict, generator: torch.Generator, unchanged: list[torch.Tensor]
):
    """The hook that has a `SymbolicLayer` return another result, in every call of it.

    Args:
        condition: one of `CONDITIONS`.
        source: (B,) for `shuffled` the row whose result a row is given.
        batch: what the model got.
        generator: of what is drawn.
        unchanged: gets, for each call, (B,) whether the result stayed the same.
    """

    def replace(layer, inputs, output):
        scores, candidate_ids, *rest = inputs
        if condition == "off":
            candidate_ids = torch.full_like(candidate_ids, layer.pad_token_id)
        elif condition == "shuffled":
            row = source.to(scores.device)
            scores, candidate_ids = scores[row], candidate_ids[row]
        else:
            labels = batch["argument_labels"]
            scores = scores_of_wrong(scores, candidate_ids, output.token_ids, layer.pad_token_id, labels, generator)
        replaced = layer.forward(scores, candidate_ids, *rest)  # not `layer(...)`, which calls this hook
        unchanged.append((replaced.token_ids == output.token_ids).all(-1).cpu())
        return replaced

    return replace


def rows_of_others(example_ids: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """For each row a row of another example, in one random cycle of the examples, so that none is its own.

    Args:
        example_ids: (B,) counted from 0, the windows of an example side by side.

    Returns:
        (B,) rows: of an example's windows the first gets the first of the other example, and so on, from the first
        again where that one has fewer. A batch of one example keeps its own.
    """
    num_windows = torch.bincount(example_ids)  # (E,)
    first_row = num_windows.cumsum(0) - num_windows
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
    labels: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Scores whose best candidate is a wrong one drawn at random, or as they were where a row has none.

    Args:
        scores: (B, D) of the candidates.
        candidate_ids: (B, D, L).
        result_ids: (B, L) of the result that is not to be chosen.
        labels: (B, D) 1.0 at right candidates, which are not drawn; of another shape they belong to other candidates.

    Returns:
        (B, D).
    """
    is_wrong = (candidate_ids != result_ids.unsqueeze(1)).any(-1) & (candidate_ids[..., 0] != pad_token_id)
    if labels.shape == scores.shape:
        is_wrong &= labels.to(scores.device) == 0
    drawn = torch.rand(scores.shape, generator=generator).to(scores).masked_fill(~is_wrong, -1.0)
    return torch.where(is_wrong.any(-1, keepdim=True), drawn, scores)


def in_texts_of_source(
    predictions: SpanPredictions, batch: dict, source: torch.Tensor
) -> tuple[SpanPredictions, torch.Tensor]:
    """Each answer in the texts where it can be read: one in a result in those of the example whose result it is.

    Args:
        predictions: (E, 1) fields, the windows and positions of each example's own rows.
        batch: what the model got.
        source: (B,) the row whose result a row was given.

    Returns:
        The predictions for other texts, and (E,) the example of each.
    """
    examples, length = batch["example_ids"], batch["attention_mask"].sum(-1)
    num_windows = torch.bincount(examples)
    first_row = (num_windows.cumsum(0) - num_windows).unsqueeze(-1)  # (E, 1)
    row = first_row + predictions.window
    in_result = predictions.start >= length[row]
    read = torch.where(in_result, source[row], row)
    moved = length[read] - length[row]
    predictions = predictions._replace(
        window=read - first_row[examples[read]].squeeze(-1),
        start=predictions.start + moved,
        end=predictions.end + moved,
        argument_index=predictions.argument_index.masked_fill(~in_result, -1),
    )
    return predictions, examples[read].squeeze(-1)
