"""Multinomial logistic regression with a ridge penalty, solved to high accuracy."""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation
from .minimise import Minimum, minimise
from .scaling import check_features, check_labels, standardise

MAX_ITERATIONS = 1000


class Logistic(NamedTuple):
    """A fitted classifier: the scores of its classes are ``features @ weight + bias``.

    `objective` is the minimised sum of loss and penalty, `gradient` the largest entry of its
    gradient in the coordinates of the solver, `iterations` the steps taken.
    """

    weight: Tensor
    bias: Tensor
    classes: Tensor
    objective: float
    gradient: float
    iterations: int

    def predict(self, features: Tensor) -> Tensor:
        """Return the class of the highest score of each row; the first of them on a tie."""
        return self.classes[self.scores(features).argmax(1)]

    def scores(self, features: Tensor) -> Tensor:
        """Return the score of each class, one row an image, in float64."""
        return torch.addmm(self.bias, features.double(), self.weight)

    def cross_entropy(self, features: Tensor, labels: Tensor) -> float:
        """Return the mean cross-entropy, in nats, of labels that the classifier has met."""
        places = torch.searchsorted(self.classes, labels)
        return float(torch.nn.functional.cross_entropy(self.scores(features), places))


def fit_logistic(
    features: Tensor, labels: Tensor, penalty: float, *, tolerance: float = 1e-7
) -> Logistic:
    r"""Fit multinomial logistic regression to standardised features.

    .. math::
        \min_{W, b}\; -\frac1n \sum_i \log \frac{e^{(\tilde h_i W + b)_{y_i}}}
        {\sum_k e^{(\tilde h_i W + b)_k}} + \frac{\lambda}{2} \lVert W\rVert_F^2

    with :math:`\tilde h` the features at mean zero and variance one; the bias is free.

    Parameters
    ----------
    features : Tensor, shape (n, d)
        Features of the training images, n at least 2; float32 is solved in float64.
    labels : Tensor of integers, shape (n,)
        Their classes, any integers.
    penalty : float
        The number :math:`\lambda`, positive. scikit-learn's ``C`` is :math:`1/(n\lambda)` for
        three classes or more.
    tolerance : float
        Largest entry of the gradient, in the solver's coordinates, at which it stops.

    Returns
    -------
    Logistic
        Weights of the features as given, in float64.

    Raises
    ------
    TypeError, ValueError
        If shapes or dtypes do not fit, an entry is not finite, or an option is out of range.

    Notes
    -----
    Full-batch L-BFGS in coordinates in which the Hessian at
    equal probabilities, :math:`S/K + \lambda` with S the correlation matrix of the features, is
    the identity. So correlated or nearly collapsed features cost no extra iterations.
    With two classes the softmax stays symmetric, with one weight vector for each.

    Examples
    --------
    >>> x = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])
    >>> fit_logistic(x, torch.tensor([7, 7, 9, 9]), 0.1).predict(torch.tensor([[-3.0], [0.5]]))
    tensor([7, 9])
    """
    features = check_features("features", features)
    labels = check_labels("labels", labels, features)
    validation.positive("penalty", penalty)
    validation.positive("tolerance", tolerance)
    return Problem(features, labels).fit(penalty, tolerance)


class Problem:
    """The regression of labels on features, rotated once and solved for any penalty.

    The rows are the features in the eigenbasis of their correlation matrix, of shape (n, d);
    weights are (K, d). Each solution starts from the one before. `dtype` is that of all products.
    """

    def __init__(self, features: Tensor, labels: Tensor, dtype: torch.dtype = torch.float64):
        if len(features) < 2:
            raise ValueError(
                f"features must have at least 2 rows, got shape {tuple(features.shape)}"
            )
        self.scaling = standardise(features)
        rows = self.scaling(features).to(dtype)
        self.variances, self.rotation = torch.linalg.eigh(rows.T @ rows / len(rows))
        self.rows = rows @ self.rotation
        self.classes, self.labels = torch.unique(labels, return_inverse=True)
        self.weight = self.rows.new_zeros(len(self.classes), rows.shape[1])
        self.bias = self.rows.new_zeros(len(self.classes))

    def fit(self, penalty: float, tolerance: float) -> Logistic:
        """Return the classifier that minimises the penalised loss."""
        found = self._minimise(penalty, tolerance)
        weight = (self.rotation @ self.weight.T).double() * self.scaling.scale[:, None]
        bias = self.bias.double() - self.scaling.mean @ weight
        gradient = float(found.gradient.abs().max())
        return Logistic(weight, bias, self.classes, found.value, gradient, found.iterations)

    def _minimise(self, penalty: float, tolerance: float) -> Minimum:
        """Search from the last solution, in whitened coordinates, and keep what is found."""
        shape, size = self.weight.shape, self.weight.numel()
        unit = (self.variances.clamp(min=0) / len(self.classes) + penalty).rsqrt()

        def function(x: Tensor) -> tuple[Tensor, Tensor]:
            weight = x[:size].view(shape) * unit
            loss, gradient, shift = self._loss(weight, x[size:], penalty)
            return loss, torch.cat([(gradient * unit).flatten(), shift])

        start = torch.cat([(self.weight / unit).flatten(), self.bias])
        found = minimise(function, start, tolerance=tolerance, max_iterations=MAX_ITERATIONS)
        self.weight, self.bias = found.x[:size].view(shape) * unit, found.x[size:]
        return found

    def _loss(self, weight: Tensor, bias: Tensor, penalty: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return the penalised loss and its gradients."""
        # Classes first: products with few columns, and sums over few neighbours, are slow.
        logs = torch.addmm(bias[:, None], weight, self.rows.T).log_softmax(0)
        n, own = len(self.rows), self.labels[None]
        loss = penalty / 2 * weight.square().sum() - logs.gather(0, own).mean()
        residual = logs.exp_().scatter_add_(0, own, logs.new_full((1, n), -1.0)).div_(n)
        return loss, torch.addmm(weight, residual, self.rows, beta=penalty), residual.sum(1)
