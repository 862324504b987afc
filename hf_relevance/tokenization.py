"""A word-level tokenizer built from texts, as a stock fast tokenizer, which transformers loads without our code."""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from tokenizers.trainers import WordLevelTrainer
from transformers import PreTrainedTokenizerFast

# A word is a run of letters and digits with apostrophes inside (don't, n't), or one mark however often repeated (...).
WORD = r"\w+(?:'\w+)*|([^\w\s])\1*"

PAD, UNK = "[PAD]", "[UNK]"


def build_tokenizer(texts: Iterable[str], min_frequency: int = 2) -> PreTrainedTokenizerFast:
    """Builds the vocabulary of `texts` in lower case, most frequent words first, [PAD] being 0 and [UNK] 1.

    Unknown words become [UNK] and keep their places; nothing is added to a text, so an empty one has no token. Texts
    are read literally: a "[PAD]" written in one is three marks and words, not padding.

    Args:
        texts: of the training split.
        min_frequency: a word seen less often is unknown. At 1 the training split has no unknown word, and the vector
            of [UNK] stays as it was initialized.

    Raises:
        TypeError: a single string for texts.
        ValueError: a min_frequency below 1, or no word that frequent.

    Example:
        >>> tokenizer = build_tokenizer(["A good film.", "A bad film..."], min_frequency=1)
        >>> tokenizer.tokenize("A fine film...")
        ['a', '[UNK]', 'film', '...']
    """
    if isinstance(texts, str):
        raise TypeError("texts must be an iterable of strings, got one string: put it into a list")
    if min_frequency < 1:
        raise ValueError(f"min_frequency must be at least 1, got {min_frequency}")
    tokenizer = Tokenizer(WordLevel(unk_token=UNK))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True)
    trainer = WordLevelTrainer(
        vocab_size=2**31,  # the frequency decides; the trainer's own limit is 30,000
        min_frequency=min_frequency,
        special_tokens=[PAD, UNK],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() == 2:
        raise ValueError(f"no word occurs {min_frequency} times in the texts: give more texts or lower min_frequency")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNK,
        split_special_tokens=True,
        model_input_names=["input_ids", "attention_mask"],
    )
