"""What is wrong with the photos of a stock, each by itself and among those of its car."""

from __future__ import annotations

from collections.abc import Sequence

from carclf.classifier.garage.prior import Prior
from carclf.recognition.prediction import NO_CAR
from carclf.tools.audit.issues import ISSUES as OF_PHOTOS
from carclf.tools.audit.issues import photo_issues
from carclf.tools.stock.cars import strangers
from carclf.tools.stock.photo import StockPhoto
from carclf.tools.stock.side.sides import OTHER
from detection.images.duplicates import near_duplicate_groups

# In this order in all that is written; what each means.
ISSUES = {
    "unreadable": "the file can't be read",
    "no car": "an interior, a detail, or no car at all",
    "doubtful": "what was found may be no car",
    "another car": "looks unlike the other photos of its car",
    "twice": "nearly the same as a better photo of the car",
    **{issue: OF_PHOTOS[issue] for issue in ("sideways", "cut off", "small", "dark", "blurred", "low quality")},
}
HARMLESS = {"no car"}  # adverts show interiors, too: it is told, and no fault
_WHOLE = {"cut off", "small"}  # meant of whole cars only
NEAR = 6  # bits of 64: two photos of a car from one side that differ by so many are nearly the same


def find_issues(photos: Sequence[StockPhoto]) -> None:
    """Notes what each photo by itself shows."""
    for photo in photos:
        if photo.failed:
            photo.issues["unreadable"] = "no look at it" if photo.look is None else photo.look.reason
        elif photo.status == NO_CAR:
            assert photo.look is not None
            photo.issues["no car"] = f"looks like: {photo.look.other}" if photo.look.other else photo.look.reason
    for one in photo_issues([photo.look for photo in photos]):
        photo = photos[one.photo]
        issue = "doubtful" if one.issue == "outlier" else one.issue
        if photo.status != NO_CAR and not (photo.side == OTHER and issue in _WHOLE):
            photo.issues[issue] = one.suggestion


def compare_photos(photos: Sequence[StockPhoto], prior: Prior | None, by_folder: bool) -> None:
    """Notes what the photos of one car show together. by_folder: a folder may hold photos of another car."""
    if by_folder:
        for number in strangers(photos, prior):
            photos[number].issues["another car"] = "take it out, or check the folder"
    hashed = [photo for photo in photos if photo.hash is not None]
    for group in near_duplicate_groups([photo.hash or 0 for photo in hashed], NEAR):
        best, *others = sorted((hashed[number] for number in group), key=quality)
        for photo in others:
            if photo.side == best.side:
                photo.issues["twice"] = f"nearly the same as {best.file}"


def quality(photo: StockPhoto) -> tuple:
    """Sorts photos of one side, the best first: nothing wrong, sure of its side, large, sharp."""
    look = photo.look
    sharp = look.sharp if look is not None and look.sharp is not None else 0.0
    confidence = photo.confidence or 0.0
    return len(photo.issues), -round(confidence, 1), -round(photo.length, -2), -sharp, photo.file
