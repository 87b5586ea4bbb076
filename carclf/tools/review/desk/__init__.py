"""What the page's server knows while people review: decisions, orders, likeness and thumbnails; nothing of HTTP."""
