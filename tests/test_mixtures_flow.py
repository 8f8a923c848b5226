"""Tests of the flows and thresholds: exact solutions, conserved means, proved rates, controls."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from sklearn.cluster import KMeans

from vcreg_theory import seeding
from vcreg_theory.mixtures import (
    IntegrationFailed,
    MixtureTrajectory,
    collapse_curvature,
    collapse_rate,
    critical_variance,
    diameter,
    em_iterate,
    energy,
    location_entropy,
    log_likelihood,
    mixture_gradient_flow,
    nearest,
    nearest_cost,
    sufficient_variance,
    trajectory_entropy,
    two_point_collapse_time,
    two_point_fixed_points,
    two_point_time_asymptote,
    two_point_velocity,
)
from vcreg_theory.mixtures import _integrate as integration

EPS = np.finfo(np.float64).eps
TIGHT = {"rtol": 1e-12, "atol": 1e-14}


@pytest.fixture
def rng() -> np.random.Generator:
    return seeding.numpy_generator(0, "flow of mixtures")


def _points(rng, n, k, d):
    return torch.tensor(rng.standard_normal((n, d))), torch.tensor(rng.standard_normal((k, d)))


def _pair(a):
    return torch.tensor([[-a], [a]], dtype=torch.float64)


# --- the soft flow ----------------------------------------------------------------------------


@pytest.mark.parametrize("trainable", [True, False])
def test_flow__against_the_gradient_and_another_integrator(rng, trainable):
    x, centroids = _points(rng, 4, 3, 2)
    times = [0.0, 0.3, 1.0, 2.5]

    def velocity(t, vector):
        points = torch.tensor(vector).reshape(-1, 2).requires_grad_()
        likelihood = log_likelihood(points[:4], points[4:], 0.8)
        (slope,) = torch.autograd.grad(likelihood, points)
        if not trainable:
            slope[:4] = 0
        return slope.flatten().numpy()

    start = torch.cat([x, centroids]).flatten().numpy()
    peer = integrate.solve_ivp(
        velocity, (0, 2.5), start, method="LSODA", t_eval=times, rtol=1e-10, atol=1e-12
    ).y.T.reshape(-1, 7, 2)
    run = mixture_gradient_flow(x, centroids, 0.8, times=times, trainable_inputs=trainable)
    found = torch.cat([run.inputs, run.centroids], 1)
    # Two integrators at 1e-10 a step, some hundred steps.
    np.testing.assert_allclose(found.numpy(), peer, rtol=0, atol=2e-8)
    assert torch.equal(found[0], torch.cat([x, centroids]))


@pytest.mark.parametrize(("n", "k"), [(1, 1), (6, 6), (3, 8), (9, 2)])
def test_flow__energy_stays_below_its_bound_and_the_mean_where_it_was(rng, n, k):
    x, centroids = _points(rng, n, k, 2)
    times = np.linspace(0, 8, 30)
    run = mixture_gradient_flow(x + 5, centroids + 5, 1.0, times=times)
    energies = [float(energy(a, b)) for a, b in zip(run.inputs, run.centroids, strict=True)]
    rate = collapse_rate(n, k, float(diameter(x, centroids)), 1.0)
    bound = energies[0] * np.exp(-rate * times)
    assert (np.array(energies) <= bound * (1 + 1e-9) + 1e-20).all()
    assert (np.diff(energies) <= 1e-20).all()
    means = torch.cat([run.inputs, run.centroids], 1).mean(1)
    # Beside the integrator's check: the offset of 5 rounds coordinates.
    torch.testing.assert_close(means, means[:1].expand_as(means), rtol=0, atol=64 * 5 * EPS)
    states = list(zip(run.inputs, run.centroids, strict=True))
    sizes = np.array([float(diameter(*state)) for state in states])
    likelihoods = np.array([float(log_likelihood(*state, 1.0)) for state in states])
    assert (np.diff(sizes) <= 1e-9).all()
    assert (np.diff(likelihoods) >= -1e-9).all()


def test_flow__two_points_follow_the_closed_form(rng):
    for ratio in (0.5, 1.0, 1.5, 2.0):
        variance = 0.49
        a, end = 0.7 * ratio, 0.07
        time = two_point_collapse_time(ratio**2, 0.01, variance)
        run = mixture_gradient_flow(_pair(a), _pair(a), variance, times=[time], **TIGHT)
        # A relative error e of a at the start changes the time by e times a dT/da, of the order
        # below, and a at the end by that times its speed; a hundred steps make e 1e-10.
        error = 1e-10 * (1 + math.exp(2 * ratio**2))
        assert float(run.inputs[0, 1]) == pytest.approx(end, rel=error)
        assert float(run.centroids[0, 0]) == pytest.approx(-end, rel=error)


def test_flow__two_points_apart_follow_their_two_equations():
    times = [0.5, 2.0]
    run = mixture_gradient_flow(_pair(1.5), _pair(0.4), 0.8, times=times)
    peer = integrate.solve_ivp(
        lambda t, s: two_point_velocity(*s, 0.8),
        (0, 2),
        [1.5, 0.4],
        t_eval=times,
        rtol=1e-10,
        atol=1e-12,
    )
    found = torch.stack([run.inputs[:, 1, 0], run.centroids[:, 1, 0]])
    np.testing.assert_allclose(found.numpy(), peer.y, rtol=0, atol=1e-8)


def test_flow__collapses_trainable_inputs_and_not_fixed_ones(rng):
    x = torch.tensor(rng.standard_normal((16, 2)))
    variance = 0.5 * float(critical_variance(x))
    start = x + 0.1 * torch.tensor(rng.standard_normal((16, 2)))
    runs = [
        mixture_gradient_flow(x, start, variance, times=[0.0, 200.0], trainable_inputs=free)
        for free in (True, False)
    ]
    # rate at least that of the diameter, and E below its bound at once once that is of order 1
    free, fixed = (trajectory_entropy(run, variance, points="centroids") for run in runs)
    assert float(free[-1]) < 1e-9
    assert float(trajectory_entropy(runs[0], variance)[-1]) < 1e-9
    assert float(fixed[-1]) > 0.01
    assert torch.equal(runs[1].inputs[-1], x)


def test_flow__fixed_points_of_em_are_at_rest(rng):
    x, centroids = _points(rng, 8, 3, 2)
    rest = em_iterate(x, centroids, 0.5)
    run = mixture_gradient_flow(x, rest, 0.5, times=[0.1], trainable_inputs=False)
    # EM stops within some 1e-11 of its fixed point. If that is a saddle the distance grows at a
    # rate of N lambda / variance^2 at most, about a hundred, in a tenth of a unit of time.
    torch.testing.assert_close(run.centroids[0], rest, rtol=0, atol=1e-6)


# --- hard assignment --------------------------------------------------------------------------


def test_one_to_one__has_a_closed_form_and_conserves_midpoints(rng):
    x, centroids = _points(rng, 7, 7, 3)
    times = torch.tensor([0.0, 0.2, 1.0, 30.0], dtype=torch.float64)
    run = mixture_gradient_flow(x, centroids, 0.6, times=times, assignment="one-to-one")
    middle, half = (x + centroids) / 2, (x - centroids) / 2
    decay = torch.exp(-2 * times / 0.6)[:, None, None]
    torch.testing.assert_close(run.inputs, middle + half * decay, rtol=0, atol=1e-8)
    torch.testing.assert_close(run.centroids, middle - half * decay, rtol=0, atol=1e-8)
    limit = float(location_entropy(middle, 0.1))
    found = float(trajectory_entropy(run, 0.1)[-1])
    assert found == pytest.approx(limit, abs=1e-7)
    soft = mixture_gradient_flow(x, centroids, 6.0, times=[200.0])  # control: soft collapses
    assert float(location_entropy(soft.inputs[0], 0.1)) < 1e-9 < 0.5 < found


def _by_small_steps(x, centroids, variance, time, steps, trainable):
    """Heun's method with the assignment found anew at every evaluation."""
    x, centroids = x.clone(), centroids.clone()

    def pull(a, b):
        offsets = b[nearest(a, b)] - a
        down = torch.zeros_like(b).index_add_(0, nearest(a, b), -offsets)
        return (offsets if trainable else torch.zeros_like(a)), down

    for _ in range(steps):
        h = time / steps / variance
        one = pull(x, centroids)
        two = pull(x + h * one[0], centroids + h * one[1])
        x, centroids = x + h / 2 * (one[0] + two[0]), centroids + h / 2 * (one[1] + two[1])
    return x, centroids


