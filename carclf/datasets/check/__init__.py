"""`carclf data check`: what is wrong with labelled photos."""
