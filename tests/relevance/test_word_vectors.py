"""Word vectors: every format gives the same ones, a broken file is told, and fastText's and gensim's own numbers."""

import gzip
import json
import struct
import sys

import numpy as np
import pytest
import torch

from hf_relevance import BiLSTMAttentionConfig, BiLSTMAttentionForClassification, word_vectors
from hf_relevance.tokenization import build_tokenizer
from hf_relevance.word_vectors import embedding_matrix, main, read_word_vectors, subword_hashes, train_word_vectors

ROWS = {"the": [0.5, -1.25, 3e-7], "naïve": [1.0, 2.0, 3.0], ". . .": [7.0, 8.0, 9.0], "film": [-0.1, 0.0, 0.2]}
FILM = b"film 1 2 3\n"


@pytest.fixture
def write(tmp_path):
    """Writes bytes to a file and returns its path."""

    def run(content, name="vectors"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return run


def text(rows, header=False, end=b"\n"):
    lines = [f"{len(rows)} 3".encode()] if header else []
    return end.join([*lines, *(f"{word} {' '.join(map(repr, row))}".encode() for word, row in rows.items()), b""])


@pytest.mark.parametrize(
    "content",
    [
        text(ROWS),
        text(ROWS).rstrip(),
        text(ROWS, header=True),
        text(ROWS, header=True, end=b" \n"),  # as fastText ends its lines
        text(ROWS, end=b"\r\n"),
        text({"\N{NO-BREAK SPACE}": [0, 0, 0], "\N{NEXT LINE}": [1, 1, 1], "2": [2, 2, 2]} | ROWS),
        b"\xff\xfe 1 2 3\n" + text(ROWS),
    ],
)
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_every_text_format_gives_the_same_vectors(write, content, compress):
    path = write(compress(content))
    words = ["film", "unseen", "naïve", "the", ". . .", "The"]
    read = read_word_vectors(path, words)
    assert read.is_found.tolist() == [True, False, True, True, True, False]
    assert read.by_subwords == 0
    expected = np.array([ROWS.get(word, [0, 0, 0]) for word in words], np.float32)
    assert read.vectors.dtype == np.float32
    assert np.array_equal(read.vectors, expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: needed a word and its vector"),
        (b"film\n", "line 1: needed a word and its vector"),
        (b"1 0\nfilm\n", "line 1: needed a word"),
        (FILM + b"a 1 2\n", "line 2: needed a word and 3 numbers, got 3 fields"),
        (FILM + b"a 1 2 3 4\n", "line 2: .* got 5 fields"),
        (b"2 3\n" + FILM + b"unwanted 1 2\n", "line 3: .* got 3 fields"),
        (b"2 4\n" + FILM, "line 2: needed a word and 4 numbers"),
        (FILM + b"\n" + FILM, "line 2: .* got 1 fields"),
        (b"the  1 2 3\n", "line 1: needed a word and 3 numbers, got 5 fields"),
        (FILM + b"the  1 2 3\n", "line 2: needed a word and 3 numbers"),
        (FILM + b"the 1 x 3\n", "line 2: needed 3 numbers after 'the': could not convert"),
        (FILM + b"the 1 nan 3\n", "line 2: the vector of 'the' is not finite"),
        (FILM + b"the 1 2 -inf\n", "line 2: the vector of 'the' is not finite"),
        (FILM + b"the 1e39 2 3\n", "line 2: the vector of 'the' is not finite"),  # infinite in float32
        (b"3 3\n" + FILM + b"the 1 2 3\n", "has 2 words, but its first line says 3"),
        (b"1 3\n" + FILM + b"the 1 2 3\n", "has 2 words, but its first line says 1"),
        (b"3 3\n", "has 0 words"),
    ],
)
def test_a_broken_line_is_told_by_its_number(write, content, message):
    path = write(content)
    with pytest.raises(ValueError, match=f"vectors,? {message}"):
        read_word_vectors(path, ["the", "film"])


def test_a_duplicate_is_told_and_the_first_vector_kept(write, caplog):
    path = write(b"3 3\n" + FILM + b"the 4 5 6\nfilm 7 8 9\n")
    read = read_word_vectors(path, ["film", "the"])
    assert read.vectors.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert caplog.messages == [f"{path}, line 4: 'film' has its vector in line 2"]


def test_a_gzip_file_cut_anywhere_is_told(write):
    whole = gzip.compress(text(ROWS, header=True))
    for length in range(3, len(whole)):
        with pytest.raises(ValueError, match="get it again"):
            read_word_vectors(write(whole[:length]), ["film"])


