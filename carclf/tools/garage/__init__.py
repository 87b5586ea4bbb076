"""`carclf learn`, `embed`, `similar` and `cluster`: cars by their vectors."""
