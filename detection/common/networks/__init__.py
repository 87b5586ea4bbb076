"""What networks are made of, whichever engine runs them: tensors in files, devices, and the choice of the engine."""
