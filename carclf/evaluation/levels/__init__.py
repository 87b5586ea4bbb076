"""Answers at levels: how sure they must be, and how often they are right."""
