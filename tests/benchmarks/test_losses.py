"""Time and memory of one loss with its gradient, against the formulas of public projects.

The formulas are rewritten in ``tests/peer_losses.py``. The floor is what the cheapest known
formulation leaves to matrix products, done plainly and into memory at hand: for n < d two products
with the n x n Gram matrix a view, where the public formulas take three with the d x d covariance
matrix. Less than the floor is possible, since a Gram matrix is symmetric and nearly half of it need
not be multiplied.
"""

from collections.abc import Callable
from typing import NamedTuple

import measuring
import peer_losses as public
import pytest
import torch
from torch import Tensor

from vcreg_theory import losses

LARGE = 8192  # here a call of a peer takes many seconds, in float64 twice as many
SHAPES = {(256, 2048): 15, (1024, 2048): 7, (2048, LARGE): 3}  # rounds
FLOAT32_ERROR = 1e-5  # of a gradient, relative to its largest entry
GRAM = "products with Gram matrices"
COVARIANCE = "products with covariance matrices"
PEERS = {
    "facebook": ("facebookresearch's formula", public.vicreg_facebook),
    "lightly": ("lightly's formula", public.vicreg_lightly),
}


class Case(NamedTuple):
    """A loss on two views, the public formulas to compare it with, and the goals of the ratios."""

    name: str
    title: str
    ours: Callable
    peers: dict[str, tuple[str, Callable]]
    goals: dict[str, float]
    floor: tuple[str, Callable]
    views: list[Tensor]
    rounds: int = 15
    most_mib: float | None = None

    def step(self, loss: Callable) -> Callable[[], None]:
        """Return the loss with its gradient as a call without arguments."""

        def run() -> None:
            for z in self.views:
                z.grad = None
            loss(*self.views).backward()

        return run

    def error(self, own: Callable[[], None]) -> float:
        """Return the largest error of a gradient, relative to its largest entry."""
        exact = [z.detach().double().requires_grad_() for z in self.views]
        next(iter(self.peers.values()))[1](*exact).backward()
        own()
        pairs = zip(self.views, exact, strict=True)
        return max(((z.grad - e.grad).abs().max() / e.grad.abs().max()).item() for z, e in pairs)


def _views(n: int, d: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    za, zb = 0.7 * torch.randn(2, n, d, generator=generator)
    return [z.requires_grad_() for z in (za, za + 0.3 * zb)]


def _compare(case: Case, found, cpu_rounds) -> None:
    """Measure a case, and note one row for each peer."""
    own, (floor, products) = case.step(lambda *z: case.ours(*z).loss), case.floor
    n, d = case.views[0].shape
    peak = measuring.peak_mib(own)
    calls = {name: case.step(formula) for name, (_, formula) in case.peers.items()}
    peaks = {name: measuring.peak_mib(call, warm_up=d < LARGE) for name, call in calls.items()}

    def least() -> None:
        with torch.no_grad():
            products(*case.views)

    times = cpu_rounds(case.rounds, {"own": own, "floor": least, **calls})
    for name, (peer, _) in case.peers.items():
        found.ratio(
            f"{case.name}_{n}x{d}_{name}",
            f"{case.title}, {n} x {d}",
            peer=peer,
            own=times["own"],
            theirs=times[name],
            goal=case.goals.get(name),
            floor=(floor, times["floor"]),
            floor_goal=0.8 if case.name == "vicreg" and n < d else None,
            mib=peak,
            mib_goal=case.most_mib,
            peer_mib=peaks[name],
        )
    if d < LARGE:
        assert case.error(own) < FLOAT32_ERROR


def _gram_products(za: Tensor, zb: Tensor, *, cross: bool = False) -> Callable[..., None]:
    """Return the products with Gram matrices that the loss cannot do without."""
    n, d = za.shape
    grams, out = torch.empty(2, n, n), torch.empty(n, d)

    def run(a: Tensor, b: Tensor) -> None:
        for z, gram in ((a, grams[0]), (b, grams[1])):
            torch.mm(z, z.T, out=gram)
        for z, gram in ((b, grams[0]), (a, grams[1])) if cross else ((a, grams[0]), (b, grams[1])):
            torch.mm(gram, z, out=out)

    return run


def _goal(shape: tuple[int, int], *goals: float) -> float:
    return goals[list(SHAPES).index(shape)]


@pytest.mark.parametrize("shape", SHAPES, ids="{0[0]}x{0[1]}".format)
def test_vicreg_loss(found, cpu_rounds, shape):
    views = _views(*shape)
    goals = {"facebook": _goal(shape, 12, 3.3, 6)}
    goals |= {"lightly": _goal(shape, 20, 4, 0)} if shape[1] < LARGE else {}
    peers = {name: PEERS[name] for name in goals}
    floor = GRAM, _gram_products(*views)
    title = "VICReg"
    case = Case("vicreg", title, losses.vicreg_loss, peers, goals, floor, views, SHAPES[shape])
    n, d = shape  # two gradients, one more matrix of their shape, a Gram matrix; nothing d x d
    _compare(case._replace(most_mib=4 * (3 * n * d + n * n) / 2**20), found, cpu_rounds)


def test_vicreg_loss__more_samples_than_dimensions(found, cpu_rounds):
    views = _views(1024, 512)
    n, d = views[0].shape
    square, out = torch.empty(d, d), torch.empty(n, d)

    def products(*both):
        for z in both:
            torch.mm(z.T, z, out=square)
            torch.mm(z, square, out=out)

    peers, floor = {"facebook": PEERS["facebook"]}, (COVARIANCE, products)
    title, goals = "VICReg", {"facebook": 1.5}
    case = Case("vicreg", title, losses.vicreg_loss, peers, goals, floor, views)
    _compare(case, found, cpu_rounds)


@pytest.mark.parametrize("shape", SHAPES, ids="{0[0]}x{0[1]}".format)
def test_barlow_twins_loss(found, cpu_rounds, shape):
    views = _views(*shape)

    def ours(za, zb):
        return losses.barlow_twins_loss(za, zb, off_diagonal=0.0051)

    peers = {"facebook": ("facebookresearch's formula", public.barlow_facebook)}
    goals = {"facebook": _goal(shape, 6, 1.5, 3)}
    floor = GRAM, _gram_products(*views, cross=True)
    title = "Barlow Twins"
    case = Case("barlow_twins", title, ours, peers, goals, floor, views, SHAPES[shape])
    _compare(case, found, cpu_rounds)


@pytest.mark.parametrize("shape", SHAPES, ids="{0[0]}x{0[1]}".format)
def test_infonce_loss(found, cpu_rounds, shape):
    views = _views(*shape)
    n, d = shape
    pooled, square, out = torch.empty(2 * n, d), torch.empty(2 * n, 2 * n), torch.empty(2 * n, d)

    def products(za, zb):
        torch.cat([za, zb], out=pooled)
        torch.mm(pooled, pooled.T, out=square)
        torch.mm(square, pooled, out=out)

    peers = {"lightly": ("lightly's formula", public.ntxent_lightly)}
    floor = "two products of all pairs", products
    title, goals = "InfoNCE", {"lightly": 2.0}
    case = Case("infonce", title, losses.infonce_loss, peers, goals, floor, views, SHAPES[shape])
    _compare(case, found, cpu_rounds)
