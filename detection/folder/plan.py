"""What a folder run is going to do: which photo becomes which file, checked before anything is written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from detection.common.errors import UsageError
from detection.common.files import WRITTEN_BY, check_written, user_path, written_by
from detection.common.files.sorted_names import sorted_names
from detection.common.output_folder import changed_keys, check_apart, lies_in
from detection.common.places.paths import folder_of
from detection.common.places.place import Place
from detection.common.places.sink import Sink, opened_sink
from detection.cutout.cut import CutoutStyle
from detection.cutout.edge_network import EDGE_NETWORK
from detection.folder.clashes import Clash, find_clashes, loosest
from detection.folder.options import CleanOptions
from detection.images.find import IMAGE_SUFFIXES, FoundImages, survey_images
from detection.publishing.hiding.private import hide_settings

FORMAT = 1  # of settings.json, journal.jsonl and run.json
QUARANTINE = "quarantine"
SHEETS = "contact-sheet"
_AGAIN = "choose another OUT, or pass --restart to do everything again"


@dataclass(frozen=True)
class Plan:
    """`sources` are the photos to be done, as paths below `source` with slashes, sorted; `suffix` is of the outputs.

    clashes: photos whose results would meet on the way, and why (see `find_clashes`). found: what was seen below
    `source` beside photos. single: only one photo of the folder is meant, so nothing follows from the others' absence.
    sink: takes the results to a place that is no local folder.
    """

    source: Path
    output: Path
    style: CutoutStyle
    options: CleanOptions
    suffix: str
    sources: Sequence[str]
    clashes: Mapping[str, Clash] = field(default_factory=dict)
    found: FoundImages = field(default_factory=FoundImages)
    single: bool = False
    sink: Sink | None = None

    @property
    def results(self) -> Path:
        """Where the results are in the end; `output` is where they are written."""
        return self.output if self.sink is None else self.sink.place

    def target(self, source: str, rank: int | None = None) -> str:
        """Where a photo's result goes, below `output`.

        rank: with a cut-out of every vehicle, 1 for the main one and so on, 0 for a kept photo without any: as all
        names then end in a number, those of `a.jpg` can't meet those of `a-1.jpg`.
        """
        if self.options.whole_photos:
            return source
        stem, suffix = os.path.splitext(source)
        if self.options.keep_suffix or suffix.lower() not in IMAGE_SUFFIXES:  # of `scan.v2`, v2 is no image suffix
            stem = source
        return f"{stem}{self.suffix}" if rank is None else f"{stem}-{rank}{self.suffix}"


def plan_folder(source: Path, output: Path, style: CutoutStyle, options: CleanOptions) -> Plan:
    """Lists the photos below `source`, which may also be one photo, and where each goes. Writes nothing that stays.

    Raises `UsageError` when the folders overlap, no photo is found, or the format can't hold the style.
    """
    source, output = folder_of(source) or user_path(source), user_path(output)
    image_format = options.image_format or ("png" if style.background == "transparent" else "jpg")
    if image_format == "jpg" and style.background == "transparent":
        raise UsageError("A JPEG can't be transparent: choose the format png or webp, or another background.")
    single = source.is_file()
    if not single and not source.is_dir():
        raise UsageError(f"There is no folder '{source}': check the path.")
    if single and options.watch is not None:
        raise UsageError(f"'{source}' is one photo: only a folder can be watched.")
    if single:
        source, name = source.parent, source.name
        _check_single(source, output)
        found = FoundImages([name])
    else:
        _check_apart(source, output)
        found = survey_images(source, options.exclude)
    sources = found.names
    if not sources and options.watch is None:
        also = "".join(f" {note}" for note in found.notes)
        raise UsageError(f"The folder '{source}' holds no photo (.jpg, .png, .webp, ...): check the path.{also}")
    for folder in () if isinstance(source, Place) else sorted({name.rpartition("/")[0] for name in sources}):
        if lies_in(source / folder, output):
            raise UsageError(f"'{source / folder}' leads into the output '{output}': choose another OUT.")
    if not single and style.no_car == "quarantine" and (source / QUARANTINE).is_dir():
        raise UsageError(f"'{source}' has a folder '{QUARANTINE}' of its own: rename it, or use no_car keep or skip.")
    if not single and options.contact_sheet and (source / SHEETS).is_dir():
        raise UsageError(f"'{source}' has a folder '{SHEETS}' of its own: rename it, or leave out the contact sheet.")
    plan = Plan(source, output, style, options, f".{image_format}", sources, found=found, single=single)
    clashes = find_clashes(source, output, {name: plan.target(name) for name in _suspects(plan)})
    mine = sources if options.shard.whole else sorted_names(name for name in sources if options.shard.holds(name))
    return replace(plan, sources=mine, clashes=clashes)


@contextmanager
def at_hand(plan: Plan) -> Iterator[Plan]:
    """The plan with an output that is a local folder, for the time of a run. Raises `UsageError`."""
    if not isinstance(plan.output, Place):
        yield plan
        return
    with opened_sink(plan.output, str(plan.options.shard)) as sink:
        yield replace(plan, output=sink.folder, sink=sink)


def settings_of(plan: Plan, detector_name: str, fingerprint: str) -> dict[str, Any]:
    """What the outputs depend on, as plain values: two runs may share an OUT only if these are equal.

    Options that were added later are left out at their defaults, so that older folders can be continued.
    """
    hide, studio = plan.options.hide, plan.options.studio
    added: dict[str, Any] = {
        "max_size": plan.options.max_size,
        "only": list(plan.options.kinds or ()),
        "all_vehicles": plan.options.all_vehicles,
        "keep_suffix": plan.options.keep_suffix,
        "exclude": list(plan.options.exclude),
        "hide": hide and hide_settings(hide),
        "whole_photos": plan.options.whole_photos,
        "studio": studio and studio.model_dump(mode="json", exclude={"edge"}),
        "edge": _edge_settings(plan.options),
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


def _edge_settings(options: CleanOptions) -> str | None:
    """Which network corrects edges. None for the guided edge, which older folders have."""
    edge = options.edge if options.studio is None else options.studio.edge
    return EDGE_NETWORK.fingerprint if edge == "trained" and not options.whole_photos else None


def check_settings(path: Path, settings: dict[str, Any], output: Path, moved: str | None = "") -> None:
    """Compares with the settings.json of the run before. Raises `UsageError` that names the first difference.

    moved: why another `source` does not hold the same photos; None where it does.
    """
    before = read_settings(path, output)
    changed = changed_keys(settings, before) or changed_keys(before, settings)
    # Which photos are left out changes none of the others, and a folder may be mounted elsewhere.
    for key in (key for key in changed if key != "exclude" and not (key == "source" and moved is None)):
        then, now = before.get(key), settings.get(key)
        why = f", {moved}" if key == "source" and moved else ""
        raise UsageError(f"'{output}' was made with {key} '{then}', and now it is '{now}'{why}: {_AGAIN}.")


def read_settings(path: Path, output: Path) -> dict[str, Any]:
    """A settings.json; raises `UsageError` when it is damaged, or of a newer carclf."""
    try:
        before = json.loads(path.read_bytes())
    except ValueError as error:
        raise UsageError(f"'{path}' is damaged, so what is in '{output}' can't be continued: {_AGAIN}.") from error
    if not isinstance(before, dict):
        return {}
    check_written(path, before, FORMAT)
    before.pop(WRITTEN_BY, None)
    return before


def settings_bytes(settings: dict[str, Any]) -> bytes:
    """The content of settings.json: the settings, and for the journal beside it, too, which carclf wrote them."""
    return json.dumps({**settings, **written_by(FORMAT)}, indent=2).encode("ascii") + b"\n"


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


def _check_single(source: Path, output: Path) -> None:
    if lies_in(source, output):
        raise UsageError(f"The photo lies inside OUT '{output}': choose another OUT.")
    if output.exists() and not output.is_dir():
        raise UsageError(f"OUT '{output}' is a file: choose a folder.")


def _suspects(plan: Plan) -> list[str]:
    """The photos whose results might meet, as the least able file system compares names. Folders of photos count, too:
    `a.gif` can't become the file `a.jpg` beside a folder `a.jpg`."""
    folders: set[str] = set()
    for source in plan.sources:
        folder = source.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    taken = {loosest(folder) for folder in folders}
    twice: set[str] = set()
    before = ""
    for target in sorted_names(loosest(plan.target(source)) for source in plan.sources):
        if target == before or target in taken:
            twice.add(target)
        before = target
    if not twice:
        return []
    within = taken & twice  # those in the folder tell that it is one
    suspects = []
    for name in plan.sources:
        parts = name.split("/")[:-1]
        inside = within and any(loosest("/".join(parts[:depth])) in within for depth in range(1, len(parts) + 1))
        if inside or loosest(plan.target(name)) in twice:
            suspects.append(name)
    return suspects
