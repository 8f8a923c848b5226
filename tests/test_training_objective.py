"""Tests of what each method minimises: targets, predictors, terms, and that training lowers it."""

import copy
import math

import pytest
import torch
from torch import nn
from training_cases import config, data

from vcreg_theory import losses, models, seeding
from vcreg_theory.training import METHODS, methods, networks
from vcreg_theory.training.engine import Engine
from vcreg_theory.training.objective import Objective, SetPredictor, spread

TRAINED = [name for name, method in METHODS.items() if method.trains]
ASYMMETRIC = [name for name in TRAINED if not METHODS[name].loss]


def _engine(method="vicreg", **changes):
    return Engine(config(method, **changes), data(), torch.device("cpu"))


def _views(seed=0, n=32):
    generator = seeding.torch_generator(seed, "test views")
    return data().two_views(torch.arange(n), generator)


@pytest.mark.parametrize("name", [*TRAINED, "vcreg_random_12"])
def test_engine__changes_what_the_method_trains_and_only_that(name):
    engine = _engine(name)
    objective = engine.objective
    before = copy.deepcopy(objective.state_dict())
    for _ in range(3):
        engine.train_step()
    after = objective.state_dict()
    for key, parameter in objective.named_parameters():
        moved = not torch.equal(before[key], after[key])
        assert moved == (parameter.requires_grad or key.startswith("target")), key
    entry = engine.read()
    assert entry["step"] == 3 and entry["epoch"] == 1.0 and math.isfinite(entry["loss"])


@pytest.mark.parametrize("name", [*TRAINED, "vcreg_random_12"])
def test_engine__lowers_the_loss(name):
    """Ninety steps lower the loss of fixed views of training images, in training mode."""
    engine = _engine(name, epochs=30, learning_rate=3e-3)
    xa, xb = _views()
    with torch.no_grad():
        start = float(engine.objective(xa, xb).loss)
    for _ in range(90):
        engine.train_step()
    with torch.no_grad():
        end = float(engine.objective(xa, xb).loss)
    assert end < start


def test_engine__is_deterministic_and_leaves_global_state():
    state = torch.get_rng_state()
    prints = []
    for seed in (0, 0, 1):
        engine = _engine("byol", seed=seed)
        for _ in range(5):
            engine.train_step()
        prints.append(models.fingerprint(engine.objective))
    assert prints[0] == prints[1] != prints[2]
    assert torch.equal(state, torch.get_rng_state())


def test_engine__visits_every_image_once_an_epoch():
    seen = []
    whole = data()

    def two_views(rows, generator):
        seen.append(rows)
        return whole.two_views(rows, generator)

    engine = Engine(config(), copy.copy(whole), torch.device("cpu"))
    object.__setattr__(engine.dataset, "two_views", two_views)
    for _ in range(6):
        engine.train_step()
    epochs = torch.cat(seen).reshape(2, 96)
    assert torch.equal(epochs.sort(1).values, torch.arange(96).expand(2, 96))
    assert not torch.equal(epochs[0], epochs[1])


def test_engine__refuses_data_below_one_batch_and_unequal_shares():
    from vcreg_theory.training.distributed import World

    with pytest.raises(ValueError, match="at least one batch of 32, got 31 images"):
        Engine(config(), data(31), torch.device("cpu"))
    with pytest.raises(ValueError, match="a multiple of 3 processes, got 32"):
        Engine(config(), data(), torch.device("cpu"), World(size=3))


def test_engine__only_matrices_decay():
    engine = _engine(weight_decay=0.25)
    matrices, vectors = engine.optimizer.param_groups
    assert matrices["weight_decay"] == 0.25 and vectors["weight_decay"] == 0.0
    assert all(p.ndim > 1 for p in matrices["params"])
    assert all(p.ndim == 1 for p in vectors["params"])
    count = len(matrices["params"]) + len(vectors["params"])
    assert count == len(list(engine.objective.parameters()))


