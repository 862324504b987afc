"""Configuration of the BiLSTM with additive attention: its sizes, and the classes that a saved model is loaded by."""

from typing import ClassVar

from transformers import PreTrainedConfig

FORMAT_VERSION = 1  # goes up when older code would misread what newer code saves


class BiLSTMAttentionConfig(PreTrainedConfig):
    """Facts of the model; the defaults are the sizes of Jain and Wallace (2019), whose results anchor ours.

    Args:
        vocab_size: rows of the embedding matrix.
        embedding_size: E, 300 as the usual fastText and GloVe vectors.
        hidden_size: H, of both directions of the LSTM together, so an even number.
        attention_size: A, width of the hidden layer that scores a token.
        initializer_range: standard deviation of new embeddings and linear layers.
        pad_token_id: padding, whose embedding stays zero. Where no attention mask is given, every other token is read.
        format_version: of what was saved.
        kwargs: everything of `PreTrainedConfig`, such as num_labels (2 or more), id2label and label2id.

    Raises:
        ValueError: a size below 1, an odd hidden_size, padding outside the vocabulary, fewer than 2 labels, a
            model saved by a newer version than this code can read.
    """

    model_type = "bilstm_attention"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["attentions", "gradient_importance", "hidden_states"]

    vocab_size: int = 20_000
    embedding_size: int = 300
    hidden_size: int = 256
    attention_size: int = 128
    initializer_range: float = 0.05
    pad_token_id: int = 0
    format_version: int = FORMAT_VERSION

    def __post_init__(self, **kwargs):
        # Saving a model enters the one class that was saved; the others must be found in its folder as well.
        kwargs.setdefault(
            "auto_map",
            {
                "AutoConfig": "configuration_bilstm_attention.BiLSTMAttentionConfig",
                "AutoModel": "modeling_bilstm_attention.BiLSTMAttentionModel",
                "AutoModelForSequenceClassification": "modeling_bilstm_attention.BiLSTMAttentionForClassification",
            },
        )
        super().__post_init__(**kwargs)
        if self.format_version > FORMAT_VERSION:
            raise ValueError(
                f"the model has format {self.format_version} and this code reads up to {FORMAT_VERSION}: upgrade "
                "hf-calc-relevance, or load an older revision of the model"
            )
        for name in ("vocab_size", "embedding_size", "hidden_size", "attention_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.hidden_size % 2:
            raise ValueError(f"hidden_size is of two directions together and must be even, got {self.hidden_size}")
        if not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(f"pad_token_id must be in the vocabulary of {self.vocab_size}, got {self.pad_token_id}")
        if self.num_labels < 2:
            raise ValueError(
                f"num_labels must be at least 2, got {self.num_labels}: one label leaves no choice to learn"
            )
