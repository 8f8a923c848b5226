"""Tests of the changes of sources that measure the tests of the package."""

import ast

import pytest

SOURCE = '''
"""A module."""

LIMIT = 3


@decorated(7)
def f(x: int | None, y: float = 0.5, *, flip: bool = False) -> "list[1 + 1]":
    """Return 1 + 1."""
    if x is None:
        raise ValueError(f"x must be more than {LIMIT - 1}")
    x = abs(x)
    z = g(x, y) @ h(x)
    call("name", x)
    z += -x
    return z * 2


class C:
    size: int = 4

    def part(self, a, b):
        return a < b and not (a == b or b)
'''


def _all(mutants):
    return [mutant for place in mutants._places("m.py", SOURCE) for mutant in place]


def test_places__are_changed_in_every_way(tools):
    import mutants

    found = [str(mutant).partition(": ")[2] for mutant in _all(mutants)]
    assert sorted(found) == sorted(
        [
            "0.5  ->  1.0",
            "False  ->  True",
            "x is None  ->  (x is not None)",
            "x is None  ->  (not (x is None))",
            'raise ValueError(f"x must be more than {LIMIT - 1}")  ->  pass',
            "x = abs(x)  ->  pass",
            "g(x, y) @ h(x)  ->  (h(x) @ g(x, y))",
            "g(x, y)  ->  g(y, x)",
            'call("name", x)  ->  pass',
            "z += -x  ->  pass",
            "-x  ->  (x)",
            "z * 2  ->  (-(z * 2))",
            "z * 2  ->  (z / 2)",
            "2  ->  3",
            "2  ->  1",
            "a < b and not (a == b or b)  ->  (a < b or not (a == b or b))",
            "a < b  ->  (a <= b)",
            "not (a == b or b)  ->  (a == b or b)",
            "a == b or b  ->  (a == b and b)",
            "a == b  ->  (a != b)",
        ]
    )


def test_source__differs_in_the_place_only(tools):
    import mutants

    made = _all(mutants)
    lines = SOURCE.splitlines()
    for mutant in made:
        changed = mutant.source(SOURCE)
        ast.parse(changed)
        assert [
            i for i, (a, b) in enumerate(zip(lines, changed.splitlines(), strict=True), 1) if a != b
        ] == [mutant.line]
    assert {mutant.function for mutant in made} == {7, 22}
    with pytest.raises(ValueError, match=r"m\.py:\d+ has changed since"):
        made[0].source("\n" + SOURCE)


def test_sample__is_seeded_and_takes_each_place_once(tools):
    import mutants

    first, again, other = (mutants.sample({"m.py": SOURCE}, 9, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert len({(m.start, m.stop, m.new) for m in first}) == 9
    assert len(mutants.sample({"m.py": SOURCE}, 99, 0)) == len(mutants._places("m.py", SOURCE))


def test_change__acts_on_the_living_function_of_one_process(tools):
    import mutants
    import mutate

    from vcreg_theory import validation

    text = (mutate.ROOT / "vcreg_theory/validation.py").read_text(encoding="utf-8")
    made = (m for p in mutants._places("vcreg_theory/validation.py", text) for m in p)
    mutant = next(m for m in made if m.new == "(real(name, value) < 0)")
    assert mutant.old == "real(name, value) <= 0"
    positive = validation.positive  # a name bound before the change, as those of other modules

    def work():
        return mutate.change(mutant, text), positive("x", 0.0)

    assert mutate.forked(work, 60) == ([1, 0.0], 0)
    with pytest.raises(ValueError, match="x must be positive"):
        positive("x", 0.0)


def test_forked__says_how_a_process_ended(tools):
    import mutate

    def endless():
        while True:
            pass

    assert mutate.forked(lambda: {"a": [1]}, 60) == ({"a": [1]}, 0)
    assert mutate.forked(endless, 1) == (None, -9)
    assert mutate.forked(lambda: 1 / 0, 60) == (None, 0)
