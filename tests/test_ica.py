"""Tests of VCRegICA: scikit-learn's contract, what it finds, how it fails, and invariances."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import estimator_checks_generator

from vcreg_theory import ica, seeding
from vcreg_theory.ica import VCRegICA, amari_index

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
PROJECTORS = ["tanh", "relu", "random_tanh", "random_relu"]
MIXED = [ica.uniform(), ica.laplace(), ica.bimodal(), ica.gamma(1)]


def _mixture(sources, n, stream, p=None):
    """Return sources, a mixing matrix and their mixture, with p features."""
    rng = seeding.numpy_generator(0, stream)
    s = ica.sample_sources(sources, n, rng)
    mixing = rng.standard_normal((p or len(sources), len(sources)))
    return s, mixing, s @ mixing.T + rng.standard_normal(len(mixing))


def _checks():
    """All checks but that of array APIs, which skips itself unless SciPy is set up for it."""
    for model in (VCRegICA(), VCRegICA(orthogonal=True, projector="random_relu", width=6)):
        for estimator, check in estimator_checks_generator(model):
            name = check.func.__name__
            if name != "check_array_api_input":
                yield pytest.param(estimator, check, id=f"{model.projector}-{name}")


@pytest.mark.parametrize(("estimator", "check"), list(_checks()))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_VCRegICA__is_a_scikit_learn_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize("orthogonal", [False, True])
@pytest.mark.parametrize("projector", PROJECTORS)
def test_VCRegICA__separates_four_kinds_of_sources(projector, orthogonal):
    _, mixing, x = _mixture(MIXED, 2000, "kinds")
    model = VCRegICA(projector=projector, orthogonal=orthogonal, random_state=0).fit(x)
    # Gains have deviations of about sqrt(0.75 / 2000) = 0.02; the mean of 24 of them, 0.016, is
    # below 0.05 unless a source is lost, which makes it 0.1 and more.
    assert amari_index(model.components_, mixing) < 0.05


def test_VCRegICA__free_matrices_are_better_than_rotations_on_uniform_sources():
    # Rotations leave the sampling error of the whitening, 1 / (4 n) in every gain; a free matrix
    # does not, and with J about 20 has 1 / (20 n). Over 12 pairs the means differ by 6 deviations.
    _, mixing, x = _mixture([ica.uniform()] * 4, 4000, "free")
    free, bound = (
        amari_index(VCRegICA(orthogonal=o, random_state=0).fit(x).components_, mixing)
        for o in (False, True)
    )
    assert free < 0.6 * bound


def test_VCRegICA__finds_discrete_sources_exactly():
    _, mixing, x = _mixture([ica.levels(2)] * 4, 1000, "signs")
    # Scores resolve 1/32 of a deviation: n J is about 1e6, so errors are about 1e-3 at most.
    assert amari_index(VCRegICA(random_state=0).fit(x).components_, mixing) < 3e-3


def test_VCRegICA__no_start_is_lost():
    # Sums and differences of two signs are a false solution: see test_rotate__leaves_false_ones.
    _, mixing, x = _mixture([ica.levels(2)] * 4, 1000, "signs")
    for seed in range(10):
        assert amari_index(VCRegICA(random_state=seed).fit(x).components_, mixing) < 3e-3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_VCRegICA__transforms_and_back(dtype):
    _, _, x = _mixture(MIXED, 600, "round trip")
    x = x.astype(dtype)
    model = VCRegICA(random_state=0)
    y = model.fit_transform(x)
    for value in (y, model.components_, model.mixing_, model.whitening_):
        assert value.dtype == dtype
    assert model.mean_.dtype == np.float64
    # Rounding of two products with matrices of condition number about 10.
    tolerance = 1000 * np.finfo(dtype).eps
    np.testing.assert_allclose(model.transform(x), y, atol=tolerance, rtol=0)
    np.testing.assert_allclose(model.inverse_transform(y), x, atol=tolerance, rtol=0)
    np.testing.assert_allclose(y.mean(0), 0, atol=tolerance)
    np.testing.assert_allclose(y.std(0), 1, atol=tolerance)


def test_VCRegICA__float32_agrees_with_float64():
    _, _, x = _mixture(MIXED, 600, "round trip")
    single, double = (
        VCRegICA(random_state=0).fit(x.astype(d)).components_ for d in (np.float32, np.float64)
    )
    # The rounding of the data, 1e-7, times the condition number; the solution is smooth in them
    # up to the steps of the cells' counts, 1 / n.
    np.testing.assert_allclose(single, double, atol=2e-3 * np.abs(double).max())


def test_VCRegICA__centres_float32_data_far_from_the_origin():
    _, _, x = _mixture(MIXED, 600, "far")
    x = (x + 1e6).astype(np.float32)  # multiples of 1/16
    model = VCRegICA(random_state=0)
    y = model.fit_transform(x)
    # A mean in float32 would be off by up to 1/32, outputs by that over deviations of about 1.
    np.testing.assert_allclose(model.mean_, x.mean(0, dtype=np.float64), rtol=1e-15)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-5)
    back = model.inverse_transform(y)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, x, atol=1 / 16)  # one rounding to float32


def test_VCRegICA__orthogonal_outputs_are_white():
    _, _, x = _mixture(MIXED, 600, "round trip")
    y = VCRegICA(orthogonal=True, random_state=0).fit_transform(x)
    np.testing.assert_allclose(y.T @ y / len(y), np.eye(4), atol=1e-10)
    free = VCRegICA(random_state=0).fit_transform(x)
    assert 1e-4 < np.abs(free.T @ free / len(x) - np.eye(4)).max() < 0.3  # only by chance


def test_VCRegICA__whitening_is_that_of_principal_components():
    _, _, x = _mixture(MIXED, 600, "round trip", p=6)
    model = VCRegICA(n_components=3, random_state=0).fit(x)
    expected = PCA(3, whiten=True).fit(x).transform(x) * (600 / 599) ** 0.5
    found = (x - model.mean_) @ model.whitening_.T
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-10)


def test_VCRegICA__finds_fewer_sources_than_features():
    s, mixing, x = _mixture(MIXED[:3], 2000, "tall", p=7)
    with pytest.raises(ValueError, match="rank at least n_components = 7, got rank 3"):
        VCRegICA().fit(x)
    model = VCRegICA(3, random_state=0).fit(x)
    assert model.components_.shape == (3, 7) and model.mixing_.shape == (7, 3)
    assert ica.mean_correlation_coefficient(model.transform(x), s) > 0.99
    assert amari_index(model.components_, mixing) < 0.05
    np.testing.assert_allclose(model.inverse_transform(model.transform(x)), x, atol=1e-9)
    np.testing.assert_allclose(model.components_ @ model.mixing_, np.eye(3), atol=1e-10)


def test_VCRegICA__takes_more_features_than_samples():
    s, _, x = _mixture(MIXED[:2], 400, "wide", p=500)
    model = VCRegICA(2, random_state=0).fit(x)
    assert ica.mean_correlation_coefficient(model.transform(x), s) > 0.98


def test_VCRegICA__one_component_is_the_first_principal_one():
    _, _, x = _mixture(MIXED, 300, "one")
    y = VCRegICA(1, random_state=0).fit_transform(x)[:, 0]
    first = PCA(1).fit_transform(x)[:, 0]
    assert abs(np.corrcoef(y, first)[0, 1]) == pytest.approx(1, abs=1e-10)


def test_VCRegICA__is_deterministic():
    _, _, x = _mixture(MIXED, 500, "again")
    for projector in PROJECTORS:
        model = VCRegICA(projector=projector, random_state=3)
        a, b = model.fit(x).components_, clone(model).fit(x).components_
        assert (a == b).all()


def test_VCRegICA__does_not_depend_on_the_mixing():
    s, _, _ = _mixture(MIXED, 3000, "mixing")
    rng = seeding.numpy_generator(0, "two mixings")
    outputs = []
    for scale in (1.0, 1e-6, 1e6):
        mixing = rng.standard_normal((4, 4)) * scale
        outputs.append(VCRegICA(random_state=0).fit_transform(s @ mixing.T))
    # Scores are estimated again until the next step is below 1e-3, a twentieth of the error of the
    # sources; outputs of two starts then differ by a few such steps at most.
    for other in outputs[1:]:
        signs = np.sign((other * outputs[0]).sum(0))
        assert np.sqrt(((other * signs - outputs[0]) ** 2).mean(0)).max() < 5e-3


def test_VCRegICA__permuted_features_permute_the_mixing():
    _, _, x = _mixture(MIXED, 3000, "permuted")
    order = [2, 0, 3, 1]
    a = VCRegICA(random_state=0).fit(x).mixing_
    b = VCRegICA(random_state=0).fit(x[:, order]).mixing_
    np.testing.assert_allclose(b, a[order], atol=5e-3 * np.abs(a).max())


def test_VCRegICA__sorts_and_signs_its_components():
    _, _, x = _mixture([ica.laplace(), ica.uniform(), ica.gaussian()], 3000, "sorted")
    model = VCRegICA(random_state=0).fit(x)
    assert (np.diff(model.information_) <= 0).all()
    assert (model.mixing_[np.abs(model.mixing_).argmax(0), range(3)] > 0).all()
    assert model.information_[2] < 1.1 < model.information_[1]


def test_VCRegICA__names_its_outputs():
    _, _, x = _mixture(MIXED, 300, "names")
    model = VCRegICA(random_state=0).fit(x)
    assert list(model.get_feature_names_out()) == [f"vcregica{i}" for i in range(4)]
    assert model.n_features_in_ == 4


def test_VCRegICA__shows_progress(capsys):
    _, _, x = _mixture(MIXED, 300, "names")
    VCRegICA(random_state=0).fit(x)
    assert capsys.readouterr().err == ""
    VCRegICA(random_state=0, verbose=1).fit(x)
    assert "VCRegICA" in capsys.readouterr().err


def test_VCRegICA__warns_if_not_converged():
    _, _, x = _mixture(MIXED, 300, "names")
    with pytest.warns(ConvergenceWarning, match="did not converge to tol = 0.0001 in 2 steps"):
        model = VCRegICA(max_iter=2, random_state=0).fit(x)
    assert model.n_iter_ == 2 and not model.reliable_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 2 < VCRegICA(random_state=0).fit(x).n_iter_ <= 200


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_components": 5}, ValueError, "n_components must be at most the number of features"),
        ({"n_components": 0}, ValueError, "n_components must be at least 1"),
        ({"n_components": 2.0}, TypeError, "n_components must be an integer"),
        ({"projector": "sine"}, ValueError, "projector must be one of"),
        ({"width": 1}, ValueError, "width must be at least 2"),
        ({"orthogonal": 1}, TypeError, "orthogonal must be a bool"),
        ({"ridge": -1.0}, ValueError, "ridge must not be negative"),
        ({"tol": 0.0}, ValueError, "tol must be positive"),
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1"),
    ],
)
def test_VCRegICA__rejects_bad_options(options, error, message):
    _, _, x = _mixture(MIXED, 50, "options")
    with pytest.raises(error, match=message):
        VCRegICA(**options).fit(x)


def test_VCRegICA__rejects_bad_data():
    _, _, x = _mixture(MIXED, 50, "data")
    with pytest.raises(ValueError, match="at least 4 samples, got n_samples = 3"):
        VCRegICA().fit(x[:3])
    constant = x.copy()
    constant[:, 1] = 2.5
    with pytest.raises(ValueError, match="got 1 constant of 4"):
        VCRegICA().fit(constant)
    assert VCRegICA(3, random_state=0, tol=0.5).fit(constant).components_.shape == (3, 4)
    with pytest.raises(ValueError, match="got rank 3"):
        VCRegICA().fit(np.column_stack([x[:, :3], x[:, 0] + x[:, 1]]))
    with pytest.raises(ValueError, match="got rank 3"):
        VCRegICA().fit(x[:4])
    for bad in (np.nan, np.inf):
        broken = x.copy()
        broken[7, 2] = bad
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            VCRegICA().fit(broken)
    model = VCRegICA(random_state=0, tol=0.5).fit(x)
    with pytest.raises(ValueError, match="X must have 4 columns"):
        model.inverse_transform(x[:, :3])


@pytest.mark.parametrize("device", DEVICES)
def test_VCRegICA__runs_on_devices(device):
    _, mixing, x = _mixture(MIXED, 1000, "device")
    model = VCRegICA(device=device, random_state=0).fit(x)
    assert amari_index(model.components_, mixing) < 0.08  # as above, with n = 1000


@pytest.mark.parametrize("ratio", [1e-160, 1e-8, 1e8, 1e15, 1e160])
def test_fit__does_not_depend_on_the_units_of_a_feature(ratio):
    g = np.random.default_rng(0)
    sources = g.laplace(size=(2000, 3))
    mixing = g.normal(size=(3, 3))
    units = np.array([1.0, 1.0, ratio])
    plain = ica.VCRegICA(random_state=0).fit(sources @ mixing.T)
    other = ica.VCRegICA(random_state=0).fit(sources @ mixing.T * units)
    distance = ica.amari_distance(other.components_ * units, mixing)
    assert distance == pytest.approx(ica.amari_distance(plain.components_, mixing), rel=0.01)
    assert other.reliable_ == plain.reliable_
