"""BertForCalculatorQA: losses against naive loops, laws of padding and order, loading and saving."""

import json
import math

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForQuestionAnswering,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
)

from hf_calc import BertForCalculatorQA, CalculatorQAConfig, CalculatorQAProcessor
from hf_calc.argument_scorer import ArgumentScorer, _TupleScores
from hf_calc.losses import (
    MISSING_ANSWER,
    answer_log_likelihood,
    argument_cross_entropy,
    mean_over_examples,
    right_argument_loss,
)
from hf_calc.mentions import argument_tokens, mask_mentions
from hf_calc.modeling_calculator_qa import token_types

LOWEST = torch.finfo(torch.float32).min

QUESTIONS = [
    "What is the maximum number of pens owned either by anna or carl?",
    "Who has more pens: anna or carl?",
    "How many pens does anna have?",
    "Who has pens?",
]
PASSAGES = [
    "anna has 816 pens, carl has 302 pens, anna gave 24 pens to grace.",
    "anna has 5 pens, carl has 17 pens, grace has 3.",
    "anna has 12 pens.",
    "nobody has any.",
]
ANSWERS = ["792", "carl", "12", "nobody"]


@pytest.fixture
def make_model(sizes):
    return lambda **facts: BertForCalculatorQA(CalculatorQAConfig(**sizes, **facts))


@pytest.fixture
def batch(processor):
    return processor(QUESTIONS, PASSAGES, ANSWERS)


def test_answer_likelihood_equals_a_naive_loop_over_spans_and_windows():
    """Five rows of three examples: the windows of one compete under one normalizer."""
    start, end = torch.randn(5, 11), torch.randn(5, 11)
    example_ids = torch.tensor([0, 1, 1, 1, 2])
    spans = torch.full((5, 3, 2), -1)
    spans[0, 0] = torch.tensor([2, 4])
    spans[1] = torch.tensor([[0, 0], [3, 10], [5, 5]])
    spans[3, :2] = torch.tensor([[1, 2], [10, 10]])
    expected = []
    for row in range(5):
        answer, total = 0.0, 0.0
        for other in (example_ids == example_ids[row]).nonzero().flatten().tolist():
            e_start, e_end = start[other].double().exp(), end[other].double().exp()
            total += float(e_start.sum() * e_end.sum())
            answer += sum(float(e_start[s] * e_end[e]) for s, e in spans[other].tolist() if s >= 0)
        expected.append(math.log(answer / total) if answer else 0.0)
    same_example = example_ids.unsqueeze(1) == example_ids
    actual = answer_log_likelihood(start, end, spans, same_example)
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-5, atol=1e-5)
    mean = mean_over_examples(actual, same_example)
    assert mean.item() == pytest.approx(sum(expected[row] for row in (0, 1, 4)) / 3, rel=1e-5)


def test_rows_without_spans_or_text_give_no_gradient():
    start = torch.randn(3, 4)
    start[2] = LOWEST
    start.requires_grad_()
    spans = torch.tensor([[[-1, -1]], [[1, 2]], [[-1, -1]]])
    for rows in ([0, 1, 2], [2]):
        same_example = torch.eye(len(rows), dtype=torch.bool)
        start.grad = None
        answer_log_likelihood(start[rows], start[rows], spans[rows], same_example).sum().backward()
        assert start.grad.isfinite().all()
        assert start.grad.any(-1).tolist() == [False, 1 in rows, False]


