"""Commands of `carclf` that have a file of their own: thin shells, whose heavy imports come when they are called."""
