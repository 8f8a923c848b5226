"""Two processes with gathered losses have the gradient of one process with the whole batch."""

import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from vcreg_theory import losses, seeding

PROCESSES, ROWS, INPUTS, WIDTH = 2, 6, 5, 4
LOSSES = {
    "vicreg": losses.vicreg_loss,
    "barlow": losses.barlow_twins_loss,
    "ntxent": losses.infonce_loss,
    "logdet": losses.vicreg_logdet_loss,
}


def _network():
    """An encoder without batch normalisation, whose statistics would be each process's own."""
    generator = seeding.torch_generator(0, "network")
    net = torch.nn.Sequential(
        torch.nn.Linear(INPUTS, 8), torch.nn.Tanh(), torch.nn.Linear(8, WIDTH)
    ).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator).double())
    return net


def _views():
    """Both views of the whole batch; the halves have different means and scales."""
    generator = seeding.torch_generator(0, "images")
    shape = (2, PROCESSES * ROWS, INPUTS)
    views = torch.randn(shape, generator=generator, dtype=torch.float64)
    views[1] = views[0] + 0.3 * views[1]
    return views * torch.linspace(0.5, 2, PROCESSES * ROWS, dtype=torch.float64)[:, None]


def _gradients(model, loss, views, *, join):
    model.zero_grad()
    terms = loss(*(join(model(view)) for view in views))
    terms.loss.backward()
    return terms.loss.detach(), [p.grad.clone() for p in model.parameters()]


def _work(rank, folder):
    """One process: the gradients of every loss on its share of the rows, averaged by DDP."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=PROCESSES
    )
    model = DistributedDataParallel(_network())
    views = _views()[:, rank * ROWS : (rank + 1) * ROWS]
    found = {}
    for name, loss in LOSSES.items():
        found[name] = _gradients(model, loss, views, join=losses.gather)
        found[f"{name}, not gathered"] = _gradients(model, loss, views, join=lambda z: z)
    z = views[0].clone().requires_grad_()
    found["rows"] = losses.gather(z).detach()
    (first,) = torch.autograd.grad(losses.gather(z).pow(3).sum(), z, create_graph=True)
    found["second"] = torch.autograd.grad(first.sum(), z)[0]
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of the processes found."""
    folder = tmp_path_factory.mktemp("processes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")  # the machine's own name need not resolve
        multiprocessing.spawn(_work, (str(folder),), nprocs=PROCESSES)
    return [torch.load(folder / f"{rank}.pt") for rank in range(PROCESSES)]


@pytest.mark.parametrize("name", LOSSES)
def test_gather__gives_the_gradient_of_one_process(found, name):
    value, expected = _gradients(_network(), LOSSES[name], _views(), join=lambda z: z)
    for rank in range(PROCESSES):
        there, gradients = found[rank][name]
        torch.testing.assert_close(there, value, rtol=1e-12, atol=0)
        for gradient, reference in zip(gradients, expected, strict=True):
            torch.testing.assert_close(gradient, reference, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_gather__is_needed(found, name):
    _, expected = _gradients(_network(), LOSSES[name], _views(), join=lambda z: z)
    _, gradients = found[0][f"{name}, not gathered"]
    distance = max(
        (g - e).abs().max() / e.abs().max() for g, e in zip(gradients, expected, strict=True)
    )
    assert distance > 0.01


def test_gather__orders_rows_by_rank(found):
    assert all(torch.equal(there["rows"], _views()[0]) for there in found)


def test_gather__can_be_differentiated_twice(found):
    # Each process has the loss sum z^3: its gradient here is W 3 z^2, and the sum's of that W 6 z.
    both = torch.cat([there["second"] for there in found])
    torch.testing.assert_close(both, PROCESSES * 6 * _views()[0], rtol=1e-12, atol=1e-14)


def test_gather__one_process_is_left_alone():
    z = torch.zeros(3, 2)
    assert losses.gather(z) is z


def test_gather__refuses_what_has_no_rows():
    with pytest.raises(TypeError, match="got list"):
        losses.gather([1.0])
    with pytest.raises(ValueError, match="at least 1 dimension"):
        losses.gather(torch.tensor(1.0))
