r"""Linear predictors that are set from the correlation of the online outputs, not learned.

With :math:`F` the (running) correlation matrix of the outputs, :math:`s_j` its eigenvalues and
:math:`p_j` those of the predictor :math:`W_p`, which shares its eigenvectors:

======================================  ===============================================  =========
convention                              predictor                                        call
======================================  ===============================================  =========
DirectSet(alpha)                        :math:`p_j = s_j^\alpha + \varepsilon`           (1)
DirectPred, as its paper states it      :math:`p_j = \sqrt{s_j} + \varepsilon s_{\max}`  (2)
DirectPred, as its code computes it     :math:`p_j = \max(\sqrt{s_j/s_{\max}}            (3)
                                        + \varepsilon, 10^{-4})`
DirectCopy, as the same code has it     :math:`W_p = F + \varepsilon I`                  (4)
DirectCopy, with a normalised copy      :math:`W_p = F/\lVert F\rVert + \varepsilon I`   (5)
======================================  ===============================================  =========

(1) ``directset_predictor(corr, alpha, eps=eps)``; (2) ``directpred_predictor(corr, eps=eps)``;
(3) ``directpred_predictor(corr, eps=eps, convention="code")``; (4)
``directcopy_predictor(corr, eps=eps)``; (5) ``directcopy_predictor(corr, eps=eps,
normalize="frobenius")``, or "spectral". In (2) the number :math:`\varepsilon` multiplies an
eigenvalue and is added to the root of one, so that rescaling the outputs changes its weight; in
(3) and (5) it is a share of the largest :math:`p_j`, and in (1) and (4) a number on the scale of
:math:`F^\alpha`. The "code" is facebookresearch/luckmatters, ``byol_trainer.py`` ("boost_scale"
with the offset outside the root). A later implementation, fmi-basel/implicit-var-reg, adds the
offset before the power, :math:`p_j = (s_j/s_{\max} + \varepsilon)^\alpha`.
"""

import torch
from torch import Tensor

from .. import validation
from .correlation import checked, rebuild, spectrum

NORMS = ("spectral", "frobenius", "trace")
CONVENTIONS = ("paper", "code")
CODE_FLOOR = 1e-4  # the smallest eigenvalue that the released code of DirectPred allows


def directset_predictor(
    corr: Tensor,
    alpha: float,
    *,
    eps: float = 0.0,
    normalize: str | None = None,
    check: bool = True,
) -> Tensor:
    r"""Return the predictor of DirectSet(alpha): a power of the correlation, plus an offset.

    .. math:: W_p = \bigl(F / \lVert F\rVert\bigr)^\alpha + \varepsilon I,

    where the division is left out without `normalize`.

    Parameters
    ----------
    corr : Tensor, shape (k, k)
        Correlation matrix :math:`F` of the outputs, symmetric and positive semi-definite.
    alpha : float
        The power, positive: 1/2 is DirectPred's, 1 is DirectCopy's.
    eps : float
        The offset :math:`\varepsilon`, not negative.
    normalize : {"spectral", "frobenius", "trace"}, optional
        The norm that divides :math:`F`: its largest eigenvalue, the root of the sum of its squared
        entries, or its trace.
    check : bool
        Whether to look at the entries of `corr` at all. That waits for the device and costs about
        three times what a copy does; the averages of `EMACorrelation` need no check.

    Returns
    -------
    Tensor, shape (k, k)
        In the dtype and on the device of `corr`; new memory, without gradient.

    Raises
    ------
    TypeError
        If `corr` is not a float32 or float64 tensor.
    ValueError
        If `corr` is not square, finite, symmetric and positive semi-definite up to rounding, or is
        zero where it is to be normalised; or an option is out of range.

    Notes
    -----
    Claims C3 and C7. With alpha = 1 the matrix is copied and with alpha = 2 multiplied once; only
    other powers, and the spectral norm, need eigenvalues. Symmetry and definiteness are asked for
    up to :math:`\sqrt u\,\max|F|`, with u the spacing of the dtype at 1: two sums of the same B
    products differ by at most about :math:`Bu` times the largest mean square, so every
    :math:`Z^\top Z/B` of up to :math:`1/\sqrt u` rows passes (2,900 in float32, and far more where
    roundings cancel). Asymmetry is looked for in :math:`(F - F^\top) v` with one fixed vector v,
    which misses it only where differences cancel in every row. Where no eigenvalue is computed,
    two consequences of definiteness are checked in its place, :math:`F_{ii} \ge 0` and
    :math:`\max_{ij}|F_{ij}| = \max_i F_{ii}`; the result is a polynomial in `corr` there, finite
    and symmetric without it.

    Examples
    --------
    >>> corr = torch.tensor([[4.0, 0.0], [0.0, 1.0]])
    >>> directset_predictor(corr, 0.5, eps=0.1)
    tensor([[2.1000, 0.0000],
            [0.0000, 1.1000]])
    """
    alpha = validation.positive("alpha", alpha)
    eps = validation.nonnegative("eps", eps)
    validation.member("normalize", normalize, (None, *NORMS))
    corr = checked(corr, check)
    with torch.no_grad(), torch.autocast(corr.device.type, enabled=False):
        if alpha in (1.0, 2.0) and normalize != "spectral":
            power = _polynomial(corr, int(alpha), normalize, check)
        else:
            values, vectors = spectrum(corr, check)
            if normalize is not None:
                values = values / _norm(values, normalize, check)
            power = rebuild(values**alpha, vectors)
        power.diagonal().add_(eps)
        return power


