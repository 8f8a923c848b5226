"""One figure style for the whole book.

Theory is a black dashed line, a measurement is coloured points with 95 % intervals, a control is
grey. The colours are Okabe and Ito's, which readers with any colour vision can tell apart.
"""

import base64
import html
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import validation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
CONTROL = "#8A8A8A"
_STYLE: "dict[RcKeyType, object]" = {
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "font.size": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "vcreg_theory",
}


def figure(
    panels: int = 1, *, width: float = 6.4, height: float = 3.0, **options: Any
) -> tuple["Figure", Any]:
    """Return a figure of the book's style and its axes, side by side.

    Parameters
    ----------
    panels : int
        Number of axes, at least 1.
    width, height : float
        Size in inches.
    **options
        Passed to ``matplotlib.pyplot.subplots``.

    Returns
    -------
    fig : Figure
    axes : Axes, or array of Axes if `panels` is above 1

    Examples
    --------
    >>> fig, ax = figure()
    >>> [float(inches) for inches in fig.get_size_inches()]
    [6.4, 3.0]
    """
    import matplotlib as mpl
    from matplotlib import pyplot as plt
    from matplotlib.rcsetup import cycler

    validation.integer("panels", panels, at_least=1)
    mpl.rcParams.update(_STYLE)
    mpl.rcParams["axes.prop_cycle"] = cycler(color=COLOURS)
    if "inline" in mpl.get_backend():
        import matplotlib_inline.backend_inline as inline

        # No date in the file: two builds must give the same bytes.
        inline.set_matplotlib_formats("svg", metadata={"Date": None})
    return plt.subplots(1, panels, figsize=(width, height), **options)


def theory(ax: "Axes", x: Any, y: Any, label: str = "theory") -> None:
    """Draw a prediction: a black dashed line."""
    ax.plot(_array(x), _array(y), color="black", linestyle="--", label=label, zorder=3)


def measured(
    ax: "Axes",
    x: Any,
    y: Any,
    low: Any = None,
    high: Any = None,
    *,
    label: str = "measured",
    colour: int | str = 0,
    line: bool = False,
) -> None:
    """Draw measurements: coloured points, with their 95 % intervals if `low` and `high` are given.

    Parameters
    ----------
    ax : Axes
    x, y : array_like
        The points.
    low, high : array_like, optional
        Ends of the intervals.
    label : str
    colour : int or str
        Place in the palette, or a colour.
    line : bool
        Whether the points are joined.
    """
    x, y = _array(x), _array(y)
    shade = COLOURS[colour % len(COLOURS)] if isinstance(colour, int) else colour
    if low is not None and high is not None:
        ax.vlines(x, _array(low), _array(high), color=shade, linewidth=1.2, alpha=0.7)
    ax.plot(x, y, "o-" if line else "o", color=shade, label=label)


def control(ax: "Axes", x: Any, y: Any, label: str = "control") -> None:
    """Draw a case with a broken hypothesis: grey."""
    ax.plot(_array(x), _array(y), "s-", color=CONTROL, label=label, zorder=1)


def polygons(ax: "Axes", shapes: Sequence[Any], values: Any, *, cmap: str = "viridis") -> Any:
    """Fill polygons by value and return the collection, for a colour bar.

    Parameters
    ----------
    ax : Axes
    shapes : sequence of array_like, shape (v, 2)
        Vertices of each polygon.
    values : array_like, shape (len(shapes),)
        Value of each polygon.
    cmap : str
        Name of a perceptually uniform colour map.
    """
    from matplotlib.collections import PolyCollection

    collection = PolyCollection(
        [_array(shape) for shape in shapes],
        array=_array(values),
        cmap=cmap,
        edgecolors="white",
        linewidths=0.15,
        rasterized=True,
    )
    ax.add_collection(collection)
    ax.autoscale_view()
    ax.set_aspect("equal")
    ax.grid(False)
    return collection


def colour_bar(fig: "Figure", artist: Any, label: str) -> None:
    """Add a colour bar that says what the colours of `artist` mean."""
    fig.colorbar(artist, ax=fig.axes[-1], label=label)


