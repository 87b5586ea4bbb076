"""The compact detector that comes with the package: architecture and weights."""
