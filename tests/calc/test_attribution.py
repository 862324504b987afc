"""Token saliency against finite differences, its promises to the caller, and its shares against a loop."""

import re

import pytest
import torch

from hf_calc import BertForCalculatorQA, CalculatorQAConfig
from hf_calc.attribution import TokenSaliency, saliency_shares, token_saliency

QUESTION, PASSAGE = "Who has more pens: anna or carl?", "anna has 5 pens, carl has 17 pens."


@pytest.fixture
def model(processor):
    vocabulary = len(processor.tokenizer)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return BertForCalculatorQA(CalculatorQAConfig(vocab_size=vocabulary, **sizes)).double()


def test_equals_finite_differences(model, processor):
    inputs = processor(QUESTION, PASSAGE)
    saliency = token_saliency(model, inputs)[0]
    model.eval()
    outputs = model(**inputs)
    embeds, positions = outputs.reader_embeds.detach(), outputs.position_ids
    types = torch.cat([inputs["token_type_ids"], torch.ones_like(outputs.result_ids)], 1)

    def log_probability(embeds):
        hidden = model.bert(inputs_embeds=embeds, token_type_ids=types, position_ids=positions).last_hidden_state
        logits = model.qa_outputs(hidden).masked_fill(outputs.segment_ids.unsqueeze(-1) < 0, -1e30)
        return torch.log_softmax(logits[0], 0)

    span = processor.post_process_question_answering(outputs, QUESTION, PASSAGE)[0][0]
    reference = log_probability(embeds)
    # Of all spans the predicted one, known by its probability.
    scores = reference[:, 0].unsqueeze(1) + reference[:, 1]
    start, end = divmod(int((scores.exp() - span["score"]).abs().argmin()), scores.shape[1])
    epsilon, gradient = 1e-5, torch.zeros_like(embeds[0])
    for token in range(0, embeds.shape[1], 7):
        for unit in range(embeds.shape[2]):
            values = []
            for sign in (1, -1):
                moved = embeds.clone()
                moved[0, token, unit] += sign * epsilon
                log_p = log_probability(moved)
                values.append(log_p[start, 0] + log_p[end, 1])
            gradient[token, unit] = (values[1] - values[0]) / (2 * epsilon)
    weights = gradient.norm(dim=-1)[::7]
    torch.testing.assert_close(saliency.weights[::7], weights, rtol=1e-4, atol=1e-7)


def test_rows_are_cut_to_their_tokens_and_the_model_stays_as_it_was(model, processor):
    model.train().requires_grad_(False)
    inputs = processor([QUESTION, "Who?"], [PASSAGE, "carl"])
    first, second = token_saliency(model, inputs)
    assert processor.tokenizer.decode(second.token_ids) == "[CLS] who? [SEP] carl [SEP]"
    assert processor.tokenizer.decode(first.token_ids).endswith("[SEP]")
    assert processor.tokenizer.pad_token_id not in first.token_ids
    assert first.weights.shape == first.token_ids.shape
    assert (first.weights > 0).any()
    assert model.training
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())


def test_nothing_to_answer_from_gives_zeros(model, processor):
    (saliency,) = token_saliency(model, processor("", ""))
    assert not saliency.weights.any()


ROWS = [
    # The question, the passage, its type, and which of the passage's numbers are asked for.
    (QUESTION, PASSAGE, "argmax", [0, 1]),
    (QUESTION, "anna has 123 pens, john has 45 pens, carl has 678 pens.", "argmax", [0, 2]),
    ("how many has carl or anna?", "john has 1 pens, anna has 22 pens, carl has 333 pens.", "max", [1, 2]),
]


def test_shares_equal_a_loop_over_tokens(model, processor, make_trainer, tmp_path):
    rows = [(question, passage, "anna") for question, passage, *_ in ROWS]
    trainer = make_trainer(processor, model.float().eval(), tmp_path, rows)
    quantities = [
        [{"value": int(m[0]), "start": m.start(), "end": m.end()} for m in re.finditer(r"\d+", passage)]
        for _, passage, *_ in ROWS
    ]
    data = trainer.eval_dataset.add_column("question_type", [kind for *_, kind, _ in ROWS])
    data = data.add_column("quantities", quantities)
    trainer.args.per_device_eval_batch_size = 2
    found = saliency_shares(trainer, data, [asked for *_, asked in ROWS])
    expected = {}
    for (question, passage, kind, asked), numbers in zip(ROWS, quantities, strict=True):
        encoding = processor.tokenizer([question], [passage])[0]
        (saliency,) = token_saliency(model, processor(question, passage))
        sums = dict.fromkeys(("all", "numbers", "asked", "first", "calculator", "tokens", "asked_tokens"), 0.0)
        for token, weight in enumerate(saliency.weights.tolist()):
            sums["all"] += weight
            if token >= len(encoding.ids):
                sums["calculator"] += weight
            elif encoding.sequence_ids[token] == 1:
                for place, number in enumerate(numbers):
                    if number["start"] <= encoding.offsets[token][0] < number["end"]:
                        sums["numbers"] += weight
                        sums["tokens"] += 1
                        sums["asked"] += weight * (place in asked)
                        sums["asked_tokens"] += place in asked
                        if place in asked and encoding.offsets[token][0] == number["start"]:
                            sums["first"] += weight
        shares = {
            "of_numbers": sums["asked"] / sums["numbers"],
            "of_all": sums["asked"] / sums["all"],
            "first_digits": sums["first"] / sums["asked"],
            "calculator": sums["calculator"] / sums["all"],
            "by_length": sums["asked_tokens"] / sums["tokens"],
        }
        expected.setdefault(kind, []).append(shares)
    assert found.keys() == expected.keys()
    for kind, shares in expected.items():
        assert found[kind].pop("examples") == len(shares)
        mean = {name: 100 * sum(one[name] for one in shares) / len(shares) for name in shares[0]}
        assert found[kind] == pytest.approx(mean, rel=1e-4)
        assert 0 < found[kind]["of_all"] < found[kind]["of_numbers"]


def test_shares_by_hand(model, processor, make_trainer, tmp_path, monkeypatch):
    """All saliency on the numbers asked for, three parts of four on their first digits; by length it were 3 of 6."""
    trainer = make_trainer(processor, model.float(), tmp_path, [("who?", "anna 12 john 345 carl 6", "anna")])
    tokens = processor.tokenizer.convert_ids_to_tokens(
        processor.tokenizer("who?", "anna 12 john 345 carl 6").input_ids
    )
    weights = torch.zeros(len(tokens) + 3)
    for token, weight in (("1", 2.0), ("##2", 1.0), ("6", 1.0)):
        weights[tokens.index(token)] = weight
    monkeypatch.setattr("hf_calc.attribution.token_saliency", lambda *_: [TokenSaliency(None, weights)])
    numbers = [{"start": 5, "end": 7}, {"start": 13, "end": 16}, {"start": 22, "end": 23}]
    data = trainer.eval_dataset.add_column("question_type", ["max"]).add_column("quantities", [numbers])
    assert saliency_shares(trainer, data, [[0, 2]]) == {
        "max": {
            "examples": 1,
            "of_numbers": 100.0,
            "of_all": 100.0,
            "first_digits": 75.0,
            "calculator": 0.0,
            "by_length": 50.0,
        }
    }
    with pytest.raises(ValueError, match="a passage has several windows"):
        saliency_shares(trainer, data.map(lambda row: {"passage": row["passage"] * 99}), [[0, 2]])
