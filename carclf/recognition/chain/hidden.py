"""What is private in a photo: looked for, and hidden in pictures that are shown, not in what the classifier sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from carclf.recognition.chain.item import Item, limited, opaque
from carclf.recognition.prediction import ERROR
from detection.common.errors import brief
from detection.cutout.extract import cut_upright
from detection.detectors.finder import Finding
from detection.vehicle import MainChoice, Vehicle

if TYPE_CHECKING:
    from detection.cutout.cut import CutoutStyle


def look_for_private(item: Item, finding: Finding | Exception | None) -> None:
    """Notes what is to be hidden in pictures of the item's photo. Where that can't be told, the item fails.

    finding: what was found in the photo; None for a photo that is cut out already.
    """
    if item.hide is None or item.photo is None:
        return
    from detection.publishing.hiding.private import find_private  # most runs hide nothing

    height, width = item.photo.shape[:2]
    choice = MainChoice(None, (), False)
    found: tuple[Vehicle, ...] = ()
    if isinstance(finding, Finding):
        choice, found = finding.choice, finding.found
    elif finding is None:
        whole = Vehicle((0.0, 0.0, float(width), float(height)), np.ones((height, width), bool), 1.0)
        choice = MainChoice(whole, (), False, (1.0,))
    try:
        item.private = find_private(item.photo, choice, found, item.hide)
    except Exception as error:
        item.fail(ERROR, f"looking for what is private failed: {brief(error)}")


def hidden_view(item: Item, image: np.ndarray) -> np.ndarray | None:
    """A copy of the photo, perhaps brightened, as it may be shown; None where no picture of it is to be changed."""
    if item.hide is None or item.private is None or not item.pictures:
        return None
    from detection.publishing.hiding.private import hide_in

    return hide_in(image, item.private, item.hide)


def hidden_cutout(view: np.ndarray, vehicle: Vehicle, style: CutoutStyle) -> np.ndarray:
    """RGB uint8: the cut-out of a vehicle as `extract` has finished it, from such a view."""
    return limited(opaque(cut_upright(view, vehicle, style)))


def shown_pictures(item: Item) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Photo and cut-out as they may be shown (RGB uint8 HxWx3), None where there is none.

    Without knowing what is to be hidden, nothing is shown.
    """
    if not item.pictures:
        return None, None
    if item.hide is None:
        return item.photo, item.cutout
    return None if item.photo is None else hidden_view(item, item.photo), item.shown
