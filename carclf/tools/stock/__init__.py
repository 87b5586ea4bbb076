"""`carclf stock`: the photos of many cars, looked at as sets: which sides are there, which are missing, what is wrong."""
