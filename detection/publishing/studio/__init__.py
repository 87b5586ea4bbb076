"""A car set before a backdrop, on a floor, with its shadow, in the same framing over a whole stock."""
