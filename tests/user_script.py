"""A user's script: `make lint` checks its types with those of the package, a test runs it.

It imports public names in the ways the book does, and states the types that a reader of the
reference expects of them.
"""

from typing import assert_type

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import vcreg_theory
from vcreg_theory import datasets, dynamics, entropy, ica, piecewise, stats
from vcreg_theory.bounds import RiskBound, probe_risk_bound
from vcreg_theory.claims import Claim, registry
from vcreg_theory.independence import hsic
from vcreg_theory.losses import VICRegLoss, VICRegTerms, vicreg_loss
from vcreg_theory.training import RunConfig, Trainer

generator = vcreg_theory.seeding.torch_generator(0, "script")
z = torch.randn(8, 2, generator=generator)
labels = torch.arange(2).repeat(4)

assert_type(vcreg_theory.__version__, str)
assert_type(generator, torch.Generator)
assert_type(vicreg_loss(z, z, variance=1.0), VICRegTerms)
assert_type(vcreg_theory.losses.vicreg_loss(z, z).loss, Tensor)
assert_type(hsic(z[:, 0], z[:, 1]), Tensor)
assert_type(entropy.logdet_entropy(z), Tensor)
assert_type(piecewise.local_affine_map(nn.Linear(2, 1), z), piecewise.LocalMap)
assert_type(stats.mean_interval([0.0, 1.0]).low, float)
assert_type(dynamics.mode_time(0.5, 0.25, 1.0, 1.0, 0.0, 0.5), NDArray[np.float64])
assert_type(dynamics.fixed_points([1.0], [0.5], 0.1), dynamics.BlockFixedPoints)
assert_type(ica.amari_distance(np.eye(2), np.eye(2)), float)
assert_type(datasets.digit_views().train.images, Tensor)
assert_type(probe_risk_bound(z, labels, 0.5, z[0].softmax(0), 0.05, radius=9.0), RiskBound)
assert_type(registry()["A1.a"], Claim)

loss: nn.Module = VICRegLoss(variance=1.0)
trainers: list[type[Trainer]] = [Trainer]
configs: list[RunConfig] = []
