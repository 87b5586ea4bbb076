"""Which side of a car a photo shows."""
