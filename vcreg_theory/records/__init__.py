"""Records of trained networks: one JSON file a run, read and written here, checked both ways."""

from .schema import SCHEMA, Record, lookup
from .store import default_folder, load, read, write
from .summary import Curve, Row, curve, table

__all__ = [
    "SCHEMA",
    "Curve",
    "Record",
    "Row",
    "curve",
    "default_folder",
    "load",
    "lookup",
    "read",
    "table",
    "write",
]
