"""Tests of the moments of views and of the bases in which they are diagonal."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vcreg_theory import seeding
from vcreg_theory.dynamics import (
    block_moments,
    canonical_modes,
    common_modes,
    commuting_moments,
    random_rotation,
    view_moments,
    view_sampler,
)

ROUNDING = 1e-13  # a few hundred roundings of numbers of order 1


@pytest.fixture
def rng() -> np.random.Generator:
    return seeding.numpy_generator(0, "moments")


def _generic(rng, d, k=None):
    """Moments that do not commute."""
    a, b = rng.standard_normal((2, d, k or d + 2))
    return a @ a.T / d, (a @ a.T + b @ b.T) / d


# --- moments ----------------------------------------------------------------------------------


def test_view_moments__closed_form():
    X, Sigma = view_moments([[1.0, 0.0], [3.0, 0.0]], [[1.0, 2.0], [3.0, 0.0]])
    np.testing.assert_array_equal(X, [[5.0, 0.5], [0.5, 0.0]])
    np.testing.assert_array_equal(Sigma, [[5.0, 0.5], [0.5, 1.0]])


def test_view_moments__centred_ones_are_covariances(rng):
    x1, x2 = rng.standard_normal((2, 30, 4)) + 7
    X, Sigma = view_moments(x1, x2, center=True)
    pooled = np.cov(np.concatenate([x1, x2]).T, bias=True)
    np.testing.assert_allclose(Sigma, pooled, atol=1e-13)
    moved = view_moments(x1 - 5, x2 - 5, center=True)
    np.testing.assert_allclose(moved.X, X, atol=1e-12)  # 49 in the mean square costs digits
    assert np.abs(view_moments(x1, x2).X - X).max() > 40


def test_view_moments__symmetric_in_the_views_and_takes_tensors(rng):
    x1, x2 = rng.standard_normal((2, 9, 3))
    one, other = view_moments(x1, x2), view_moments(torch.tensor(x2), torch.tensor(x1))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, atol=ROUNDING)


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 6))
def test_view_moments__sum_and_difference_are_semidefinite(seed, n, d):
    X, Sigma = view_moments(*np.random.default_rng(seed).standard_normal((2, n, d)))
    for sign in (1, -1):
        assert np.linalg.eigvalsh(Sigma + sign * X)[0] > -ROUNDING * np.abs(Sigma).max()


def test_block_moments__rotated_has_the_spectrum_and_the_projection(rng):
    X, Sigma, P = block_moments(7, 3, 2.5, generator=rng)
    np.testing.assert_array_equal(X, np.eye(7))
    np.testing.assert_allclose(np.linalg.eigvalsh(Sigma), [1] * 3 + [3.5] * 4, atol=ROUNDING)
    np.testing.assert_allclose(P @ P, P, atol=ROUNDING)
    np.testing.assert_allclose(Sigma @ P, P, atol=ROUNDING)
    assert P.trace() == pytest.approx(3) and np.abs(P - np.diag(P.diagonal())).max() > 0.05


def test_block_moments__ends():
    for rank in (0, 2):
        X, Sigma, P = block_moments(2, rank, 0.5)
        np.testing.assert_array_equal(P, np.eye(2) * (rank > 0))
        np.testing.assert_array_equal(Sigma - X, 0.5 * (np.eye(2) - P))


def test_commuting_moments__commute_with_given_spectra(rng):
    x, c = np.array([1.0, 2.0, 0.3]), np.array([1.5, 2.0, 3.0])
    X, Sigma = commuting_moments(x, c, generator=rng)
    assert np.abs(X @ Sigma - Sigma @ X).max() < ROUNDING
    np.testing.assert_allclose(np.linalg.eigvals(X @ Sigma).real.sum(), (x * c).sum())
    np.testing.assert_allclose(np.linalg.eigvalsh(X), np.sort(x))


def test_random_rotation__is_orthogonal_and_has_both_signs(rng):
    draws = [random_rotation(3, rng) for _ in range(64)]
    for q in draws:
        np.testing.assert_allclose(q @ q.T, np.eye(3), atol=ROUNDING)
    # One fixed sign, as LAPACK alone gives it, would be seen; chance 2^-63 under the uniform law.
    assert 0 < sum(q[0, 0] > 0 for q in draws) < 64


def test_view_sampler__has_the_moments(rng):
    n, (X, Sigma) = 20_000, _generic(rng, 4)
    x1, x2 = view_sampler(X, Sigma, n)(rng)
    found = view_moments(x1, x2)
    # Entries of one product have a variance of at most 2 Sigma_ii Sigma_jj; both orders, less.
    spread = np.sqrt(2 * np.outer(Sigma.diagonal(), Sigma.diagonal()) / n)
    for a, b in zip(found, (X, Sigma), strict=True):
        assert (np.abs(a - b) < 5 * spread).all()  # 32 entries: chance below 2e-5
    assert np.abs(found.X - Sigma).max() > 5 * spread.max()  # control: the two differ


def test_view_sampler__views_agree_where_nothing_is_added(rng):
    X, Sigma, P = block_moments(5, 2, 3.0, generator=rng)
    x1, x2 = view_sampler(X, Sigma, 6)(rng)
    # An eigenvalue 0 of the noise is found within rounding of 3, whose root this is.
    np.testing.assert_allclose((x1 - x2) @ P, 0, atol=1e-6)
    assert np.abs(x1 - x2).max() > 0.1


# --- bases ------------------------------------------------------------------------------------


def test_canonical_modes__agree_with_the_whitened_singular_values(rng):
    X, Sigma = _generic(rng, 6)
    rho, V = canonical_modes(X, Sigma)
    values, vectors = np.linalg.eigh(Sigma)
    white = vectors / np.sqrt(values)
    np.testing.assert_allclose(rho, np.linalg.svd(white.T @ X @ white)[1], rtol=1e-11)
    np.testing.assert_allclose(V.T @ Sigma @ V, np.eye(6), atol=1e-12)
    np.testing.assert_allclose(V.T @ X @ V, np.diag(rho), atol=1e-12)


def test_canonical_modes__ratios_do_not_depend_on_coordinates(rng):
    X, Sigma = _generic(rng, 5)
    A = rng.standard_normal((5, 5)) + 3 * np.eye(5)
    moved = canonical_modes(A @ X @ A.T, A @ Sigma @ A.T).rho
    np.testing.assert_allclose(moved, canonical_modes(X, Sigma).rho, rtol=1e-9)


@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), min_size=1, max_size=8),
)
def test_common_modes__of_spectra_with_many_equal_values(seed, pairs):
    x, added = np.array(pairs, dtype=float).T
    X, Sigma = commuting_moments(x, x + added, generator=np.random.default_rng(seed))
    found = common_modes(X, Sigma)
    assert sorted(zip(found.x.round(9), found.c.round(9), strict=True)) == sorted(
        zip(x, x + added, strict=True)
    )
    for value, matrix in ((found.x, X), (found.c, Sigma)):
        np.testing.assert_allclose((found.V * value) @ found.V.T, matrix, atol=1e-11)


def test_common_modes__nearly_equal_values_keep_their_digits(rng):
    x = 1 + np.array([0, 1e-9, 2e-9, 1e-3])
    added = np.array([0.5, 0.5, 0.5 + 1e-9, 2])
    X, Sigma = commuting_moments(x, x + added, generator=rng)
    found = common_modes(X, Sigma)
    np.testing.assert_allclose((found.V * found.x) @ found.V.T, X, atol=ROUNDING)
    np.testing.assert_allclose((found.V * found.c) @ found.V.T, Sigma, atol=ROUNDING)


def test_common_modes__a_start_chooses_the_basis_where_the_moments_do_not(rng):
    X, Sigma, P = block_moments(6, 4, 1.0, generator=rng)
    W = rng.standard_normal((3, 6)) @ P
    V = common_modes(X, Sigma, W).V
    gram = V.T @ W.T @ W @ V
    np.testing.assert_allclose(gram, np.diag(gram.diagonal()), atol=1e-12)
    with pytest.raises(ValueError, match=r"X, Sigma and W\^T W must commute"):
        common_modes(X, Sigma, rng.standard_normal((3, 6)))


def test_common_modes__refuses_moments_that_do_not_commute(rng):
    with pytest.raises(ValueError, match="X and Sigma must commute"):
        common_modes(*_generic(rng, 3))


# --- errors -----------------------------------------------------------------------------------

ONE = np.eye(2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: view_moments([1.0], [1.0]), ValueError, "x1 must be a matrix"),
        (lambda: view_moments(ONE, ONE[:1]), ValueError, r"x2 must have shape \(2, 2\)"),
        (lambda: view_moments(ONE * np.nan, ONE), ValueError, "x1 must be finite, got 4 NaN"),
        (lambda: view_moments([["a"]], [[1]]), TypeError, "x1 must hold real numbers"),
        (lambda: view_moments(ONE * 1j, ONE), TypeError, "x1 must hold real numbers"),
        (lambda: commuting_moments([1.0], [0.5]), ValueError, "c must be at least x"),
        (lambda: commuting_moments([0.0], [0.5]), ValueError, "x must be above 0"),
        (lambda: commuting_moments(1.0, 2.0), ValueError, "must be vectors"),
        (lambda: block_moments(2, 3, 1.0), ValueError, "rank must be at most d = 2"),
        (lambda: block_moments(2, 1, -1.0), ValueError, "sigma2 must not be negative"),
        (lambda: block_moments(0, 0, 1.0), ValueError, "d must be at least 1"),
        (lambda: view_sampler(ONE, 2 * ONE, 0), ValueError, "n must be at least 1"),
        (lambda: view_sampler(2 * ONE, ONE, 1), ValueError, "covariance of the augmentation"),
        (lambda: view_sampler(-ONE, ONE, 1), ValueError, "X must be positive semi-definite"),
        (lambda: view_sampler([[1.0, 0.5], [0, 1]], 2 * ONE, 1), ValueError, "X must be symmetric"),
        (lambda: view_sampler(ONE, np.ones((2, 3)), 1), ValueError, "Sigma must be square"),
        (lambda: view_sampler(np.eye(3), ONE, 1), ValueError, "X must be square of size 2"),
        (lambda: canonical_modes(0 * ONE, np.diag([1.0, 0])), ValueError, "positive definite"),
        (lambda: canonical_modes(-2 * ONE, ONE), ValueError, r"Sigma \+ X must be positive"),
        (lambda: common_modes(ONE, 2 * ONE, [[1.0]]), ValueError, "W must have shape"),
    ],
)
def test_moments__errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
