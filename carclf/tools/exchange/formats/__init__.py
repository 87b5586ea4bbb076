"""One file per format: how it is read into records, and written from them."""