@pytest.mark.parametrize("trainable", [True, False])
def test_nearest__against_small_steps_through_changes_of_sides(trainable):
    # The second input starts with the left centroid, which moves away; it must change sides.
    x = torch.tensor([[-4.0, 0.0], [0.4, 0.1], [-4.0, 1.0], [2.0, 0.3], [-5.0, 0.0]]).double()
    centroids = torch.tensor([[-1.0, 0.0], [1.9, 0.0]], dtype=torch.float64)
    run = mixture_gradient_flow(
        x, centroids, 0.7, times=[0.0, 0.2, 1.0], assignment="nearest", trainable_inputs=trainable
    )
    changed = nearest(run.inputs[-1], run.centroids[-1]) != nearest(x, centroids)
    assert changed.tolist() == [False, True, False, False, False]
    peers = [_by_small_steps(x, centroids, 0.7, 1.0, m, trainable) for m in (1000, 2000)]
    errors = [float((run.centroids[-1] - peer[1]).abs().max()) for peer in peers]
    # A step that straddles the tie costs the peer an error of first order, one step of 1e-3.
    assert errors[1] < 5e-3
    assert float((run.inputs[-1] - peers[1][0]).abs().max()) < 5e-3


def test_nearest__cost_decays_as_proved_to_at_most_k_points(rng):
    for n, k in ((12, 3), (20, 4), (9, 1)):
        x, centroids = _points(rng, n, k, 2)
        times = np.array([0.0, 0.1, 0.5, 2.0, 30.0])
        run = mixture_gradient_flow(x, centroids, 1.0, times=times, assignment="nearest")
        costs = np.array(
            [float(nearest_cost(a, b)) for a, b in zip(run.inputs, run.centroids, strict=True)]
        )
        assert (costs <= costs[0] * np.exp(-2 * times) * (1 + 1e-8) + 1e-15).all()
        last = run.inputs[-1]
        places = torch.unique((last * 1e6).round(), dim=0)
        assert len(places) <= k
        assert float(location_entropy(last, 1e-4)) <= math.log(k) + 1e-9


