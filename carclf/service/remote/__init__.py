"""Photos that a client names by a URL, fetched so that no client reaches through this machine what it can't itself."""
