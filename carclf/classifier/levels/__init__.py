"""Names have parts: the tree of makes, models and classes, and how sure an answer is at each level. No torch."""
