"""Distance of the two views after whitening: the loss of W-MSE."""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation
from ._cholesky import factor
from ._inputs import centre, embeddings, full_precision, refuse_nonfinite, unit_rows

REMEDY = "whiten more samples at once, use fewer dimensions or a positive eps"


class WMSETerms(NamedTuple):
    """The loss, and the distance of the whitened views, which is all of it; scalar tensors."""

    loss: Tensor
    invariance: Tensor


def wmse_loss(
    za: Tensor,
    zb: Tensor,
    *,
    normalize: bool = True,
    sub_batch: int | None = None,
    eps: float = 0.0,
) -> WMSETerms:
    r"""Return the mean squared distance of the two views, each whitened on the batch.

    .. math::
        w_i = L^{-1} (z_i - \bar z), \qquad
        L L^\top = (1 - \varepsilon)\, C + \varepsilon I ,

    with :math:`C` the covariance matrix normalised by :math:`m - 1` over the m samples whitened
    together and :math:`L` its lower Cholesky factor; each view has its own. The loss is the mean
    over samples of :math:`\lVert \hat w_i - \hat w_i' \rVert^2 = 2 - 2\cos(w_i, w_i')` for the rows
    at unit length, or the mean over samples and coordinates of the squared difference as it is.

    Parameters
    ----------
    za, zb : Tensor, shape (n, d)
        Embeddings of the two views of one batch, row by row. Half precision is converted to
        float32.
    normalize : bool
        Whether the whitened rows are brought to unit length.
    sub_batch : int, optional
        Number m of samples that are whitened together, a divisor of n above d, in the order of the
        rows: shuffle beforehand. By default all. The estimate is poor below 2 d.
    eps : float
        Shrinkage towards the identity, between 0 and 1.

    Returns
    -------
    WMSETerms
        The loss, twice: it has one term.

    Raises
    ------
    ValueError
        If shapes differ, no more than d samples are whitened together, `sub_batch` does not divide
        n, a parameter is out of range, or, looked for on the CPU only, an entry or the loss is
        not finite or the covariance is singular in double precision.

    Notes
    -----
    Claim A5.c: the whitened views have covariance I whatever the encoder is. The convention is that
    of the authors' code with one whitening iteration; whitening with the inverse symmetric root in
    place of the Cholesky factor would rotate the two views differently and give another value.

    Examples
    --------
    >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> mixed = z @ torch.tensor([[2.0, 1.0], [0.0, 3.0]])  # a triangular mixture is undone
    >>> abs(round(float(wmse_loss(z, mixed, normalize=False).loss), 6))
    0.0
    """
    za, zb = embeddings(za=za, zb=zb)
    n, d = za.shape
    if not isinstance(normalize, bool):
        raise TypeError(f"normalize must be True or False, got {normalize!r}")
    if validation.nonnegative("eps", eps) > 1:
        raise ValueError(f"eps must be at most 1, got {eps!r}")
    m = n if sub_batch is None else validation.integer("sub_batch", sub_batch, at_least=2)
    if n % m:
        raise ValueError(f"sub_batch must divide the number of rows {n}, got {m}")
    if m <= d:
        raise ValueError(f"whitening {d} dimensions needs more than {d} samples at once, got {m}")
    with full_precision(za):
        a, b = (torch.cat([_whiten(part, eps) for part in z.split(m)]) for z in (za, zb))
        if normalize:
            a, b = unit_rows(a), unit_rows(b)
            loss = 2 - 2 * (a * b).sum(1).mean()
        else:
            loss = (a - b).square().mean()
    refuse_nonfinite(loss, za=za, zb=zb)
    return WMSETerms(loss, loss)


def _whiten(z: Tensor, eps: float) -> Tensor:
    """Return the rows with mean zero and covariance I."""
    centred, _ = centre(z.double())
    covariance = centred.T @ centred / (len(z) - 1)
    identity = torch.eye(z.shape[1], dtype=covariance.dtype, device=z.device)
    lower = factor((1 - eps) * covariance + eps * identity, REMEDY)
    white: Tensor = torch.linalg.solve_triangular(lower, centred.T, upper=False).T
    return white.to(z.dtype)
