"""One car of a stock: its sides, what is missing, and the order of its photos in an advert."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from carclf.tools.stock.issues import HARMLESS, ISSUES, quality
from carclf.tools.stock.photo import StockPhoto
from carclf.tools.stock.side.sides import ADVERT, OTHER, SIDES
from detection.common.tally import counted

_OUT = {"unreadable", "another car", "twice"}  # never in the advert

_SAID = {"another car": "of another car"}


@dataclass(frozen=True, eq=False)
class StockCar:
    """name: its folder, or a number. photos: in the order of the advert, what is left out at the end. wanted: sides."""

    name: str
    photos: Sequence[StockPhoto]
    wanted: Sequence[str]

    @property
    def there(self) -> list[str]:
        """The sides that some photo surely shows, in the order of `SIDES`."""
        shown = {photo.side for photo in self.photos if not photo.issues.keys() & _OUT - {"twice"}}
        return [side for side in SIDES if side in shown]

    @property
    def missing(self) -> list[str]:
        return [side for side in self.wanted if side not in self.there]

    @property
    def unsure(self) -> int:
        """Photos of a car whose side is not known."""
        return sum(not photo.side and not photo.failed for photo in self.photos)

    @property
    def counts(self) -> dict[str, int]:
        """Photos per issue, those that there are, in the order of `ISSUES`."""
        found = Counter(issue for photo in self.photos for issue in photo.issues)
        return {issue: found[issue] for issue in ISSUES if found[issue]}

    @property
    def problems(self) -> list[str]:
        """What is to be done, in a few words each."""
        told = [f"no {side}" for side in self.missing]
        for issue, count in self.counts.items():
            if issue not in HARMLESS:
                told.append(f"{counted(count, 'photo')} {_SAID.get(issue, issue)}")
        if self.missing and self.unsure:
            told.append(f"{counted(self.unsure, 'photo')} of unknown side")
        return told

    @property
    def advert(self) -> list[StockPhoto]:
        return [photo for photo in self.photos if photo.place is not None]

    @property
    def rest(self) -> list[StockPhoto]:
        return [photo for photo in self.photos if photo.place is None]


def stock_car(name: str, photos: Sequence[StockPhoto], wanted: Sequence[str]) -> StockCar:
    """Gives the photos their places: the best of each side as `ADVERT` has them, then interiors and details."""
    fit = [photo for photo in photos if not photo.issues.keys() & _OUT]
    chosen = []
    for side in ADVERT:
        shown = [photo for photo in fit if photo.side == side]
        chosen += shown if side == OTHER else sorted(shown, key=quality)[:1]
    for place, photo in enumerate(chosen, start=1):
        photo.place = place
    rest = [photo for photo in photos if photo.place is None]
    return StockCar(name, [*chosen, *rest], wanted)
