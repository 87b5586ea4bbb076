"""Faults that people reported, as small inputs with commands: how many of them hold today."""
