"""The threads of a folder run: read, detect, cut, write."""
