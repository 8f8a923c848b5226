"""Contrast with the other samples of a batch: NT-Xent (SimCLR) and one-directional InfoNCE."""

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation
from ._covariance import gram, row_squares
from ._fused import Values, fused
from ._inputs import embeddings, full_precision, inverse_lengths, refuse_nonfinite, unit_rows

FORMS = ("nt-xent", "one-way")
LARGEST_EXPONENT = {torch.float32: 80.0, torch.float64: 700.0}


class InfoNCETerms(NamedTuple):
    """The contrastive loss and its two parts, scalar tensors; see `infonce_loss` for their sum."""

    loss: Tensor
    alignment: Tensor
    entropy: Tensor


def infonce_loss(
    za: Tensor, zb: Tensor, *, temperature: float = 0.5, form: str = "nt-xent"
) -> InfoNCETerms:
    r"""Return the contrastive loss of two batches of embeddings, normalised to unit length.

    .. math::
        -\frac1{2n} \sum_{i=1}^{2n} \log \frac{e^{u_i \cdot u_{i'} / \tau}}
        {\sum_{j \neq i} e^{u_i \cdot u_j / \tau}}
        = \frac1{2\tau} \underbrace{\frac1n \sum_i \lVert z_i - z_i' \rVert^2}_{\text{alignment}}
        + \underbrace{\frac1{2n} \sum_i \log \frac1{2n-1} \sum_{j \neq i}
        e^{-\lVert u_i - u_j \rVert^2 / 2\tau}}_{-\,\text{entropy}} + \log(2n - 1)

    where :math:`u_1, \dots, u_{2n}` are the normalised rows of both views, :math:`i'` is the other
    view of row :math:`i`, and :math:`z_i`, :math:`z_i'` are the two of sample :math:`i`. This is
    NT-Xent. The one-way form takes the :math:`z_i` as queries and the :math:`z_j'` as keys, with
    the positive pair in the denominator:

    .. math::
        -\frac1n \sum_i \log \frac{e^{z_i \cdot z_i' / \tau}}{\sum_j e^{z_i \cdot z_j' / \tau}}
        = \frac1{2\tau n} \sum_i \lVert z_i - z_i' \rVert^2
        + \frac1n \sum_i \log \frac1n \sum_j e^{-\lVert z_i - z_j' \rVert^2 / 2\tau} + \log n .

    Parameters
    ----------
    za, zb : Tensor, shape (n, d)
        Embeddings of the two views of one batch, row by row; n at least 2. Half precision is
        converted to float32. A row of length zero counts as similar to nothing (similarity 0) and
        gets no gradient.
    temperature : float
        The temperature :math:`\tau`, positive.
    form : {"nt-xent", "one-way"}
        Which of the two losses.

    Returns
    -------
    InfoNCETerms
        The loss in nats, the mean squared distance of the pairs (2 - 2 cos) and the kernel entropy
        in nats: loss = alignment / (2 temperature) - entropy + a constant, the logarithm above.

    Raises
    ------
    ValueError
        If shapes differ, n < 2 or d < 1, a parameter is out of range, or, looked for on the CPU
        only, an entry or the loss is not finite.

    Notes
    -----
    Claim B9.a. The pooled entropy leaves each point out of its own sum, so it is at least the
    pairwise estimate with the same kernel; the one-way entropy has the positive pair in the place
    of the point itself and bounds nothing. For NT-Xent the gradient is computed with the value.

    Examples
    --------
    >>> z = torch.eye(2)  # each row: its copy at similarity 1, two others at similarity 0
    >>> found = float(infonce_loss(z, z, temperature=1.0).loss)
    >>> round(found, 4), round(math.log(1 + 2 / math.e), 4)
    (0.5514, 0.5514)
    """
    za, zb = embeddings(za=za, zb=zb)
    temperature = validation.positive("temperature", temperature)
    validation.member("form", form, FORMS)
    if form == "one-way" or 2 / temperature > LARGEST_EXPONENT[za.dtype]:
        with full_precision(za):
            terms = _plain(temperature, form, za, zb)
    else:
        terms = fused(partial(_fast, temperature), partial(_plain, temperature, form), za, zb)
    refuse_nonfinite(terms[0], za=za, zb=zb)
    return InfoNCETerms(*terms)


def _plain(temperature: float, form: str, za: Tensor, zb: Tensor) -> Values:
    """Return the loss and its parts, for autograd and for every temperature."""
    a, b = unit_rows(za), unit_rows(zb)
    if form == "one-way":
        logits, others = a @ b.T / temperature, len(a)
    else:
        u = torch.cat([a, b])
        itself = torch.eye(len(u), dtype=torch.bool, device=u.device)
        logits, others = (u @ u.T / temperature).masked_fill(itself, -torch.inf), len(u) - 1
    positives = (a * b).sum(1).mean()
    return _parts(temperature, others, positives, logits.logsumexp(1).mean())


def _fast(temperature: float, za: Tensor, zb: Tensor) -> tuple[Values, Values]:
    """Return NT-Xent and its parts, and the gradients of the loss.

    Similarities are at most 1, so that no search for the largest exponent is needed. All of the
    gradient goes into one symmetric matrix of weights: both sides of each similarity, the positive
    pairs, and on the diagonal the part along each row, which its unit length takes away. Only
    the lengths come after, as a factor of each row.
    """
    n = len(za)
    u, inverse = _unit_rows(za, zb)
    similarities = gram(u)
    weights = similarities.sub(1).div_(temperature).exp_().fill_diagonal_(0)
    mass = weights.sum(1)
    positives = similarities.diagonal(n).mean()
    values = _parts(temperature, 2 * n - 1, positives, mass.log().mean() + 1 / temperature)
    share = mass.reciprocal_()
    weights.mul_(share[:, None] + share)
    for side in (n, -n):
        weights.diagonal(side).sub_(2)
    weights.diagonal().copy_(similarities.mul_(weights).sum(1)).neg_()
    gradient = weights.mul_(inverse / (2 * n * temperature)) @ u
    return values, (gradient[:n], gradient[n:])


def _unit_rows(za: Tensor, zb: Tensor) -> tuple[Tensor, Tensor]:
    """Return `unit_rows` of both views, one below the other, without a copy in between."""
    n = len(za)
    u = za.new_empty(2 * n, za.shape[1])
    squares = torch.cat([row_squares(za), row_squares(zb)])
    inverse = inverse_lengths(squares[:, None])
    torch.mul(za, inverse[:n], out=u[:n])
    torch.mul(zb, inverse[n:], out=u[n:])
    return u, inverse


def _parts(temperature: float, others: int, positives: Tensor, log_sums: Tensor) -> Values:
    """Return the loss, the alignment and the entropy."""
    entropy = math.log(others) + 1 / temperature - log_sums
    return log_sums - positives / temperature, 2 - 2 * positives, entropy
