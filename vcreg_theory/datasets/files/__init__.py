"""Files of public image data sets: where they are looked for, and how they are read."""

from .batches import unpickle_batch
from .class_folders import read_class_folders
from .idx import read_idx
from .members import members
from .storage import cache_folder, decoded, search_folders

__all__ = [
    "cache_folder",
    "decoded",
    "members",
    "read_class_folders",
    "read_idx",
    "search_folders",
    "unpickle_batch",
]
