"""Files behind addresses: how they are reached, listed, read and written."""
