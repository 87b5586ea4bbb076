"""Detectron2's model zoo."""
