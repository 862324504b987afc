"""Pictures of the relevance loss: one text under attention and gradient, agreement over texts, scores by weight.

A text stands between two rows of bars (the poster's figure): above each word its attention, below it the magnitude of
its gradient importance. Height and shade are proportional to the weight and full at the largest weight of the row, so
nearly uniform attention fills its bars too. Three things tell it from attention that has something to say: a dotted
line at the mean, which uniform bars all touch, the largest weight and the mean in numbers, and the entropy.

Color is never alone: rows and charts differ in place, and lines in marker and dashes.
"""

import html
import textwrap
from numbers import Real
from string import Template
from typing import NamedTuple

import numpy as np
from scipy import stats

# A row has one hue that only gets darker with the weight. Both end equally light, with a contrast of 3.7 to 1 to the
# page (WCAG 2 asks for 3). Words stand on the page; the ink of the dotted line has 4.7 to 1 even on the darkest shade
# (4.5 would do for text).
_DARKEST = np.array([[68, 134, 208], [204, 104, 17]])  # attention, gradient
_INK, _MUTED = "#111827", "#52606d"

# Lengths of the picture of a text in points, its least width in letters. DejaVu Sans Mono comes with matplotlib; a
# letter is 0.602 of its size wide.
_MARGIN, _SIZE, _BAR, _COLUMNS = 20, 10, 16, 90
_LETTER = 0.602 * _SIZE
_BASES = (-1.05 * _SIZE, 0.45 * _SIZE)  # where the bars begin, counted from the base line of the words

# Color (by Okabe and Ito), marker and dashes of each series of scores by weight.
_SERIES = (("#000000", "o", "-"), ("#0072b2", "s", "--"), ("#d55e00", "^", "-."), ("#009e73", "D", ":"))

_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
  :root { color-scheme: light; print-color-adjust: exact; }
  body { max-width: 58rem; margin: 2rem auto; padding: 0 1.5rem; background: #fff; color: $ink; }
  h1 { font: 600 1.15rem/1.4 system-ui, sans-serif; overflow-wrap: anywhere; }
  header div { display: flex; flex-wrap: wrap; align-items: center; gap: 0 1.5rem; margin-bottom: 1.5rem; }
  ul { margin: 0; padding: 0; list-style: none; color: $muted; font: .8rem/1.8 system-ui, sans-serif; }
  p { margin: 0 -.5ch; font: .9rem/1.5 "DejaVu Sans Mono", Menlo, Consolas, monospace; word-spacing: -1ch; }
  .word { display: inline-block; max-width: 100%; box-sizing: border-box; margin: .6rem 0; padding: 0 .5ch;
          vertical-align: top; overflow-wrap: anywhere; word-spacing: 0; }
  .word i { display: block; position: relative; height: 1.5rem; margin: 0 -.5ch; }
  .word b { position: absolute; left: .5ch; right: .5ch; bottom: 0; }
  .word i::after { content: ""; position: absolute; left: 0; right: 0; bottom: $above; border-top: 1px dotted $ink; }
  .word i + i b { bottom: auto; top: 0; }
  .word i + i::after { bottom: auto; top: $below; }
</style>
</head>
<body>
<header>
<h1>$title</h1>
<div><p>$scale</p><ul>$captions</ul></div>
</header>
<main><p>$words</p></main>
</body>
</html>
""")


class _Word(NamedTuple):
    """A word, what pointing at it tells, and its attention and gradient over the largest of their row."""

    text: str
    hover: str
    fractions: tuple[float, float]


# The scale is drawn as a text in which each word weighs what it says.
_SCALE = [_Word(f"{n}%", f"{n}% of the largest weight", (n / 100, n / 100)) for n in (20, 40, 60, 80, 100)]


def _shade(fraction, darkest):
    """Color of a weight that is `fraction` (0 to 1) of the largest one of its row, as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*np.rint(255 + fraction * (darkest - 255)).astype(int))


