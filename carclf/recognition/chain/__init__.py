"""A photo on its way to its name: what is known of it, its cut-outs, and what of its pictures may be shown."""
