"""The one way in which a vehicle is found: `VehicleFinder`, and the rule that it applies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detection.common.lazy import hand_on

if TYPE_CHECKING:
    from detection.detectors.finder.finder import VehicleFinder, check_of, with_rule
    from detection.detectors.finder.kinds import check_kinds, split_kinds, wanted_kinds
    from detection.detectors.finder.rule import CheckError, Finding, apply_rule

_HOMES = {
    "CheckError": "detection.detectors.finder.rule",
    "Finding": "detection.detectors.finder.rule",
    "VehicleFinder": "detection.detectors.finder.finder",
    "apply_rule": "detection.detectors.finder.rule",
    "check_kinds": "detection.detectors.finder.kinds",
    "check_of": "detection.detectors.finder.finder",
    "split_kinds": "detection.detectors.finder.kinds",
    "wanted_kinds": "detection.detectors.finder.kinds",
    "with_rule": "detection.detectors.finder.finder",
}
__all__ = [
    "CheckError",
    "Finding",
    "VehicleFinder",
    "apply_rule",
    "check_kinds",
    "check_of",
    "split_kinds",
    "wanted_kinds",
    "with_rule",
]

__getattr__, __dir__ = hand_on(__name__, _HOMES)
