"""Time and memory of one loss with its gradient, against the formulas of public projects.

Run with ``pytest tests/benchmarks/test_losses.py --benchmark-enable -s``. The floor is what the
cheapest known formulation leaves to matrix products, done plainly and into memory at hand: for
n < d two products with the n x n Gram matrix a view, where the public formulas take three with the
d x d covariance matrix. Less than the floor is possible, since a Gram matrix is symmetric and
nearly half of it need not be multiplied.
"""

from collections.abc import Callable

import measuring
import peer_losses as public
import pytest
import torch
from torch import Tensor

from vcreg_theory import losses

SHAPES = {(256, 2048): 15, (1024, 2048): 5}  # rounds
FLOAT32_ERROR = 1e-5  # of a gradient, relative to its largest entry


def _views(n: int, d: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    za, zb = 0.7 * torch.randn(2, n, d, generator=generator)
    return [z.requires_grad_() for z in (za, za + 0.3 * zb)]


def _compare(benchmark, ours, theirs, products, views) -> dict[str, float]:
    """Return the times, ratios, memory and error of our loss, and note them."""
    n, d = views[0].shape

    def step(loss):
        def run():
            for z in views:
                z.grad = None
            loss(*views).backward()

        return run

    def floor():
        with torch.no_grad():
            products(*views)

    own = step(lambda *z: ours(*z).loss)
    rounds = SHAPES.get((n, d), 15)
    peaks = [measuring.peak_mib(own), measuring.peak_mib(step(theirs))]
    benchmark.pedantic(own, rounds=3, warmup_rounds=1)
    times = measuring.named_cpu_seconds(rounds, ours=own, public=step(theirs), floor=floor)
    exact = [z.detach().double().requires_grad_() for z in views]
    theirs(*exact).backward()
    own()
    error = max(
        ((z.grad - e.grad).abs().max() / e.grad.abs().max()).item()
        for z, e in zip(views, exact, strict=True)
    )
    info = {
        "milliseconds": 1e3 * times["ours"],
        "public_milliseconds": 1e3 * times["public"],
        "floor_milliseconds": 1e3 * times["floor"],
        "ratio_to_public": times["public"] / times["ours"],
        "floor_fraction": times["floor"] / times["ours"],
        "peak_mib": peaks[0],
        "public_peak_mib": peaks[1],
        "gradient_error": error,
        "torch": torch.__version__,
    }
    benchmark.extra_info.update(info)
    assert error < FLOAT32_ERROR
    return info


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


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_vicreg_loss(benchmark, shape):
    views = _views(*shape)
    info = _compare(
        benchmark, losses.vicreg_loss, public.vicreg_facebook, _gram_products(*views), views
    )
    assert info["floor_fraction"] > 0.8
    assert info["ratio_to_public"] > (10 if shape[0] == 256 else 3.3)


def test_vicreg_loss__more_samples_than_dimensions(benchmark):
    views = _views(1024, 512)
    n, d = views[0].shape
    square, out = torch.empty(d, d), torch.empty(n, d)

    def products(*both):
        for z in both:
            torch.mm(z.T, z, out=square)
            torch.mm(z, square, out=out)

    info = _compare(benchmark, losses.vicreg_loss, public.vicreg_facebook, products, views)
    assert info["ratio_to_public"] > 1.5


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_barlow_twins_loss(benchmark, shape):
    views = _views(*shape)

    def ours(za, zb):
        return losses.barlow_twins_loss(za, zb, off_diagonal=0.0051)

    products = _gram_products(*views, cross=True)
    info = _compare(benchmark, ours, public.barlow_facebook, products, views)
    assert info["ratio_to_public"] > (6 if shape[0] == 256 else 1.5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_infonce_loss(benchmark, shape):
    views = _views(*shape)
    n, d = shape
    pooled, square, out = torch.empty(2 * n, d), torch.empty(2 * n, 2 * n), torch.empty(2 * n, d)

    def products(za, zb):
        torch.cat([za, zb], out=pooled)
        torch.mm(pooled, pooled.T, out=square)
        torch.mm(square, pooled, out=out)

    info = _compare(benchmark, losses.infonce_loss, public.ntxent_lightly, products, views)
    assert info["ratio_to_public"] > 1.8  # the goal is 2, found within a few per cent


@pytest.mark.parametrize("name", ["vicreg_logdet_loss", "vicreg_pairdist_loss", "wmse_loss"])
def test_other_losses__time(benchmark, name):
    """No public code to compare with, or no goal: the time alone, in double precision inside."""
    views = _views(256, 128)

    def step():
        for z in views:
            z.grad = None
        getattr(losses, name)(*views).loss.backward()

    benchmark.pedantic(step, rounds=5, warmup_rounds=1)
    benchmark.extra_info["milliseconds"] = 1e3 * measuring.named_cpu_seconds(15, step=step)["step"]
