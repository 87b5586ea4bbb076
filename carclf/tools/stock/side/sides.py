"""The sides from which a car is seen, by name. Left is the car's own left, as its driver sits."""

from __future__ import annotations

from detection.common.errors import UsageError

# Round the car, against the clock as seen from above.
SIDES = ("front", "front left", "left", "rear left", "rear", "rear right", "right", "front right")
OTHER = "other"  # an interior, or a part of a car from near by
KINDS = (*SIDES, OTHER)
# Four corners show every panel of the body and two sides the whole flanks: what marketplaces ask for. A straight front
# and rear add little to these, so a stock is not called incomplete for want of them.
WANTED = ("front left", "left", "rear left", "rear right", "right", "front right")
# As adverts go: the corner that sells first, then round the car, and inside at the end.
ADVERT = ("front left", "left", "rear left", "rear", "rear right", "right", "front right", "front", OTHER)
MIRRORED = (*(-side % len(SIDES) for side in range(len(SIDES))), len(SIDES))  # numbers of `KINDS`


def wanted_sides(text: str | None) -> tuple[str, ...]:
    """The sides in a list with commas, in the order of `SIDES`; `all` is every one, None is `WANTED`.

    >>> wanted_sides("rear-right, front")
    ('front', 'rear right')

    Raises `UsageError` for an unknown one, and for none.
    """
    if text is None:
        return WANTED
    if text.strip() == "all":
        return SIDES
    named = [part.strip().replace("-", " ") for part in text.split(",") if part.strip()]
    unknown = [name for name in named if name not in SIDES]
    if unknown or not named:
        known = ", ".join(side.replace(" ", "-") for side in SIDES)
        raise UsageError(f"--sides takes names with commas between them, not '{text}': {known}, or all.")
    return tuple(side for side in SIDES if side in named)
