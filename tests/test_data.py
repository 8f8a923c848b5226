"""The stored records and checkpoints belong together and to the suites that the package defines."""

import hashlib
from pathlib import Path

import pytest

from vcreg_theory import checkpoints, records, training

DATA = Path(__file__).resolve().parents[1] / "data"
RECORDS = records.load(folder=DATA / "records")


@pytest.mark.parametrize("suite", ["digits", "scenes"])
def test_data__has_a_finished_record_of_every_row(suite):
    states = {row.key: training.status(row, DATA) for row in training.suites.get(suite)}
    assert set(states.values()) == {"finished"}, states


def test_data__every_record_is_of_a_configuration_of_its_suite():
    for record in RECORDS:
        rows = training.suites.get(record.suite, only=[record.method], seeds=[record.seed])
        assert [row.digest() for row in rows] == [record.other["config_digest"]], record.key
        assert record.key == f"{record.suite}-{record.method}-s{record.seed}"


def test_data__the_checkpoints_that_chapters_load_are_there():
    seeds = {"digits": (0, 1, 2), "scenes": (0,)}
    kept = {r.checkpoint["file"] for r in RECORDS if r.seed in seeds.get(r.suite, ())}
    assert all((DATA / name).is_file() for name in kept)


def test_data__every_checkpoint_is_that_of_its_record():
    known = {record.checkpoint["file"]: record for record in RECORDS}
    for path in (DATA / "checkpoints").glob("*.safetensors"):
        record = known[f"checkpoints/{path.name}"]
        content = path.read_bytes()
        assert hashlib.sha256(content).hexdigest() == record.checkpoint["sha256"], path.name
        assert len(content) <= 16 * 2**20
        assert checkpoints.metadata(path)["key"] == record.key


@pytest.mark.parametrize("suite", ["digits", "scenes"])
def test_data__what_records_say_of_their_data_is_what_the_package_loads(suite):
    config = training.suites.get(suite, only=["vicreg"], seeds=[0])[0]
    dataset = training.load_dataset(config)
    found = {"name": dataset.name, **dataset.identity}
    assert all(record.data == found for record in RECORDS if record.suite == suite)