def directcopy_predictor(
    corr: Tensor, *, eps: float = 0.0, normalize: str | None = None, check: bool = True
) -> Tensor:
    r"""Return DirectCopy's predictor, the correlation itself plus an offset.

    .. math:: W_p = F + \varepsilon I

    This is `directset_predictor` with alpha = 1, which has the parameters, errors and the table of
    conventions; only ``normalize="spectral"`` needs an eigenvalue.

    Parameters
    ----------
    corr : Tensor, shape (k, k)
    eps : float
    normalize : {"spectral", "frobenius", "trace"}, optional
    check : bool

    Returns
    -------
    Tensor, shape (k, k)

    Notes
    -----
    Claim C7. Of all powers only this one is unbiased when the correlation is estimated from a
    batch: :math:`\mathbb E \hat F^\alpha = F^\alpha` holds for every law of the outputs.

    Examples
    --------
    >>> directcopy_predictor(torch.eye(2), eps=0.5)
    tensor([[1.5000, 0.0000],
            [0.0000, 1.5000]])
    """
    return directset_predictor(corr, 1.0, eps=eps, normalize=normalize, check=check)


def directpred_predictor(
    corr: Tensor, *, eps: float = 0.01, convention: str = "paper", check: bool = True
) -> Tensor:
    r"""Return DirectPred's predictor, the root of the correlation plus an offset.

    .. math::
        p_j = \sqrt{s_j} + \varepsilon\, s_{\max} \quad\text{("paper")}, \qquad
        p_j = \max\bigl(\sqrt{s_j / s_{\max}} + \varepsilon,\; 10^{-4}\bigr)
        \quad\text{("code")}.

    Parameters
    ----------
    corr : Tensor, shape (k, k)
        Correlation matrix of the outputs, as in `directset_predictor`.
    eps : float
        The offset, not negative.
    convention : {"paper", "code"}
        The published equation or the released code; the two differ in scale and in the weight
        of `eps`.
    check : bool
        As in `directset_predictor`.

    Returns
    -------
    Tensor, shape (k, k)

    Raises
    ------
    TypeError, ValueError
        As in `directset_predictor`; "code" divides by the largest eigenvalue and refuses zero.

    Notes
    -----
    Claim C7; Tian, Chen and Ganguli (2021), as we recall it.

    Examples
    --------
    >>> directpred_predictor(torch.diag(torch.tensor([4.0, 1.0])), eps=0.1).diagonal()
    tensor([2.4000, 1.4000])
    >>> corr = torch.diag(torch.tensor([4.0, 1.0]))
    >>> directpred_predictor(corr, eps=0.1, convention="code").diagonal()
    tensor([1.1000, 0.6000])
    """
    eps = validation.nonnegative("eps", eps)
    validation.member("convention", convention, CONVENTIONS)
    corr = checked(corr, check)
    with torch.no_grad(), torch.autocast(corr.device.type, enabled=False):
        values, vectors = spectrum(corr, check)
        if convention == "paper":
            return rebuild(values.sqrt() + eps * values[-1], vectors)
        relative = values / _norm(values, "spectral", check)
        return rebuild((relative.sqrt() + eps).clamp(min=CODE_FLOOR), vectors)


def _norm(values: Tensor, normalize: str, check: bool) -> Tensor:
    """Return a norm of the matrix with these eigenvalues, ascending and not negative."""
    norms = {"spectral": values[-1], "frobenius": values.norm(), "trace": values.sum()}
    return _positive_norm(norms[normalize], normalize, check)


def _positive_norm(norm: Tensor, normalize: str, check: bool) -> Tensor:
    """Return the norm unless it is zero."""
    if check and float(norm) == 0:
        raise ValueError(f"corr must not be zero where its {normalize} norm divides it")
    return norm


def _polynomial(corr: Tensor, alpha: int, normalize: str | None, check: bool) -> Tensor:
    """Return the first or second power of the (normalised) matrix, in new memory."""
    if normalize is not None:
        norm = corr.norm() if normalize == "frobenius" else corr.trace()
        corr = corr / _positive_norm(norm, normalize, check)
    elif alpha == 1:
        return corr.clone()
    return corr if alpha == 1 else corr @ corr
