"""A BERT tokenizer that needs no download, processors made of it, and small models and trainers for them."""

import string

import pytest
import torch
from datasets import Dataset
from transformers import BertTokenizer

from hf_calc import (
    BertForCalculatorQA,
    CalculatorQAConfig,
    CalculatorQADataCollator,
    CalculatorQAProcessor,
    CalculatorQATrainer,
    CalculatorQATrainingArguments,
)

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CHARACTERS = [*string.digits, *string.ascii_lowercase]
WORDS = ["has", "how", "many", "pens", "the", "to", "yards"]
# All but the last two are of numbers alone, so that the processor drops them.
NUMBER_PIECES = ["12", "##34", "100", "##00", "£10", "##\u22121", "1990s", "3rd"]


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory):
    """The folder of a BERT tokenizer for lower-case text in which, as in real ones, some numbers are one token."""
    folder = tmp_path_factory.mktemp("tokenizer")
    # Number pieces stand before others, so that the ids have gaps where they are dropped.
    symbols = [*string.punctuation, "\u2212", "##\u2212", "£", "€", "°", "##°"]
    tokens = [*SPECIALS, *NUMBER_PIECES, *CHARACTERS, *(f"##{c}" for c in CHARACTERS), *symbols, *WORDS]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    BertTokenizer(vocab=vocabulary, model_max_length=512).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def processor(tokenizer_dir):
    """A processor as the paper has it: + and -, and room for 512 tokens."""
    return CalculatorQAProcessor.from_pretrained(tokenizer_dir)


@pytest.fixture
def sizes(processor):
    """Of a small model without dropout."""
    return {
        "vocab_size": len(processor.tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


@pytest.fixture(scope="session")
def load(tokenizer_dir):
    """Loads the small tokenizer as a processor with a function."""
    return lambda function, **options: CalculatorQAProcessor.from_pretrained(
        tokenizer_dir, function=function, **options
    )


@pytest.fixture(scope="session")
def make_model():
    """Makes a small model for a processor."""

    def make_model(processor, **facts):
        vocabulary = len(processor.tokenizer)
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        facts = {"num_arguments": processor.num_arguments, "initializer_range": 0.4} | facts
        torch.manual_seed(1)
        return BertForCalculatorQA(CalculatorQAConfig(vocab_size=vocabulary, **sizes, **dropout, **facts))

    return make_model


@pytest.fixture(scope="session")
def make_trainer():
    """Makes a trainer of one step over (question, passage, answer) rows."""

    def make_trainer(processor, model, folder, rows):
        rows = Dataset.from_list([dict(zip(("question", "passage", "answer"), row, strict=True)) for row in rows])
        return CalculatorQATrainer(
            model=model,
            args=CalculatorQATrainingArguments(
                str(folder), max_steps=1, learning_rate=1e-2, use_cpu=True, report_to="none", disable_tqdm=True
            ),
            data_collator=CalculatorQADataCollator(processor),
            train_dataset=rows,
            eval_dataset=rows,
            processing_class=processor,
        )

    return make_trainer
