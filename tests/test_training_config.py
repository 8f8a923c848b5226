"""Tests of configurations and schedules."""

import math
from dataclasses import fields, replace
from itertools import pairwise

import pytest
import torch
from training_cases import config

from vcreg_theory.training import RunConfig, methods, schedule, suites


def test_config__survives_json():
    import json

    run = config("directcopy", loss_options={"eps": 0.3})
    assert RunConfig.from_dict(json.loads(json.dumps(run.to_dict()))) == run


def test_config__digest_depends_on_every_field():
    run = config()
    other = {
        "suite": "other",
        "method": "simclr",
        "dataset": "scene_views",
        "dataset_options": {"seed": 1},
        "encoder": "resnet18",
        "encoder_options": {},
        "projector": (12,),
        "loss_options": {"gamma": 2.0},
        "optimizer": "sgd",
        "precision": "bfloat16",
        "evaluation_options": {},
        "export_dtype": "float32",
    }
    digests = {run.digest()}
    for field in fields(RunConfig):
        value = getattr(run, field.name)
        if isinstance(value, bool):
            changed = not value
        else:
            changed = other[field.name] if field.name in other else value + 1
        digests.add(replace(run, **{field.name: changed}).digest())
    assert len(digests) == 1 + len(fields(RunConfig))


def test_config__keeps_nothing_of_the_callers_options():
    options = {"gamma": 1.0}
    run = config(loss_options=options)
    before = run.digest()
    options["gamma"] = 2.0
    assert run.digest() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "moco"}, "method must be one of random, vicreg"),
        ({"method": "vcreg_random_0"}, "vcreg_random_<width>, got 'vcreg_random_0'"),
        ({"suite": "a/b"}, "suite must be a name of letters, digits and _, got 'a/b'"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"epochs": -1}, "epochs must be at least 0"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative"),
        ({"warmup_epochs": 9}, "warmup_epochs must be below the 8 epochs, got 9"),
        ({"optimizer": "lars"}, "optimizer must be one of 'adam', 'sgd'"),
        ({"precision": "float16"}, "precision must be one of"),
        ({"export_dtype": "int8"}, "export_dtype must be one of"),
        ({"projector": (0,)}, "projector must be at least 1"),
        ({"compile": 2}, "compile must be one of True, False"),
    ],
)
def test_config__refuses_bad_values(changes, message):
    with pytest.raises(ValueError, match=message):
        RunConfig.from_dict(config().to_dict() | changes)


def test_from_dict__refuses_unknown_fields():
    with pytest.raises(ValueError, match="no field momentum"):
        RunConfig.from_dict(config().to_dict() | {"momentum": 0.9})


def test_learning_rate__warms_up_linearly_and_ends_at_zero():
    rates = [schedule.learning_rate(t, 100, 0.5, 10) for t in range(100)]
    assert rates[:10] == pytest.approx([0.05 * (t + 1) for t in range(10)])
    assert rates[10] == 0.5 and schedule.learning_rate(100, 100, 0.5, 10) == pytest.approx(0.0)
    assert rates[55] == pytest.approx(0.25)
    assert all(a > b for a, b in pairwise(rates[10:]))


def test_learning_rate__agrees_with_torch():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
    for step in range(40):
        assert schedule.learning_rate(step, 40, 0.3) == pytest.approx(cosine.get_last_lr()[0])
        optimizer.step()
        cosine.step()


@pytest.mark.parametrize(("total", "count"), [(1, 2), (1, 9), (24, 3), (63, 6), (5000, 8)])
def test_evaluation_steps__hold_both_ends_in_order(total, count):
    steps = schedule.evaluation_steps(total, count)
    assert steps[0] == 0 and steps[-1] == total and len(steps) <= count
    assert list(steps) == sorted(set(steps))


def test_evaluation_steps__are_geometric():
    steps = schedule.evaluation_steps(64_000, 8)
    ratios = [math.log(b / a) for a, b in pairwise(steps[1:])]
    assert ratios == pytest.approx([math.log(2)] * 6) and schedule.evaluation_steps(0, 8) == (0,)


def test_epoch_order__is_a_permutation_of_its_own():
    orders = [schedule.epoch_order(50, epoch, seed) for epoch in (0, 1) for seed in (0, 1)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(50))
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert torch.equal(orders[0], schedule.epoch_order(50, 0, 0))


@pytest.mark.parametrize("name", suites.SUITES)
def test_suites__have_one_row_a_key_and_all_methods(name):
    rows = suites.get(name)
    assert len({row.key for row in rows}) == len(rows) and rows[0].method == "random"
    assert {row.suite for row in rows} == {name}
    assert set(methods.METHODS) <= {row.method for row in rows}
    seeds = [row.seed for row in rows]
    assert seeds == sorted(seeds)  # the first seed of all methods comes first


def test_suites__refuse_unknown_rows():
    with pytest.raises(ValueError, match="suite must be one of 'digits'"):
        suites.get("imagenet")
    with pytest.raises(ValueError, match=r"method must be one of .*'vicreg'.*, got 'moco'"):
        suites.get("digits", only=["moco"])
    with pytest.raises(ValueError, match="seed must be one of 0, 1, 2, got 3"):
        suites.get("digits", seeds=[3])
