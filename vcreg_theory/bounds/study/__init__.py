r"""How the bounds do on recorded encoders, by a design that was fixed before its result was seen.

Population: the held-out images, equally likely and without augmentation, so that the class
probabilities, the radius B (the longest feature), the invariance over pairs of one class and the
risk of a probe are sums, without error. Labelled samples: n = 32, 128 and 512 independent draws
from it (half, twice and eight times the 64 features), the same for all encoders. The encoders were
trained on other images, so every hypothesis of claim B8.a holds, and so does that of a reference
probe fitted to the training images' labels (claim B8.c). Gap: the mean error on the images of the
population that are not in the sample, minus that on the sample. Confidence: delta = 0.05 for each
bound. Twenty samples a size; correlations are those over encoders of means over samples.

The three seeds of a method resemble each other, so intervals come from a bootstrap over the 17
methods.

Pairs of one class enter the proved bounds; the informal sum is formed with these and with pairs of
two views of each training image, as self-supervision sees them.
"""

from .correlation import Correlation, clustered_correlation, correlations
from .evaluation import PROVED, SIZES, Study, evaluate
from .recorded import Encoder, recorded_encoders

__all__ = [
    "PROVED",
    "SIZES",
    "Correlation",
    "Encoder",
    "Study",
    "clustered_correlation",
    "correlations",
    "evaluate",
    "recorded_encoders",
]
