"""What people decided about labelled photos: the journal of `carclf review`, and how it corrects a table of photos."""