def _layout(tokens, attention, gradient):
    """Checks the arguments; returns the words, and of both rows the captions and the means over the largest weight."""
    tokens = list(tokens)
    if not tokens:
        raise ValueError("Got no tokens, needed at least one to draw.")
    if not all(isinstance(token, str) for token in tokens):
        raise TypeError("Got tokens that are no strings: turn ids into tokens by `tokenizer.convert_ids_to_tokens`.")
    fractions, captions = [], []
    signed = {"attention": np.asarray(attention, dtype=float), "gradient": np.asarray(gradient, dtype=float)}
    for name, values in signed.items():
        if values.shape != (len(tokens),):
            raise ValueError(f"Got {name} of shape {values.shape} for {len(tokens)} tokens, needed one for each.")
        for token, value in zip(tokens, values, strict=True):
            if not np.isfinite(value) or (name == "attention" and value < 0):
                raise ValueError(
                    f"Got the {name} {value} for the token {token!r}, needed finite numbers, attention of at least 0."
                )
        weights = np.abs(values)
        largest = weights.max()
        fractions.append(weights / largest if largest else weights)
        captions.append(f"100% = {largest:.3g}, mean {fractions[-1].mean() * largest:.3g} (dotted)")
        if largest and len(tokens) > 1:  # else there is no entropy
            captions[-1] += f", entropy {stats.entropy(fractions[-1]) / np.log(len(tokens)):.3f} of 1"
    words = [
        # An empty token gets the width of a letter, or its bars would have none.
        _Word(token or "\u00a0", f"{token}: attention {above:.3g}, gradient {below:+.3g}", pair)
        for token, above, below, pair in zip(tokens, *signed.values(), zip(*fractions, strict=True), strict=True)
    ]
    captions = [f"Above: attention, {captions[0]}", f"Below: gradient magnitude, {captions[1]}"]
    return words, captions, [row.mean() for row in fractions]


def attention_gradient_html(tokens, attention, gradient, title="Attention and gradient importance"):
    """One text between its attention and its gradient importance as a web page: complete, escaped, without scripts.

    Pointing at a word shows both numbers, the gradient importance with its sign.

    Args:
        tokens (`list[str]`): The T tokens, without padding.
        attention (array of shape `(T,)`): Attention weight of each token, at least 0.
        gradient (array of shape `(T,)`): Gradient importance of each token, signed or not; its magnitude is drawn.
        title (`str`): Heading of the page.

    Returns:
        `str`: The page, to be written with `encoding="utf-8"`. The legend tells the largest weight of each row, which
        fills its bar, the mean (1/T if the weights sum to 1) and the entropy of the weights, scaled to sum to 1, over
        log T: 1 is uniform, 0 is one word alone.

    Raises:
        ValueError: If there are no tokens, not one number of each kind for each of them, attention is negative or a
            number is infinite or NaN.
        TypeError: If a token is not a string.

    Source: the figure "distribution of attention, distribution of the gradient" of Kitada and Iyatomi's poster.

    Example:
        >>> page = attention_gradient_html(["not", "bad"], [0.75, 0.25], [0.1, -0.4])
        >>> "bad: attention 0.25, gradient -0.4" in page
        True
    """
    words, captions, means = _layout(tokens, attention, gradient)

    def bar(fraction, darkest):
        return f'<i><b style="height:{fraction:.1%};background:{_shade(fraction, darkest)}"></b></i>'

    def line(words):
        for word in words:
            above, below = map(bar, word.fractions, _DARKEST)
            text, hover = html.escape(word.text), html.escape(word.hover)
            yield f'<span class="word" title="{hover}">{above}{text}{below}</span>'

    return _PAGE.substitute(
        title=html.escape(title),
        ink=_INK,
        muted=_MUTED,
        above=f"{means[0]:.1%}",
        below=f"{means[1]:.1%}",
        scale=" ".join(line(_SCALE)),
        captions="".join(f"<li>{caption}</li>" for caption in captions),
        words="\n".join(line(words)),
    )


def _lines(words, columns):
    """The words in lines of at most `columns` letters."""
    lines, column = [], columns + 1
    for word in words:
        if column + len(word.text) > columns:
            lines.append([])
            column = 0
        lines[-1].append(word)
        column += len(word.text) + 1
    return lines


def _write(axes, x, y, text, **style):
    """Writes a text at `x` on the base line `y`; "$" is a letter like any other."""
    axes.text(x, y, text, parse_math=False, **{"family": "DejaVu Sans", "color": _INK, **style})


def _draw_line(axes, x, y, words, means):
    """Draws a line of words between their bars; the first begins at `x`, their base line is `y`."""
    widths = np.array([len(word.text) for word in words])
    starts = x + _LETTER * (np.cumsum(widths + 1) - widths - 1)
    for row, direction in enumerate((-1, 1)):  # up, down
        fractions = np.array([word.fractions[row] for word in words])
        shades = [_shade(fraction, _DARKEST[row]) for fraction in fractions]
        base = y + _BASES[row]
        axes.bar(starts, direction * _BAR * fractions, _LETTER * widths, base, align="edge", color=shades)
        ends = x - _LETTER / 2, starts[-1] + _LETTER * (widths[-1] + 0.5)
        axes.plot(ends, [base + direction * _BAR * means[row]] * 2, color=_INK, linewidth=0.6, dashes=(1, 3))
    for word, center in zip(words, starts + _LETTER * widths / 2, strict=True):
        _write(axes, center, y, word.text, family="DejaVu Sans Mono", size=_SIZE, ha="center")


