"""What a training writes: state, log, checkpoints."""
