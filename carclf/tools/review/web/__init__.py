"""The page of `carclf review` and its addresses."""
