"""Time and memory of the local affine map of a ResNet-18, against torch.func.jacrev.

Run with ``pytest tests/benchmarks/test_local_map.py --benchmark-enable -s``. Parameters are frozen
for both: otherwise jacrev records a second graph, for derivatives that nobody asks for. The plain
call, with parameters that require gradients as they do by default, is timed as well.
"""

import measuring
import pytest
import torch
from networks import resnet18

from vcreg_theory import seeding
from vcreg_theory.piecewise import exit_radius, local_affine_map, lower

OUTPUTS, ROUNDS, CHUNKS, RAYS = 128, 5, (None, 8, 16, 32, 64), 64


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return resnet18(OUTPUTS).requires_grad_(False)


@pytest.fixture
def images(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(RAYS, 3, 32, 32, generator=generator)


def test_local_affine_map__resnet18(benchmark, model, images):
    x = images[:1]

    def ours():
        return local_affine_map(model, x)

    def jacrev(chunk):
        return lambda: torch.func.jacrev(lambda v: model(v[None])[0], chunk_size=chunk)(x[0])

    trainable = resnet18(OUTPUTS)

    def plain():
        return torch.func.jacrev(lambda v: trainable(v[None])[0])(x[0])

    def forward():
        with torch.no_grad():
            return model(images)

    peak = measuring.peak_mib(ours)  # before the peers' larger blocks have fragmented the heap
    local = benchmark.pedantic(ours, rounds=3, warmup_rounds=1)
    own, batched, plain_call, *peers = measuring.cpu_seconds(
        ROUNDS, ours, forward, plain, *map(jacrev, CHUNKS)
    )
    best = CHUNKS[peers.index(min(peers))]
    difference = local.map[0] @ x.flatten() + local.offset[0] - model(x)[0]
    jacobian = jacrev(best)().flatten(1)
    info = {
        "seconds": own,
        "jacrev_seconds": dict(zip(map(str, CHUNKS), peers, strict=True)),
        "best_chunk": str(best),
        "ratio_to_plain_call": plain_call / own,
        "ratio_to_best": min(peers) / own,
        "ratio_to_default": peers[CHUNKS.index(None)] / own,
        "floor_fraction": OUTPUTS * batched / len(images) / own,
        "peak_mib": peak,
        "jacrev_best_peak_mib": measuring.peak_mib(jacrev(best)),
        "jacrev_default_peak_mib": measuring.peak_mib(jacrev(None)),
        "error": (difference.abs().max() / model(x).abs().max()).item(),
        "map_error": ((local.map[0] - jacobian).abs().max() / jacobian.abs().max()).item(),
        "torch": torch.__version__,
    }
    benchmark.extra_info.update(info)
    assert info["error"] < 1e-6 and info["map_error"] < 1e-5
    assert info["peak_mib"] is None or info["peak_mib"] <= 100


def test_exit_radius__resnet18(benchmark, model, images):
    program = lower(model)
    u = torch.randn(images.shape, generator=seeding.torch_generator(0, "rays"), dtype=images.dtype)

    def many():
        return exit_radius(program, images[:1], u)

    def forward():
        with torch.no_grad():
            return model(images)

    benchmark.pedantic(many, rounds=3, warmup_rounds=1)
    own, own_batch, batched = measuring.cpu_seconds(
        ROUNDS, many, lambda: exit_radius(program, images, u), forward
    )
    info = {
        "milliseconds_a_ray": 1e3 * own / RAYS,
        "in_forward_passes_one_start": own / batched,
        "in_forward_passes_own_starts": own_batch / batched,
        "peak_mib": measuring.peak_mib(many),
    }
    benchmark.extra_info.update(info)
