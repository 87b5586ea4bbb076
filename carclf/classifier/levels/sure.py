"""How sure an answer must be at each level for a stated share of right answers: a table in the classifier's file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from carclf.classifier.levels.names import CLASS, MAKE, MODEL, Level
from detection.common.config import StrictConfig
from detection.common.errors import UsageError

SURE = 0.98  # the share of right answers that is asked for where nobody says another

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class SureRow(StrictConfig):
    """right: the share of the answers that are right, at these thresholds: the least probability of a named class,
    model and make."""

    right: Share
    class_: Share
    model: Share
    make: Share


class SureTable(StrictConfig):
    """rows: by rising share, and with it no threshold falls. photos: how many they were fitted to."""

    photos: int = Field(ge=1)
    rows: tuple[SureRow, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _rises(self) -> SureTable:
        for one, other in zip(self.rows, self.rows[1:], strict=False):
            falls = any(getattr(other, part) < getattr(one, part) for part in ("class_", "model", "make"))
            if other.right <= one.right or falls:
                raise ValueError("the rows of a table of thresholds do not rise")
        return self

    @property
    def usual(self) -> float:
        """The share of right answers where nobody asks for one: `SURE`, or the most that the photos promise."""
        return min(SURE, self.rows[-1].right)

    def thresholds(self, sure: float | None = None) -> dict[Level, float]:
        """The least probability at each level. sure: the wanted share of right answers, above 0 and below 1; None: the
        `usual` one.

        Raises `UsageError` for a share that these photos can't promise.
        """
        sure = self.usual if sure is None else sure
        if not 0 < sure < 1:
            raise UsageError(f"The share of right answers lies between 0 and 1, such as {SURE}, and is not {sure:g}.")
        row = next((row for row in self.rows if row.right >= sure), None)
        if row is None:
            raise UsageError(
                f"The {self.photos} photos that this model's levels were calibrated on promise at most a share of "
                f"{self.rows[-1].right:g} right answers, not {sure:g}: ask for less, or calibrate on more photos."
            )
        return {CLASS: row.class_, MODEL: row.model, MAKE: row.make}