def test_nearest__no_record_before_the_first_tie():
    x = torch.tensor([[-6.0], [0.2], [3.0]], dtype=torch.float64)
    centroids = torch.tensor([[-2.0], [2.9]], dtype=torch.float64)
    options = {"assignment": "nearest", "trainable_inputs": False}
    run = mixture_gradient_flow(x, centroids, 1.0, times=[40.0], **options)
    exact = torch.tensor([[-6.0], [1.6]], dtype=torch.float64)
    torch.testing.assert_close(run.centroids[0], exact, rtol=0, atol=1e-9)


@pytest.mark.parametrize("trainable", [True, False])
def test_nearest__many_changes_of_sides_come_to_rest(rng, trainable):
    for _ in range(4):
        x = torch.tensor(rng.standard_normal((25, 2)))
        options = {"assignment": "nearest", "trainable_inputs": trainable}
        run = mixture_gradient_flow(x, x[:5], 0.1, times=[5.0], max_evaluations=50_000, **options)
        last, rest = run.inputs[0], run.centroids[0]
        labels = nearest(last, rest)
        for k in labels.unique():  # a centroid at rest is the mean of its inputs
            assert float((rest[k] - last[labels == k].mean(0)).abs().max()) < 1e-8


def test_nearest__symmetric_ties_change_sides_together():
    x = torch.tensor([[-6.0, 1.0], [-6.0, -1.0], [0.2, 0.5], [0.2, -0.5], [3.0, 0.0]]).double()
    centroids = torch.tensor([[-2.0, 0.0], [2.9, 0.0]], dtype=torch.float64)
    options = {"assignment": "nearest", "trainable_inputs": False}
    run = mixture_gradient_flow(x, centroids, 1.0, times=[0.0, 3.0, 30.0], **options)
    assert nearest(x, centroids).tolist() == [0, 0, 0, 0, 1]
    last = run.centroids[-1]
    assert nearest(x, last).tolist() == [0, 0, 1, 1, 1]
    # Rest of K-means, approached at the rate of the cluster's size; the mirror image is itself.
    means = torch.stack([x[:2].mean(0), x[2:].mean(0)])
    torch.testing.assert_close(last, means, rtol=0, atol=1e-9)
    assert float(run.centroids[..., 1].abs().max()) < 1e-9