@pytest.mark.parametrize("name", ASYMMETRIC)
def test_objective__regression_is_that_of_its_parts(name):
    """The loss is 2 - 2 cos(p, t), averaged over images and summed over both directions."""
    engine = _engine(name)
    engine.train_step()
    objective = engine.objective
    xa, xb = _views()
    found = objective(xa, xb)
    target = objective.target or objective.network
    (za, zb), (ta, tb) = ([net(x) for x in (xa, xb)] for net in (objective.network, target))
    if METHODS[name].centred:
        za, zb, ta, tb = (z - z.mean(0) for z in (za, zb, ta, tb))
    cosine = nn.functional.cosine_similarity
    pairs = ((objective.predictor(za), tb), (objective.predictor(zb), ta))
    expected = sum((2 - 2 * cosine(p, t, dim=1)).mean() for p, t in pairs)
    # float32 rounding: a cosine of 64 products or fewer, each within 1.2e-7
    torch.testing.assert_close(found.loss, expected, rtol=0, atol=64 * 1.2e-7)


@pytest.mark.parametrize("name", ASYMMETRIC)
def test_objective__stops_the_gradient_at_the_target(name):
    """The gradient is that of the loss with the target's embeddings as constants."""
    engine = _engine(name)
    engine.train_step()
    objective = engine.objective.double()
    xa, xb = (x.double() for x in _views())
    weights = [p for p in objective.parameters() if p.requires_grad]
    found = torch.autograd.grad(objective(xa, xb).loss, weights)
    target = objective.target or objective.network
    with torch.no_grad():
        ta, tb = objective._embed(target, xa, xb)
    za, zb = objective._embed(objective.network, xa, xb)
    cosine = nn.functional.cosine_similarity
    pairs = ((objective.predictor(za), tb), (objective.predictor(zb), ta))
    loss = sum((2 - 2 * cosine(p, t, dim=1)).mean() for p, t in pairs)
    for mine, other in zip(found, torch.autograd.grad(loss, weights), strict=True):
        torch.testing.assert_close(mine, other)  # both in float64, of order 1


def test_after_step__target_is_the_exponential_average():
    engine = _engine("directcopy")
    target = [p.clone() for p in engine.objective.target.parameters()]
    for _ in range(4):
        engine.train_step()
        new = engine.objective.network.parameters()
        target = [0.99 * old + 0.01 * p.detach() for old, p in zip(target, new, strict=True)]
    for mine, expected in zip(engine.objective.target.parameters(), target, strict=True):
        torch.testing.assert_close(mine, expected)


def test_decay__goes_from_first_to_final_along_a_cosine():
    objective = _engine("byol").objective
    assert objective.decay(0, 100) == pytest.approx(0.99)
    assert objective.decay(50, 100) == pytest.approx(0.995)
    assert objective.decay(100, 100) == pytest.approx(1.0)
    assert _engine("directcopy").objective.decay(50, 100) == 0.99


def test_objective__joint_views_change_only_batch_statistics():
    """Without batch normalisation one pass of both views gives what two passes give."""
    network = networks.Network(models.mlp([64, 16, 8], seed=0).float(), nn.Identity())
    network.encoder.insert(0, nn.Flatten())
    found = [
        Objective(network, methods.get("vicreg"), width=8, joint_views=joint)(*_views())
        for joint in (False, True)
    ]
    torch.testing.assert_close(found[0].loss, found[1].loss)
    with_norm = [_engine(joint_views=joint).objective(*_views()).loss for joint in (False, True)]
    assert not torch.isclose(*with_norm, rtol=1e-3, atol=0.0)


def test_objective__loss_options_reach_the_loss():
    weights = {"invariance": 1.0, "variance": 2.0, "covariance": 3.0}
    terms = _engine("vicreg", loss_options=weights).objective(*_views())
    expected = terms.invariance + 2 * terms.variance + 3 * terms.covariance
    torch.testing.assert_close(terms.loss, expected)


def test_objective__pairs_each_image_with_its_own_view():
    """With the invariance term alone, the loss grows when views of other images are paired."""
    options = {"invariance": 1.0, "variance": 0.0, "covariance": 0.0}
    objective = _engine("vicreg", loss_options=options).objective
    xa, xb = _views()
    assert objective(xa, xb).loss < 0.5 * objective(xa, xb.roll(1, 0)).loss


