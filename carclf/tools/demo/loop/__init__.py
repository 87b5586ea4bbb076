"""`carclf loop demo`: look, correct, learn again, on photos with planted faults."""
