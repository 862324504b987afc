"""The pictures of the relevance loss show the numbers they were given, all of them, in their order and to scale."""

import html.parser
import io
import itertools
import re
import subprocess
import sys

import numpy as np
import pytest
from matplotlib import image, pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy import stats

from hf_relevance import plotting
from hf_relevance.plotting import (
    attention_gradient_figure,
    attention_gradient_html,
    correlation_figure,
    weight_figure,
)

TOKENS = ["a", "gorgeous", ",", "witty", ",", "seductive", "movie", "that", "never", "outstays", "its", "welcome"]
RANDOM = np.random.default_rng(0)
ATTENTION = RANDOM.dirichlet(np.full(len(TOKENS), 0.5))
GRADIENT = RANDOM.normal(size=len(TOKENS))
NASTY = ["<script>alert(1)</script>", "&amp;", '"', "'", "$x^{$", "\\", "", "<unk>"]
TAUS = {"without": np.tanh(RANDOM.normal(0.4, 0.3, 500)), "with": np.tanh(RANDOM.normal(1.5, 0.4, 700))}
HISTOGRAMS = {label: np.histogram(taus, 40, (-1, 1))[0].tolist() for label, taus in TAUS.items()}
ACCURACIES = {
    "softmax": {1.0: [79.0, 80.5, 81.0], 0.0: [80.0, 80.4], 0.01: [82.0]},
    "l1": {0.1: [70.0, 71.0, 74.0, 71.5, 72.0]},
}
FACES = pytest.mark.parametrize("face", [attention_gradient_html, attention_gradient_figure])


class Page(html.parser.HTMLParser):
    """Reads a page back: text, title, (height, color) of both bars of each word; checks that all tags are closed."""

    def __init__(self, page):
        super().__init__()
        self.words, self.titles, self.bars, self.seen, self.open = [], [], [], "", []
        self.feed(page)
        assert self.open == []
        self.scale, self.bars = self.bars[:5], self.bars[5:]
        self.words, self.titles = self.words[5:], self.titles[5:]

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        assert tag != "script"
        if tag == "meta":
            return
        self.open.append(tag)
        if attributes.get("class") == "word":
            self.words.append("")
            self.titles.append(attributes["title"])
            self.bars.append([])
        elif tag == "b":
            height, color = re.fullmatch(r"height:(.+)%;background:(#\w{6})", attributes["style"]).groups()
            self.bars[-1].append((float(height) / 100, color))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.seen += data
        if self.open[-1:] == ["span"]:
            self.words[-1] += data


def read_figure(figure):
    """Text, place (left, right, base line) and (height, color) of both bars of each word, the scale left out."""
    (axes,) = figure.axes
    texts = [text for text in axes.texts if text.get_family() == ["DejaVu Sans Mono"]][5:]
    # Two rows a line; the first line is the scale.
    above, below = ([bar for row in axes.containers[start::2] for bar in row] for start in (2, 3))
    words, places, bars = [], [], []
    for text, *pair in zip(texts, above, below, strict=True):
        x, y = text.get_position()
        lefts, widths = zip(*((bar.get_x(), bar.get_width()) for bar in pair), strict=True)
        assert lefts[0] == lefts[1]
        assert widths[0] == widths[1]
        assert x == pytest.approx(lefts[0] + widths[0] / 2)
        assert pair[0].get_y() < y - 10 < y < pair[1].get_y()  # y points down
        words.append(text.get_text())
        places.append((lefts[0], lefts[0] + widths[0], y))
        heights = (-pair[0].get_height() / plotting._BAR, pair[1].get_height() / plotting._BAR)
        bars.append([(height, to_hex(bar.get_facecolor())) for height, bar in zip(heights, pair, strict=True)])
    return words, places, bars


def to_hex(color):
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in color[:3])


def luminance(color):
    """Relative luminance by WCAG 2."""
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def read(face, *args):
    """Words and bars that a page or a picture shows."""
    if face is attention_gradient_html:
        page = Page(face(*args))
        return page.words, page.bars
    words, _, bars = read_figure(face(*args))
    return words, bars


@FACES
def test_every_word_stands_between_its_own_attention_and_the_magnitude_of_its_gradient(face):
    words, bars = read(face, TOKENS, ATTENTION, GRADIENT)
    assert words == TOKENS
    magnitudes = np.abs(GRADIENT)
    expected = np.stack([ATTENTION / ATTENTION.max(), magnitudes / magnitudes.max()], 1)
    heights = np.array([[height for height, _ in pair] for pair in bars])
    np.testing.assert_allclose(heights, expected, atol=0.0005)
    for pair, fractions in zip(bars, expected, strict=True):
        for (_, color), fraction, darkest in zip(pair, fractions, [(68, 134, 208), (204, 104, 17)], strict=True):
            assert color == to_hex([(255 + fraction * (channel - 255)) / 255 for channel in darkest])


