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
