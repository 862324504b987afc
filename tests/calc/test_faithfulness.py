"""calculator_use: what is put in the result's place, and models of which it is known whether they use it."""

from decimal import Decimal

import pytest
import torch
from datasets import Dataset

from dataset_scripts.calculator_qa.calculator_qa import CalculatorQABuilderConfig, make_table
from hf_calc import (
    BertForCalculatorQA,
    CalculatorQAConfig,
    CalculatorQADataCollator,
    CalculatorQAProcessor,
    CalculatorQATrainer,
    CalculatorQATrainingArguments,
    SymbolicFunction,
    SymbolicLayer,
    faithfulness,
    find_quantities,
)
from hf_calc.calculator import format_number
from hf_calc.chains import describe_steps
from hf_calc.faithfulness import (
    CONDITIONS,
    answers_with_other_results,
    calculator_use,
    result_replacer,
    results_in,
    rows_of_others,
    scores_of_wrong,
)
from hf_calc.modeling_calculator_qa import CalculatorQAModelOutput, token_types
from hf_calc.span_decoding import best_spans
from hf_calc.symbolic_function import comparison


def make_rows(count=13):
    """CalculatorQA with 2 to 4 owners; of every third row the passage is too long for one window of 96 tokens."""
    rows = []
    for owners in (2, 3, 4):
        config = CalculatorQABuilderConfig(
            name="rows", question_types=("max", "argmax"), transfers=int(owners > 2), owners=owners, digits=owners,
            validation_size=count, names=("Anna", "Carl", "Emma", "Mark"), items=("pens",),
        )  # fmt: skip
        rows.append(Dataset(make_table(config, "validation", 0)).to_list())
    rows = [rows[k % 3][k] for k in range(count)]
    return Dataset.from_list(
        [row | {"passage": row["passage"] + " how many pens" * 40 * (k % 3 == 1)} for k, row in enumerate(rows)]
    )


class Ignorant(BertForCalculatorQA):
    """Computes, but reads no result."""

    def _append(self, inputs, segment_ids, result):
        nothing = torch.full_like(result.token_ids, self.config.pad_token_id)
        return super()._append(inputs, segment_ids, result._replace(token_ids=nothing))


class Copying(BertForCalculatorQA):
    """Chooses a right pair and answers by the first number of its result, or without a result by a question's word."""

    def forward(self, input_ids, attention_mask, segment_ids, candidate_ids, argument_labels, example_ids, **_):
        result = self.symbolic_layer(argument_labels, candidate_ids, self.bert.get_input_embeddings().weight)
        inputs = {
            "inputs_embeds": self._embed(self.bert, input_ids, None),
            "attention_mask": attention_mask,
            "token_type_ids": token_types(segment_ids, attention_mask),
            "position_ids": (attention_mask.cumsum(-1) - 1).clamp(min=0),
        }
        inputs, segment_ids = self._append(inputs, segment_ids, result)
        width = input_ids.shape[1]
        equals = (result.token_ids == self.equals_id).long()
        is_first = (segment_ids[:, width:] == 2) & (equals.cumsum(-1) == 0)
        ends = is_first & (equals.roll(-1, 1) > 0)
        logits = torch.zeros(2, *segment_ids.shape).masked_fill(segment_ids < 0, -1e9)
        logits[0, :, width] = torch.where(is_first[:, 0], 99.0, -1e9)
        logits[1, :, width:] = torch.where(ends, 99.0, logits[1, :, width:])
        return CalculatorQAModelOutput(
            end_loss=torch.zeros(()), start_logits=logits[0], end_logits=logits[1], argument_index=result.index,
            segment_ids=segment_ids, position_ids=inputs["position_ids"], example_ids=example_ids,
        )  # fmt: skip