@FACES
def test_nothing_but_the_scale_of_its_own_row_changes_a_bar(face):
    _, bars = read(face, TOKENS, ATTENTION, GRADIENT)
    assert read(face, TOKENS, 8 * ATTENTION, -GRADIENT / 4)[1] == bars
    assert [above for above, _ in read(face, TOKENS, ATTENTION, GRADIENT**2)[1]] == [above for above, _ in bars]


def test_shades_only_get_darker_alike_in_both_rows_and_what_is_drawn_on_them_is_seen():
    ramps = np.array([[luminance(plotting._shade(n / 100, end)) for n in range(101)] for end in plotting._DARKEST])
    assert (np.diff(ramps) < 0).all()
    assert ramps[0, -1] == pytest.approx(ramps[1, -1], abs=0.002)
    assert (ramps.min() + 0.05) / (luminance(plotting._INK) + 0.05) > 4.65
    assert 1.05 / (ramps[:, -1] + 0.05).max() > 3.7
    assert 1.05 / (luminance(plotting._MUTED) + 0.05) > 4.5


def test_legend_tells_what_the_scaling_hides():
    flat = np.random.default_rng(1).dirichlet(np.full(40, 1000))
    gradient = np.zeros(40)
    gradient[[3, 7]] = 2, -6
    page = Page(attention_gradient_html(["w"] * 40, flat, gradient))
    drawn = [text.get_text() for text in attention_gradient_figure(["w"] * 40, flat, gradient).axes[0].texts]
    entropy = -(flat * np.log(flat)).sum() / np.log(40)
    above = f"Above: attention, 100% = {flat.max():.3g}, mean 0.025 (dotted), entropy {entropy:.3f} of 1"
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75)) / np.log(40)
    below = f"Below: gradient magnitude, 100% = 6, mean 0.2 (dotted), entropy {entropy:.3f} of 1"
    assert above + below in page.seen
    assert {above, below} <= set(drawn)
    assert [[height for height, _ in pair] for pair in page.scale] == [[n / 5, n / 5] for n in range(1, 6)]


def test_dotted_line_stands_at_the_mean_of_its_row():
    figure = attention_gradient_figure(["a", "b", "c", "d"], [0.5, 0.5, 0, 0], [4, 0, 0, 0])
    (axes,) = figure.axes
    for row, (above, below) in enumerate(zip(axes.lines[::2], axes.lines[1::2], strict=True)):
        bars_above, bars_below = axes.containers[2 * row : 2 * row + 2]
        base_above, base_below = bars_above[0].get_y(), bars_below[0].get_y()
        assert set(above.get_ydata()) == {base_above - 0.5 * plotting._BAR}
        assert set(below.get_ydata()) == {base_below + 0.25 * plotting._BAR}
        assert above.get_xdata()[0] < bars_above[0].get_x() < bars_above[-1].get_x() < above.get_xdata()[1]
    page = attention_gradient_html(["a", "b", "c", "d"], [0.5, 0.5, 0, 0], [4, 0, 0, 0])
    assert "bottom: 50.0%" in page
    assert "top: 25.0%" in page


def test_pointing_at_a_word_tells_its_numbers_with_the_sign():
    page = Page(attention_gradient_html(["not", "bad"], [0.75, 0.25], [0.125, -0.5]))
    assert page.titles == ["not: attention 0.75, gradient +0.125", "bad: attention 0.25, gradient -0.5"]


@FACES
def test_nasty_tokens_are_shown_as_they_are(face):
    words, bars = read(face, NASTY, np.ones(8), np.ones(8), "$x^{$")
    assert words == [token or "\u00a0" for token in NASTY]
    assert len(bars) == 8


def test_page_escapes_titles():
    title = '<b>"$x^{$" & more</b>'
    page = Page(attention_gradient_html(NASTY, np.ones(8), np.ones(8), title))
    assert page.seen.count(title) == 2  # in the head and as the heading
    assert [title.rsplit(": attention", 1)[0] for title in page.titles] == NASTY


@FACES
def test_one_word_and_zero_weights_have_no_entropy(face):
    for tokens in (["a"], ["a", "b"]):
        weights = np.zeros(len(tokens))
        assert read(face, tokens, weights, weights) == (tokens, [[(0.0, "#ffffff")] * 2] * len(tokens))
    assert "entropy" not in attention_gradient_html(["a"], [1], [1])