def test_argument_loss_is_binary_cross_entropy_of_the_softmax():
    logits = torch.randn(4, 6)
    logits[1, 3:] = LOWEST
    labels = torch.zeros(4, 6)
    labels[0, 2] = labels[1, 0] = labels[1, 2] = 1
    expected = []
    for row in range(4):
        p = logits[row].double().softmax(-1)
        bce = -sum(math.log(p[i]) if labels[row, i] else math.log1p(-p[i]) for i in range(6))
        expected.append(bce / labels[row].sum() if labels[row].any() else 0.0)
    torch.testing.assert_close(argument_cross_entropy(logits, labels), torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_any_right_argument_will_do():
    logits, labels = torch.randn(4, 6), torch.randint(2, (4, 6)).float()
    logits[:, 5] = LOWEST
    labels[:, 5] = labels[3] = 0
    labels[:3, 0] = 1
    right = (logits.softmax(-1) * labels).sum(-1).tolist()
    expected = [-math.log(p) if p else 0.0 for p in right]
    torch.testing.assert_close(right_argument_loss(logits, labels), torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_argument_loss_is_finite_at_certainty():
    logits = torch.tensor([[200.0, 0.0, LOWEST], [200.0, 0.0, LOWEST]], requires_grad=True)
    loss = argument_cross_entropy(logits, torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad.isfinite().all()
    assert loss[1] > 100


@pytest.mark.parametrize("num_arguments", [1, 2, 4])
def test_scorer_equals_a_network_over_concatenated_arguments(num_arguments):
    scorer, mentions = ArgumentScorer(8, num_arguments).double(), torch.randn(3, 5, 8, dtype=torch.float64)
    arguments = torch.randint(-1, 5, (3, 7, num_arguments))
    arguments[..., 0].clamp_(min=0)  # the first is always there
    weight = torch.cat([layer.weight for layer in scorer.hidden], 1)
    for row in range(3):
        vectors = [
            torch.cat([torch.zeros(8, dtype=torch.float64) if i < 0 else mentions[row, i] for i in chosen])
            for chosen in arguments[row].tolist()
        ]
        expected = scorer.score(torch.relu(torch.stack(vectors) @ weight.T + scorer.hidden[0].bias)).squeeze(-1)
        torch.testing.assert_close(scorer(mentions, arguments)[row], expected)


@pytest.fixture
def small_parts(monkeypatch):
    """Tuples are scored three at a time."""
    monkeypatch.setattr(_TupleScores, "parts", lambda *_: 3)


@pytest.mark.parametrize("num_arguments", [1, 2, 4])
def test_gradient_of_the_scores_is_exact(small_parts, num_arguments):
    table, w = torch.randn(6, 5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    index = torch.randint(6, (8, num_arguments))
    assert torch.autograd.gradcheck(_TupleScores.apply, (table.requires_grad_(), index, w.requires_grad_()))


def test_scores_in_parts_are_those_of_all_and_no_sum_is_kept(monkeypatch):
    scorer, mentions = ArgumentScorer(8, 3), torch.randn(2, 5, 8)
    arguments = torch.randint(-1, 5, (2, 70, 3))
    results, sizes = [], []
    for size in (3, 140):
        monkeypatch.setattr(_TupleScores, "parts", lambda *_, size=size: size)
        scorer.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            scores = scorer(mentions, arguments)
        scores.sin().sum().backward()
        results.append([scores.detach(), *(p.grad for p in scorer.parameters())])
    torch.testing.assert_close(*results)
    assert max(sizes) == arguments.numel()  # the indices; all sums would be 8 * 140


def test_every_part_of_the_output_has_its_shape(make_model, batch):
    output = make_model()(**batch)
    rows, tokens = batch["input_ids"].shape
    result = output.result_ids.shape[1]
    assert output.start_logits.shape == output.end_logits.shape == (rows, tokens + result)
    assert output.segment_ids.shape == output.position_ids.shape == (rows, tokens + result)
    assert output.reader_embeds.shape == (rows, tokens + result, 32)
    assert output.argument_logits.shape == batch["candidate_ids"].shape[:2]
    assert output.start_logits.dtype == output.argument_logits.dtype == torch.float32
    torch.testing.assert_close(output.loss, output.end_loss + output.argument_loss)
    assert output.argument_index.tolist()[2:] == [-1, -1]  # one number, and none


def test_loss_sums_the_spans_of_whichever_candidate_was_drawn(make_model, batch, processor):
    """end_loss from the logits and a search for the answer's tokens in the very sequence that was read."""
    model = make_model().train()
    drawn = set()
    for seed in range(8):
        output = model(**batch, generator=torch.Generator().manual_seed(seed))
        drawn.add(int(output.argument_index[0]))
        sequence = torch.cat([batch["input_ids"], output.result_ids], 1)
        expected = 0.0
        for row, answer in enumerate(ANSWERS):
            tokens = processor.tokenizer.tokenize(answer)
            text = processor.tokenizer.convert_ids_to_tokens(sequence[row].tolist())
            p_start, p_end = output.start_logits[row].softmax(-1), output.end_logits[row].softmax(-1)
            total = 0.0
            for s in range(len(text) - len(tokens) + 1):
                e = s + len(tokens)
                # A minus directly before a result (not between two operands) belongs to the number.
                negative = text[s - 1] == "-" and not text[s - 2][-1].isdigit()
                inside_word = e < len(text) and text[e].startswith("##")
                if text[s:e] == tokens and not (answer.isdigit() and negative) and not inside_word:
                    total += (p_start[s] * p_end[e - 1]).item()
            if total:  # 792 is nowhere unless its pair is drawn
                expected -= math.log(total) / len(ANSWERS)
        assert output.end_loss.item() == pytest.approx(expected, rel=1e-4)
    assert len(drawn) > 1


def test_second_pass_reads_the_sequence_without_padding(make_model, batch):
    """Laying out `[CLS] Q [SEP] P [SEP] F(s) [SEP]` by hand, without padding in between, gives the same logits."""
    model = make_model().eval()
    output = model(**batch)
    for row in range(len(QUESTIONS)):
        length = int(batch["attention_mask"][row].sum())
        result = output.result_ids[row][output.result_ids[row] != 0]
        ids = torch.cat([batch["input_ids"][row, :length], result]).unsqueeze(0)
        types = torch.cat([batch["token_type_ids"][row, :length], torch.ones_like(result)]).unsqueeze(0)
        logits = model.qa_outputs(model.bert(input_ids=ids, token_type_ids=types).last_hidden_state)[0, :, 0]
        is_text = output.segment_ids[row] >= 0
        positions = output.position_ids[row][is_text]
        torch.testing.assert_close(output.start_logits[row][is_text], logits[positions], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "facts",
    [{}, {"share_encoder": False}, {"use_calculator": False}, {"hide_arguments": True}, {"mask_mentions": True}],
)
def test_batch_mates_and_padding_change_nothing(make_model, processor, facts):
    model = make_model(**facts).eval()
    together = model(**processor(QUESTIONS, PASSAGES, ANSWERS))
    reordered = model(**processor(QUESTIONS[::-1], PASSAGES[::-1], ANSWERS[::-1]))
    torch.testing.assert_close(together.loss, reordered.loss)
    losses = []
    for row in range(len(QUESTIONS)):
        alone = model(**processor(QUESTIONS[row], PASSAGES[row], [ANSWERS[row]]))
        losses.append(alone.loss)
        places = alone.position_ids[0][alone.segment_ids[0] >= 0]
        kept = together.segment_ids[row] >= 0
        assert torch.equal(together.position_ids[row][kept], places)
        torch.testing.assert_close(
            together.start_logits[row][kept], alone.start_logits[0][alone.segment_ids[0] >= 0], rtol=1e-4, atol=1e-5
        )
    torch.testing.assert_close(together.loss, torch.stack(losses).mean())


@pytest.mark.parametrize("facts", [{}, {"share_encoder": False}])
def test_the_loss_of_the_answer_alone_reaches_every_parameter(make_model, batch, facts):
    model = make_model(**facts).train()
    model(**batch, generator=torch.Generator().manual_seed(0)).end_loss.backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]


def test_tokens_of_the_arguments_equal_a_naive_loop():
    arguments, index = torch.randint(-1, 4, (3, 7, 2)), torch.tensor([3, -1, 0, 6, 2, -1])
    positions = torch.tensor([[1, 4, 5, 9], [2, 3, 0, 0], [1, 1, 6, 8]])
    ends = positions + torch.tensor([[2, 0, 1, 1], [0, 2, -1, -1], [3, 1, 0, 0]])
    expected = torch.zeros(6, 12, dtype=torch.bool)
    for row, candidate in enumerate(index.tolist()):
        for mention in arguments[row % 3, candidate].tolist() if candidate >= 0 else ():
            if mention >= 0:
                expected[row, positions[row % 3, mention] : ends[row % 3, mention] + 1] = True
    assert expected.any()
    assert torch.equal(argument_tokens(index, arguments, positions, ends, 12), expected)


@pytest.mark.parametrize("estimator", ["straight_through_gumbel", "marginal"])
def test_digits_of_hidden_arguments_are_read_in_the_result_alone(make_model, batch, estimator):
    """Other digits of the chosen numbers change nothing but the result, which is held; those of another number do."""
    model = make_model(hide_arguments=True, share_encoder=False).train()
    output = model(**batch, estimator=estimator, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(len(output.argument_index)) % len(QUESTIONS)
    width = batch["input_ids"].shape[1]
    is_hidden = (output.reader_embeds[:, :width] == 0).all(-1) & (batch["input_ids"][rows] != 0)
    for row, hidden, index in zip(rows.tolist(), is_hidden, output.argument_index.tolist(), strict=True):
        chosen = batch["candidate_arguments"][row, index].tolist() if index >= 0 else []
        spans = [range(batch["mention_positions"][row, k], batch["mention_ends"][row, k] + 1) for k in chosen]
        assert hidden.nonzero().flatten().tolist() == sorted(token for span in spans for token in span)

    model.eval()
    with torch.no_grad():
        model.argument_scorer.score.weight.zero_()  # all tie: the first pair is chosen whatever the digits are
        first = model(**batch)
        for mention, changes in ((0, False), (1, False), (2, True)):
            other = batch["input_ids"].clone()
            token = int(batch["mention_positions"][0, mention])
            other[0, token] = other[0, batch["mention_positions"][0, (mention + 1) % 3]]
            assert not torch.equal(other, batch["input_ids"])
            logits = model(**(batch | {"input_ids": other})).start_logits
            assert torch.equal(logits[0], first.start_logits[0]) != changes
            assert torch.equal(logits[1:], first.start_logits[1:])


@pytest.mark.parametrize("share_encoder", [True, False])
def test_a_choice_among_masked_mentions_is_the_same_whatever_the_numbers(sizes, processor, share_encoder):
    """In a batch of rows that differ in digits and in how many there are, all choose alike; the reader sees which."""
    facts = sizes | processor.calculation | {"share_encoder": share_encoder, "digit_places": 8}
    model = BertForCalculatorQA(CalculatorQAConfig(**facts, mask_mentions=True)).train()
    passages = [f"Anna has {a} nuts, Carl has {c} nuts." for a, c in ((7, 3), (12345, 3), (0.5, "1,234"))]
    batch = processor(["Who has more nuts, Anna or Carl, if 5 is a number?"] * 3, passages, ["Anna"] * 3)
    output = model(**batch, gumbel_noise=False)
    assert output.argument_logits[0].unique().numel() > 1
    for row in (1, 2):
        torch.testing.assert_close(output.argument_logits[row], output.argument_logits[0], rtol=1e-5, atol=1e-6)
    assert output.reader_embeds[:, : batch["input_ids"].shape[1]][batch["attention_mask"] > 0].any(-1).all()
    output.argument_logits.sum().backward()
    is_digit = torch.isin(torch.arange(model.config.vocab_size), torch.tensor(model.config.calculator_token_ids[-20:]))
    assert not model.bert.get_input_embeddings().weight.grad[is_digit].any()


def test_masked_mentions_are_one_token_each():
    inputs = {"inputs_embeds": torch.ones(2, 7, 3), "attention_mask": torch.tensor([[1] * 7, [1] * 5 + [0] * 2])}
    positions, ends = torch.tensor([[1, 4], [2, 0]]), torch.tensor([[3, 4], [3, -1]])
    masked = mask_mentions(inputs | {"token_type_ids": None}, positions, ends)
    assert masked["attention_mask"].tolist() == [[1, 1, 0, 0, 1, 1, 1], [1, 1, 1, 0, 1, 0, 0]]
    assert masked["position_ids"].tolist() == [[0, 1, 1, 1, 2, 3, 4], [0, 1, 2, 2, 3, 3, 3]]
    assert (masked["inputs_embeds"] == 0).all(-1).tolist() == [
        [k in (1, 4) for k in range(7)],
        [k == 2 for k in range(7)],
    ]
    assert masked["token_type_ids"] is None


@pytest.mark.parametrize("name", ["hide_arguments", "mask_mentions"])
@pytest.mark.parametrize("facts", [{"use_calculator": False}, {"num_steps": 2, "operations": ["+"]}])
def test_mentions_are_hidden_of_a_single_calculation_alone(name, facts):
    with pytest.raises(ValueError, match=f"{name} needs use_calculator=True and num_steps=1"):
        CalculatorQAConfig(**{name: True}, calculator_token_ids=[1], **facts)


def test_one_pass_has_one_encoder():
    with pytest.raises(ValueError, match="share_encoder=False needs use_calculator=True"):
        CalculatorQAConfig(use_calculator=False, share_encoder=False)


def one_by_one(model, batch, estimator, index):
    """end_loss of `reinforce` or `marginal` by reading one result of one example after the other; index is (R, B)."""
    log_p = torch.log_softmax(model(**batch).argument_logits, -1)
    losses = []
    for example in batch["example_ids"].unique():
        rows = batch["example_ids"] == example
        part = {name: values[rows] for name, values in batch.items()}
        read, chosen_log_p, has_answer = [], [], []
        for sample in index.clamp(min=0):
            chosen = sample[rows].unsqueeze(-1)
            only = torch.zeros_like(part["candidate_ids"][..., 0]).scatter(1, chosen, 1).unsqueeze(-1)
            read.append(model(**(part | {"candidate_ids": part["candidate_ids"] * only})).end_loss)
            chosen_log_p.append(log_p[rows].gather(1, chosen).sum())
            spans = part["candidate_answer_spans"][torch.arange(len(chosen)), chosen.flatten()]
            has_answer.append(bool((spans >= 0).any() or (part["answer_spans"] >= 0).any()))
        if any(has_answer):
            read = [loss if has else torch.tensor(-MISSING_ANSWER) for loss, has in zip(read, has_answer, strict=True)]
        if estimator == "marginal":
            p = torch.stack(chosen_log_p).softmax(0)
            losses.append(-(p * torch.exp(-torch.stack(read))).sum().log())
        else:
            for k, loss in enumerate(read):
                others = sum(other.detach() for j, other in enumerate(read) if j != k) / (len(read) - 1)
                score = chosen_log_p[k] - chosen_log_p[k].detach()
                losses.append((loss + (loss.detach() - others) * score) / len(read))
    return sum(losses) / len(batch["example_ids"].unique())


@pytest.mark.parametrize(("estimator", "num_samples"), [("marginal", 2), ("marginal", 100), ("reinforce", 5)])
@pytest.mark.parametrize("long_passage", [False, True])
def test_several_results_equal_reading_them_one_by_one(make_model, processor, estimator, num_samples, long_passage):
    """Loss and gradients; of a long passage's windows the first and the last have three numbers, one has none."""
    long = f"{PASSAGES[1]} {'pens ' * 99}{PASSAGES[0]}"
    passages = [PASSAGES[0], long if long_passage else PASSAGES[1], *PASSAGES[2:]]
    batch = CalculatorQAProcessor(processor.tokenizer, stride=4, result_tokens=512 - 100)(QUESTIONS, passages, ANSWERS)
    model = make_model()
    output = model.train()(
        **batch, estimator=estimator, num_samples=num_samples, generator=torch.Generator().manual_seed(1)
    )
    rows, candidates = output.argument_logits.shape
    index = output.argument_index.view(-1, rows)
    assert len(index) == (min(num_samples, candidates) if estimator == "marginal" else num_samples)
    expected = one_by_one(model.eval(), batch, estimator, index)
    torch.testing.assert_close(output.end_loss, expected, rtol=1e-5, atol=1e-5)
    parameters = [*model.parameters()]
    actual = torch.autograd.grad(output.end_loss, parameters)
    assert all(gradient.any() for gradient in actual)
    torch.testing.assert_close(actual, torch.autograd.grad(expected, parameters), rtol=1e-3, atol=1e-5)


def test_labels_need_not_be_there(make_model, processor):
    output = make_model().eval()(**processor(QUESTIONS, PASSAGES))
    assert output.loss is None
    assert output.start_logits.isfinite().all()


def test_baseline_is_bert_with_span_extraction(make_model, batch):
    model = make_model(use_calculator=False).eval()
    output = model(**batch)
    assert output.argument_logits is output.result_ids is output.argument_loss is None
    hidden = model.bert(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"]).last_hidden_state
    is_text = batch["segment_ids"] >= 0
    torch.testing.assert_close(output.start_logits[is_text], model.qa_outputs(hidden)[..., 0][is_text])


def test_token_types_are_told_from_the_segments(make_model, processor):
    narrow = CalculatorQAProcessor(processor.tokenizer, stride=4, result_tokens=512 - 100)
    batch = narrow([*QUESTIONS, "", "Who?", ""], [*PASSAGES[:3], "pens " * 60, "anna has 7 pens.", "", ""])
    given = batch.pop("token_type_ids")
    assert torch.equal(token_types(batch["segment_ids"], batch["attention_mask"]), given)
    model = make_model().eval()
    assert torch.equal(model(**batch).start_logits, model(**batch, token_type_ids=given).start_logits)


def test_an_input_of_another_model_is_refused(make_model, batch):
    model = make_model().eval()
    assert torch.equal(model(**batch, start_positions=None).loss, model(**batch).loss)
    with pytest.raises(TypeError, match="forward got start_positions, atention_mask: give what"):
        model(**batch, start_positions=torch.zeros(4), atention_mask=batch["attention_mask"], end_positions=None)


@pytest.mark.parametrize("passage", ["", "anna has 7 pens.", "anna has none."])
@pytest.mark.parametrize("question", ["", "Who has more pens?"])
def test_texts_without_two_numbers_give_finite_results(make_model, processor, question, passage):
    model = make_model().train()
    output = model(**processor([question], [passage], ["7"]))
    assert output.loss.isfinite()
    output.loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    found = processor.post_process_question_answering(output, question, passage)[0]
    assert bool(found) == bool(question or passage)


def test_windows_of_a_passage_count_as_one_example(make_model, processor):
    """A long passage beside short ones: the loss is the mean of the three alone, and every window is trained."""
    narrow = CalculatorQAProcessor(processor.tokenizer, stride=4, result_tokens=512 - 100)
    texts = [
        [*QUESTIONS[:2], QUESTIONS[1]],
        [*PASSAGES[:2], "pens " * 60 + PASSAGES[1]],
        [*ANSWERS[:2], ANSWERS[1]],
    ]
    model = make_model().eval()
    batch = narrow(*texts)
    assert batch["example_ids"].tolist()[:4] == [0, 1, 2, 2]
    output = model(**batch)
    alone = [model(**narrow(*([column[k]] for column in texts))) for k in range(3)]
    for part in ("end_loss", "argument_loss"):
        expected = torch.stack([getattr(single, part) for single in alone]).mean()
        torch.testing.assert_close(getattr(output, part), expected)
    gradient = torch.autograd.grad(output.end_loss, output.start_logits)[0]
    assert gradient.any(-1)[1:].all()


@pytest.mark.parametrize("bad", [-1, "size"])
@pytest.mark.parametrize("name", ["input_ids", "candidate_ids"])
def test_ids_outside_the_vocabulary_are_told(make_model, batch, name, bad):
    model = make_model()
    size = model.config.vocab_size
    batch[name][0, 0] = size if bad == "size" else bad
    with pytest.raises(ValueError, match=f"{name} must be from 0 to {size - 1}, got .*: load the processor from"):
        model(**batch)


def test_a_row_longer_than_the_encoder_takes_is_told(make_model, batch):
    with pytest.raises(ValueError, match="positions must be from 0 to 19, got"):
        make_model(max_position_embeddings=20, use_calculator=False)(**batch)


def test_the_loss_comes_first_in_a_tuple(make_model, batch):
    model = make_model().eval()
    output = model(**batch)
    assert torch.equal(model(**batch, return_dict=False)[0], output.loss)
    assert next(iter(output)) == "loss"


def test_bf16_autocast_changes_little(make_model, batch):
    model = make_model().eval()
    exact = model(**batch)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(**batch)
    for logits in (rough.start_logits, rough.argument_logits):  # in fp32, not only cast to it afterwards
        assert not torch.equal(logits, logits.bfloat16().float())
    torch.testing.assert_close(rough.loss, exact.loss, rtol=0.02, atol=0.02)


def test_gradient_checkpointing_changes_nothing(make_model, batch):
    model = make_model().train()
    gradients = []
    for enable in (False, True):
        if enable:
            # Its name before transformers 5.23, deprecated since.
            getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
        model.zero_grad()
        model(**batch, generator=torch.Generator().manual_seed(0)).loss.backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # tracing itself warns of what it does
def test_compiled_equals_eager(make_model, batch):
    model = make_model().train()
    results = []
    for forward in (model, torch.compile(model)):
        model.zero_grad()
        loss = forward(**batch, gumbel_noise=False).loss
        loss.backward()
        results.append([loss.detach(), *(p.grad.clone() for p in model.parameters())])
    torch.testing.assert_close(results[0], results[1], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("search_comparisons", [False, True])
def test_a_training_step_is_compiled_in_one_graph(make_model, processor, search_comparisons):
    """From texts of other lengths as well."""
    model = make_model(search_comparisons=search_comparisons, hide_arguments=search_comparisons).train()
    step = torch.compile(lambda **batch: model(**batch).loss, fullgraph=True, backend="eager")
    for rows in (slice(0, 4), slice(1, 3)):
        batch = processor(QUESTIONS[rows], PASSAGES[rows], ANSWERS[rows], comparisons=search_comparisons)
        step(**batch).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("facts", [{}, {"share_encoder": False}, {"use_calculator": False}])
def test_saved_and_loaded_by_auto_classes(make_model, batch, tmp_path, facts):
    model = make_model(**facts).eval()
    model.save_pretrained(tmp_path)
    assert set(json.loads((tmp_path / "config.json").read_text())["auto_map"]) == {
        "AutoConfig",
        "AutoModel",
        "AutoModelForQuestionAnswering",
        "AutoProcessor",
    }
    for auto_class in (AutoModelForQuestionAnswering, AutoModel):
        loaded = auto_class.from_pretrained(tmp_path).eval()
        assert type(loaded) is BertForCalculatorQA
        assert torch.equal(loaded(**batch).start_logits, model(**batch).start_logits)


def test_any_bert_checkpoint_gives_the_encoder(sizes, tmp_path):
    bert = BertModel(BertConfig(**sizes))
    bert.save_pretrained(tmp_path)
    model, info = BertForCalculatorQA.from_pretrained(tmp_path, share_encoder=False, output_loading_info=True)
    assert not info["unexpected_keys"]
    for encoder in (model.bert, model.reader):  # a reader of its own starts as a copy
        expected = {name: p for name, p in bert.state_dict().items() if not name.startswith("pooler")}
        torch.testing.assert_close(encoder.state_dict(), expected, rtol=0, atol=0)
    assert model.reader.embeddings.word_embeddings.weight is not model.bert.embeddings.word_embeddings.weight


def test_a_shared_checkpoint_gives_a_reader_of_its_own(make_model, tmp_path):
    make_model().save_pretrained(tmp_path)
    model = BertForCalculatorQA.from_pretrained(tmp_path, share_encoder=False)
    torch.testing.assert_close(model.reader.state_dict(), model.bert.state_dict(), rtol=0, atol=0)


def test_a_checkpoint_of_another_architecture_is_refused(sizes, tmp_path):
    config = DistilBertConfig(vocab_size=sizes["vocab_size"], dim=32, n_layers=2, n_heads=2, hidden_dim=48)
    DistilBertModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds no BERT encoder"):
        BertForCalculatorQA.from_pretrained(tmp_path, config=CalculatorQAConfig(**sizes))


def test_a_checkpoint_without_its_heads_is_refused(make_model, tmp_path):
    model = make_model()
    kept = {name: p for name, p in model.state_dict().items() if not name.startswith("qa_outputs")}
    model.save_pretrained(tmp_path, state_dict=kept)
    with pytest.raises(ValueError, match=r"lacks qa_outputs.bias, qa_outputs.weight: it is damaged, or the config"):
        BertForCalculatorQA.from_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks comparison_search.*: .* the configuration asks for what it was"):
        BertForCalculatorQA.from_pretrained(tmp_path, search_comparisons=True)
    with pytest.raises(ValueError, match=r"calculator_token_ids must be \d+ ids.*: take processor.calculation"):
        BertForCalculatorQA.from_pretrained(tmp_path, digit_places=4)
