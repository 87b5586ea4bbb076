"""Sizes of pictures by the name of the marketplace that they are for; docs/studio.md has the source of each."""

from __future__ import annotations

from difflib import get_close_matches

from detection.common.errors import UsageError

# Width and height in pixels.
MARKETS = {
    "4:3": (1600, 1200),
    "3:2": (1500, 1000),
    "16:9": (1920, 1080),
    "square": (1200, 1200),
    "autoscout24": (1280, 960),
    "autotrader": (1600, 1200),
    "cargurus": (1600, 1200),
    "cars.com": (1600, 1200),
    "carvana": (1600, 1200),
    "ebay": (1600, 1200),
    "ebay-motors": (1600, 1200),
    "facebook": (1200, 1200),
    "facebook-feed": (1200, 628),
    "google": (800, 600),
    "mercadolibre": (1200, 1200),
    "mobile.de": (1600, 1200),
    "tiktok": (800, 600),
}


def market_size(name: str) -> tuple[int, int]:
    """Width and height of the pictures of a marketplace. Raises `UsageError` that names the nearest ones.

    >>> market_size("Mobile.de")
    (1600, 1200)
    """
    wanted = name.strip().lower()
    if wanted in MARKETS:
        return MARKETS[wanted]
    near = get_close_matches(wanted, MARKETS, n=3, cutoff=0.4)
    known = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(MARKETS)}."
    raise UsageError(f"There is no marketplace '{name}': {known} Or give the size by number: --size 1600x1200.")
