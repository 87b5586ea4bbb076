"""The version of both packages: the one place that says it."""

__version__ = "0.5.0"
