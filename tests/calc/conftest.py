"""A BERT tokenizer that needs no download, and the processor made of it."""

import string

import pytest
from transformers import BertTokenizer

from hf_calc import CalculatorQAProcessor

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
        "vocab_size": max(processor.tokenizer.get_vocab().values()) + 1,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
