"""Which background is best: the same short training on each."""
