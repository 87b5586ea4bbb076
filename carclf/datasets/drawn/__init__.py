"""Drawn street scenes with cars: photos and exact masks for the demo, smoke runs and tests, without data."""