def test_hashes_are_fnv_1a_over_signed_bytes():
    assert subword_hashes("foobar", 6, 6)[1] == 0xBF9CF968  # published test vectors of FNV-1a
    assert subword_hashes("bab", 1, 1)[1] == 0xE40C292C
    for word, minn, maxn in [("film", 3, 6), ("naïve", 1, 4), ("日本語", 2, 2), ("a", 1, 9), ("film", 0, 0)]:
        marked = f"<{word}>"
        spans = [(i, j) for i in range(len(marked)) for j in range(i + 1, len(marked) + 1) if minn <= j - i <= maxn]
        ngrams = [marked[i:j] for i, j in spans if marked[i:j] not in ("<", ">")]
        expected = []
        for ngram in ngrams:
            value = 2166136261
            for byte in np.frombuffer(ngram.encode(), np.int8).tolist():
                value = (value ^ (byte % 2**32)) * 16777619 % 2**32
            expected.append(value)
        assert subword_hashes(word, minn, maxn) == expected


def binary(matrix, words, labels=(), version=12, model=2, minn=2, maxn=4, pruned=-1, is_quantized=False):
    """A model file of fastText, by its source; `matrix` (words + buckets, E)."""
    bucket = len(matrix) - len(words)
    parts = [
        struct.pack("<2i", 793712314, version),
        struct.pack("<12id", matrix.shape[1], 5, 5, 1, 5, 1, 2, model, bucket, minn, maxn, 100, 1e-4),
        struct.pack("<3i2q", len(words) + len(labels), len(words), len(labels), 99, pruned),
        *(word.encode() + struct.pack("<bqb", 0, 9, 0) for word in words),
        *(label.encode() + struct.pack("<bqb", 0, 9, 1) for label in labels),
        bytes(8 * max(pruned, 0)),
        struct.pack("<?2q", is_quantized, *matrix.shape),
        matrix.astype("<f4").tobytes(),
    ]
    return b"".join(parts)


MATRIX = np.random.default_rng(0).normal(size=(3 + 50, 4)).astype("<f4")
WORDS = ["the", "</s>", "naïve"]


@pytest.mark.parametrize("options", [{}, {"model": 3, "labels": ["film", "__label__1"]}, {"version": 11, "model": 2}])
def test_binary_vectors_are_means_over_word_and_subwords(write, options):
    path = write(binary(MATRIX, WORDS, **options))
    read = read_word_vectors(path, ["film", "naïve", "</s>", "the"])
    expected = []
    for word, own in (("film", []), ("naïve", [2]), ("</s>", [1]), ("the", [0])):
        buckets = [] if word == "</s>" else [3 + value % 50 for value in subword_hashes(word, 2, 4)]
        expected.append(np.mean([MATRIX[row] for row in own + buckets], axis=0))
    np.testing.assert_allclose(read.vectors, expected, rtol=0, atol=1e-6)
    assert read.is_found.all()
    assert read.by_subwords == 1  # a label of that name is no word


@pytest.mark.parametrize("options", [{"minn": 0, "maxn": 0}, {"version": 11, "model": 3}])
def test_binary_models_without_subwords_know_only_their_words(write, options):
    read = read_word_vectors(write(binary(MATRIX, WORDS, **options)), ["film", "naïve"])
    assert read.is_found.tolist() == [False, True]
    assert read.by_subwords == 0
    assert np.array_equal(read.vectors, [np.zeros(4), MATRIX[2]])


def test_a_binary_model_cut_anywhere_is_told(write):
    whole = binary(MATRIX, WORDS, labels=["__label__1"])
    for length in [*range(5, 260), len(whole) - 1]:
        with pytest.raises(ValueError, match="is truncated: get it again"):
            read_word_vectors(write(whole[:length]), ["film"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (binary(MATRIX, WORDS, version=13), "is of version 13, but 12 is the last known"),
        (binary(MATRIX, WORDS, is_quantized=True), "is quantized or pruned: give the .bin file"),
        (binary(MATRIX, WORDS, pruned=2), "is quantized or pruned"),
        (binary(MATRIX, WORDS, pruned=0), "is quantized or pruned"),
        (gzip.compress(binary(MATRIX, WORDS)), "unpack it first"),
        (
            binary(MATRIX, WORDS).replace(struct.pack("<2q", 53, 4), struct.pack("<2q", 53, 3)),
            r"\[53, 3\], but should",
        ),
        (binary(np.where(np.arange(53)[:, None] == 2, np.inf, MATRIX), WORDS), "the vector of 'naïve' is not finite"),
        (binary(np.full((53, 4), np.nan), WORDS), "the vector of 'film' is not finite"),
    ],
)
def test_a_binary_model_that_cannot_be_used_is_told(write, content, message):
    with pytest.raises(ValueError, match=message):
        read_word_vectors(write(content), ["film", "naïve"])


@pytest.fixture
def tokenizer():
    return build_tokenizer(["the film a naïve film, the end the film"], min_frequency=1)


