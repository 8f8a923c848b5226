"""Import hyppo once with its one known warning off, so that warnings stay errors in every test.

hyppo 0.5.2 imports a name from a module of SciPy that SciPy has deprecated.
"""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings(
        "ignore", r"Please import `random` from the `scipy\.sparse` namespace", DeprecationWarning
    )
    import hyppo.d_variate
    import hyppo.independence  # noqa: F401
