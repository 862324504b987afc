"""Word vectors from a file as the embeddings of a vocabulary, and a command that trains them where none can be had.

Read are the text formats of fastText (`.vec`) and GloVe, plain or gzipped, and the binary models of fastText (`.bin`),
supervised or not; content tells them apart, not the name. Only the rows of the vocabulary are kept: text is streamed,
a binary model is mapped into memory, so that of the 7 GB of a pre-trained one hardly any are read.

Text: one word a line and its numbers, separated by single spaces. fastText writes a line with the number of words and
of numbers a word above them, GloVe does not. A word of GloVe 840B may itself hold spaces (". . .").

Binary, little-endian, without gaps (github.com/facebookresearch/fastText, version 12: `FastText::loadModel` in
src/fasttext.cc, `load` in args.cc, dictionary.cc and densematrix.cc):

    2 int32                  magic number 793712314, version
    12 int32, 1 float64      dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, rate, t
    3 int32, 2 int64         entries, words, labels, tokens, pruned n-grams (-1: not pruned)
    for each entry           its bytes, a zero byte, 1 int64 count, 1 int8 type; the words come before the labels
    1 int8, 2 int64          is quantized, rows, columns
    rows x columns float32   first a row for each word, then one for each of the `bucket` classes of n-grams
    an output matrix         which no word vector needs

The vector of a word is the mean of its own row, if it has one, and the rows of its n-grams of minn to maxn characters,
among them the marks "<" and ">" at its ends. So a word never seen in training has a vector too.

    python -m hf_relevance.word_vectors --texts train.txt --output vectors.vec --size 300
"""

import argparse
import gzip
import json
import logging
import mmap
import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from .tokenization import build_tokenizer

logger = logging.getLogger(__name__)

GZIP_MAGIC = b"\x1f\x8b"
FASTTEXT_MAGIC = struct.pack("<i", 793712314)
FASTTEXT_VERSION = 12
SUPERVISED = 3
# fastText's own 2,000,000 classes of n-grams would take 2.4 GB at size 300; a corpus of one task fills far fewer.
BUCKET = 200_000


class WordVectors(NamedTuple):
    """Vectors of N words.

    Args:
        vectors: (N, E) float32, finite; zero for a word that was not found.
        is_found: (N,) bool.
        by_subwords: how many of the found words have a vector by their n-grams alone.
    """

    vectors: np.ndarray
    is_found: np.ndarray
    by_subwords: int = 0


def subword_hashes(word: str, minn: int, maxn: int) -> list[int]:
    """Hashes of the n-grams of minn to maxn characters of a word between "<" and ">", but for the marks alone.

    As `Dictionary::computeSubwords` and `hash` in fastText's dictionary.cc: 32-bit FNV-1a over UTF-8, where a byte
    above 127 is, by an old mistake that all its models share, extended as a signed number. Modulo `bucket` they are
    classes of n-grams.

    Example:
        >>> subword_hashes("a", 3, 6) == subword_hashes("<a>", 3, 3)[1:2]
        True
    """
    if word == "</s>":  # the end of a line to fastText
        return []
    characters = [character.encode() for character in f"<{word}>"]
    hashes = []
    for first in range(len(characters)):
        value = 2166136261
        for length, character in enumerate(characters[first : first + maxn], 1):
            for byte in character:
                value = (value ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619 & 0xFFFFFFFF
            if length >= minn and (length > 1 or 0 < first < len(characters) - 1):
                hashes.append(value)
    return hashes


def read_word_vectors(path: str | Path, words: Sequence[str]) -> WordVectors:
    """Reads the vectors of some words from a file of any format that the module describes.

    A word that a text file holds twice keeps its first vector, and a warning tells both lines. Of the rows of other
    words only the number of fields is checked.

    Args:
        path: of the file.
        words: N of them, each once, as they stand in the file: nothing is lowered or stripped.

    Raises:
        ValueError: a row with another number of numbers or something else than numbers, a number that is not finite
            (each told by its line, in a binary model by its word), another number of rows than the first line says, a
            truncated file, a binary model that is quantized or gzipped or of an unknown version.
    """
    with open(path, "rb") as file:
        is_gzip = file.read(2) == GZIP_MAGIC
    with gzip.open(path) if is_gzip else open(path, "rb") as file:
        try:
            if file.read(4) != FASTTEXT_MAGIC:
                file.seek(0)
                return _read_text(file, path, words)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path} is truncated or damaged ({error}): get it again") from error
    if is_gzip:
        raise ValueError(f"{path} is a gzipped binary model, which cannot be mapped into memory: unpack it first")
    return _read_binary(path, words)