def test_nearest__at_rest_is_where_k_means_is():
    x = torch.cat(
        [
            torch.randn(30, 2, generator=seeding.torch_generator(0, "k-means"), dtype=torch.float64)
            + shift
            for shift in (0.0, 9.0, -9.0)
        ]
    )
    start = x[[0, 30, 60]]
    options = {"assignment": "nearest", "trainable_inputs": False}
    run = mixture_gradient_flow(x, start, 1.0, times=[3.0], **options)
    peer = KMeans(3, init=start.numpy(), n_init=1, tol=0).fit(x.numpy())
    torch.testing.assert_close(
        run.centroids[0], torch.tensor(peer.cluster_centers_), rtol=0, atol=1e-9
    )


# --- two points in closed form ----------------------------------------------------------------


@pytest.mark.parametrize(("u0", "u1"), [(0.25, 0.01), (2.0, 1.9), (6.25, 0.01), (40.0, 3.0)])
def test_collapse_time__is_the_integral_of_the_inverse_speed(u0, u1):
    def slowness(u):
        # u falls at 2u (1 - tanh u) / variance; the complement of tanh without cancellation
        return 0.3 * (1 + math.exp(2 * u)) / 2 / (2 * u)

    points = [p for p in (u0 - 3, u0 - 1, u0 - 0.3) if p > u1]
    exact, error = integrate.quad(slowness, u1, u0, points=points or None, epsrel=1e-12, limit=200)
    assert two_point_collapse_time(u0, u1, 0.3) == pytest.approx(exact, rel=1e-9, abs=error)
    a = math.sqrt(0.3)  # u = 1: the speed of u from that of a
    speed = -2 * a * two_point_velocity(a, a, 0.3)[0] / 0.3
    assert speed == pytest.approx(1 / slowness(1.0), rel=1e-14)


def test_collapse_time__adds_up_and_scales():
    parts = two_point_collapse_time(9.0, 4.0) + two_point_collapse_time(4.0, 0.1)
    assert two_point_collapse_time(9.0, 0.1) == pytest.approx(parts, rel=1e-14)
    assert two_point_collapse_time(9.0, 0.1, 0.2) == pytest.approx(0.2 * parts, rel=1e-14)
    assert two_point_collapse_time(3.0, 3.0) == 0


