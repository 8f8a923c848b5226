"""Files of trained networks: weights, the state of a run, records; each whole or not there."""

from .records import read_json, write_json
from .state import load_state, save_state
from .weights import load, metadata, save

__all__ = ["load", "load_state", "metadata", "read_json", "save", "save_state", "write_json"]