def _read_text(file: BinaryIO, path: str | Path, words: Sequence[str]) -> WordVectors:
    rows = {word.encode(): row for row, word in enumerate(words)}
    header = file.readline().split()
    has_header = len(header) == 2 and all(field.isdigit() for field in header)
    if not has_header:
        file.seek(0)
    size = int(header[1]) if has_header else len(header) - 1
    if size < 1:
        raise ValueError(f"{path}, line 1: needed a word and its vector, or two numbers that say how many there are")
    vectors = np.zeros((len(words), size), np.float32)
    found_in = np.zeros(len(words), int)  # the line of each word
    count = 0
    for count, line in enumerate(file, 1):
        number = count + has_header
        line = line.rstrip(b" \r\n")
        # Splitting at every space would take ten times as long, for rows that are mostly not wanted.
        word = line.partition(b" ")[0] if line.count(b" ") == size else _word_with_spaces(line, size)
        if word is None:
            fields = len(line.split(b" "))
            raise ValueError(f"{path}, line {number}: needed a word and {size} numbers, got {fields} fields")
        row = rows.get(word)
        if row is None:
            continue
        if found_in[row]:
            logger.warning("%s, line %d: %r has its vector in line %d", path, number, words[row], found_in[row])
            continue
        found_in[row] = number
        try:
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as that
                vectors[row] = [float(field) for field in line[len(word) + 1 :].split(b" ")]
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: needed {size} numbers after {words[row]!r}: {error}") from error
        if not np.isfinite(vectors[row]).all():
            raise ValueError(f"{path}, line {number}: the vector of {words[row]!r} is not finite")
    if has_header and count != int(header[0]):
        raise ValueError(f"{path} has {count} words, but its first line says {int(header[0])}: get it again")
    return WordVectors(vectors, found_in > 0)


def _word_with_spaces(line: bytes, size: int) -> bytes | None:
    """The word of a line of more fields than `size` and one, or None where the fields too many are numbers too."""
    word, *numbers = line.rsplit(b" ", size)
    last = word.rpartition(b" ")[2]
    if len(numbers) < size or not last:
        return None
    try:
        float(last)
    except ValueError:
        return word
    return None


def _read_binary(path: str | Path, words: Sequence[str]) -> WordVectors:
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    position = 0

    def take(layout):
        nonlocal position
        values = struct.unpack_from(layout, data, position)
        position += struct.calcsize(layout)
        return values

    truncated = f"{path} is truncated: get it again"
    own_row = {}  # of the words wanted
    wanted = {word.encode() for word in words}
    try:
        _, version = take("<2i")
        if version > FASTTEXT_VERSION:
            raise ValueError(f"{path} is of version {version}, but {FASTTEXT_VERSION} is the last known")
        size, *_, model, bucket, minn, maxn, _, _ = take("<12id")
        if version == 11 and model == SUPERVISED:
            maxn = 0  # these were trained without n-grams, whatever they say
        num_entries, num_words, _, _, num_pruned = take("<3i2q")
        for row in range(num_entries):
            end = data.find(b"\0", position)
            if end < 0:
                raise ValueError(truncated)
            word = data[position:end]
            if row < num_words and word in wanted:
                own_row[word] = row
            position = end + 1 + struct.calcsize("<qb")
        is_quantized, *shape = take("<?2q")
    except struct.error as error:
        raise ValueError(truncated) from error
    if is_quantized or num_pruned >= 0:
        raise ValueError(f"{path} is quantized or pruned: give the .bin file that it was made from")
    if shape != [num_words + bucket, size]:
        raise ValueError(f"{path} is damaged: its matrix is {shape}, but should be {[num_words + bucket, size]}")
    if len(data) - position < 4 * shape[0] * shape[1]:
        raise ValueError(truncated)
    matrix = np.frombuffer(data, "<f4", shape[0] * shape[1], position).reshape(shape)

    vectors = np.zeros((len(words), size), np.float32)
    is_found = np.zeros(len(words), bool)
    for row, word in enumerate(words):
        parts = [num_words + value % bucket for value in subword_hashes(word, minn, maxn)]
        if word.encode() in own_row:
            parts.append(own_row[word.encode()])
        if parts:
            is_found[row] = True
            with np.errstate(invalid="ignore", over="ignore"):
                vectors[row] = matrix[parts].mean(0)
            if not np.isfinite(vectors[row]).all():
                raise ValueError(f"{path}: the vector of {word!r} is not finite")
    return WordVectors(vectors, is_found, int(is_found.sum()) - len(own_row))


