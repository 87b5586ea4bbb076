"""All runs below a folder: listed, sorted, filtered and compared."""
