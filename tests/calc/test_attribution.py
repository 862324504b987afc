"""Token saliency against finite differences, and its promises to the caller."""

import pytest
import torch

from hf_calc import BertForCalculatorQA, CalculatorQAConfig
from hf_calc.attribution import token_saliency

QUESTION, PASSAGE = "Who has more pens: anna or carl?", "anna has 5 pens, carl has 17 pens."


@pytest.fixture
def model(processor):
    vocabulary = max(processor.tokenizer.get_vocab().values()) + 1
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
