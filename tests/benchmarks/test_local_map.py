"""Time and memory of the local affine map of a ResNet-18, against torch.func.jacrev.

Parameters are frozen for both: otherwise jacrev records a second graph, for derivatives that nobody
asks for. The plain call, with parameters that require gradients as they do by default, is timed as
well. The floor is one forward pass for each output, in batches.
"""

import measuring
import pytest
import torch
from networks import resnet18

from vcreg_theory import seeding
from vcreg_theory.piecewise import exit_radius, local_affine_map, lower

OUTPUTS, ROUNDS, CHUNKS, RAYS = 128, 5, ("None", "8", "16", "32", "64"), 64


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return resnet18(OUTPUTS).requires_grad_(False)


@pytest.fixture
def images(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(RAYS, 3, 32, 32, generator=generator)


def test_local_affine_map__resnet18(found, cpu_rounds, model, images):
    x = images[:1]

    def ours():
        return local_affine_map(model, x)

    def jacrev(network, chunk):
        size = None if chunk == "None" else int(chunk)
        return lambda: torch.func.jacrev(lambda v: network(v[None])[0], chunk_size=size)(x[0])

    def forward():
        with torch.no_grad():
            return model(images)

    peak = measuring.peak_mib(ours)  # before the peers' larger blocks have fragmented the heap
    peers = {chunk: jacrev(model, chunk) for chunk in CHUNKS}
    peers["plain"] = jacrev(resnet18(OUTPUTS), "None")
    times = cpu_rounds(ROUNDS, {"own": ours, "forward": forward, **peers})
    best = measuring.quickest({chunk: times[chunk] for chunk in CHUNKS})
    for name, peer, chunk in (
        ("plain", "jacrev, as called by default", "plain"),
        ("frozen", "jacrev, frozen parameters", "None"),
        ("best", "jacrev, frozen, best of five chunk sizes", best),
    ):
        found.ratio(
            f"local_map_resnet18_{name}",
            f"local affine map of a ResNet-18, {OUTPUTS} outputs",
            peer=peer,
            own=times["own"],
            theirs=times[chunk],
            goal=1.8,
            floor=(
                "a batched forward pass for each output",
                measuring.scaled(times["forward"], OUTPUTS / RAYS),
            ),
            floor_goal=0.85,
            mib=peak,
            mib_goal=100.0,
            peer_mib=measuring.peak_mib(peers[chunk]),
        )
    local, jacobian = ours(), peers[best]().flatten(1)
    difference = local.map[0] @ x.flatten() + local.offset[0] - model(x)[0]
    assert (difference.abs().max() / model(x).abs().max()).item() < 1e-6
    assert ((local.map[0] - jacobian).abs().max() / jacobian.abs().max()).item() < 1e-5


def test_exit_radius__resnet18(found, cpu_rounds, model, images):
    """A pass that carries a direction along costs two passes; then come the crossings."""
    program = lower(model)
    u = torch.randn(images.shape, generator=seeding.torch_generator(0, "rays"), dtype=images.dtype)

    def many():
        return exit_radius(program, images[:1], u)

    def forward():
        with torch.no_grad():
            return model(images)

    peak = measuring.peak_mib(many)
    functions = {"one": many, "own": lambda: exit_radius(program, images, u), "forward": forward}
    times = cpu_rounds(ROUNDS, functions)
    for name, title in (("one", "one start"), ("own", "their own starts")):
        found.ratio(
            f"exit_radius_resnet18_{name}",
            f"exit radius of a ResNet-18 on {RAYS} rays from {title}",
            peer=f"a forward pass of {RAYS} images",
            own=times[name],
            theirs=times["forward"],
            mib=peak if name == "one" else None,
        )