def test_page_needs_nothing_else():
    page = attention_gradient_html(TOKENS, ATTENTION, GRADIENT)
    assert page.startswith("<!DOCTYPE html>")
    assert '<meta charset="utf-8">' in page
    assert not re.search(r"<script|<link|<img|@import|url\(|https?:|src=|\$", page)
    lines = [
        "import runpy, sys",
        "runpy.run_path(sys.argv[1])['attention_gradient_html'](['a'], [1], [1])",
        "assert 'matplotlib' not in sys.modules",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines), plotting.__file__], check=True)


def test_picture_wraps_both_rows_together_and_stays_on_the_page():
    tokens = ["word"] * 60 + ["1" * 100, "end"]
    figure = attention_gradient_figure(tokens, np.ones(62), np.ones(62), title="A heading of many words " * 8)
    FigureCanvasAgg(figure).draw()
    words, places, _ = read_figure(figure)
    assert words == tokens
    assert sorted(places, key=lambda place: (place[2], place[0])) == places
    lines = sorted({y for _, _, y in places})
    assert len(lines) == 5
    assert min(np.diff(lines)) > 2 * plotting._BAR + 15  # rows of neighboring lines do not touch
    for (_, right, y), (left, _, next_y) in itertools.pairwise(places):
        assert next_y > y or left > right
    for artist in [*figure.axes[0].texts, *figure.axes[0].patches]:
        box = artist.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


@FACES
@pytest.mark.parametrize(
    ("tokens", "attention", "gradient", "error", "message"),
    [
        ([], [], [], ValueError, "Got no tokens"),
        (["a", "b"], [1.0], [1.0, 2.0], ValueError, r"Got attention of shape \(1,\) for 2 tokens"),
        (["a", "b"], [1.0, 2.0], [[1.0, 2.0]], ValueError, r"Got gradient of shape \(1, 2\) for 2 tokens"),
        (["a", "b"], [1.0, float("nan")], [1.0, 2.0], ValueError, "Got the attention nan for the token 'b'"),
        (["a", "b"], [1.0, -0.5], [1.0, 2.0], ValueError, "Got the attention -0.5 for the token 'b'"),
        (["a", "b"], [1.0, 0.0], [float("-inf"), 2.0], ValueError, "Got the gradient -inf for the token 'a'"),
        ([101, 102], [1.0, 2.0], [1.0, 2.0], TypeError, "convert_ids_to_tokens"),
    ],
)
def test_wrong_texts_are_named(face, tokens, attention, gradient, error, message):
    with pytest.raises(error, match=message):
        face(tokens, attention, gradient)


def test_correlations_are_drawn_as_shares_with_their_mean():
    figure = correlation_figure(HISTOGRAMS)
    assert len(figure.axes) == 2
    for axes, (label, histogram) in zip(figure.axes, HISTOGRAMS.items(), strict=True):
        drawn = axes.patches[0].get_data()
        assert drawn.values.sum() == pytest.approx(1)
        np.testing.assert_allclose(drawn.values * sum(histogram), histogram)
        np.testing.assert_allclose(drawn.edges, np.histogram([], 40, (-1, 1))[1])
        (mean,) = set(axes.lines[0].get_xdata())
        assert mean == pytest.approx(TAUS[label].mean(), abs=0.025)
        assert mean == pytest.approx(np.average((drawn.edges[1:] + drawn.edges[:-1]) / 2, weights=histogram))
        assert axes.get_title(loc="left") == f"{label}: mean {mean:.2f} (line) of {sum(histogram)} texts"
        assert axes.get_ylim() == figure.axes[0].get_ylim()
    (again,) = figure.axes[1].patches[1:]
    assert len(figure.axes[0].patches) == 1
    np.testing.assert_array_equal(again.get_data().values, figure.axes[0].patches[0].get_data().values)
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["without"]


@pytest.mark.parametrize(
    ("histograms", "message"),
    [
        ({}, "Got no histograms"),
        ({"x": [1] * 39}, "for 'x', needed .*40"),
        ({"x": [0] * 40}, "some above"),
        ({"x": [2] * 39 + [-1]}, "of at least 0"),
        ({"x": [float("nan")] * 40}, "finite"),
    ],
)
def test_wrong_histograms_are_named(histograms, message):
    with pytest.raises(ValueError, match=message):
        correlation_figure(histograms)


