"""Linear independent component analysis by variance-covariance regularisation."""

import warnings
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import Tensor

from .options import Options, check_options
from .progress import Progress
from .reliability import LEVEL, Reliability, assess
from .solver import Solution, freed, solve
from .whitening import White, arranged, whiten

_DTYPES = (np.float64, np.float32)


class VCRegICA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Find independent sources by VCReg of an elementwise projector of the outputs.

    The outputs :math:`y = W (x - \bar x)` pass through a projector that acts on each of them alone,
    and the loss is the covariance between the features of different outputs, with the features of
    each output whitened:

    .. math::
        \min_W \sum_{i < j} \bigl\lVert C_{ii}^{-1/2} C_{ij} C_{jj}^{-1/2} \bigr\rVert_F^2,
        \qquad C_{ij} = \operatorname{Cov}\bigl(\varphi(y_i), \varphi(y_j)\bigr)

    Every block contains :math:`y_i` itself. Then the Gauss-Newton step is Fisher scoring with
    estimated scores (see `pair_steps`), which is the step taken, in :math:`O(n k)` for scores and
    :math:`O(n k^2)` for k components whatever the width of the projector.

    Parameters
    ----------
    n_components : int, optional
        Number of sources k, at most the number of features. Fewer sources are sought among the
        leading principal components. By default as many as features.
    projector : {"tanh", "relu", "random_tanh", "random_relu"}
        Features of each output, beside the output itself and its tanh: with thresholds at its
        quantiles, or drawn (and slopes) from `random_state`, independently for each output.
    width : int
        Number of those features, at least 2.
    orthogonal : bool
        Whether the outputs are exactly uncorrelated on the sample. If not, W is free and its gains
        reach the bound of `cramer_rao_gain_variance`; outputs are then correlated by chance only.
    ridge : float, optional
        Ridge of the regression of scores on features, in units of their variances, at least 1e-9.
        By default each source's is chosen by cross-validation on two halves of the samples.
    tol : float
        Largest entry of the last relative step of W.
    max_iter : int
        Largest number of steps, at least 1.
    device : str or torch.device
        Where the work is done, in float64; "cuda" needs a GPU. Its sums have no fixed order, so
        there two runs agree to rounding only.
    verbose : int
        Whether to show a progress bar.
    random_state : int, RandomState instance or None
        Source of the first rotation and of random projectors. The same integer gives the same
        result on a CPU.

    Attributes
    ----------
    components_ : ndarray, shape (k, p)
        The unmixing matrix W, with outputs of variance 1, the most informative first, the largest
        entry of each column of `mixing_` positive.
    mixing_ : ndarray, shape (p, k)
        Its pseudoinverse.
    mean_ : ndarray, shape (p,)
        In float64: in half the digits it would shift outputs of data far from the origin.
    whitening_ : ndarray, shape (k, p)
        The map from centred observations to white ones.
    n_iter_ : int
        Steps taken, of all stages.
    information_ : ndarray, shape (k,)
        Fisher information of each source that its scores explain on held-out samples, between 0
        and 1024; 1 for a Gaussian. Scores show no detail below 1/32 of a deviation, so the bound
        stands for more, up to the infinite information of sources with few values or with jumps.
    gain_error_ : ndarray, shape (k, k)
        Standard deviation to expect of each wrong gain, from `information_`: the square root of
        `cramer_rao_gain_variance` (of `ica_gain_variance` if W is held to rotations) over n.
    independence_pvalue_ : float
        p-value of the hypothesis that the outputs are pairwise independent, nan with 12 samples or
        fewer; `pair_pvalues_` (k, k) are those of the pairs. Errors of W of the size n^-1/2 do not
        count. A rotation makes larger ones of sources that are correlated by chance: if its outputs
        look dependent, those of the free matrix reached from it are tested.
    reliable_ : bool
        Whether the steps converged, the p-value is at least 0.01 and no entry of `gain_error_`
        exceeds 0.2. It needs no labels. Not reliable are dependent sources, two or more sources
        too Gaussian for the sample, and too few samples. Independent outputs of another make-up
        than the sources, as `darmois_outputs` has, pass: no method can tell.
    n_features_in_ : int
    feature_names_in_ : ndarray
        Only if the data have feature names, all strings.

    Raises
    ------
    TypeError, ValueError
        If X or an option is not allowed; the covariance must have rank k.

    Notes
    -----
    Claims A6.a to A6.c. Whitened blocks and a free W distinguish this from raw VCReg, which can
    prefer wrong rotations (A6.d). Scores are estimated, which costs accuracy where sources are
    nearly Gaussian and the sample is small (below about 1000), and `reliable_` is then cautious:
    it doubts most fits of logistic sources from 1000 samples.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> A = rng.normal(size=(3, 3))
    >>> X = rng.uniform(-1, 1, size=(2000, 3)) @ A.T
    >>> ica = VCRegICA(random_state=0).fit(X)
    >>> P = np.abs(ica.components_ @ A)
    >>> bool((np.sort(P / P.max(1, keepdims=True))[:, -2] < 0.05).all()), ica.reliable_
    (True, True)
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        projector: str = "tanh",
        width: int = 12,
        orthogonal: bool = False,
        ridge: float | None = None,
        tol: float = 1e-4,
        max_iter: int = 200,
        device: str | torch.device = "cpu",
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.n_components = n_components
        self.projector = projector
        self.width = width
        self.orthogonal = orthogonal
        self.ridge = ridge
        self.tol = tol
        self.max_iter = max_iter
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the sources of observations X[n, p]; y is ignored."""
        self._fit(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Find the sources of observations X[n, p] and return them, (n, k); y is ignored."""
        checked = self._fit(X)
        return self._unmix(checked)

    def transform(self, X: Any) -> np.ndarray:
        """Return the sources of observations X[n, p], shape (n, k)."""
        check_is_fitted(self)
        return self._unmix(validate_data(self, X, dtype=_DTYPES, reset=False))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Return the observations of sources X[n, k], shape (n, p)."""
        check_is_fitted(self)
        sources = check_array(X, dtype=_DTYPES)
        if sources.shape[1] != len(self.components_):
            raise ValueError(
                f"X must have {len(self.components_)} columns, one a component, "
                f"got shape {sources.shape}"
            )
        found: np.ndarray = sources @ self.mixing_.T.astype(sources.dtype) + self.mean_
        return found.astype(sources.dtype)

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _unmix(self, X: np.ndarray) -> np.ndarray:
        """Return the sources of checked observations in their dtype."""
        sources: np.ndarray = (X - self.mean_).astype(X.dtype) @ self.components_.T.astype(X.dtype)
        return sources

    def _fit(self, data: Any) -> np.ndarray:
        """Fit, and return the checked observations."""
        X: np.ndarray = validate_data(self, data, dtype=_DTYPES, ensure_min_samples=2)
        options, components = check_options(self.get_params(), X.shape)
        random = check_random_state(self.random_state)
        white = whiten(self._tensor(X), components)
        start = np.linalg.qr(random.standard_normal((len(white.data),) * 2))[0]
        seed = int(random.randint(2**31))
        with Progress(self.max_iter, bool(self.verbose)) as progress:
            solution = solve(white.data, self._tensor(start), options, seed, progress)
        if not solution.converged:
            warnings.warn(
                f"VCRegICA did not converge to tol = {self.tol} in {progress.count} steps (last "
                f"step {progress.size:.1e}); raise max_iter or tol, or see reliable_",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.n_iter_ = progress.count
        found = arranged(white, solution.unmixing, solution.information)
        solution = solution._replace(unmixing=found[0], information=found[1])
        self._keep(white, solution, self._assess(white.data, solution, options, seed), X.dtype)
        return X

    def _tensor(self, array: np.ndarray) -> Tensor:
        """Copy an array to the device, in float64."""
        return torch.tensor(array, dtype=torch.float64, device=self.device)

    def _assess(self, x: Tensor, solution: Solution, options: Options, seed: int) -> Reliability:
        """Assess a solution; a rotation with dependent outputs by the free matrix near it."""
        checked = assess(solution.unmixing @ x, solution.information, rotation=solution.rotation)
        if solution.rotation and checked.pvalue < LEVEL:
            with Progress(self.max_iter, False) as progress:
                free = freed(x, solution.unmixing, options, seed, progress)
            if free is not None:
                checked = assess(free @ x, solution.information, rotation=True)
        return checked

    def _keep(
        self, white: White, solution: Solution, checked: Reliability, dtype: np.dtype
    ) -> None:
        """Set the fitted attributes, in the dtype of the observations."""

        def array(value: Tensor) -> np.ndarray:
            return value.cpu().numpy().astype(dtype)

        self.components_ = array(solution.unmixing @ white.whitening)
        self.mixing_ = array(white.colouring @ torch.linalg.inv(solution.unmixing))
        self.mean_ = white.mean.cpu().numpy()
        self.whitening_ = array(white.whitening)
        self.information_ = array(solution.information)
        self.gain_error_ = array(checked.gain_error)
        self.independence_pvalue_ = checked.pvalue
        self.pair_pvalues_ = array(checked.pvalues)
        self.reliable_ = bool(solution.converged and checked.passed)
