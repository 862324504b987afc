"""Places of digits: against a loop over tokens, in all that the model reads, in training, saved and loaded."""

import pytest
import torch
from transformers import AutoModelForQuestionAnswering

from hf_calc import CalculatorQAConfig, CalculatorQAProcessor, SymbolicLayer
from hf_calc.digits import digit_places, join_places
from hf_calc.symbolic_layer import ONE_RESULT

QUESTIONS = ["who has more pens: anna or carl?", "how many to anna?"]
PASSAGES = ["anna has 100 pens, carl has 1234 pens, anna gave 12 pens to carl.", "anna has 7 pens and -12.75 yards."]
NUM_PLACES = 8


@pytest.fixture
def model(processor, make_model):
    return make_model(processor, **processor.calculation, digit_places=NUM_PLACES)


def places_by_a_loop(tokens):
    """The place of each token: how many pieces of digits follow it without a gap; None for no digit."""
    places = []
    for index, token in enumerate(tokens):
        after = 0
        while index + after + 1 < len(tokens) and tokens[index + after + 1].removeprefix("##").isdecimal():
            if not tokens[index + after + 1].startswith("##"):
                break
            after += 1
        places.append(after if token.removeprefix("##").isdecimal() else None)
    return places


def test_places_equal_a_loop_over_tokens(processor):
    tokenizer, digits = processor.tokenizer, processor.calculation["calculator_token_ids"][-20:]
    texts = ["1234 , 5 , 60", "a12 has 1,234.50 and 7", "", "-12.75", "0", "12 345-6"]
    ids = tokenizer(texts, padding=True, return_tensors="pt").input_ids
    places = digit_places(ids, digits[:10], digits[10:]).tolist()
    for row, found in zip(ids, places, strict=True):
        wanted = places_by_a_loop(tokenizer.convert_ids_to_tokens(row))
        assert found == [-1 if place is None else place for place in wanted]
    assert max(map(max, places)) == 3
    joined = join_places(ids, torch.arange(len(ids)), 3, 1000, digits)
    assert torch.equal(joined % 1000, ids)
    offset = torch.arange(len(ids)).unsqueeze(1)
    wanted = torch.tensor(places)
    assert torch.equal(joined // 1000, torch.where(wanted < 0, 0, (wanted + offset).clamp(max=2) + 1))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("num_steps", [1, 2])
def test_text_and_results_are_read_with_places(tokenizer_dir, make_model, training, num_steps):
    processor = CalculatorQAProcessor.from_pretrained(tokenizer_dir, num_steps=num_steps)
    model = make_model(processor, **processor.calculation, digit_places=NUM_PLACES).train(training)
    batch = processor(QUESTIONS, PASSAGES)
    output = model(**batch)
    offsets = set()
    for row in range(2):
        ids = torch.cat([batch["input_ids"][row], output.result_ids[row]])
        # The results of several steps are apart by padding or [SEP].
        places = places_by_a_loop(processor.tokenizer.convert_ids_to_tokens(ids))
        extra = output.reader_embeds[row] - model.bert.get_input_embeddings()(ids)
        extra = extra * (ids != processor.tokenizer.pad_token_id).unsqueeze(-1)
        fits = []
        for offset in range(NUM_PLACES // 2 + 1):
            rows = torch.tensor([0 if p is None else min(p + offset, NUM_PLACES - 1) + 1 for p in places])
            wanted = model.digit_places(rows)
            fits.append(torch.allclose(extra, wanted, atol=1e-6))
        assert sum(fits) == 1
        offsets.add(fits.index(True))
    assert training or offsets == {0}


def test_training_reaches_every_place(processor, model):
    model.train()
    batch = processor(QUESTIONS, PASSAGES, ["1234", "-12.75"])
    for _ in range(20):
        model(**batch).loss.backward()
    assert not model.digit_places.weight[0].any()  # added to what is no digit
    used = model.digit_places.weight.grad.any(-1)
    assert used.tolist() == [False] + [True] * NUM_PLACES


@pytest.mark.parametrize("estimator", ONE_RESULT)
def test_the_layer_takes_a_function_as_it_takes_a_matrix(estimator):
    """Of joined ids, the matrix has a row for every token at every place."""
    torch.manual_seed(0)
    words, places = torch.randn(9, 5, dtype=torch.double), torch.randn(4, 5, dtype=torch.double)
    places[0] = 0
    ids = torch.randint(1, 36, (2, 3, 4))
    results = []
    for by_function in (True, False):
        leaves = [words.clone().requires_grad_(), places.clone().requires_grad_()]
        leaves.append(torch.arange(6.0, dtype=torch.double).view(2, 3).requires_grad_())
        w, p, scores = leaves
        matrix = (w + p.unsqueeze(1)).flatten(0, 1)
        embed = (lambda ids, w=w, p=p: w[ids % 9] + p[ids // 9]) if by_function else matrix
        generator = torch.Generator().manual_seed(1)
        output = SymbolicLayer().train()(scores, ids, embed, generator=generator, estimator=estimator)
        loss = (output.embeddings**2).sum()
        results.append([output.token_ids, output.embeddings, *torch.autograd.grad(loss, leaves)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_saved_with_its_code_and_loaded(processor, model, tmp_path):
    model.save_pretrained(tmp_path)
    assert (tmp_path / "digits.py").exists()
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path)
    batch = processor(QUESTIONS, PASSAGES)
    assert loaded.config.digit_places == NUM_PLACES
    torch.testing.assert_close(loaded.eval()(**batch).start_logits, model.eval()(**batch).start_logits)


def test_a_model_without_places_has_no_weights_for_them(processor, make_model):
    plain = make_model(processor, **processor.calculation)
    assert not any("digit_places" in name for name in plain.state_dict())


@pytest.mark.parametrize("facts", [{"digit_places": 4}, {"digit_places": -1, "calculator_token_ids": [0]}])
def test_a_wrong_configuration_is_refused(facts):
    with pytest.raises(ValueError, match=r"digit_places must be at least 0.*processor\.calculation"):
        CalculatorQAConfig(**facts)
