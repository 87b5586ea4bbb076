"""What `scripts/train_colour.py` is made of: labelled views, lights and paints, the fits, the figures."""
