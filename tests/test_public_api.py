"""The public names: exported, documented, listed in the reference, typed, and cheap to import."""

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import re
import runpy
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import vcreg_theory

ROOT = Path(vcreg_theory.__file__).parents[1]
HEAVY = {"IPython", "PIL", "hyppo", "kornia", "matplotlib", "sklearn", "sympy"}
ENTRY = re.compile(r"^\.\. (?:auto(?:class|exception|function)|py:data):: (\S+)$", re.M)
IMPORT = re.compile(r"^(?:>>> )?from (vcreg_theory[\w.]*) import (\([^)]*\)|[^\n(]+)", re.M)


def walked():
    """Yield all modules of the package that have no underscore in their path."""
    for found in pkgutil.walk_packages(vcreg_theory.__path__, "vcreg_theory."):
        if "._" not in found.name:
            yield importlib.import_module(found.name)


def defined(module):
    """Return the public functions and classes that the source of a module defines."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    body = ast.parse(Path(module.__file__).read_text("utf-8")).body
    return {node.name for node in body if isinstance(node, kinds) and node.name[0] != "_"}


@pytest.fixture(scope="module")
def reference():
    """Return the extension that writes the reference."""
    path = ROOT / "book" / "_ext" / "vcreg_book" / "api.py"
    spec = importlib.util.spec_from_file_location("vcreg_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sections(reference):
    """Return the text of each section of the reference, by the name of its module."""
    return {name: reference.section(name) for name in reference.public_modules()}


def test_version__is_that_of_the_installed_package():
    assert vcreg_theory.__version__ == version("vcreg-theory")


def test_all__holds_what_a_package_imports_by_name():
    packages = [module for module in walked() if hasattr(module, "__path__")]
    assert len(packages) > 20
    for module in packages:
        public = {
            name
            for name, thing in vars(module).items()
            if name[0] != "_" and not inspect.ismodule(thing)
        }
        exported = {name for name in module.__all__ if not inspect.ismodule(getattr(module, name))}
        assert public == exported, module.__name__


def test_all__is_importable_and_documented(reference):
    for module in walked():
        names = getattr(module, "__all__", sorted(defined(module)))
        assert len(names) == len(set(names)), module.__name__
        for name in names:
            thing = getattr(module, name)
            if inspect.isclass(thing):
                text = vars(thing).get("__doc__") or ""  # its own, not an ancestor's
            elif inspect.ismodule(thing) or reference.is_function(thing):
                text = thing.__doc__ or ""
            else:
                text = reference.constant_doc(module, name)
            # Tuples and data classes without a docstring get their signature as one.
            assert text.strip() and not text.startswith(f"{name}("), f"{module.__name__}.{name}"


def test_all__is_typed_for_the_lazy_modules_of_the_package():
    tree = ast.parse(Path(vcreg_theory.__file__).read_text("utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    names = [alias.name for node in block.body for alias in node.names]
    assert vcreg_theory.__all__ == ["__version__", *names]
    assert (Path(vcreg_theory.__file__).parent / "py.typed").is_file()


def test_reference__lists_every_public_name_and_no_other(sections):
    assert {name for name in sections if "." not in name} == set(vcreg_theory.__all__[1:])
    for place, text in sections.items():
        module = importlib.import_module(f"vcreg_theory.{place}")
        names = set(getattr(module, "__all__", defined(module)))
        if "." in place:  # what the package around it exports stands there
            names -= set(sys.modules[module.__name__.rpartition(".")[0]].__all__)
        expected = {name for name in names if not inspect.ismodule(getattr(module, name))}
        listed = [name.rpartition(".")[2] for name in ENTRY.findall(text)]
        assert len(listed) == len(set(listed)), place
        assert set(listed) == expected, place
        inner = {f"{place}.{name}" for name in names if inspect.ismodule(getattr(module, name))}
        assert inner <= set(sections), place


def test_reference__is_appended_to_its_page_only(reference, sections):
    page = [(ROOT / "book" / "api.md").read_text("utf-8")]
    written = set(re.findall(r"vcreg_theory\.([\w.]+)", page[0]))
    assert written <= set(sections)  # the page names no module that is gone
    before = page[0]
    reference.add_modules(None, "api", page)
    assert page[0] == before + "".join(sections[name] for name in sorted(sections))
    other = ["text"]
    reference.add_modules(None, "index", other)
    assert other == ["text"]


def test_reference__has_every_module_that_the_book_imports(sections):
    pages = [ROOT / "README.md", *sorted((ROOT / "book").rglob("*.md"))]
    found = [pair for page in pages for pair in IMPORT.findall(page.read_text("utf-8"))]
    assert len(found) > 20
    for origin, imported in found:
        importlib.import_module(origin)
        statement = ast.parse(f"from {origin} import {imported.strip()}").body[0]
        for alias in statement.names:
            thing = getattr(sys.modules[origin], alias.name, None)
            if thing is None:  # a module inside a package, not loaded yet
                thing = importlib.import_module(f"{origin}.{alias.name}")
            place = thing.__name__ if inspect.ismodule(thing) else origin
            if place != "vcreg_theory":
                assert place.removeprefix("vcreg_theory.") in sections, place


def loaded(statement):
    """Return the modules that a statement loads in a fresh process, by their first name."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_import__of_the_package_loads_none_of_its_libraries():
    found = loaded("import vcreg_theory; vcreg_theory.__version__")
    assert "vcreg_theory" in found
    assert not found & {*HEAVY, "numpy", "scipy", "torch"}


def test_import__of_the_modules_loads_no_library_of_one_of_them():
    own = {"ica", "symbolic"}  # a scikit-learn estimator, and SymPy's expressions
    light = [name for name in vcreg_theory.__all__[1:] if name not in own]
    found = loaded("\n".join(f"import vcreg_theory.{name}" for name in light))
    assert "torch" in found
    assert not found & HEAVY


def test_user_script__runs():
    runpy.run_path(str(ROOT / "tests" / "user_script.py"))