def test_collapse_time__approaches_its_asymptote():
    for u0 in (20.0, 80.0, 300.0):
        ratio = two_point_collapse_time(u0, 1.0) / two_point_time_asymptote(u0)
        # Ei(x) = e^x / x (1 + 1/x + 2/x^2 + ...), with a remainder below 4 times the third term
        assert ratio == pytest.approx(1 + 1 / (2 * u0) + 2 / (2 * u0) ** 2, abs=24 / (2 * u0) ** 3)


@given(st.floats(0.05, 20.0), st.floats(0.02, 5.0))
def test_fixed_points__are_those_of_tanh(a, share):
    variance = share * a**2
    found = two_point_fixed_points(a, variance)
    if share >= 1:
        assert found == (0.0,) or share == pytest.approx(1, abs=1e-15)
    else:
        assert found[0] == -found[2] and found[1] == 0 < found[2] <= a
        b = found[2] / a
        # Near the threshold the root is ill-conditioned: its residual is of order b^2 smaller.
        assert abs(math.tanh(b / share) - b) <= 8 * EPS * b


def test_fixed_points__of_the_example():
    found = [two_point_fixed_points(1.0, v)[-1] for v in (0.5, 0.8, 0.95, 1.0, 1.05)]
    assert np.round(found, 3).tolist() == [0.958, 0.710, 0.379, 0.0, 0.0]
    for variance in (0.5, 0.8, 1.2):
        run = mixture_gradient_flow(
            _pair(1.0), _pair(0.3), variance, times=[200.0], trainable_inputs=False
        )
        assert float(run.centroids[0, 1]) == pytest.approx(
            two_point_fixed_points(1.0, variance)[-1], abs=1e-8
        )


# --- thresholds for fixed inputs --------------------------------------------------------------


def test_critical_variance__is_the_largest_eigenvalue(rng):
    for n, d in ((2, 1), (5, 3), (3, 7)):
        x = torch.tensor(rng.standard_normal((n, d))) + 1e6
        exact = np.linalg.eigvalsh(np.cov(x.numpy().T, bias=True).reshape(d, d))[-1]
        assert float(critical_variance(x)) == pytest.approx(exact, rel=1e-8)
        assert float(critical_variance(x)) <= float(sufficient_variance(x)) * (1 + 1e-12)
    assert float(critical_variance(_pair(3.0))) == pytest.approx(9.0, rel=1e-14)
    assert float(sufficient_variance(_pair(3.0))) == 9.0


