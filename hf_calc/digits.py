"""Digits as tokens, and which place each has in its number, counted from the right (`config.digit_places`).

BERT counts tokens from the left of the text, so that the same token position holds tens in one number and thousands in
another; a model then has to learn for every length of numbers how they compare. A place is told from the tokens alone:
a number is `1 ##2 ##3`, and its places are 2, 1, 0. In a number with separators every part counts for itself.

In training a row's places count from a number drawn at random (McLeish et al. 2024, "Transformers Can Do Arithmetic
with the Right Embeddings", section 3), the same for its text and its results: so the places of numbers longer than any
training number have been trained, and what a place means lies in its distance to others.
"""

import re
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from transformers import BertTokenizer


def split_digits(tokenizer: BertTokenizer) -> BertTokenizer:
    """The same tokenizer with every digit of a number a token of its own.

    Pieces of several digits, and of digits behind a symbol ("£10"), leave the vocabulary; names that no text has keep
    their ids, so that `len(tokenizer)` stays above all ids. Pieces with letters ("1990s") are no numbers and stay.

    Raises:
        TypeError: a tokenizer of another kind that has such pieces.
    """
    vocabulary = tokenizer.get_vocab()
    several = re.compile(r"(##)?([0-9]{2,}|[^\w#][0-9]+)")
    single = {f"[dropped {i}]" if several.fullmatch(t) else t: i for t, i in vocabulary.items()}
    if single == vocabulary:
        return tokenizer
    if not isinstance(tokenizer, BertTokenizer):
        raise TypeError(f"needed a BertTokenizer, got a {type(tokenizer).__name__}: start from a BERT checkpoint")
    split = BertTokenizer(
        vocab=single,
        do_lower_case=tokenizer.do_lower_case,
        tokenize_chinese_chars=tokenizer.tokenize_chinese_chars,
        strip_accents=tokenizer.strip_accents,
        model_max_length=tokenizer.model_max_length,
        **tokenizer.special_tokens_map,
    )
    split.add_tokens([*tokenizer.added_tokens_decoder.values()])  # of the user's own, which texts are split at first
    return split


def digit_places(token_ids: torch.Tensor, digit_ids: Sequence[int], continued_ids: Sequence[int]) -> torch.Tensor:
    """The place of each digit in its number, counted from the right, and -1 at what is no digit.

    Args:
        token_ids: (..., L).
        digit_ids, continued_ids: of the tokens `0` to `9` and `##0` to `##9`.

    Returns:
        (..., L).

    Example:
        >>> digit_places(torch.tensor([1, 12, 13, 5, 4, 4, 15]), range(10), range(10, 20)).tolist()
        [2, 1, 0, 0, 0, 1, 0]
        >>> digit_places(torch.tensor([1, 12, 99, 4]), range(10), range(10, 20)).tolist()
        [1, 0, -1, 0]
    """
    width = token_ids.shape[-1]
    place = torch.arange(width, device=token_ids.device)
    continues = torch.isin(token_ids, torch.tensor(continued_ids, device=token_ids.device))
    is_digit = continues | torch.isin(token_ids, torch.tensor(digit_ids, device=token_ids.device))
    # The first token from here on that continues no number, and then the first behind each token.
    end = torch.where(continues, width, place).flip(-1).cummin(-1).values.flip(-1)
    end = F.pad(end, (0, 1), value=width)[..., 1:]
    return torch.where(is_digit, end - place - 1, -1)


def join_places(
    token_ids: torch.Tensor, offset: torch.Tensor, num_places: int, vocab_size: int, ids: Sequence[int]
) -> torch.Tensor:
    """Token ids that also say the place: `id % vocab_size` is the token, `id // vocab_size` the row of its place.

    Args:
        token_ids: (B, ..., L).
        offset: (B,) what is added to the places of each row.
        num_places: how many there are; digits further left share the last.
        vocab_size: more than any token id.
        ids: of 20 tokens, `0` to `9` and `##0` to `##9`.

    Returns:
        (B, ..., L); the row is 0 for what is no digit, and a place's number plus 1.

    Example:
        >>> join_places(torch.tensor([[1, 12, 99]]), torch.tensor([3]), 8, 100, range(20)).tolist()
        [[501, 412, 99]]
    """
    place = digit_places(token_ids, ids[:10], ids[10:])
    shifted = (place + offset.view(-1, *[1] * (place.dim() - 1))).clamp(max=num_places - 1)
    return token_ids + vocab_size * torch.where(place < 0, 0, shifted + 1)