def show() -> None:
    """Show the figure; ends a figure cell, so that the cell has one output."""
    from matplotlib import pyplot as plt

    plt.show()


class Slider:
    """One figure for each value of a parameter, with a slider to move through them.

    A notebook shows it where it is the last value of a cell. All figures are stored in the page,
    so moving the slider needs no server and no Python. Without scripts, and on paper, the figure
    at `start` is seen.

    Parameters
    ----------
    values : sequence of float
        Values of the parameter, at least 2, in the order of the slider.
    draw : callable
        Draws the figure of a value with `figure` and the functions here; axes need fixed limits,
        or the figures do not compare. What it opens is closed, what was open before stays; of
        several figures the one with the highest number counts.
    label : str
        What the slider moves, in plain text.
    alt : str
        Text for a reader who cannot see the figures; the value is added to it.
    start : int
        Place of the value that is shown first.
    form : str
        Format of a value.

    Raises
    ------
    ValueError
        If there are fewer than 2 values, `start` is not the place of one, or `draw` makes no
        figure.

    Examples
    --------
    >>> def draw(slope):
    ...     fig, ax = figure()
    ...     theory(ax, [0, 1], [0, slope])
    >>> Slider([1.0, 2.0], draw, label="slope", alt="A line.")
    slider over slope: 1, 2
    """

    def __init__(
        self,
        values: Sequence[float],
        draw: Callable[[float], Any],
        *,
        label: str,
        alt: str,
        start: int = 0,
        form: str = ".3g",
    ) -> None:
        validation.integer("len(values)", len(values), at_least=2)
        validation.integer("start", start, at_least=0)
        if start >= len(values):
            raise ValueError(f"start is {start}; it must be below the {len(values)} values")
        self.label, self.alt, self.start = label, alt, start
        self.texts = [format(value, form) for value in values]
        self.images = [_svg(draw, value) for value in values]

    def __repr__(self) -> str:
        return f"slider over {self.label}: {', '.join(self.texts)}"

    def _repr_html_(self) -> str:
        """Return the figures and the slider as one element without any reference outside it."""
        label = html.escape(self.label)
        frames = "".join(
            f'<img src="data:image/svg+xml;base64,{image}" data-value="{html.escape(text)}" '
            f'alt="{html.escape(f"{self.alt} {self.label} = {text}")}"'
            f"{'' if place == self.start else ' hidden'}>"
            for place, (text, image) in enumerate(zip(self.texts, self.images, strict=True))
        )
        return (
            f'<figure class="vcreg-slider">{frames}<div><label>{label} '
            f'<input type="range" min="0" max="{len(self.texts) - 1}" value="{self.start}" '
            f'oninput="{_MOVE}"></label> '
            f"<output>{html.escape(self.texts[self.start])}</output></div></figure>"
        )


# Shows the image at the slider's place, hides the others and writes the value beside it.
_MOVE = (
    "const f=this.closest('figure'),s=this.value;f.querySelectorAll('img').forEach((e,i)=>"
    "{e.hidden=i!=s;if(i==s){f.querySelector('output').value=e.dataset.value;"
    "this.setAttribute('aria-valuetext',e.dataset.value)}})"
)


def _svg(draw: Callable[[float], Any], value: float) -> str:
    """Draw one figure and return it as base64 of SVG, the same bytes each time."""
    from matplotlib import pyplot as plt

    before = set(plt.get_fignums())
    try:
        draw(value)
        made = [number for number in plt.get_fignums() if number not in before]
        if not made:
            raise ValueError(f"draw must make a figure, got none of the value {value!r}")
        stream = io.BytesIO()
        plt.figure(made[-1]).savefig(stream, format="svg", metadata={"Date": None})
    finally:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)
    return base64.b64encode(stream.getvalue()).decode()


def _array(values: Any) -> np.ndarray:
    detached = values.detach().cpu() if hasattr(values, "detach") else values
    return np.asarray(detached, dtype=float)
