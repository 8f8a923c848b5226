"""Two inputs and two centroids, symmetric about the origin: collapse in closed form."""

import math

from scipy import optimize, special

from .. import validation

# Ei(2 u) overflows soon after.
_LARGEST_RATIO = 350.0


def two_point_velocity(a: float, b: float, variance: float) -> tuple[float, float]:
    r"""Return the velocities of inputs :math:`\pm a` and centroids :math:`\pm b`.

    .. math:: \dot a = \frac{-a + b \tanh(ab/\sigma^2)}{\sigma^2}, \qquad
        \dot b = \frac{-b + a \tanh(ab/\sigma^2)}{\sigma^2}

    Parameters
    ----------
    a, b : float
    variance : float
        The variance :math:`\sigma^2`, positive.

    Returns
    -------
    tuple of float

    Notes
    -----
    Claim B7.b. With fixed inputs the first is replaced by zero.

    Examples
    --------
    >>> two_point_velocity(0.0, 1.0, 1.0)
    (0.0, -1.0)
    """
    a, b = validation.real("a", a), validation.real("b", b)
    variance = validation.positive("variance", variance)
    pull = math.tanh(a * (b / variance))
    return (-a + b * pull) / variance, (-b + a * pull) / variance


def two_point_collapse_time(u0: float, u1: float, variance: float = 1.0) -> float:
    r"""Return the time in which two points at their centroids approach each other.

    .. math:: T(u_0 \to u_1) = \frac{\sigma^2}4 \Bigl[\log\frac{u_0}{u_1}
        + \mathrm{Ei}(2u_0) - \mathrm{Ei}(2u_1)\Bigr], \qquad u = \frac{a^2}{\sigma^2}

    Inputs and centroids are at :math:`\pm a`, so that they stay together: :math:`\dot u =
    -2u(1 - \tanh u)/\sigma^2`.

    Parameters
    ----------
    u0, u1 : float
        Squares of a in units of the variance at the start and at the end, :math:`u_0 \ge u_1 > 0`.
    variance : float
        The variance :math:`\sigma^2`, positive.

    Returns
    -------
    float
        In the units of time in which the likelihood's gradient is the velocity.

    Raises
    ------
    ValueError
        If the arguments are not in this order, or `u0` is above 350, where the time overflows.

    Notes
    -----
    Claim B7.b.

    Examples
    --------
    >>> round(two_point_collapse_time(6.25, 0.01), 1)  # from 2.5 to 0.1 standard deviations
    5893.7
    """
    u1 = validation.positive("u1", u1)
    u0 = validation.positive("u0", u0)
    if not u1 <= u0 <= _LARGEST_RATIO:
        raise ValueError(
            f"u0 must be at least u1 = {u1:g} and at most {_LARGEST_RATIO:g}, got {u0:g}"
        )
    variance = validation.positive("variance", variance)
    # Ei has the logarithm within it, and so its own digits, except where both ends are close.
    difference = special.expi(2 * u0) - special.expi(2 * u1)
    return variance / 4 * float(math.log(u0 / u1) + difference)


def two_point_time_asymptote(u0: float, variance: float = 1.0) -> float:
    r"""Return the leading term of the collapse time of two points far apart.

    .. math:: T \sim \frac{\sigma^2 e^{2u_0}}{8 u_0}

    Parameters
    ----------
    u0 : float
        Square of a in units of the variance, positive.
    variance : float
        The variance :math:`\sigma^2`, positive.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If `u0` is not positive or above 350, where the time overflows.

    Notes
    -----
    Claim B7.b. The next term is smaller by the factor :math:`1/(2u_0)`.

    Examples
    --------
    >>> ratio = two_point_collapse_time(50.0, 1.0) / two_point_time_asymptote(50.0)
    >>> round(ratio, 4)  # 1 + 1/100 + 2/100^2 + ...
    1.0102
    """
    u0 = validation.positive("u0", u0)
    if u0 > _LARGEST_RATIO:
        raise ValueError(f"u0 must be at most {_LARGEST_RATIO:g}, got {u0:g}")
    return validation.positive("variance", variance) * math.exp(2 * u0) / (8 * u0)


def two_point_fixed_points(a: float, variance: float) -> tuple[float, ...]:
    r"""Return where the centroids :math:`\pm b` rest if the inputs :math:`\pm a` are fixed.

    .. math:: b = a \tanh(ab/\sigma^2)

    Parameters
    ----------
    a : float
        Positive.
    variance : float
        The variance :math:`\sigma^2`, positive.

    Returns
    -------
    tuple of float
        Ascending: 0 alone, which is stable, for :math:`\sigma^2 \ge a^2`; below that
        :math:`-b_*, 0, b_*`, of which 0 is unstable.

    Raises
    ------
    ValueError
        If an argument is not positive.

    Notes
    -----
    Claims B7.c and B7.e: a pitchfork at :math:`\sigma^2 = a^2`, which here is both the critical
    variance and a quarter of the squared diameter.

    Examples
    --------
    >>> [round(b, 3) for b in two_point_fixed_points(1.0, 0.5)]
    [-0.958, 0.0, 0.958]
    >>> two_point_fixed_points(1.0, 1.2)
    (0.0,)
    """
    a = validation.positive("a", a)
    slope = a * (a / validation.positive("variance", variance))
    if slope <= 1:
        return (0.0,)
    # tanh y >= y - y^3 / 3 puts the root above this, and tanh < 1 puts it below one.
    least = math.sqrt(3 * (1 - 1 / slope)) / slope

    def excess(share: float) -> float:
        return math.tanh(slope * share) - share

    root = least if excess(least) <= 0 else optimize.brentq(excess, least, 1.0, xtol=1e-300)
    return -a * root, 0.0, a * root
