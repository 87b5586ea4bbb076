"""`carclf review`: a page on which people look at photos, and decide which labels are right."""
