"""The package's reference: one section for each public module, with every public name in it."""

import ast
import importlib.util
import inspect
from pathlib import Path
from pkgutil import iter_modules
from textwrap import indent

PACKAGE = "vcreg_theory"
NESTED = (
    "bounds.study",
    "dynamics.downstream",
    "dynamics.pool",
    "training.evaluation",
    "training.networks",
    "training.noncontrastive",
    "training.recheck",
    "training.record",
)
"""Modules inside other modules that users import by themselves."""
SECTION = """
## `{name}`

```{{eval-rst}}
.. automodule:: {full}

.. py:currentmodule:: {full}

{entries}
```
"""


def add_modules(app, docname, source):
    """Append the sections to the page ``api``."""
    if docname == "api":
        source[0] += "".join(section(name) for name in public_modules())


def public_modules():
    """Return the names of the public modules, without the package's."""
    package = importlib.import_module(PACKAGE)
    top = [module.name for module in iter_modules(package.__path__) if module.name[0] != "_"]
    inner = [
        f"{outer}.{name}"
        for outer in top
        for name, thing in public_names(importlib.import_module(f"{PACKAGE}.{outer}")).items()
        if inspect.ismodule(thing)
    ]
    return sorted({*top, *inner, *NESTED})


def public_names(module):
    """Return what a module exports by name: ``__all__``, else what it defines, in its order."""
    own = getattr(module, "__all__", None)
    if own is not None:
        return {name: getattr(module, name) for name in own}
    defined = {node.name for node in ast.parse(source_of(module)).body if hasattr(node, "name")}
    return {n: thing for n, thing in vars(module).items() if n in defined and n[0] != "_"}


def section(name):
    """Return the section of one module, without what its own package exports already."""
    full = f"{PACKAGE}.{name}"
    module = importlib.import_module(full)
    outer = importlib.import_module(full.rpartition(".")[0])
    known = public_names(outer) if outer.__name__ != PACKAGE else {}
    things = {n: thing for n, thing in public_names(module).items() if n not in known}
    entries = [entry(module, n, thing) for n, thing in things.items()]
    return SECTION.format(name=name, full=full, entries="\n".join(entries))


def entry(module, name, thing):
    """Return the directive of one public name; a module has a section instead."""
    full = f"{module.__name__}.{name}"
    if inspect.ismodule(thing):
        return f"See :mod:`{full}`.\n"
    if inspect.isclass(thing):
        kind = "autoexception" if issubclass(thing, BaseException) else "autoclass"
        return f".. {kind}:: {full}\n   :members:\n   :member-order: bysource\n"
    if is_function(thing):
        return f".. autofunction:: {full}\n"
    return f".. py:data:: {name}\n\n{indent(constant_doc(module, name), '   ')}\n"


def is_function(thing):
    """Return whether something is a function, perhaps one with a cache."""
    return inspect.isroutine(thing) or hasattr(thing, "__wrapped__")


def constant_doc(module, name):
    """Return the string that follows the assignment of a constant, wherever it was imported from.

    Examples
    --------
    >>> from vcreg_theory import ica
    >>> constant_doc(ica, "DARMOIS_CORRELATION").partition(" of ")[0]
    'Mean correlation coefficient'
    """
    body = ast.parse(source_of(module)).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ImportFrom) and name in (alias.name for alias in node.names):
            package = module.__name__ if hasattr(module, "__path__") else module.__package__
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            return constant_doc(importlib.import_module(origin), name)
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = getattr(after, "value", None)
            if isinstance(after, ast.Expr) and isinstance(getattr(value, "value", None), str):
                return inspect.cleandoc(value.value)
    raise ValueError(f"{module.__name__}.{name} has no docstring below its assignment")


def source_of(module):
    """Return the source of a module."""
    return Path(module.__file__).read_text("utf-8")


def setup(app):
    app.connect("source-read", add_modules)
