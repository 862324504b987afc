"""The page and the picture of token saliency say the same, and say what the weights say."""

import html.parser
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hf_calc import plotting
from hf_calc.plotting import saliency_figure, saliency_html

TOKENS = ["[CLS]", "who", "?", "[SEP]", "ann", "has", "7", "##2", ",", "bob", "2", "##3", "[SEP]"]
TOKENS += ["9", "##5", "=", "7", "##2", "+", "2", "##3", "[SEP]"]
LINES = [["[CLS]", "who", "?", "[SEP]"], ["ann", "has", "72", ",", "bob", "23", "[SEP]"]]
LINES += [["95", "=", "72", "+", "23", "[SEP]"]]
WEIGHTS = np.random.default_rng(0).exponential(size=len(TOKENS))
NASTY = ["<script>", "##&amp;", '"', "'", "##", "$x^{$", "\\", "_", "##>", "[SEP]", "##x"]
FACES = pytest.mark.parametrize("face", [saliency_html, saliency_figure])


class Page(html.parser.HTMLParser):
    """Reads a page back: words by line, and title and color of every token; checks that all tags are closed."""

    def __init__(self, page):
        super().__init__()
        self.lines, self.pieces, self.heading, self.open = [], [], "", []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "meta":
            return
        self.open.append(tag)
        if tag == "p":
            self.lines.append([])
        elif attributes.get("class") == "word":
            self.lines[-1].append("")
        elif tag == "span" and "title" in attributes:
            self.pieces.append((attributes["title"], attributes["style"].removeprefix("background:")))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["h1"]:
            self.heading += data
        elif self.open[-2:] == ["span", "span"]:
            self.lines[-1][-1] += data
        elif self.open[-2:] == ["p", "span"]:
            raise AssertionError(f"{data!r} stands between the pieces of a word")


def read_figure(figure, heading_lines=1):
    """Words by line, and the colors of the boxes of a picture; the scale and the heading are left out."""
    (axes,) = figure.axes
    letters = [text for text in axes.texts if text.get_fontsize() == 10]
    assert len(axes.texts) - len(letters) == heading_lines + 2
    lines = {}
    for letter in letters:
        lines.setdefault(letter.get_position()[1], []).append((letter.get_position()[0], letter.get_text()))
    words = []
    for y in sorted(lines):
        x = [x for x, _ in lines[y]]
        gaps = np.diff(x, prepend=x[0]) > 1.5 * 6.02  # a letter is 6.02 points wide; between words one is left out
        text = "".join(" " * int(gap) + letter for gap, (_, letter) in zip(gaps, lines[y], strict=True))
        words.append(text.split(" "))
    return words, [np.rint(255 * np.array(box.get_facecolor()[:3])).astype(int).tolist() for box in axes.patches]


def luminance(color):
    """Relative luminance by WCAG 2."""
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def test_page_and_picture_show_the_same_words_and_shades():
    page = Page(saliency_html(TOKENS, WEIGHTS, title="Who?"))
    words, colors = read_figure(saliency_figure(TOKENS, WEIGHTS, title="Who?"))
    assert page.lines == words == LINES
    assert page.heading == "Who?"
    assert [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for _, color in page.pieces] == colors
    assert [title for title, _ in page.pieces] == [f"{t}: {w:.3g}" for t, w in zip(TOKENS, WEIGHTS, strict=True)]


def test_shade_is_proportional_to_the_weight():
    colors = [color for _, color in Page(saliency_html(["a", "b", "c", "d"], [4.0, 2.0, 1.0, 0.0])).pieces]
    light, dark = plotting._LIGHTEST, plotting._DARKEST
    expected = [dark, (light + dark) / 2, (3 * light + dark) / 4, light]
    assert [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in colors] == np.rint(expected).tolist()
    assert colors[3] == "#ffffff"


def test_text_is_legible_on_every_shade_and_shades_only_get_darker():
    shades = [luminance(plotting._shade(fraction)) for fraction in np.linspace(0, 1, 101)]
    assert np.all(np.diff(shades) < 0)
    assert (min(shades) + 0.05) / (luminance(plotting._INK) + 0.05) > 6.8
    assert 1.05 / (luminance(plotting._MUTED) + 0.05) > 4.5


