"""One figure style for the whole book.

Theory is a black dashed line, a measurement is coloured points with 95 % intervals, a control is
grey. The colours are Okabe and Ito's, which readers with any colour vision can tell apart.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import validation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
CONTROL = "#8A8A8A"
_STYLE = {
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

    validation.integer("panels", panels, at_least=1)
    mpl.rcParams.update(_STYLE)
    mpl.rcParams["axes.prop_cycle"] = mpl.cycler(color=COLOURS)
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


def _array(values: Any) -> np.ndarray:
    detached = values.detach().cpu() if hasattr(values, "detach") else values
    return np.asarray(detached, dtype=float)