def _new_figure(**options):
    """An empty `matplotlib.figure.Figure`, unknown to pyplot, or an error that says what to install."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("pictures need matplotlib: pip install 'hf-calc-relevance[plot]'") from error
    return Figure(facecolor="white", **options)


def attention_gradient_figure(tokens, attention, gradient, title="Attention and gradient importance"):
    """One text between its attention and its gradient importance as a picture: the same as `attention_gradient_html`.

    Args:
        tokens (`list[str]`): The T tokens, without padding.
        attention (array of shape `(T,)`): Attention weight of each token, at least 0.
        gradient (array of shape `(T,)`): Gradient importance of each token, signed or not; its magnitude is drawn.
        title (`str`): Heading of the picture.

    Returns:
        `matplotlib.figure.Figure`: As large as the text needs, and unknown to pyplot, so nothing has to be closed.
        Write it by `figure.savefig("attention.png", dpi=200)`.

    Raises:
        ValueError, TypeError: As `attention_gradient_html`.
        ImportError: If matplotlib is not installed (the extra `plot`).

    Source: as for `attention_gradient_html`.
    """
    words, captions, means = _layout(tokens, attention, gradient)
    columns = max(_COLUMNS, *(len(word.text) for word in words))
    width = columns * _LETTER + 2 * _MARGIN
    figure = _new_figure()
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()

    y = _MARGIN - 6
    for text in textwrap.wrap(title, columns * 3 // 4) or [""]:  # a bold letter of 12 points takes about 8
        y += 18
        _write(axes, _MARGIN, y, text, size=12, weight="bold")
    y += 42
    _draw_line(axes, _MARGIN, y, _SCALE, means)
    for caption, above in zip(captions, (9, -6), strict=True):
        _write(axes, _MARGIN + 22 * _LETTER, y - above, caption, size=8.5, color=_MUTED)
    y += 16
    for line in _lines(words, columns):
        y += 54
        _draw_line(axes, _MARGIN, y, line, means)

    height = y + _BASES[1] + _BAR + _MARGIN
    figure.set_size_inches(width / 72, height / 72)
    axes.set(xlim=(0, width), ylim=(height, 0))
    return figure


def _charts(title, height, count=1):
    """A figure with a heading, and its `count` empty charts, one above the other, of the same scale."""
    figure = _new_figure(figsize=(6.4, height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", size=11, weight="bold", color=_INK)
    charts = figure.subplots(count, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes in charts:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8.5, color=_MUTED, labelcolor=_INK)
    return figure, charts


def correlation_figure(histograms, title="Agreement of attention with the gradient"):
    """The distribution of Kendall's tau over texts, one chart for each model, all of the same scale.

    Args:
        histograms (`dict[str, list[int]]`): For each model (with and without the loss, say) `kendall_tau_histogram`
            of the metric `attention_agreement`: 40 counts of texts in equal bins of tau from -1 to 1.
        title (`str`): Heading of the picture.

    Returns:
        `matplotlib.figure.Figure`: Shares of the texts, which sum to 1 in each chart. A solid line marks the mean, as
        exact as bins let it be (0.025 at worst); dots repeat the outline of the first chart in the others.

    Raises:
        ValueError: If there is no histogram, or one is not of 40 finite counts of at least 0 with a positive sum.
        ImportError: If matplotlib is not installed (the extra `plot`).

    Source: the poster's figure of rank correlations with and without the relevance loss.
    """
    if not histograms:
        raise ValueError("Got no histograms, needed at least one to draw.")
    counts = {label: np.asarray(histogram, dtype=float) for label, histogram in histograms.items()}
    for label, histogram in counts.items():
        if histogram.shape != (40,) or not np.isfinite(histogram).all() or histogram.min() < 0 or not histogram.any():
            raise ValueError(
                f"Got the histogram {histogram.tolist()} for {label!r}, needed `kendall_tau_histogram` of the metric "
                "`attention_agreement`: 40 finite counts of at least 0, some above."
            )
    edges = np.linspace(-1, 1, 41)
    shares = {label: histogram / histogram.sum() for label, histogram in counts.items()}
    first = next(iter(shares))
    figure, charts = _charts(title, 1 + 1.2 * len(shares), len(shares))
    for axes, label in zip(charts, shares, strict=True):
        mean = shares[label] @ (edges[:-1] + edges[1:]) / 2
        axes.stairs(shares[label], edges, fill=True, color=_shade(1, _DARKEST[0]))
        axes.axvline(mean, color=_INK, linewidth=1.8)
        text = f"{label}: mean {mean:.2f} (line) of {counts[label].sum():.0f} texts"
        axes.set_title(textwrap.fill(text, 80), loc="left", size=9, color=_INK)
        if label != first:
            axes.stairs(shares[first], edges, color=_INK, linestyle=":", label=first)
            axes.legend(loc="upper left", fontsize=8.5, frameon=False)
    axes.set_xlim(-1, 1)
    figure.supxlabel("Kendall's tau of a text", size=9, color=_INK)
    figure.supylabel("share of texts", size=9, color=_INK)
    return figure


def _half_interval(values):
    """Half the width of the 95% interval of the mean; NaN, drawn as nothing, if there is one value."""
    if len(values) == 1:
        return np.nan
    return stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)


def weight_figure(scores, title="Accuracy by weight of the relevance loss", name="accuracy (%)", bounds=(0, 100)):
    """A score over `relevance_weight`: the mean over seeds and its 95% interval, by Student's t.

    Args:
        scores (`dict[str, dict[float, list[float]]]`): For one to four series, for each weight of the relevance loss,
            at least 0, the scores of runs with different seeds.
        title (`str`): Heading of the picture.
        name (`str`): What the scores are, with their unit.
        bounds (`tuple[float, float]`): The least and the largest score there can be.

    Returns:
        `matplotlib.figure.Figure`: The axis of weights is logarithmic; weight 0, the baseline, stands apart on its
        left. One seed has no interval. Series stand 10% beside each other, so that no interval hides another.

    Raises:
        ValueError: If there are no or more than four series, a series has no weights or a weight no scores, a weight
            is negative, infinite or NaN, or a score is out of bounds.
        TypeError: If a weight is not a number (keys that were read from JSON are strings).
        ImportError: If matplotlib is not installed (the extra `plot`).

    Source: the poster's figure of the accuracy over lambda.
    """
    if not 1 <= len(scores) <= len(_SERIES):
        raise ValueError(f"Got {len(scores)} series of scores, needed 1 to {len(_SERIES)}.")
    low, high = bounds
    for label, series in scores.items():
        if not series:
            raise ValueError(f"Got no weights for {label!r}, needed at least one.")
        for weight, values in series.items():
            if not isinstance(weight, Real):
                raise TypeError(f"Got the relevance weight {weight!r} for {label!r}, needed a number: use `float`.")
            if not 0 <= weight < np.inf:  # NaN fails too
                raise ValueError(f"Got the relevance weight {weight} for {label!r}, needed a finite one, at least 0.")
            if not len(values) or not all(low <= value <= high for value in values):
                raise ValueError(
                    f"Got the {name} {list(values)} for {label!r} at the relevance weight {weight}, needed at least "
                    f"one, all from {low} to {high}."
                )
    weights = sorted({weight for series in scores.values() for weight in series})
    origin = min((weight for weight in weights if weight), default=1.0) / 10  # where weight 0 stands
    places = [weight or origin for weight in weights]
    figure, (axes,) = _charts(title, 4)
    axes.set(xscale="log", xlim=(places[0] / 2, places[-1] * 2))
    for index, (label, series) in enumerate(scores.items()):
        color, marker, dashes = _SERIES[index]
        style = {
            "color": color,
            "marker": marker,
            "linestyle": dashes,
            "linewidth": 1.4,
            "markersize": 5,
            "capsize": 3,
        }
        beside = 1.1 ** (index - (len(scores) - 1) / 2)
        for is_baseline in (False, True):  # no line leads from one to the other, for the axis is broken between them
            points = [(weight or origin, series[weight]) for weight in sorted(series) if (weight == 0) == is_baseline]
            axes.errorbar(
                [x * beside for x, _ in points],
                [np.mean(values) for _, values in points],
                [_half_interval(values) for _, values in points],
                label=None if is_baseline else label,
                **style,
            )
    if weights[0] == 0:
        axes.text(origin * 10**0.5, 0, "//", transform=axes.get_xaxis_transform(), ha="center", va="center", size=11)
    axes.set_xticks(places, [f"{weight:g}" for weight in weights])
    axes.minorticks_off()
    axes.set_xlabel("relevance weight (0: without the loss)", size=9, color=_INK)
    axes.set_ylabel(f"{name}\nmean and 95% interval", size=9, color=_INK)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8.5, frameon=False, handlelength=4)
    return figure
