"""From a list of tokenized texts to one padded batch."""

import operator
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase


@dataclass
class BiLSTMAttentionDataCollator:
    """Pads texts to the longest of their batch, on the tokenizer's padding side, and leaves out other columns.

    Args:
        tokenizer: tells the padding token and the padding side.
    """

    tokenizer: PreTrainedTokenizerBase

    def __call__(self, features: list[dict]) -> dict[str, torch.Tensor]:
        """Makes a batch.

        Args:
            features: of each text its `input_ids`, a list of any length, and if known its class, `label` or `labels`.

        Returns:
            input_ids and attention_mask (B, T), T at least 1, and with classes labels (B,), all int64.

        Raises:
            ValueError: a text without input_ids, a batch where some texts have a class and others none, a class that
                is no whole number.
        """
        if lacking := [feature for feature in features if "input_ids" not in feature]:
            raise ValueError(f"every text needs input_ids, got columns {sorted(lacking[0])}: tokenize the data first")
        input_ids = torch.nn.utils.rnn.pad_sequence(
            [torch.as_tensor(feature["input_ids"], dtype=torch.int64) for feature in features],
            batch_first=True,
            padding_value=self.tokenizer.pad_token_id,
            padding_side=self.tokenizer.padding_side,
        )
        if not input_ids.shape[1]:  # one place of padding, so that every parameter has a gradient, as DDP demands
            input_ids = input_ids.new_full((len(features), 1), self.tokenizer.pad_token_id)
        batch = {"input_ids": input_ids, "attention_mask": (input_ids != self.tokenizer.pad_token_id).long()}
        labels = [feature.get("labels", feature.get("label")) for feature in features]
        if any(label is not None for label in labels):
            try:
                batch["labels"] = torch.tensor([operator.index(label) for label in labels])
            except TypeError as error:
                raise ValueError(f"labels must be whole numbers, one a text, got {labels}") from error
        return batch
