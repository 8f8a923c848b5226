"""The package as a whole: its modules are all there, and importing it loads none of them."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import vcreg_theory


def test_package__names_every_module():
    modules = (module.name for module in pkgutil.iter_modules(vcreg_theory.__path__))
    found = {name for name in modules if name[0] != "_"}
    assert set(vcreg_theory.__all__) == {"__version__", *found}
    for name in found:
        assert getattr(vcreg_theory, name) is importlib.import_module(f"vcreg_theory.{name}")
    assert set(dir(vcreg_theory)) == set(vcreg_theory.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vcreg_theory.nothing


def test_package__import_is_light():
    script = (
        "import sys, vcreg_theory, vcreg_theory.density, vcreg_theory.normality\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert {"vcreg_theory.density", "torch"} <= loaded
    assert not loaded & {"matplotlib", "sklearn", "IPython", "vcreg_theory.plotting"}
