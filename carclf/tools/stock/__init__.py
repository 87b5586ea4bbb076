"""`carclf stock`: the photos of many cars as sets: which sides are there, and what is missing or wrong."""