def embedding_matrix(tokenizer: PreTrainedTokenizerBase, path: str | Path, seed: int = 0) -> torch.Tensor:
    """Makes the embeddings of a vocabulary from a file of word vectors, and prints how much of it was found.

    Padding is zero. Words not found and [UNK] are drawn from a normal distribution around 0 that has the root mean
    square of the vectors found, so that no word stands out by its length. To start a model from them:

        weight = embedding_matrix(tokenizer, "vectors.vec")
        config = BiLSTMAttentionConfig(vocab_size=len(tokenizer), embedding_size=weight.shape[1])
        model = BiLSTMAttentionForClassification(config)
        model.get_input_embeddings().weight.data.copy_(weight)

    Args:
        tokenizer: of `build_tokenizer`, or any with whole words in the vocabulary.
        path: a file that `read_word_vectors` reads.
        seed: of the drawn vectors.

    Returns:
        The matrix (vocab_size, E) in fp32.

    Raises:
        ValueError: as `read_word_vectors`, and where no word is found.
    """
    special = set(tokenizer.all_special_ids)
    vocabulary = {word: index for word, index in tokenizer.get_vocab().items() if index not in special}
    read = read_word_vectors(path, list(vocabulary))
    found = int(read.is_found.sum())
    if not found:
        raise ValueError(f"none of the {len(vocabulary)} words is in {path}: is it of this language, in lower case?")
    by_subwords = f", {read.by_subwords:,} of them by their subwords alone" if read.by_subwords else ""
    share = f"{found:,} of {len(vocabulary):,} words ({found / len(vocabulary):.1%})"
    print(f"{path}: vectors for {share}{by_subwords}")
    vectors = torch.from_numpy(read.vectors[read.is_found])
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(len(tokenizer), vectors.shape[1], generator=generator) * vectors.square().mean().sqrt()
    weight[torch.tensor(list(vocabulary.values()))[torch.from_numpy(read.is_found)]] = vectors
    weight[tokenizer.pad_token_id] = 0.0
    return weight


def train_word_vectors(
    texts: Sequence[str],
    output: str | Path,
    size: int = 300,
    min_frequency: int = 5,
    epochs: int = 5,
    seed: int = 0,
    workers: int = 1,
):
    """Trains fastText skip-gram vectors (Bojanowski et al. 2017) on texts, split into words as by `build_tokenizer`.

    Args:
        texts: of the domain, labeled or not; test texts do not belong there.
        output: the file to write, a binary model if it ends in `.bin`, else text (gzipped if it ends in `.gz`); its
            folder is made.
        size: E, numbers a vector.
        min_frequency: a word seen less often has no vector of its own; in a binary model it has one by its subwords.
        epochs: how often the texts are read.
        seed: of the training.
        workers: threads; one gives the same vectors every time, up to rounding. More are faster and do not.

    Raises:
        ImportError: gensim is missing.
        ValueError: no word occurs min_frequency times.
    """
    try:
        from gensim.models import FastText
        from gensim.models.fasttext import save_facebook_model
    except ImportError as error:
        raise ImportError("training word vectors needs gensim: pip install 'hf-calc-relevance[vectors]'") from error
    Path(output).parent.mkdir(parents=True, exist_ok=True)  # before the work and not after it
    splitter = build_tokenizer(texts, min_frequency).backend_tokenizer
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as corpus:
        for text in texts:
            words = splitter.pre_tokenizer.pre_tokenize_str(splitter.normalizer.normalize_str(text))
            corpus.write(" ".join(word for word, _ in words) + "\n")
        corpus.flush()
        # Skip-gram, alpha and sample are defaults of fastText, not of gensim. In what is not named the two agree, but
        # for the power of its count by which a word is drawn as a negative: .75 here, .5 there.
        model = FastText(
            corpus_file=corpus.name,
            sg=1,
            alpha=0.05,
            sample=1e-4,
            bucket=BUCKET,
            vector_size=size,
            min_count=min_frequency,
            epochs=epochs,
            seed=seed,
            workers=workers,
        )
    if str(output).endswith(".bin"):
        save_facebook_model(model, str(output))
    else:
        model.wv.save_word2vec_format(str(output))
    print(f"{output}: {len(model.wv):,} vectors of {size} numbers, trained on {len(texts):,} texts")


def read_texts(paths: Iterable[Path]) -> Iterator[str]:
    """Texts of files: one a line, in `.jsonl` files the field `text` of each line; gzipped if named `.gz`."""
    for path in paths:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
            yield from (json.loads(line)["text"] if ".jsonl" in path.suffixes else line.strip() for line in lines)


def main(arguments: list[str] | None = None):
    """The command, see the module; `arguments` are those of the command line by default."""
    parser = argparse.ArgumentParser(
        prog="python -m hf_relevance.word_vectors", description="Trains fastText vectors on texts."
    )
    parser.add_argument("--texts", type=Path, nargs="+", required=True, help="one text a line, or .jsonl with `text`")
    parser.add_argument("--exclude", type=Path, nargs="+", default=[], help="files of texts to leave out, as the test")
    parser.add_argument("--output", required=True, help="file to write: .bin with subwords, else text (.vec, .vec.gz)")
    parser.add_argument("--size", type=int, default=300, help="numbers a vector")
    parser.add_argument("--min_frequency", type=int, default=5, help="rarer words have no vector")
    parser.add_argument("--epochs", type=int, default=5, help="times to read the texts")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--workers", type=int, default=1, help="threads; with more than one no run repeats another")
    options = vars(parser.parse_args(arguments))
    excluded = set(read_texts(options.pop("exclude")))
    texts = [text for text in read_texts(options.pop("texts")) if text not in excluded]
    train_word_vectors(texts, **options)


if __name__ == "__main__":
    main()
