"""Trains the network that finds number plates: drawn plates, windows of photos, the network, its training."""
