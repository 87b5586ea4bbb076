"""The parts of the drawn street scenes: cars, houses, things and streets on a numpy canvas (see carclf.demo.scenes)."""
