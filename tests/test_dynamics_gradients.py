"""Tests of the loss of linear non-contrastive learning, its gradients and the optimal predictor."""

import numpy as np
import pytest
import torch

from vcreg_theory import seeding
from vcreg_theory.dynamics import (
    full_gradient,
    noncontrastive_loss,
    optimal_predictor,
    semi_gradient,
    view_moments,
)

CLOSE = {"rtol": 1e-12, "atol": 1e-12}  # sums of a few hundred products of numbers of order 10


@pytest.fixture
def rng() -> np.random.Generator:
    return seeding.numpy_generator(0, "gradients")


def _case(rng, k=4, d=6):
    """Weights, predictor, another target, and moments that do not commute."""
    a, b = rng.standard_normal((2, d, d + 2))
    X, Sigma = a @ a.T / d, (a @ a.T + b @ b.T) / d
    W, W_a = rng.standard_normal((2, k, d))
    return W, rng.standard_normal((k, k)), W_a, X, Sigma


def _tensors(*matrices):
    return [torch.tensor(m) for m in matrices]


def test_noncontrastive_loss__closed_form():
    # One input: (p w)^2 c / 2 - p w x a + a^2 c / 2.
    args = ([[2.0]], [[3.0]], [[5.0]], [[0.5]], [[7.0]])
    assert noncontrastive_loss(*args) == 36 * 7 / 2 - 6 * 0.5 * 5 + 25 * 7 / 2


def test_noncontrastive_loss__is_the_mean_over_both_orders_of_the_views(rng):
    W, W_p, W_a, *_ = _case(rng)
    x1, x2 = rng.standard_normal((2, 50, 6)) + rng.standard_normal((50, 6))
    by_hand = np.mean(
        [
            0.5 * np.sum((W_p @ W @ a - W_a @ b) ** 2)
            for a, b in zip(np.concatenate([x1, x2]), np.concatenate([x2, x1]), strict=True)
        ]
    )
    assert noncontrastive_loss(W, W_p, W_a, *view_moments(x1, x2)) == pytest.approx(by_hand, 1e-12)


def test_semi_gradient__is_autograds_of_the_detached_loss(rng):
    W, W_p, W_a, X, Sigma = _tensors(*_case(rng))
    for target in (W_a, W):
        leaf, predictor = W.clone().requires_grad_(), W_p.clone().requires_grad_()
        loss = noncontrastive_loss(leaf, predictor, target.detach(), X, Sigma)
        expected = torch.autograd.grad(loss, (leaf, predictor))
        found = semi_gradient(W, W_p, target, X, Sigma)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b.numpy(), **CLOSE)


def test_full_gradient__is_autograds_without_detaching(rng):
    W, W_p, _, X, Sigma = _tensors(*_case(rng))
    leaf = W.clone().requires_grad_()
    (expected,) = torch.autograd.grad(noncontrastive_loss(leaf, W_p, leaf, X, Sigma), leaf)
    found = full_gradient(W, W_p, X, Sigma)
    np.testing.assert_allclose(found, expected.numpy(), **CLOSE)
    # Control: stop-gradient changes the field.
    assert np.abs(found - semi_gradient(W, W_p, W, X, Sigma).W).max() > 0.1


def test_full_gradient__obeys_eulers_identity(rng):
    W, W_p, _, X, Sigma = _case(rng)
    twice = np.sum(W * full_gradient(W, W_p, X, Sigma))
    assert twice == pytest.approx(2 * noncontrastive_loss(W, W_p, W, X, Sigma), rel=1e-12)


def test_semi_gradient__agrees_with_central_differences(rng):
    W, W_p, W_a, X, Sigma = _case(rng, 2, 3)
    found = semi_gradient(W, W_p, W_a, X, Sigma)
    for entry in np.ndindex(2, 3):
        e = np.zeros((2, 3))
        e[entry] = 1  # the loss is quadratic: differences are exact for any size
        up, down = (noncontrastive_loss(W + s * e, W_p, W_a, X, Sigma) for s in (1, -1))
        assert (up - down) / 2 == pytest.approx(found.W[entry], rel=1e-10, abs=1e-10)


def test_optimal_predictor__makes_its_gradient_vanish_and_the_loss_least(rng):
    W, _, _, X, Sigma = _case(rng)
    best = optimal_predictor(W, X, Sigma)
    np.testing.assert_allclose(semi_gradient(W, best, W, X, Sigma).W_p, 0, atol=1e-11)
    least = noncontrastive_loss(W, best, W, X, Sigma)
    for _ in range(5):
        other = best + 0.1 * rng.standard_normal(best.shape)
        assert noncontrastive_loss(W, other, W, X, Sigma) > least


def test_optimal_predictor__follows_a_change_of_the_rows(rng):
    W, A, _, X, Sigma = _case(rng)
    expected = A @ optimal_predictor(W, X, Sigma) @ np.linalg.inv(A)
    np.testing.assert_allclose(optimal_predictor(A @ W, X, Sigma), expected, rtol=1e-8, atol=1e-8)


ONE = np.eye(2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: semi_gradient(ONE, ONE, ONE[:1], ONE, ONE), ValueError, "W_a must have shape"),
        (lambda: semi_gradient(ONE, [[1.0]], ONE, ONE, ONE), ValueError, "W_p must have shape"),
        (lambda: semi_gradient([[1.0]], ONE, ONE, ONE, ONE), ValueError, "W must have shape"),
        (lambda: full_gradient(ONE, ONE, 3 * ONE, ONE), ValueError, "covariance of the augmen"),
        (lambda: full_gradient(ONE + np.inf, ONE, ONE, ONE), ValueError, "W must be finite"),
        (lambda: optimal_predictor(np.ones((2, 2)), ONE, ONE), ValueError, "must be invertible"),
        (
            lambda: noncontrastive_loss(torch.eye(2), ONE, ONE, ONE, ONE),
            TypeError,
            "must be tensors of the dtype of W",
        ),
    ],
)
def test_gradients__errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
