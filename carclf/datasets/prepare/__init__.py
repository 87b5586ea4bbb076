"""`carclf prepare`: labelled photos arranged as one folder per class."""
