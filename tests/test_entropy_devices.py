"""Entropies and their gradients stay on the device and in the dtype of the codes."""

import pytest
import torch

from vcreg_theory import entropy, seeding

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
FUNCTIONS = {
    "logdet": entropy.logdet_entropy,
    "logdet, Gram": lambda z: entropy.logdet_entropy(z[:4], 1e-3),
    "isotropic lower": lambda z: entropy.isotropic_pairwise_entropy(z, 0.5).lower,
    "isotropic upper": lambda z: entropy.isotropic_pairwise_entropy(z, 0.5).upper,
    "pairwise": lambda z: entropy.pairwise_entropy_bounds(z, z.square() + 0.1).lower,
    "pairwise, full": lambda z: (
        entropy.pairwise_entropy_bounds(z[:6, :2], torch.diag_embed(z[:6, 2:4].exp())).upper
    ),
    "knn": entropy.knn_entropy,
    "knn in 12 dimensions": lambda z: entropy.knn_entropy(torch.cat([z, z.square()], 1)),
    "kde": lambda z: entropy.kde_entropy(z, 0.5),
    "effective rank": entropy.effective_rank,
    "standardise": lambda z: entropy.standardise(z).square().square().sum(),
    "whiten": lambda z: entropy.whiten(z).square().square().sum(),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_entropy__keeps_device_and_dtype(device, dtype, name):
    z = torch.randn(40, 6, generator=seeding.torch_generator(0, "devices"), dtype=dtype)
    results = []
    for codes in (z.to(device), z.double()):
        codes.requires_grad_()
        value = FUNCTIONS[name](codes)
        results.append((value, *torch.autograd.grad(value, codes)))
    for found, exact in zip(*results, strict=True):
        assert found.dtype == dtype and found.device.type == device
        # Computed in float64 whatever the input; the codes' own dtype rounds a few steps around it.
        tolerance = 32 * torch.finfo(dtype).eps * exact.abs().max().item()
        torch.testing.assert_close(found.cpu().double(), exact, rtol=0, atol=tolerance)


@pytest.mark.parametrize("device", DEVICES)
def test_quadrature__on_the_device(device):
    means = torch.tensor([0.0, 1.0], device=device)
    found = entropy.mixture_entropy_quadrature(means, 1.0)
    assert abs(found.entropy - entropy.mixture_entropy_quadrature(means.cpu(), 1.0).entropy) < 1e-12
