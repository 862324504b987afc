"""Token saliency as shading over the text, as a web page and as a picture (figure 2 of the paper).

Both show the same: every token in its reading place, on an orange that is the deeper the larger the token's weight.
`_layout` sorts the tokens into segments and words and chooses the shades; all else only draws.
"""

import html
import textwrap
from string import Template
from typing import NamedTuple

import numpy as np

# One hue that only gets darker reads the same for color-blind people and in a gray print. It ends where the ink still
# has a contrast of 6.8 to 1 (WCAG 2 asks for 4.5), so one ink serves all shades.
_LIGHTEST, _DARKEST = np.array([[255, 255, 255], [244, 130, 26]])
_INK, _MUTED, _LINE = "#111827", "#52606d", "#d5dbe1"

# Lengths of the picture in points. DejaVu Sans Mono comes with matplotlib; a letter is 0.602 of its size wide.
_MARGIN, _SIZE, _LEADING = 20, 10, 20
_LETTER = 0.602 * _SIZE

_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
  :root { color-scheme: light; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  body { max-width: 56rem; margin: 2.5rem auto; padding: 0 1.5rem; background: #ffffff; color: $ink;
         font: 1rem/1.5 system-ui, sans-serif; }
  header { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: .5rem 2rem;
           margin-bottom: 1.5rem; }
  h1 { margin: 0; font-size: 1.15rem; font-weight: 600; overflow-wrap: anywhere; }
  .scale { display: flex; align-items: center; gap: .5rem; color: $muted; font-size: .8rem; }
  .scale span { width: 7rem; height: .7rem; border: 1px solid $line; border-radius: .2rem;
                background: linear-gradient(to right, $lightest, $darkest); }
  p { margin: 0 -.25em .9rem; font: .95rem/1.9 "DejaVu Sans Mono", Menlo, Consolas, monospace; word-spacing: -.3em; }
  .word { display: inline-block; max-width: 100%; overflow: hidden; overflow-wrap: anywhere; vertical-align: middle;
          line-height: 1.5; border-radius: .25rem; }
  .word span { display: inline-block; }
  .word span:first-child { padding-left: .25em; }
  .word span:last-child { padding-right: .25em; }
</style>
</head>
<body>
<header>
<h1>$title</h1>
<div class="scale">0<span></span>$largest</div>
</header>
<main>
$segments
</main>
</body>
</html>
""")


class _Piece(NamedTuple):
    """One token as it is drawn: `text` is the token without the `##` that joins it to the word before."""

    token: str
    text: str
    weight: float
    shade: str


def _shade(fraction):
    """Color of a weight that is `fraction` (0 to 1) of the largest one, as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*np.rint(_LIGHTEST + fraction * (_DARKEST - _LIGHTEST)).astype(int))


def _layout(tokens, weights):
    """Checks the arguments; returns the segments as lists of words as lists of pieces, and the largest weight."""
    tokens, weights = list(tokens), np.asarray(weights, dtype=float)
    if not tokens:
        raise ValueError("Got no tokens, needed at least one to draw.")
    if not all(isinstance(token, str) for token in tokens):
        raise TypeError("Got tokens that are no strings: turn ids into tokens by `tokenizer.convert_ids_to_tokens`.")
    if weights.shape != (len(tokens),):
        raise ValueError(f"Got weights of shape {weights.shape} for {len(tokens)} tokens, needed one for each token.")
    for token, weight in zip(tokens, weights, strict=True):
        if not 0 <= weight < np.inf:  # NaN fails too
            raise ValueError(
                f"Got the weight {weight} for the token {token!r}, needed finite weights of at least 0: take norms or "
                "absolute values."
            )
    largest = weights.max()
    segments = [[]]
    for token, weight in zip(tokens, weights, strict=True):
        words = segments[-1]
        joins = len(words) > 0 and token.startswith("##") and len(token) > 2  # "##" alone is a token of its own
        if not joins:
            words.append([])
        shade = _shade(weight / largest if largest else 0.0)
        words[-1].append(_Piece(token, token[2:] if joins else token, weight, shade))
        if token == "[SEP]":
            segments.append([])
    return [words for words in segments if words], largest


def saliency_html(tokens, weights, title="Token saliency"):
    """Token weights as a web page: complete, escaped, without scripts or other files, in no need of a notebook.

    `##` pieces are joined to their word without a gap, a new line begins after every `[SEP]`, and pointing at a token
    shows its weight.

    Args:
        tokens (`list[str]`): The T tokens as the tokenizer has them, without padding.
        weights (array of shape `(T,)`): Weight of each token, at least 0, for example the gradient norm at its
            embedding. The shade is proportional to the weight: white at 0, deepest at the largest weight.
        title (`str`): Heading of the page.

    Returns:
        `str`: The page, to be written with `encoding="utf-8"`.

    Raises:
        ValueError: If there are no tokens, not as many weights as tokens, or a weight is negative, infinite or NaN.
        TypeError: If a token is not a string.

    Source: figure 2 of Yoshikawa, Heinzerling and Inui, where the weights are the norms of the gradient of
    -log p(prediction) at the embeddings of `[CLS] Q [SEP] P [SEP] F(s) [SEP]`.

    Example:
        >>> page = saliency_html(["5", "##9", "[SEP]", "59", "=", "72", "-", "23"], [2, 1, 0, 1, 0, 0, 0, 0])
        >>> page.count("<p>"), page.count('class="word"')
        (2, 7)
    """
    segments, largest = _layout(tokens, weights)

    def word_html(word):
        pieces = (
            f'<span style="background:{piece.shade}" title="{html.escape(piece.token)}: {piece.weight:.3g}">'
            f"{html.escape(piece.text)}</span>"
            for piece in word
        )
        return f'<span class="word">{"".join(pieces)}</span>'

    return _PAGE.substitute(
        title=html.escape(title),
        lightest=_shade(0.0),
        darkest=_shade(1.0),
        ink=_INK,
        muted=_MUTED,
        line=_LINE,
        largest=f"{largest:.3g}",
        segments="\n".join(f"<p>{' '.join(map(word_html, words))}</p>" for words in segments),
    )


