"""What a folder run is going to do: which photo becomes which file, checked before anything is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from detection.cutout import CutoutStyle
from detection.errors import UsageError
from detection.images import find_images

FORMATS = ("jpg", "png", "webp")
QUARANTINE = "quarantine"
_AGAIN = "choose another OUT, or pass --restart to do everything again"


@dataclass(frozen=True)
class Plan:
    """`outputs` maps each source to its output, both relative posix paths (below `source` and `output`), sorted."""

    source: Path
    output: Path
    style: CutoutStyle
    quality: int
    outputs: dict[str, str]


def plan_folder(source: Path, output: Path, style: CutoutStyle, image_format: str | None, quality: int) -> Plan:
    """Lists the photos below `source` and where each goes. Writes nothing.

    Raises `UsageError` when the folders overlap, no photo is found, two photos would become one file, or the format
    can't hold the style.
    """
    source, output = Path(source), Path(output)
    if image_format is None:
        image_format = "png" if style.background == "transparent" else "jpg"
    if image_format not in FORMATS:
        raise UsageError(f"'{image_format}' is not an output format: choose {', '.join(FORMATS)}.")
    if image_format == "jpg" and style.background == "transparent":
        raise UsageError("A JPEG can't be transparent: choose the format png or webp, or another background.")
    if not 1 <= quality <= 100:
        raise UsageError(f"The quality is a number from 1 to 100, not {quality}.")
    if not source.is_dir():
        raise UsageError(f"There is no folder '{source}': check the path.")
    _check_apart(source, output)
    photos = find_images(source)
    if not photos:
        raise UsageError(f"The folder '{source}' holds no photo (.jpg, .png, .webp, ...): check the path.")
    inside = output.resolve()
    for folder in sorted({photo.parent for photo in photos}):
        if folder.resolve().is_relative_to(inside):
            raise UsageError(f"'{folder}' leads into the output '{output}': choose another OUT.")
    if style.no_car == "quarantine" and (source / QUARANTINE).is_dir():
        raise UsageError(f"'{source}' has a folder '{QUARANTINE}' of its own: rename it, or use no_car keep or skip.")
    relatives = sorted(photo.relative_to(source).as_posix() for photo in photos)
    outputs = {relative: str(PurePosixPath(relative).with_suffix(f".{image_format}")) for relative in relatives}
    _check_distinct(outputs)
    return Plan(source, output, style, quality, outputs)


def settings_of(plan: Plan, detector_name: str, fingerprint: str) -> dict[str, Any]:
    """What the outputs depend on, as plain values: two runs may share an OUT only if these are equal."""
    image_format = PurePosixPath(next(iter(plan.outputs.values()))).suffix[1:]
    return {
        "source": str(plan.source.resolve()),
        "detector": detector_name,
        "fingerprint": fingerprint,
        "format": image_format,
        "quality": plan.quality,
        **plan.style.model_dump(mode="json"),
    }


def check_settings(path: Path, settings: dict[str, Any], output: Path) -> None:
    """Compares with the settings.json of the run before. Raises `UsageError` that names the first difference."""
    try:
        before = json.loads(path.read_bytes())
    except ValueError as error:
        raise UsageError(f"'{path}' is damaged, so what is in '{output}' can't be continued: {_AGAIN}.") from error
    if not isinstance(before, dict):
        before = {}
    for key in [*settings, *before]:
        if settings.get(key) != before.get(key):
            then, now = before.get(key), settings.get(key)
            raise UsageError(f"'{output}' was made with {key} '{then}', and now it is '{now}': {_AGAIN}.")


def settings_bytes(settings: dict[str, Any]) -> bytes:
    return json.dumps(settings, indent=2).encode("ascii") + b"\n"


def _check_apart(source: Path, output: Path) -> None:
    inside, outside = output.resolve(), source.resolve()
    if inside == outside:
        raise UsageError(f"IN and OUT are the same folder '{source}': choose another OUT.")
    if inside.is_relative_to(outside):
        raise UsageError(f"OUT '{output}' lies inside IN '{source}': choose a folder outside it.")
    if outside.is_relative_to(inside):
        raise UsageError(f"IN '{source}' lies inside OUT '{output}': choose another OUT.")
    if output.exists() and not output.is_dir():
        raise UsageError(f"OUT '{output}' is a file: choose a folder.")


def _check_distinct(outputs: dict[str, str]) -> None:
    """Raises `UsageError` when two sources share an output, or one's output is a folder of another's."""
    owners: dict[str, str] = {}
    clashes: list[tuple[str, str]] = []
    for source, output in outputs.items():
        if output in owners:
            clashes.append((owners[output], source))
        owners[output] = source
    if clashes:
        (one, other), more = clashes[0], len(clashes) - 1
        also = f", and {more} more pair{'s' * (more > 1)} clash" if more else ""
        raise UsageError(f"'{one}' and '{other}' would both become '{outputs[one]}'{also}: rename one of each pair.")
    folders = {str(parent): source for source, output in outputs.items() for parent in PurePosixPath(output).parents}
    for output, source in owners.items():
        if output in folders:
            raise UsageError(f"'{source}' would become '{output}', the folder of '{folders[output]}': rename one.")
