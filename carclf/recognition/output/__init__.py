"""Rows of predictions in the formats that people and programs read."""