def test_random_projector__is_as_given_and_passes_gradients():
    engine = _engine("vcreg_random_12")
    projector = engine.objective.network.projector
    assert not any(p.requires_grad for p in projector.parameters())
    before = models.fingerprint(projector.linear1)
    for _ in range(3):
        engine.train_step()
    assert models.fingerprint(projector.linear1) == before
    other = networks.build(config("vcreg_random_12", seed=1)).projector.linear1
    assert models.fingerprint(other) != before


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_set_predictor__is_the_power_of_the_running_correlation(alpha, generator):
    predictor = SetPredictor(5, alpha=alpha, eps=0.1, rho=0.3, normalize="spectral")
    z = torch.randn(3, 2, 40, 5, generator=generator)
    torch.testing.assert_close(predictor(z[0, 0]), z[0, 0])  # no correlation yet: the identity
    correlation = None
    for za, zb in z:
        predictor.observe(za, zb)
        predictor.update()
        batch = torch.cat([za, zb]).T @ torch.cat([za, zb]) / 80
        correlation = batch if correlation is None else 0.3 * correlation + 0.7 * batch
    torch.testing.assert_close(predictor.correlation, correlation)
    values, vectors = torch.linalg.eigh(correlation.double())
    power = (values / values[-1]) ** alpha + 0.1
    expected = ((vectors * power) @ vectors.T).float()
    torch.testing.assert_close(predictor.matrix, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(predictor(z[0, 0]), z[0, 0] @ expected, rtol=1e-4, atol=1e-4)


def test_set_predictor__comes_from_batches_before_the_step():
    engine = _engine("directcopy")
    engine.train_step()
    matrix = engine.objective.predictor.matrix.clone()
    engine.objective(*_views())
    assert torch.equal(matrix, engine.objective.predictor.matrix)
    engine.objective.after_step(1, 24)
    assert not torch.equal(matrix, engine.objective.predictor.matrix)


def test_spread__is_zero_on_collapse_and_one_without_a_mean():
    assert float(spread(torch.ones(4, 3))) == pytest.approx(0.0, abs=1e-3)
    assert float(spread(torch.cat([torch.eye(3), -torch.eye(3)]))) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["vicreg", "directcopy", "simclr", "directpred"])
def test_engine__stops_where_the_loss_is_not_finite(name):
    engine = _engine(name)
    for _ in range(2):
        engine.train_step()
    weight = engine.objective.network.encoder.linear.weight
    with torch.no_grad():
        weight[0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="not finite at step 2"):
        for _ in range(3):
            engine.train_step()
        engine.read()


@pytest.mark.parametrize("name", TRAINED)
def test_engine__half_precision_changes_the_loss_by_rounding_only(name):
    """Losses take their statistics in float32, so bfloat16 networks cost about 1 % of the loss.

    bfloat16 rounds to 2^-9 = 0.2 % and the networks have about six roundings in a row: 3 % of the
    largest term, which is at most the loss with all its weights; cosines are of order 1.
    """
    full, half = (_engine(name, precision=p) for p in ("float32", "bfloat16"))
    for engine in (full, half):
        engine.train_step()
    found = [engine.read()["loss"] for engine in (full, half)]
    assert found[1] == pytest.approx(found[0], rel=0.03, abs=0.06) and found[0] != found[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", TRAINED)
def test_engine__trains_on_cuda(name):
    whole = data()
    parts = [type(part)(*(x.cuda() for x in part)) for part in (whole.train, whole.test)]

    def two_views(rows, generator):
        images = parts[0].images[rows]
        first, second = (
            images + 0.1 * torch.randn(images.shape, generator=generator, device="cuda")
            for _ in range(2)
        )
        return first, second

    dataset = type(whole)("patterns", {}, *parts, two_views)
    run = config(name, precision="bfloat16", channels_last=True, joint_views=True)
    engine = Engine(run, dataset, torch.device("cuda"))
    for _ in range(6):
        engine.train_step()
    again = Engine(run, dataset, torch.device("cuda"))
    again.load_state_dict(engine.state_dict())
    for both in (engine, again):
        both.train_step()
        assert math.isfinite(both.read()["loss"])


def test_parts__share_no_random_numbers():
    seeds = {networks.part_seed(s, p) for s in (0, 1) for p in ("encoder", "projector")}
    assert len(seeds) == 4


def test_build__makes_the_export_of_every_row_without_the_data():
    network = networks.build(config("byol"))
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 12)
    assert isinstance(networks.build(config(projector=())).projector, nn.Identity)
    with pytest.raises(ValueError, match="constructor in models, got 'no_such_encoder'"):
        networks.build(config(encoder="no_such_encoder"))


def test_methods__name_losses_that_exist():
    for method in METHODS.values():
        assert not method.loss or callable(getattr(losses, method.loss))
