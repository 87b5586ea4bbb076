"""Whole jobs that only commands import: demo, export, competition, comparison of backgrounds."""