@pytest.fixture
def make_trainer(processor, tmp_path):
    def make_trainer(rows, kind=BertForCalculatorQA, batch_size=5, num_steps=1, **facts):
        options = {name: facts.pop(name) for name in ("operations", "function") if name in facts}
        options |= {"stride": 8, "result_tokens": (512 - 96) // num_steps, "num_steps": num_steps}
        processor_ = CalculatorQAProcessor(processor.tokenizer, **options)
        facts |= processor_.calculation
        vocabulary = processor.tokenizer.get_vocab()
        sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        model = kind(CalculatorQAConfig(vocab_size=max(vocabulary.values()) + 1, **sizes, **facts))
        model.equals_id = vocabulary["="]
        arguments = {"use_cpu": True, "report_to": "none", "disable_tqdm": True}
        return CalculatorQATrainer(
            model=model,
            args=CalculatorQATrainingArguments(str(tmp_path), per_device_eval_batch_size=batch_size, **arguments),
            data_collator=CalculatorQADataCollator(processor_),
            eval_dataset=rows,
            processing_class=processor_,
        )

    return make_trainer


@pytest.fixture
def seen(monkeypatch):
    """Inputs and outputs of every forward pass of a model."""
    calls = []
    forward = BertForCalculatorQA.forward

    def record(self, **inputs):
        output = forward(self, **inputs)
        calls.append((inputs, output))
        return output

    monkeypatch.setattr(BertForCalculatorQA, "forward", record)
    return calls


STEPS = pytest.mark.parametrize("num_steps", [1, 2])


@STEPS
def test_as_is_is_what_the_trainer_says_and_a_baseline_has_nothing_else(make_trainer, num_steps):
    rows = make_rows()
    trainer = make_trainer(rows, num_steps=num_steps)
    use = calculator_use(trainer, rows)
    metrics = trainer.predict(rows, metric_key_prefix="eval").metrics
    names = ("f1", "exact_match", "argument_accuracy")[: 4 - num_steps]  # the rows have no gold chains
    assert use["as_is"] == {name: metrics[f"eval_{name}"] for name in names}
    assert use.keys() == {"examples", "as_is", *CONDITIONS}
    assert use["examples"] == len(rows)
    baseline = calculator_use(make_trainer(rows, use_calculator=False), rows)
    assert baseline.keys() == {"examples", "as_is"}
    assert baseline["as_is"].keys() == {"f1", "exact_match"}


@pytest.mark.parametrize("hide_arguments", [False, True])
def test_the_second_pass_reads_what_the_condition_says(make_trainer, seen, hide_arguments):
    rows = make_rows()
    trainer = make_trainer(rows, batch_size=13, hide_arguments=hide_arguments)
    trainer.predict(rows)
    inputs, as_is = seen.pop()
    others = {condition: answers_with_other_results(trainer, rows, condition) for condition in CONDITIONS}
    off, _, shuffled, wrong = (output for _, output in seen)
    assert len(inputs["example_ids"]) > len(rows)  # several windows
    assert (as_is.result_ids != 0).any(-1).sum() >= len(rows)

    assert (off.result_ids == 0).all()
    assert (off.reader_embeds[:, inputs["input_ids"].shape[1] :] == 0).all()
    assert (off.argument_index == -1).all()

    source = rows_of_others(inputs["example_ids"], torch.Generator().manual_seed(0))
    assert torch.equal(shuffled.result_ids, as_is.result_ids[source])
    torch.testing.assert_close(
        shuffled.reader_embeds[:, inputs["input_ids"].shape[1] :],
        as_is.reader_embeds[source, inputs["input_ids"].shape[1] :],
    )

    stayed = []
    for row, candidates in enumerate(inputs["candidate_ids"]):
        right = inputs["argument_labels"][row] > 0
        allowed = [c.tolist() for c in candidates[~right] if c.any() and not torch.equal(c, as_is.result_ids[row])]
        stayed.append(not allowed)
        assert wrong.result_ids[row].tolist() in (allowed or [as_is.result_ids[row].tolist()])
    assert 0 < sum(stayed) < len(stayed)  # two owners have one pair
    assert others["wrong"][1] == pytest.approx(100 * sum(stayed) / len(stayed))
    # All else is as it was, also what is hidden.
    width = inputs["input_ids"].shape[1]
    is_zero = (as_is.reader_embeds[:, :width] == 0).all(-1)
    assert (is_zero & (inputs["attention_mask"] > 0)).any() == hide_arguments
    for output in (off, shuffled, wrong):
        assert torch.equal(output.position_ids[:, :width], as_is.position_ids[:, :width])
        assert torch.equal(output.reader_embeds[:, :width], as_is.reader_embeds[:, :width])
    assert not trainer.model.training


def test_a_result_that_does_not_fit_behind_another_text_is_not_put_there(make_trainer, seen):
    rows = make_rows()
    trainer = make_trainer(rows, batch_size=13)
    trainer.predict(rows)
    inputs, as_is = seen.pop()
    length, written = inputs["attention_mask"].sum(-1), (as_is.result_ids != 0).sum(-1)
    trainer.model.config.max_position_embeddings = limit = (length + written).max().item()
    did_not_fit = 0
    for seed in range(9):
        source = rows_of_others(inputs["example_ids"], torch.Generator().manual_seed(seed))
        fits = length + written[source] <= limit
        did_not_fit += (~fits).sum()
        answers_with_other_results(trainer, rows, "shuffled", seed)
        expected = as_is.result_ids[torch.where(fits, source, torch.arange(len(source)))]
        assert torch.equal(seen[-1][1].result_ids, expected)
    assert did_not_fit


def test_every_step_writes_what_the_condition_says(make_trainer, seen):
    rows = make_rows()
    trainer = make_trainer(rows, batch_size=13, num_steps=2)
    trainer.predict(rows)
    inputs, as_is = seen.pop()
    others = {condition: answers_with_other_results(trainer, rows, condition) for condition in CONDITIONS}
    off, again, shuffled, wrong = (output for _, output in seen)
    assert (as_is.argument_index > 0).any(0).all()
    assert torch.equal(again.result_ids, as_is.result_ids)

    assert not off.argument_index.any()
    assert not off.result_ids.any()
    assert others["off"][1] == pytest.approx(100 * (as_is.argument_index == 0).float().mean().item())

    source = rows_of_others(inputs["example_ids"], torch.Generator().manual_seed(0))
    assert torch.equal(shuffled.argument_index, as_is.argument_index[source])
    assert torch.equal(shuffled.result_ids, as_is.result_ids[source])
    width = inputs["input_ids"].shape[1]
    torch.testing.assert_close(shuffled.reader_embeds[:, width:], as_is.reader_embeds[source, width:])

    processor, first_chosen = trainer.processing_class, as_is.argument_index[:, 0]
    changed = 0
    for row, index in enumerate(wrong.argument_index.tolist()):
        mentions = [{"value": format_number(value)} for value in values_of(inputs["quantity_values"][row])]
        steps = describe_steps(processor.calculator, mentions, index)
        read = [token for token in wrong.result_ids[row].tolist() if token]
        texts = [step["calculator"] for step in steps if step["calculator"]]
        ends = " ".join(f"{text} [SEP]" for text in texts)
        # A later step takes the results that were put in.
        assert read == processor.tokenizer(ends, add_special_tokens=False).input_ids
        right = {format_number(value) for value in values_of(inputs["answer_values"][row])}
        stays = index[0] == first_chosen[row]
        assert stays or index[0] > 0 < first_chosen[row]
        changed += not stays
        if not stays:
            assert right.isdisjoint(result.split(" = ")[0] for result in steps[0]["calculator"].split(" , "))
    assert changed > 5


def test_right_results_of_steps_are_known_by_places_of_digits_too(make_trainer, monkeypatch):
    rows, found = make_rows(40), []
    monkeypatch.setattr(faithfulness, "results_in", lambda *inputs: found.append(results_in(*inputs)) or found[-1])
    for digit_places in (0, 8):
        trainer = make_trainer(rows, batch_size=40, num_steps=2, digit_places=digit_places)
        answers_with_other_results(trainer, rows, "wrong")
    first, _, with_places, _ = found
    assert first.any()
    assert torch.equal(first, with_places)


def values_of(numbers):
    return [Decimal(mantissa).scaleb(-decimals) for mantissa, decimals in numbers.tolist() if decimals >= 0]


@STEPS
@pytest.mark.parametrize("kind", [BertForCalculatorQA, Ignorant])
def test_a_model_that_ignores_the_result_keeps_its_scores(make_trainer, kind, num_steps):
    rows = make_rows(40)
    trainer = make_trainer(rows, kind, num_steps=num_steps)
    trainer.model.qa_outputs.weight.data *= 50  # answers that differ
    use = calculator_use(trainer, rows)
    scores = [(use[condition]["f1"], use[condition]["exact_match"]) for condition in ("as_is", *CONDITIONS)]
    assert scores[0][0] > 0
    assert (len({*scores}) == 1) == (kind is Ignorant)


def test_a_model_that_copies_the_result_loses_everything_with_another(make_trainer):
    rows = make_rows(300).filter(lambda row: row["question_type"] == "max")
    trainer = make_trainer(rows, Copying, operations=("-",))
    kept = []
    for k, row in enumerate(rows):
        batch = trainer.data_collator([row])
        is_right, candidates = batch["argument_labels"] > 0, (batch["candidate_ids"][..., 0] > 0).sum(-1)
        # The answer is a first number, and no window has a single pair, which could not be replaced.
        if (batch["candidate_answer_spans"][is_right][:, 0, 0] == 0).any() and (candidates != 1).all():
            kept.append(k)
    rows = rows.select(kept)
    assert len(rows) >= 8
    use = calculator_use(trainer, rows)
    assert use["as_is"]["exact_match"] == 100.0
    assert [use[condition]["exact_match"] for condition in CONDITIONS] == [0.0, 0.0, 0.0]
    assert use["wrong"]["unchanged"] == use["off"]["unchanged"]  # windows without any pair


FEW = SymbolicFunction(comparison, [find_quantities] * 2, "few", unordered=True, max_candidates=2)


@pytest.mark.parametrize("facts", [{}, {"num_steps": 2}, {"function": FEW}])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_an_answer_is_the_text_of_the_tokens_that_were_read(make_trainer, seen, condition, facts):
    rows = make_rows(40)
    trainer = make_trainer(rows, batch_size=40, **facts)
    trainer.model.qa_outputs.weight.data *= 50
    trainer.predict(rows)
    seen.clear()
    answers, _ = answers_with_other_results(trainer, rows, condition)
    inputs, output = seen[-1]
    best = best_spans(output)
    segments = []
    for example, answer in enumerate(answers):
        row = inputs["example_ids"].tolist().index(example) + int(best.window[example])
        text = inputs["input_ids"][row][inputs["attention_mask"][row] > 0].tolist()
        text += [token for token in output.result_ids[row].tolist() if token]
        tokens = trainer.processing_class.tokenizer.convert_ids_to_tokens(
            text[best.start[example] : best.end[example] + 1]
        )
        read = "".join(token.removeprefix("##") for token in tokens).replace("[SEP]", ";")
        assert answer["answer"].lower().replace(" ", "") == read
        segments.append(answer["segment"])
    assert ("candidate_results" in inputs) == ("function" in facts)  # over the ceiling
    assert (segments.count("calculator") > 3) == (condition != "off")
    assert segments.count("passage") > 1


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_every_example_gets_a_result_of_another_whatever_the_batch(make_trainer, batch_size):
    rows = make_rows(5)
    trainer = make_trainer(rows, batch_size=batch_size)
    trainer.predict(rows)
    _, unchanged = answers_with_other_results(trainer, rows.remove_columns("id"), "shuffled")
    assert unchanged < 50
    alone = calculator_use(trainer, rows.select([0]))
    assert (alone["shuffled"]["unchanged"], alone["off"]["unchanged"]) == (100.0, 0.0)
    assert {name: alone["shuffled"][name] for name in ("f1", "exact_match")} == {
        name: alone["as_is"][name] for name in ("f1", "exact_match")
    }


def test_the_same_seed_says_the_same_and_another_something_else(make_trainer, seen):
    rows = make_rows()
    trainer = make_trainer(rows)
    assert calculator_use(trainer, rows) == calculator_use(trainer, rows)
    seen.clear()
    for seed in (0, 0, 1):
        answers_with_other_results(trainer, rows, "wrong", seed)
    first, again, other = (torch.cat([o.argument_index for _, o in seen[k : k + 3]]) for k in (0, 3, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_hook_is_gone_afterwards_also_after_an_error(make_trainer, monkeypatch):
    rows = make_rows()
    trainer = make_trainer(rows)
    before = calculator_use(trainer, rows)
    assert not trainer.model.symbolic_layer._forward_hooks
    with monkeypatch.context() as patch:
        patch.setattr(trainer.model, "_append", None)
        for condition in CONDITIONS:
            with pytest.raises(TypeError):
                answers_with_other_results(trainer, rows, condition)
    assert not trainer.model.symbolic_layer._forward_hooks
    assert calculator_use(trainer, rows) == before


@pytest.mark.parametrize("windows", [[1, 1], [1, 3, 2], [2, 1, 1, 4, 1], [3] * 7])
def test_rows_of_others_are_of_another_example_and_each_gives_once(windows):
    examples = torch.arange(len(windows)).repeat_interleave(torch.tensor(windows))
    for seed in range(20):
        source = rows_of_others(examples, torch.Generator().manual_seed(seed))
        givers = [sorted({*examples[source[examples == e]].tolist()}) for e in range(len(windows))]
        assert all(len(giver) == 1 and giver != [e] for e, giver in enumerate(givers))
        assert sorted(givers) == [[e] for e in range(len(windows))]
        assert [examples.tolist().index(giver) for (giver,) in givers] == source[
            [examples.tolist().index(e) for e in range(len(windows))]
        ].tolist()  # a first window gets a first window's


def test_every_wrong_candidate_is_drawn_equally_often():
    candidate_ids = torch.tensor([[[5, 1], [6, 1], [5, 1], [7, 1], [8, 1], [0, 0]]]).expand(6000, -1, -1)
    scores, labels = torch.zeros(6000, 6), torch.tensor([[0.0, 0, 0, 1, 0, 0]]).expand(6000, -1)
    generator = torch.Generator().manual_seed(0)
    drawn = scores_of_wrong(scores, candidate_ids, candidate_ids[:, 0], 0, labels, generator).argmax(-1)
    counts = torch.bincount(drawn, minlength=6)
    assert counts[[0, 2, 3, 5]].sum() == 0  # chosen, of the same text, right, no candidate
    assert counts[[1, 4]].sub(3000).abs().max() < 200


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_call_of_a_layer_is_replaced(condition):
    layer, embedding = SymbolicLayer().eval(), torch.rand(9, 4)
    calls = [(torch.rand(3, width), torch.randint(1, 9, (3, width, 2))) for width in (4, 6)]
    as_is = [layer(*call, embedding) for call in calls]
    source, unchanged = torch.tensor([1, 2, 0]), []
    others = iter([(own, type(own)(*(field[source] for field in own))) for own in as_is])
    batch, generator = {}, torch.Generator().manual_seed(0)
    layer.register_forward_hook(result_replacer(condition, batch, None, 0, generator, unchanged, others))
    for call, before in zip(calls, as_is, strict=True):
        after = layer(*call, embedding)
        assert unchanged.pop().tolist() == (after.token_ids == before.token_ids).all(-1).tolist() == [False] * 3
        wanted = {
            "off": [[[0, 0]]] * 3,
            "shuffled": before.token_ids[source].unsqueeze(1).tolist(),
            "wrong": call[1].tolist(),
        }
        assert all(row in allowed for row, allowed in zip(after.token_ids.tolist(), wanted[condition], strict=True))


def test_results_that_are_the_answer_are_found_in_tokens(processor):
    texts = [["7 = 3 + 4", "12 = 3 + 9 , 6 = 9 - 3", "1 = 4 - 3 , -1 = 3 - 4"], ["12.5 = 3 + 9.5", "", "2.5 = 5 / 2"]]
    rows = [[processor.tokenizer(text, add_special_tokens=False).input_ids for text in row] for row in texts]
    width = max(len(ids) for row in rows for ids in row)
    candidate_ids = torch.tensor([[ids + [0] * (width - len(ids)) for ids in row] for row in rows])
    for answers, expected in (
        ([[[6, 0], [0, -1]], [[25, 1], [0, -1]]], [[False, True, False], [False, False, True]]),
        ([[[3, 0], [7, 0]], [[125, 1], [0, 0]]], [[True, False, False], [True, False, False]]),
        ([[[-1, 0], [2, 0]], [[5, 0], [10**9, 0]]], [[False, False, True], [True, False, True]]),  # ends in a 5, too
    ):
        assert results_in(candidate_ids, torch.tensor(answers), processor.tokenizer).tolist() == expected
