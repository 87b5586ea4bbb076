"""How good a classifier is on labelled photos, and where it errs."""