def test_accuracies_are_drawn_with_the_interval_of_student():
    (axes,) = weight_figure(ACCURACIES).axes
    assert axes.get_xscale() == "log"
    drawn = {}
    for container in axes.containers:
        line, _, (bars,) = container
        segments = bars.get_segments()
        assert sorted(line.get_xdata()) == list(line.get_xdata())
        for x, y, segment in zip(line.get_xdata(), line.get_ydata(), segments, strict=True):
            drawn.setdefault(line.get_color(), {})[x] = (y, segment)
    assert len(drawn) == 2
    for (label, series), points, beside in zip(ACCURACIES.items(), drawn.values(), (1.1**-0.5, 1.1**0.5), strict=True):
        expected = {(weight or 0.001) * beside: values for weight, values in series.items()}
        assert sorted(points) == pytest.approx(sorted(expected)), label
        for (_, (mean, segment)), (_, values) in zip(sorted(points.items()), sorted(expected.items()), strict=True):
            assert mean == pytest.approx(np.mean(values))
            if len(values) == 1:
                assert segment.size == 0  # no interval
            else:
                interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
                assert segment[:, 1] == pytest.approx(interval)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "0.01", "0.1", "1"]
    assert axes.get_xticks() == pytest.approx([0.001, 0.01, 0.1, 1])
    assert axes.get_ylabel() == "accuracy (%)\nmean and 95% interval"
    assert "//" in [text.get_text() for text in axes.texts]
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == list(ACCURACIES)


def test_series_differ_in_more_than_color():
    (axes,) = weight_figure({str(n): {1.0: [50.0 + n], 2.0: [50.0]} for n in range(4)}).axes
    lines = [container[0] for container in axes.containers if len(container[0].get_xdata())]
    assert len({line.get_marker() for line in lines}) == len({line.get_linestyle() for line in lines}) == 4
    assert [text.get_text() for text in axes.texts] == []  # no weight 0, no broken axis


def test_other_scores_have_other_bounds():
    figure = weight_figure({"x": {1.0: [-0.5]}}, "Agreement", "Kendall's tau", bounds=(-1, 1))
    assert figure.axes[0].get_ylabel().startswith("Kendall's tau\n")
    with pytest.raises(ValueError, match=r"Got the Kendall's tau \[1.5\] for 'x' .* from -1 to 1"):
        weight_figure({"x": {1.0: [1.5]}}, "Agreement", "Kendall's tau", bounds=(-1, 1))


def test_baseline_alone_has_its_place_in_the_legend():
    (axes,) = weight_figure({"baseline": {0: [80.0, 81.0]}}).axes
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == ["baseline"]


@pytest.mark.parametrize(
    ("accuracies", "error", "message"),
    [
        ({}, ValueError, "Got 0 series"),
        ({str(n): {0: [50.0]} for n in range(5)}, ValueError, "Got 5 series of scores, needed 1 to 4"),
        ({"x": {}}, ValueError, "Got no weights for 'x'"),
        ({"x": {0.1: []}}, ValueError, r"Got the accuracy \(%\) \[\] for 'x' at the relevance weight 0.1"),
        ({"x": {0.1: [50.0, 101.0]}}, ValueError, "from 0 to 100"),
        ({"x": {0.1: [float("nan")]}}, ValueError, "from 0 to 100"),
        ({"x": {-0.1: [50.0]}}, ValueError, "Got the relevance weight -0.1 for 'x'"),
        ({"x": {float("nan"): [50.0]}}, ValueError, "Got the relevance weight nan for 'x'"),
        ({"x": {"0.1": [50.0]}}, TypeError, "Got the relevance weight '0.1' for 'x'"),
    ],
)
def test_wrong_accuracies_are_named(accuracies, error, message):
    with pytest.raises(error, match=message):
        weight_figure(accuracies)


@pytest.mark.parametrize(
    ("picture", "arguments"),
    [
        (attention_gradient_figure, (TOKENS, ATTENTION, GRADIENT)),
        (attention_gradient_figure, (NASTY, np.ones(8), np.ones(8), "$x^{$")),
        (correlation_figure, (HISTOGRAMS,)),
        (weight_figure, (ACCURACIES,)),
    ],
)
def test_pictures_are_written_and_leave_no_state_behind(picture, arguments):
    file = io.BytesIO()
    picture(*arguments).savefig(file, format="png", dpi=72)
    file.seek(0)
    pixels = image.imread(file, format="png")[..., :3]
    assert 0.005 < (pixels < 0.9).any(-1).mean() < 0.5
    assert pyplot.get_fignums() == []


def test_picture_has_the_darkest_shades_on_both_sides_of_the_heaviest_word():
    figure = attention_gradient_figure(["an", "awful", "film"], [0, 1, 0.1], [0, -3, 1])
    figure.set_dpi(144)  # 2 pixels a point
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    _, places, _ = read_figure(figure)
    left, right, y = places[1]
    for base, direction, darkest in zip(plotting._BASES, (-1, 1), plotting._DARKEST, strict=True):
        row = round(2 * (y + base + direction * (plotting._BAR - 2)))
        assert (pixels[row, round(2 * left) + 2 : round(2 * right) - 2] == darkest).all()
        assert (pixels[row, : round(2 * left) - 2] == 255).all()
