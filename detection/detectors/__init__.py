"""Detectors of vehicles: `load.load_detector` is the one door."""
