"""Kernel measures of dependence: HSIC of a pair, of all pairs, of d variables, and their tests.

`pair` holds HSIC and its expectation, `mutual` dHSIC and the three-way Lancaster statistic,
`pairs` the matrix of all pairwise HSICs, `means` their mean and that over all triples, and
`permutation` the tests. All kernels are Gaussian.
"""

from .means import lancaster_interaction, mean_pairwise_hsic
from .mutual import dhsic, dhsic_excess, lancaster
from .pair import expected_biased_hsic, hsic
from .pairs import pairwise_hsic
from .permutation import IndependenceTest, dhsic_test, hsic_test

__all__ = [
    "IndependenceTest",
    "dhsic",
    "dhsic_excess",
    "dhsic_test",
    "expected_biased_hsic",
    "hsic",
    "hsic_test",
    "lancaster",
    "lancaster_interaction",
    "mean_pairwise_hsic",
    "pairwise_hsic",
]
