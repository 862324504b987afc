"""BiLSTM classifiers whose attention is taught by gradient relevance, registered with the Auto classes."""

from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from .configuration_bilstm_attention import BiLSTMAttentionConfig
from .data_collator import BiLSTMAttentionDataCollator
from .modeling_bilstm_attention import BiLSTMAttentionForClassification, BiLSTMAttentionModel
from .relevance_loss import relevance_loss
from .tokenization import build_tokenizer
from .trainer import RelevanceTrainer, RelevanceTrainingArguments

AutoConfig.register("bilstm_attention", BiLSTMAttentionConfig)
AutoModel.register(BiLSTMAttentionConfig, BiLSTMAttentionModel)
AutoModelForSequenceClassification.register(BiLSTMAttentionConfig, BiLSTMAttentionForClassification)

# Saving copies the code of the classes beside the weights, for trust_remote_code=True.
BiLSTMAttentionConfig.register_for_auto_class()
BiLSTMAttentionModel.register_for_auto_class("AutoModel")
BiLSTMAttentionForClassification.register_for_auto_class("AutoModelForSequenceClassification")

__all__ = [
    "BiLSTMAttentionConfig",
    "BiLSTMAttentionDataCollator",
    "BiLSTMAttentionForClassification",
    "BiLSTMAttentionModel",
    "RelevanceTrainer",
    "RelevanceTrainingArguments",
    "build_tokenizer",
    "relevance_loss",
]
