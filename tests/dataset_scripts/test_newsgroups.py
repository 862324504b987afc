"""What is removed from a post: the rules of scikit-learn, on posts of our own."""

import gzip
import itertools
import json

import pytest

from dataset_scripts.newsgroups.newsgroups import Newsgroups, strip_footers, strip_headers, strip_quotes


@pytest.mark.parametrize(
    ("post", "stripped"),
    [
        ("From: anna\nSubject: game\n\nWho won?\n\nWe did.", "Who won?\n\nWe did."),
        ("From: anna\n \nA line of a blank is none.\n\nWho won?", "Who won?"),
        ("\n\nWho won?", "Who won?"),
        ("Who won?\nNobody.", ""),  # all is header
        ("", ""),
    ],
)
def test_headers(post, stripped):
    assert strip_headers(post) == stripped


@pytest.mark.parametrize(
    ("post", "stripped"),
    [
        ("Who won?\n\nWe did.\n--\nAnna\nToronto", "Who won?\n\nWe did."),
        ("Who won?\n\nWe did.\n\nAnna\n\n \n", "Who won?\n\nWe did."),
        ("Who won?\n  ----- \nAnna", "Who won?"),
        ("Who won?\n\nWe did.", "Who won?"),  # the last paragraph passes for a signature
        ("Who won?\n- - -\nWe did.", "Who won?\n- - -\nWe did."),  # no line of hyphens alone
        ("  Who won?\nWe did. \n\n", "  Who won?\nWe did. \n\n"),  # blank lines at the ends do not count
        ("--\nAnna", "--\nAnna"),  # nor does the first line
        ("\n \n", "\n \n"),
        ("", ""),
    ],
)
def test_footers(post, stripped):
    assert strip_footers(post) == stripped


@pytest.mark.parametrize(
    "quote",
    [
        "> They won.",
        ">>They won.",
        "|They won.",
        "In article <1@a.edu> anna wrote",
        "Quoted from the news",
        "anna@a.edu (Anna) writes:",
        "Anna wrote:",
        "Carl says: never",
        "He said:",
        "Anna writes in her post",
    ],
)
def test_quotes(quote):
    assert strip_quotes(f"First.\n{quote}\n\nLast.") == "First.\n\nLast."


@pytest.mark.parametrize("line", [" > They won.", "a | b", "The article In article", "They wrote it.", "He says no."])
def test_what_only_looks_like_a_quote_stays(line):
    assert strip_quotes(f"First.\n{line}") == f"First.\n{line}"


PARTS = {"headers": "From: anna\n\n", "quotes": "Carl wrote:\n> Who won?\n", "footers": "\n--\nAnna\n"}


@pytest.mark.parametrize("remove", [parts for size in range(4) for parts in itertools.permutations(PARTS, size)])
def test_remove_says_which_parts_go_in_any_order(tmp_path, monkeypatch, remove):
    post = "{headers}{quotes}We won {number}.{footers}"
    monkeypatch.setattr(Newsgroups, "COUNTS", {"train": (5, 5), "test": (5, 5)})
    (tmp_path / "20news").mkdir()
    for split in ("train", "test"):
        posts = [{"id": str(i), "label": i % 2, "text": post.format(**PARTS, number=i)} for i in range(10)]
        lines = "".join(json.dumps(row) + "\n" for row in posts)
        (tmp_path / "20news" / f"{split}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    builder = Newsgroups(data_dir=tmp_path, cache_dir=tmp_path / "cache", remove=remove)
    builder.download_and_prepare()
    kept = {part: "" if part in remove else text for part, text in PARTS.items()}
    assert builder.as_dataset(split="test")["text"][:] == [post.format(**kept, number=i) for i in range(10)]


def test_footers_go_before_quotes(tmp_path):
    # Otherwise the quote would be gone and the second paragraph would pass for a signature.
    builder = Newsgroups(data_dir=tmp_path, cache_dir=tmp_path)
    assert builder.clean("From: anna\n\nFirst.\n\nSecond.\n\n> Who won?") == "First.\n\nSecond."
