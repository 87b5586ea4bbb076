"""`carclf clean`: a folder run over any number of photos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detection.common.lazy import hand_on

if TYPE_CHECKING:
    from detection.folder.merge import merge_shards
    from detection.folder.options import CleanOptions
    from detection.folder.run import clean_folder

_HOMES = {
    "clean_folder": "detection.folder.run",
    "CleanOptions": "detection.folder.options",
    "merge_shards": "detection.folder.merge",
}
__all__ = ["CleanOptions", "clean_folder", "merge_shards"]

__getattr__, __dir__ = hand_on(__name__, _HOMES)