def _letters(word):
    """Number of letters of a word."""
    return sum(len(piece.text) for piece in word)


def _write(axes, x, y, text, **style):
    """Writes a text from `x` on, with the base line `y`."""
    # parse_math=False: "$" is a token like any other.
    axes.text(x, y, text, parse_math=False, **{"family": "DejaVu Sans Mono", "size": _SIZE, "color": _INK, **style})


def _draw_word(axes, x, y, word):
    """Draws a word on its shaded boxes; its first letter starts at `x`, its base line is `y`."""
    from matplotlib.patches import FancyBboxPatch, Rectangle

    padding, top, height = 0.25 * _SIZE, y - 1.05 * _SIZE, 1.5 * _SIZE
    start, end = x - padding, x + _letters(word) * _LETTER + padding
    rounded = FancyBboxPatch((start, top), end - start, height, "round,pad=0,rounding_size=3")
    rounded.set_transform(axes.transData)
    for piece in word:
        # A box reaches into the next one, which is painted over it: no seam between them.
        box = Rectangle((start, top), x - start + _letters([piece]) * _LETTER + padding, height, facecolor=piece.shade)
        axes.add_patch(box).set_clip_path(rounded)
        for letter in piece.text:  # one by one, for letters rounded to whole pixels would together miss their boxes
            _write(axes, x, y, letter)
            x += _LETTER
        start = x


def _draw_scale(axes, right, y, largest):
    """Draws the bar of shades from 0 to the largest weight; it ends at `right` and stands on `y`."""
    from matplotlib.colors import LinearSegmentedColormap

    label = {"size": 0.8 * _SIZE, "color": _MUTED, "ha": "right"}
    _write(axes, right, y - 1, f"{largest:.3g}", **label)
    right -= 0.8 * _LETTER * (len(f"{largest:.3g}") + 1)
    left, shades = right - 80, LinearSegmentedColormap.from_list("saliency", [_shade(0.0), _shade(1.0)])
    axes.imshow(np.linspace(0, 1, 256)[None], shades, extent=(left, right, y, y - 8), aspect="auto")
    axes.plot([left, right, right, left, left], [y, y, y - 8, y - 8, y], color=_LINE, linewidth=0.7)
    _write(axes, left - 0.8 * _LETTER, y - 1, "0", **label)


def saliency_figure(tokens, weights, title="Token saliency"):
    """Token weights as a picture: the same as `saliency_html`, for papers and slides.

    Args:
        tokens (`list[str]`): The T tokens as the tokenizer has them, without padding.
        weights (array of shape `(T,)`): Weight of each token, at least 0.
        title (`str`): Heading of the picture.

    Returns:
        `matplotlib.figure.Figure`: As large as the text needs, and unknown to pyplot, so nothing has to be closed.
        Write it by `figure.savefig("saliency.png", dpi=200)`.

    Raises:
        ValueError: If there are no tokens, not as many weights as tokens, or a weight is negative, infinite or NaN.
        TypeError: If a token is not a string.
        ImportError: If matplotlib is not installed (the extra `plot`).

    Source: as for `saliency_html`.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("pictures need matplotlib: pip install 'hf-calc-relevance[plot]'") from error

    segments, largest = _layout(tokens, weights)
    columns = max(90, *(_letters(word) for words in segments for word in words))
    width = 2 * _MARGIN + columns * _LETTER
    figure = Figure(facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()

    # The heading leaves 150 points of its first line for the scale; a bold letter of 12 points takes about 8.
    y = _MARGIN - 6
    for text in textwrap.wrap(title, int((width - 2 * _MARGIN - 150) / 8)) or [""]:
        y += 18
        _write(axes, _MARGIN, y, text, family="DejaVu Sans", size=12, weight="bold")
    _draw_scale(axes, width - _MARGIN, _MARGIN + 12, largest)
    for words in segments:
        y, column = y + 1.5 * _LEADING, 0
        for word in words:
            if column and column + _letters(word) > columns:
                y, column = y + _LEADING, 0
            _draw_word(axes, _MARGIN + column * _LETTER, y, word)
            column += _letters(word) + 1

    height = y + _SIZE + _MARGIN
    figure.set_size_inches(width / 72, height / 72)
    axes.set(xlim=(0, width), ylim=(height, 0))
    return figure
