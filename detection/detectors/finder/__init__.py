"""The one way in which a vehicle is found: `VehicleFinder`, and the rule that it applies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detection.common.lazy import hand_on

if TYPE_CHECKING:
    from detection.detectors.finder.finder import VehicleFinder, check_kinds, check_of, with_rule
    from detection.detectors.finder.rule import CheckError, Finding, apply_rule

_HOMES = {
    "CheckError": "detection.detectors.finder.rule",
    "Finding": "detection.detectors.finder.rule",
    "VehicleFinder": "detection.detectors.finder.finder",
    "apply_rule": "detection.detectors.finder.rule",
    "check_kinds": "detection.detectors.finder.finder",
    "check_of": "detection.detectors.finder.finder",
    "with_rule": "detection.detectors.finder.finder",
}
__all__ = ["CheckError", "Finding", "VehicleFinder", "apply_rule", "check_kinds", "check_of", "with_rule"]

__getattr__, __dir__ = hand_on(__name__, _HOMES)