def test_embedding_matrix_has_each_vector_at_its_word(write, tokenizer, capsys):
    weight = embedding_matrix(tokenizer, write(text(ROWS, header=True)), seed=3)
    assert weight.shape == (len(tokenizer), 3)
    assert weight.dtype == torch.float32
    found = [word for word in tokenizer.get_vocab() if word in ROWS]
    assert sorted(found) == ["film", "naïve", "the"]
    for word in found:
        torch.testing.assert_close(weight[tokenizer.convert_tokens_to_ids(word)], torch.tensor(ROWS[word]))
    assert not weight[tokenizer.pad_token_id].any()
    assert "vectors for 3 of 6 words (50.0%)\n" in capsys.readouterr().out

    model = BiLSTMAttentionForClassification(BiLSTMAttentionConfig(vocab_size=len(tokenizer), embedding_size=3))
    model.get_input_embeddings().weight.data.copy_(weight)
    embeddings = model(**tokenizer("film", return_tensors="pt"), output_hidden_states=True).hidden_states[0]
    torch.testing.assert_close(embeddings, torch.tensor([[ROWS["film"]]]))


def test_missing_words_are_drawn_by_seed_at_the_scale_of_the_found(write):
    tokenizer = build_tokenizer([" ".join(f"word{n}" for n in range(2000))], min_frequency=1)
    path = write(b"word1 3 4\nword2 -3 -4\nword3 5 0\nword4 0 -5\n")
    weight = embedding_matrix(tokenizer, path)
    ids = tokenizer.convert_tokens_to_ids(["[UNK]", *(f"word{n}" for n in range(5, 2000))])
    drawn = weight[ids]
    assert drawn.square().mean().sqrt() == pytest.approx(12.5**0.5, rel=0.05)
    assert drawn.mean() == pytest.approx(0, abs=0.2)
    assert len(drawn.unique(dim=0)) == len(drawn)
    assert torch.equal(embedding_matrix(tokenizer, path), weight)
    assert not torch.isclose(embedding_matrix(tokenizer, path, seed=1)[ids], drawn).all(-1).any()


def test_special_tokens_have_no_subwords(write, tokenizer, capsys):
    weight = embedding_matrix(tokenizer, write(binary(MATRIX, WORDS)))
    assert not weight[tokenizer.pad_token_id].any()
    assert "vectors for 6 of 6 words (100.0%), 4 of them by their subwords alone" in capsys.readouterr().out


def test_a_file_without_any_word_of_the_vocabulary_is_refused(write, tokenizer):
    with pytest.raises(ValueError, match=r"none of the 6 words is in .*: is it of this language"):
        embedding_matrix(tokenizer, write(b"Le 1 2 3\n"))


CHOICE = ["A", "good", "naïve", "film", "isn't", "BAD", ",", "really", "!"]
TEXTS = [" ".join(np.random.default_rng(n).choice(CHOICE, 9)) for n in range(60)]


@pytest.fixture
def gensim(monkeypatch):
    monkeypatch.setattr(word_vectors, "BUCKET", 500)
    return pytest.importorskip("gensim")


def test_reading_a_trained_model_equals_gensim(gensim, tmp_path):
    path = tmp_path / "model.bin"
    train_word_vectors(TEXTS, path, size=8, epochs=1)
    expected = gensim.models.fasttext.load_facebook_vectors(str(path))
    words = [*expected.index_to_key, "films", "überraschung", "日本語"]
    read = read_word_vectors(path, words)
    np.testing.assert_allclose(read.vectors, [expected[word] for word in words], rtol=0, atol=1e-6)
    assert np.abs(read.vectors).max() > 1e-2
    assert read.by_subwords == 3


def test_command_trains_the_words_of_the_tokenizer(gensim, tmp_path, capsys):
    texts, more, test = tmp_path / "texts.txt", tmp_path / "more.jsonl.gz", tmp_path / "test.txt"
    texts.write_text("\n".join(TEXTS[:30]), encoding="utf-8")
    more.write_bytes(
        gzip.compress("\n".join(json.dumps({"text": text}) for text in [*TEXTS[30:], *["held out"] * 9]).encode())
    )
    test.write_text("held out\n", encoding="utf-8")
    outputs = [tmp_path / name for name in ("vectors.vec", "again.vec.gz", "other.vec")]
    for output, seed in zip(outputs, "112", strict=True):
        options = ["--output", str(output), "--size", "8", "--epochs", "2", "--seed", seed]
        main(["--texts", str(texts), str(more), "--exclude", str(test), *options])
    assert "vectors of 8 numbers, trained on 60 texts" in capsys.readouterr().out
    tokenizer = build_tokenizer(TEXTS)
    first, again, other = (embedding_matrix(tokenizer, output) for output in outputs)
    assert capsys.readouterr().out.count("(100.0%)") == 3
    torch.testing.assert_close(first, again, rtol=0, atol=1e-6)  # where memory lies decides how BLAS rounds
    assert not torch.allclose(first, other)
    assert not read_word_vectors(outputs[0], ["held", "out"]).is_found.any()


def test_training_needs_frequent_words(gensim, tmp_path):
    with pytest.raises(ValueError, match="no word occurs 99 times"):
        train_word_vectors(["a film"], tmp_path / "vectors.vec", min_frequency=99)


def test_training_without_gensim_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    monkeypatch.setitem(sys.modules, "gensim", None)
    with pytest.raises(ImportError, match=r"pip install 'hf-calc-relevance\[vectors\]'"):
        train_word_vectors(TEXTS, tmp_path / "vectors.vec")
