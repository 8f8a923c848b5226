r"""Losses of joint-embedding self-supervised learning, each returned with its terms.

A loss takes embeddings of shape (n, d), one row a sample, and returns a tuple whose first field is
the weighted sum and whose other fields are the terms without their weights. All are differentiable,
twice as well; the gradient of the sum is the fast one. Statistics are computed in float32 at least,
whatever autocast says: a half-precision covariance overflows at feature scales that occur in
training. On a GPU nothing waits for a result, so that NaN in the input gives NaN there and an
error on the CPU.

Statistics are those of the batch given. With several processes, `gather` the batches first.

What the values equal in public code, for equal weights and in one process; tests hold the formulas
side by side:

=================== ============================================================================
here                there
=================== ============================================================================
`vicreg_loss`       facebookresearch/vicreg and lightly: equal. stable-pretraining: equal.
                    solo-learn: adds the variance terms of the views, so equal with ``variance``
                    twice its weight. The paper: ``convention="paper"``, which adds them too
                    and takes the squared distance, d times the mean over coordinates.
`vcreg_loss`        stable-pretraining: halves the variance term, so equal with ``variance``
                    half its weight.
`barlow_twins_loss` facebookresearch/barlowtwins (whose default weight is 0.0051) and lightly with
                    one batch normalisation a view: equal. solo-learn: times ``scale_loss``.
                    stable-pretraining: divides by n after dividing by the deviation with n - 1,
                    so each correlation is (n - 1) / n times ours.
`wmse_loss`         htdt/self-supervised and lightly with one whitening iteration, for rows in
                    the order of its permutation: equal. solo-learn: equal, but one view is held
                    constant in the gradient.
`infonce_loss`      SimCLR, lightly, stable-pretraining and htdt/self-supervised: equal.
                    solo-learn: equal, with 0.1 in place of 0.5 as the default temperature.
`regression_loss`   solo-learn and stable-pretraining (BYOL): equal. lightly and SimSiam: the
                    negative cosine, half of ours less 1.
=================== ============================================================================

The log-determinant and pairwise losses follow the formulas in their docstrings.
"""

from .barlow_twins import BarlowTwinsTerms, barlow_twins_loss
from .distributed import gather
from .entropy_losses import (
    LogDetTerms,
    PairDistTerms,
    vicreg_logdet_loss,
    vicreg_pairdist_loss,
)
from .infonce import InfoNCETerms, infonce_loss
from .modules import (
    BarlowTwinsLoss,
    InfoNCELoss,
    RegressionLoss,
    VCRegLoss,
    VICRegLogDetLoss,
    VICRegLoss,
    VICRegPairDistLoss,
    WMSELoss,
)
from .regression import RegressionTerms, regression_loss
from .vicreg import CONVENTIONS, VCRegTerms, VICRegTerms, vcreg_loss, vicreg_loss
from .wmse import WMSETerms, wmse_loss

__all__ = [
    "CONVENTIONS",
    "BarlowTwinsLoss",
    "BarlowTwinsTerms",
    "InfoNCELoss",
    "InfoNCETerms",
    "LogDetTerms",
    "PairDistTerms",
    "RegressionLoss",
    "RegressionTerms",
    "VCRegLoss",
    "VCRegTerms",
    "VICRegLogDetLoss",
    "VICRegLoss",
    "VICRegPairDistLoss",
    "VICRegTerms",
    "WMSELoss",
    "WMSETerms",
    "barlow_twins_loss",
    "gather",
    "infonce_loss",
    "regression_loss",
    "vcreg_loss",
    "vicreg_logdet_loss",
    "vicreg_loss",
    "vicreg_pairdist_loss",
    "wmse_loss",
]
