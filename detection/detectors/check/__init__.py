"""The second opinion on what a detector has found, by a network that knows ImageNet's thousand classes."""