@FACES
def test_zero_weights_leave_everything_white(face):
    shown = face(["a", "b"], [0, 0])
    if face is saliency_html:
        assert [color for _, color in Page(shown).pieces] == ["#ffffff", "#ffffff"]
    else:
        assert read_figure(shown)[1] == [[255, 255, 255]] * 2


def test_nasty_tokens_are_shown_as_they_are():
    title = '<b>"Who" & $x^{$</b>'
    weights = np.ones(len(NASTY))
    page = Page(saliency_html(NASTY, weights, title))
    expected = [["<script>&amp;", '"', "'", "##", "$x^{$", "\\", "_>", "[SEP]"], ["##x"]]
    assert page.lines == expected
    assert page.heading == title
    assert [title.rsplit(":", 1)[0] for title, _ in page.pieces] == NASTY
    figure = saliency_figure(NASTY, weights, title)
    assert read_figure(figure)[0] == expected
    figure.savefig(io.BytesIO())  # "$x^{$" would be an error if it were read as mathematics


def test_page_needs_nothing_else():
    page = saliency_html(TOKENS, WEIGHTS)
    assert page.startswith("<!DOCTYPE html>")
    assert '<meta charset="utf-8">' in page
    assert not re.search(r"<script|<link|<img|@import|url\(|https?:|src=", page)
    assert "$" not in page


def test_picture_has_the_darkest_shade_where_the_heaviest_token_stands():
    figure = saliency_figure(["an", "5", "##9", "yes"], [0, 0, 3, 1])
    figure.set_dpi(144)  # 2 pixels a point
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    x, y = next(text.get_position() for text in axes.texts if text.get_text() == "9" and text.get_fontsize() == 10)
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    above_letter = round(2 * (y - 9))
    assert pixels[above_letter, round(2 * x) + 3].tolist() == plotting._DARKEST.tolist()
    assert pixels[above_letter, round(2 * x) - 3].tolist() == [255, 255, 255]  # the "5" before it, without a gap


def test_picture_wraps_long_lines_and_headings_and_stays_on_the_page():
    words = ["word"] * 60 + ["1" * 100]
    figure = saliency_figure([*words, "[SEP]", "end"], np.ones(63), title="A heading of many words " * 8)
    FigureCanvasAgg(figure).draw()
    lines, _ = read_figure(figure, heading_lines=4)
    assert [word for line in lines for word in line] == [*words, "[SEP]", "end"]
    assert len(lines) == 6
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


def test_picture_leaves_no_state_behind():
    saliency_figure(TOKENS, WEIGHTS)
    assert pyplot.get_fignums() == []


def test_page_does_not_need_matplotlib():
    lines = [
        "import runpy, sys",
        "runpy.run_path(sys.argv[1])['saliency_html'](['a'], [1])",
        "assert 'matplotlib' not in sys.modules",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines), plotting.__file__], check=True)


@FACES
@pytest.mark.parametrize(
    ("tokens", "weights", "error", "message"),
    [
        ([], [], ValueError, "Got no tokens"),
        (["a", "b"], [1.0], ValueError, r"Got weights of shape \(1,\) for 2 tokens"),
        (["a", "b"], [[1.0, 2.0]], ValueError, r"Got weights of shape \(1, 2\) for 2 tokens"),
        (["a", "b"], [1.0, float("nan")], ValueError, "Got the weight nan for the token 'b'"),
        (["a", "b"], [float("inf"), 1.0], ValueError, "Got the weight inf for the token 'a'"),
        (["a", "b"], [1.0, -0.5], ValueError, "Got the weight -0.5 for the token 'b'"),
        ([101, 102], [1.0, 2.0], TypeError, "convert_ids_to_tokens"),
    ],
)
def test_wrong_arguments_are_named(face, tokens, weights, error, message):
    with pytest.raises(error, match=message):
        face(tokens, weights)
