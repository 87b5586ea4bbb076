"""`carclf data audit`: labelled photos looked at with a car finder's and a classifier's eyes."""
