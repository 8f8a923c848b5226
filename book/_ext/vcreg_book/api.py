"""The package's reference: one section for each public module, so that none is forgotten."""

from pkgutil import iter_modules

import vcreg_theory

SECTION = """
## `{name}`

```{{eval-rst}}
.. automodule:: vcreg_theory.{name}
   :members:
   :member-order: bysource
```
"""


def add_modules(app, docname, source):
    """Append the sections to the page ``api``."""
    if docname == "api":
        names = sorted(module.name for module in iter_modules(vcreg_theory.__path__))
        source[0] += "".join(SECTION.format(name=name) for name in names if name[0] != "_")


def setup(app):
    app.connect("source-read", add_modules)
