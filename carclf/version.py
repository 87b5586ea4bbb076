"""The version, by its old name; `detection.version` says it, as files that stage 1 writes name it too."""

from detection.version import __version__

__all__ = ["__version__"]
