"""Figures look alike everywhere, and sliders hold all their figures."""

import base64
import re

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from vcreg_theory import plotting


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def draw(slope):
    _, ax = plotting.figure()
    plotting.theory(ax, [0, 1], [0, slope])
    ax.set_ylim(0, 3)


def images(slider):
    found = re.findall(r"<img [^>]*>", slider._repr_html_())
    return [(re.search(r'base64,([^"]*)"', tag)[1], " hidden" in tag, tag) for tag in found]


def test_figure__has_the_given_size_and_panels():
    fig, axes = plotting.figure(3, width=7.0, height=2.5)
    assert len(axes) == 3
    assert fig.get_size_inches().tolist() == [7.0, 2.5]


def test_measured__draws_tensors_that_need_gradients_with_their_intervals():
    _, ax = plotting.figure()
    y = torch.tensor([1.0, 2.0], requires_grad=True)
    plotting.measured(ax, [0, 1], y, y - 1, y + 1)
    assert np.array_equal(ax.lines[0].get_ydata(), [1.0, 2.0])
    assert [segment[:, 1].tolist() for segment in ax.collections[0].get_segments()] == [
        [0.0, 2.0],
        [1.0, 3.0],
    ]


def test_theory_and_control__are_told_apart_without_colour():
    _, ax = plotting.figure()
    plotting.theory(ax, [0, 1], [0, 1])
    plotting.control(ax, [0, 1], [1, 0])
    assert [line.get_linestyle() for line in ax.lines] == ["--", "-"]
    assert [line.get_color() for line in ax.lines] == ["black", plotting.CONTROL]


def test_slider__holds_one_drawing_a_value_and_shows_the_first():
    found = images(plotting.Slider([1.0, 2.0, 3.0], draw, label="slope", alt="A line.", start=1))
    assert [hidden for _, hidden, _ in found] == [True, False, True]
    drawings = [base64.b64decode(data) for data, _, _ in found]
    assert len(set(drawings)) == 3
    assert all(b"<svg" in drawing for drawing in drawings)
    assert not plt.get_fignums()


def test_slider__leaves_figures_that_were_open():
    mine, ax = plotting.figure()
    ax.plot([0, 1], [5, 6])
    plain = images(plotting.Slider([1.0, 2.0], draw, label="slope", alt="A line."))
    assert plt.get_fignums() == [mine.number] and len(ax.lines) == 1
    plt.close(mine)
    again = images(plotting.Slider([1.0, 2.0], draw, label="slope", alt="A line."))
    assert again == plain


@pytest.mark.parametrize("broken", [lambda value: None, lambda value: plt.plot([0, value])])
def test_slider__refuses_a_drawing_without_a_figure_of_its_own(broken):
    mine, _ = plotting.figure()
    with pytest.raises(ValueError, match=r"draw must make a figure, got none of the value 1\.0"):
        plotting.Slider([1.0, 2.0], broken, label="slope", alt="A line.")
    assert plt.get_fignums() == [mine.number]


def test_slider__closes_what_a_failing_drawing_opened():
    def fails(value):
        draw(value)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        plotting.Slider([1.0, 2.0], fails, label="slope", alt="A line.")
    assert not plt.get_fignums()


def test_slider__gives_the_same_bytes_again():
    first, again = (plotting.Slider([1, 2], draw, label="slope", alt="A.") for _ in range(2))
    assert first._repr_html_() == again._repr_html_()


def test_slider__names_every_figure_and_asks_for_nothing_outside():
    text = plotting.Slider([1, 2], draw, label='a "b" <c>', alt="A & B.")._repr_html_()
    assert 'alt="A &amp; B. a &quot;b&quot; &lt;c&gt; = 1"' in text
    assert "<c>" not in text
    assert not re.search(r"https?:", re.sub(r"base64,[^\"]*", "", text))


@pytest.mark.parametrize(("values", "start"), [([1.0], 0), ([1.0, 2.0], 2), ([1.0, 2.0], -1)])
def test_slider__refuses_no_choice(values, start):
    with pytest.raises(ValueError, match=r"start|values"):
        plotting.Slider(values, draw, label="slope", alt="A line.", start=start)


def test_polygons__are_filled_by_value_on_equal_axes_with_a_bar_that_says_what_it_is():
    fig, ax = plotting.figure()
    shapes = [[[0, 0], [3, 0], [0, 1]], torch.tensor([[3.0, 0.0], [3.0, 2.0], [0.0, 1.0]])]
    found = plotting.polygons(ax, shapes, torch.tensor([2.0, 5.0]), cmap="cividis")
    corners = [path.vertices[:3].tolist() for path in found.get_paths()]
    assert corners == [np.asarray(shape).tolist() for shape in shapes]
    assert found.get_array().tolist() == [2.0, 5.0] and found.get_cmap().name == "cividis"
    assert ax.get_aspect() == 1.0 and ax.dataLim.extents.tolist() == [0.0, 0.0, 3.0, 2.0]
    assert not any(line.get_visible() for line in ax.get_xgridlines() + ax.get_ygridlines())
    plotting.colour_bar(fig, found, "density")
    assert fig.axes[-1].get_ylabel() == "density" and found.get_clim() == (2.0, 5.0)


def test_show__shows(monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(True))
    plotting.show()
    assert shown == [True]


def test_figure__in_a_notebook_is_svg_without_a_date(monkeypatch):
    formats = []
    monkeypatch.setattr("matplotlib.get_backend", lambda **_: "module://matplotlib_inline")
    monkeypatch.setattr(
        "matplotlib_inline.backend_inline.set_matplotlib_formats",
        lambda *names, **options: formats.append((names, options)),
    )
    plotting.figure()
    assert formats == [(("svg",), {"metadata": {"Date": None}})]