@pytest.mark.parametrize(("n", "k", "d"), [(5, 2, 3), (4, 3, 2), (2, 2, 4)])
def test_collapse_curvature__is_the_spectrum_of_the_hessian(rng, n, k, d):
    x = torch.tensor(rng.standard_normal((n, d)))
    variance = 0.7
    rest = x.mean(0).expand(k, d).clone()
    hessian = torch.autograd.functional.hessian(lambda m: log_likelihood(x, m, variance), rest)
    found = torch.linalg.eigvalsh(hessian.reshape(k * d, k * d))
    predicted = collapse_curvature(x, k, variance).repeat(k - 1)
    common = torch.full((d,), -n / (k * variance), dtype=torch.float64)
    exact = torch.cat([predicted, common]).sort().values
    torch.testing.assert_close(found, exact, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("k", [2, 3])
def test_critical_variance__separates_growth_from_decay(rng, k):
    x = torch.tensor(rng.standard_normal((30, 2)) * [1.5, 0.5])
    near = x.mean(0) + 1e-6 * torch.tensor(rng.standard_normal((k, 2)))
    critical = float(critical_variance(x))
    for share, grows in ((0.97, True), (1.03, False)):
        variance = share * critical
        curvature = float(collapse_curvature(x, k, variance)[0])
        assert (curvature > 0) == grows
        # Long enough that linear growth would be e^4, too short to leave the linear regime.
        run = mixture_gradient_flow(
            x, near, variance, times=[4 / abs(curvature)], trainable_inputs=False
        )
        first, last = (part - part.mean(0) for part in (near, run.centroids[0]))
        axis = torch.linalg.svd(x - x.mean(0)).Vh[0]
        growth = float((last @ axis).norm() / (first @ axis).norm())
        assert math.log(growth) == pytest.approx(4.0 if grows else -4.0, abs=1e-3)


def test_critical_variance__control_is_local_only():
    x = torch.zeros(100, 1, dtype=torch.float64)
    x[0] = 1.0
    critical = float(critical_variance(x))
    assert critical == pytest.approx(0.0099, rel=1e-12)
    for share in (1.03, 2.0, 5.0):
        apart = em_iterate(x, torch.tensor([[0.0], [1.0]]).double(), share * critical)
        assert float(apart[1] - apart[0]) > 0.8
        near = x.mean(0) + torch.tensor([[-1e-3], [1e-3]], dtype=torch.float64)
        together = em_iterate(x, near, share * critical)
        assert float((together[1] - together[0]).abs()) < 1e-9
    assert float(sufficient_variance(x)) == 0.25


def test_sufficient_variance__collapses_every_start(rng):
    for _ in range(60):
        n, k, d = (int(v) for v in rng.integers(2, 7, 3))
        x, centroids = _points(rng, n, k, d)
        variance = 1.05 * float(sufficient_variance(x))
        rest = em_iterate(x, 3 * centroids, variance, tolerance=1e-13)
        # Steps contract by q = 1 / 1.05 at least, so q / (1 - q) = 20 times the last one is left.
        reach = float((x - x.mean(0)).norm(dim=1).max())
        assert float((rest - x.mean(0)).abs().max()) <= 100 * 1e-13 * reach + 1e-14


# --- dtypes, checks, errors -------------------------------------------------------------------


def test_flow__keeps_dtype_and_ignores_gradients(rng):
    x, centroids = (part.float().requires_grad_() for part in _points(rng, 3, 2, 1))
    for assignment in ("soft", "nearest"):
        run = mixture_gradient_flow(x, centroids, 1.0, times=[0.0, 1], assignment=assignment)
        assert isinstance(run, MixtureTrajectory)
        assert {part.dtype for part in run} == {torch.float32}
        assert not run.inputs.requires_grad
        assert run.inputs.shape == (2, 3, 1) and run.centroids.shape == (2, 2, 1)
    still = mixture_gradient_flow(x, centroids, 1.0, times=[0.0], assignment="nearest")
    torch.testing.assert_close(still.inputs[0], x.detach())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_device__is_kept(rng):
    x, centroids = (part.cuda() for part in _points(rng, 3, 3, 2))
    run = mixture_gradient_flow(x, centroids, 1.0, times=[0.0, 1.0])
    found = [
        *run,
        trajectory_entropy(run, 1.0),
        log_likelihood(x, centroids, 1.0),
        energy(x, centroids),
        diameter(x, centroids),
        em_iterate(x, centroids, 1.0),
        critical_variance(x),
        collapse_curvature(x, 2, 1.0),
    ]
    assert {value.device.type for value in found} == {"cuda"}
    exact = log_likelihood(x.cpu(), centroids.cpu(), 1.0)
    assert float(found[4]) == pytest.approx(float(exact), rel=1e-13)


def test_flow__follows_rotations_and_units(rng):
    x, centroids = _points(rng, 4, 3, 2)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    one = mixture_gradient_flow(x, centroids, 0.5, times=[1.3])
    moved = mixture_gradient_flow(3 * x @ turn + 7, 3 * centroids @ turn + 7, 4.5, times=[9 * 1.3])
    torch.testing.assert_close(moved.inputs, 3 * one.inputs @ turn + 7, rtol=0, atol=1e-7)


def test_flow__a_drift_of_the_mean_is_an_error(rng, monkeypatch):
    x, centroids = _points(rng, 4, 3, 2)
    pull = integration.Motion.pull

    def leaky(self, x, mu, shares):
        return pull(self, x, mu, shares) + 1e-9

    monkeypatch.setattr(integration.Motion, "pull", leaky)
    with pytest.raises(IntegrationFailed, match="conserved means moved"):
        mixture_gradient_flow(x, centroids, 1.0, times=[1.0])


def test_flow__gives_up_with_a_clear_error(rng):
    x, centroids = _points(rng, 4, 3, 2)
    with pytest.raises(IntegrationFailed, match="max_evaluations = 50") as caught:
        mixture_gradient_flow(x, centroids, 1e-4, times=[1e3], max_evaluations=50)
    assert 0 <= caught.value.time < 1e3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"times": []}, ValueError, "times must have at least 1"),
        ({"times": [1.0, 1.0]}, ValueError, "times must be strictly ascending"),
        ({"times": [-1.0]}, ValueError, "times must be strictly ascending from 0"),
        ({"times": [math.nan]}, ValueError, "times must be finite"),
        ({"assignment": "hard"}, ValueError, "assignment must be one of"),
        ({"assignment": "one-to-one"}, ValueError, "as many centroids as inputs"),
        ({"variance": 0.0}, ValueError, "variance must be positive"),
        ({"variance": 1e-300}, ValueError, "exponents overflow"),
        ({"x": torch.full((3, 1), math.nan)}, ValueError, "x must be finite"),
        ({"centroids": torch.zeros(2, 2)}, ValueError, "same number of columns"),
        ({"rtol": 0.0}, ValueError, "rtol must be positive"),
        ({"atol": -1.0}, ValueError, "atol must be positive"),
        ({"max_evaluations": 0}, ValueError, "max_evaluations must be at least 1"),
    ],
)
def test_flow__refuses_bad_input(change, error, message):
    arguments = {
        "x": torch.ones(3, 1),
        "centroids": torch.zeros(2, 1),
        "variance": 1.0,
        "times": [1.0],
        **change,
    }
    with pytest.raises(error, match=message):
        mixture_gradient_flow(**arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: two_point_collapse_time(1.0, 2.0), "u0 must be at least u1"),
        (lambda: two_point_collapse_time(400.0, 2.0), "at most 350"),
        (lambda: two_point_collapse_time(1.0, 0.0), "u1 must be positive"),
        (lambda: two_point_collapse_time(1.0, 0.5, -1.0), "variance must be positive"),
        (lambda: two_point_time_asymptote(1e3), "u0 must be at most"),
        (lambda: two_point_fixed_points(0.0, 1.0), "a must be positive"),
        (lambda: two_point_fixed_points(1.0, 0.0), "variance must be positive"),
        (lambda: two_point_velocity(math.nan, 1.0, 1.0), "a must be finite"),
        (lambda: critical_variance(torch.zeros(1, 1)), "x must have at least 2 rows"),
        (lambda: sufficient_variance(torch.zeros(1, 1)), "x must have at least 2 rows"),
        (lambda: collapse_curvature(torch.zeros(2, 1), 1, 1.0), "k must be at least 2"),
        (lambda: collapse_curvature(torch.zeros(2, 1), 2, 0.0), "variance must be positive"),
    ],
)
def test_thresholds__refuse_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("n", [1, 2])
def test_mixture_gradient_flow__nearest_rests_where_all_points_are_one(n):
    points = torch.full((2, 1), 0.1)
    run = mixture_gradient_flow(points[:n], points, 1.0, times=[0.0, 1.0], assignment="nearest")
    assert torch.equal(run.inputs[-1], points[:n])


def test_flow__at_time_zero_only_is_the_start(rng):
    x, centroids = torch.tensor(rng.standard_normal((5, 2))), torch.zeros(3, 2).double()
    for assignment in ("soft", "nearest"):
        found = mixture_gradient_flow(x, centroids, 0.5, times=[0.0], assignment=assignment)
        assert torch.equal(found.inputs[0], x) and torch.equal(found.centroids[0], centroids)
