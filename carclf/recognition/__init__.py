"""The parts of the chain from a raw photo to a name: `carclf.pipeline` joins them."""
