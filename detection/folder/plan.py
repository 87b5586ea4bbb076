"""What a folder run is going to do: which photo becomes which file, checked before anything is written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from detection.common.errors import UsageError
from detection.common.output_folder import changed_keys, check_apart, lies_in
from detection.cutout.cut import CutoutStyle
from detection.folder.options import CleanOptions
from detection.images.find import image_names

QUARANTINE = "quarantine"
SHEETS = "contact-sheet"
_AGAIN = "choose another OUT, or pass --restart to do everything again"


@dataclass(frozen=True)
class Plan:
    """`sources` are the photos to be done, as paths below `source` with slashes, sorted; `suffix` is of the outputs."""

    source: Path
    output: Path
    style: CutoutStyle
    options: CleanOptions
    suffix: str
    sources: list[str]

    def target(self, source: str, rank: int | None = None) -> str:
        """Where a photo's result goes, below `output`.

        rank: with a cut-out of every vehicle, 1 for the main one and so on, 0 for a kept photo without any: as all
        names then end in a number, those of `a.jpg` can't meet those of `a-1.jpg`.
        """
        stem = os.path.splitext(source)[0]
        return f"{stem}{self.suffix}" if rank is None else f"{stem}-{rank}{self.suffix}"


def plan_folder(source: Path, output: Path, style: CutoutStyle, options: CleanOptions) -> Plan:
    """Lists the photos below `source` and where each goes. Writes nothing.

    Raises `UsageError` when the folders overlap, no photo is found, two photos would become one file, or the format
    can't hold the style.
    """
    source, output = Path(source), Path(output)
    image_format = options.image_format or ("png" if style.background == "transparent" else "jpg")
    if image_format == "jpg" and style.background == "transparent":
        raise UsageError("A JPEG can't be transparent: choose the format png or webp, or another background.")
    if not source.is_dir():
        raise UsageError(f"There is no folder '{source}': check the path.")
    _check_apart(source, output)
    sources = image_names(source)
    if not sources and options.watch is None:
        raise UsageError(f"The folder '{source}' holds no photo (.jpg, .png, .webp, ...): check the path.")
    for folder in sorted({source / name.rpartition("/")[0] for name in sources}):
        if lies_in(folder, output):
            raise UsageError(f"'{folder}' leads into the output '{output}': choose another OUT.")
    if style.no_car == "quarantine" and (source / QUARANTINE).is_dir():
        raise UsageError(f"'{source}' has a folder '{QUARANTINE}' of its own: rename it, or use no_car keep or skip.")
    if options.contact_sheet and (source / SHEETS).is_dir():
        raise UsageError(f"'{source}' has a folder '{SHEETS}' of its own: rename it, or leave out the contact sheet.")
    plan = Plan(source, output, style, options, f".{image_format}", sources)
    _check_distinct(plan)
    mine = sources if options.shard.whole else [name for name in sources if options.shard.holds(name)]
    return Plan(source, output, style, options, plan.suffix, mine)


def settings_of(plan: Plan, detector_name: str, fingerprint: str) -> dict[str, Any]:
    """What the outputs depend on, as plain values: two runs may share an OUT only if these are equal.

    Options that were added later are left out at their defaults, so that older folders can be continued.
    """
    added: dict[str, Any] = {
        "max_size": plan.options.max_size,
        "only": list(plan.options.only),
        "all_vehicles": plan.options.all_vehicles,
    }
    return {
        "source": str(plan.source.resolve()),
        "detector": detector_name,
        "fingerprint": fingerprint,
        "format": plan.suffix[1:],
        "quality": plan.options.quality,
        **plan.style.model_dump(mode="json"),
        **{key: value for key, value in added.items() if value},
    }


def check_settings(path: Path, settings: dict[str, Any], output: Path) -> None:
    """Compares with the settings.json of the run before. Raises `UsageError` that names the first difference."""
    before = read_settings(path, output)
    for key in changed_keys(settings, before) or changed_keys(before, settings):
        then, now = before.get(key), settings.get(key)
        raise UsageError(f"'{output}' was made with {key} '{then}', and now it is '{now}': {_AGAIN}.")


def read_settings(path: Path, output: Path) -> dict[str, Any]:
    """A settings.json; raises `UsageError` when it is damaged."""
    try:
        before = json.loads(path.read_bytes())
    except ValueError as error:
        raise UsageError(f"'{path}' is damaged, so what is in '{output}' can't be continued: {_AGAIN}.") from error
    return before if isinstance(before, dict) else {}


def settings_bytes(settings: dict[str, Any]) -> bytes:
    return json.dumps(settings, indent=2).encode("ascii") + b"\n"


def _check_apart(source: Path, output: Path) -> None:
    check_apart(
        source,
        output,
        same=f"IN and OUT are the same folder '{source}': choose another OUT.",
        inside=f"OUT '{output}' lies inside IN '{source}': choose a folder outside it.",
        around=f"IN '{source}' lies inside OUT '{output}': choose another OUT.",
    )
    if output.exists() and not output.is_dir():
        raise UsageError(f"OUT '{output}' is a file: choose a folder.")


def _check_distinct(plan: Plan) -> None:
    """Raises `UsageError` when two sources share an output, or one's output is a folder of another's."""
    twice = _seen_twice(plan.target(source) for source in plan.sources)
    if twice:
        owners: dict[str, list[str]] = {}
        for source in plan.sources:
            if hash(plan.target(source)) in twice:
                owners.setdefault(plan.target(source), []).append(source)
        clashes = [(output, *pair) for output, same in owners.items() for pair in pairwise(same)]
        if clashes:
            (output, one, other), more = clashes[0], len(clashes) - 1
            also = f", and {more} more pair{'s' * (more > 1)} clash" if more else ""
            raise UsageError(f"'{one}' and '{other}' would both become '{output}'{also}: rename one of each pair.")
    folders: set[str] = set()
    for source in plan.sources:
        folder = source.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    for source in plan.sources:
        output = plan.target(source)
        if output in folders:
            other = next(name for name in plan.sources if name.startswith(f"{output}/"))
            raise UsageError(f"'{source}' would become '{output}', the folder of '{other}': rename one.")


def _seen_twice(names: Iterable[str]) -> set[int]:
    """The hashes that several names have: of a million names only numbers are kept."""
    seen: set[int] = set()
    twice: set[int] = set()
    for name in names:
        (twice if hash(name) in seen else seen).add(hash(name))
    return twice
