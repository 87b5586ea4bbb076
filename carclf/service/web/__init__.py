"""The HTTP side of the service: routes, uploads, pages, keys."""
