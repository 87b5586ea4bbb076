"""Photos whose results would meet in one file, as the file system of OUT compares names."""

from __future__ import annotations

import contextlib
import os
import tempfile
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from detection.common.files import TEMP_PREFIX, cache_folder, file_stamp
from detection.common.places.place import Place
from detection.images.read import ImageError, load_image

# How the reason of such a row begins: on a later run it is told from errors of other kinds by it.
BEGINNING = "Name clash: "
_LOOK = 64  # pixels per side: a JPEG is then decoded at an eighth, to its end


@dataclass(frozen=True)
class Clash:
    """reason: of the photo's row. key: what the results of all that meet share; empty for the folder of others."""

    reason: str
    key: str


@dataclass(frozen=True)
class NameRules:
    """What a file system takes for the same name: case: Car and car; form: Unicode's composed and decomposed letters;
    ends: names with and without dots and spaces at their end."""

    case: bool = False
    form: bool = False
    ends: bool = False

    def key(self, path: str) -> str:
        """Equal for paths that are one file there.

        >>> NameRules(case=True).key("Sub/Car.JPG"), NameRules().key("Sub/Car.JPG")
        ('sub/car.jpg', 'Sub/Car.JPG')
        """
        if self.ends and (" /" in path or "./" in path or path.endswith((" ", "."))):
            path = "/".join(part.rstrip(" .") or part for part in path.split("/"))
        if path.isascii():
            return path.lower() if self.case else path
        if self.form:
            path = unicodedata.normalize("NFC", path)
        if self.case:
            path = path.casefold()
            path = unicodedata.normalize("NFC", path) if self.form else path
        return path


_LOOSEST = NameRules(True, True, True)


def loosest(path: str) -> str:
    """The key by rules that no file system is stricter than."""
    return _LOOSEST.key(path)


def find_clashes(source: Path, output: Path, targets: Mapping[str, str]) -> dict[str, Clash]:
    """Which photos can't be written, since their results would be one file, or one the folder of another.

    targets: of photos that might meet, the results below `output`. A photo that can't be read has no result, so it
    meets nothing. No file keeps the plain name: which one did would depend on what lay there first.
    """
    if not targets:
        return {}
    rules = name_rules(output)
    owners: dict[str, list[str]] = {}
    folders: dict[str, str] = {}
    for name, target in targets.items():
        owners.setdefault(rules.key(target), []).append(name)
        parts = name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folders.setdefault(rules.key("/".join(parts[:depth])), name)
    clashes: dict[str, Clash] = {}
    for key, names in owners.items():
        if len(names) > 1:
            names = [name for name in names if _readable(source / name)]
        for name in names if len(names) > 1 else ():
            other = next(one for one in names if one != name)
            more = f" (and {len(names) - 2} more)" if len(names) > 2 else ""
            clashes[name] = Clash(f"{BEGINNING}{_sentence(name, other, more, targets)}", key)
        if key in folders:
            for name in names:
                told = f"'{name}' would become '{targets[name]}', the folder of '{folders[key]}': rename one."
                clashes[name] = Clash(BEGINNING + told, "")
    return clashes


def name_rules(output: Path) -> NameRules:
    """How names are compared in OUT, or where it is not there, in the folder that it will be made in. It is tried out
    with a file that is removed again; where none can be written, names are taken as they are."""
    place = cache_folder() if isinstance(output, Place) else output.absolute()  # what goes to a place is made there
    while not place.is_dir() and place != place.parent:
        place = place.parent
    with contextlib.suppress(OSError):
        return _probe(str(place), os.stat(place).st_dev)
    return NameRules()


@lru_cache(maxsize=16)
def _probe(folder: str, device: int) -> NameRules:
    with tempfile.TemporaryDirectory(prefix=f"{TEMP_PREFIX}probe-", dir=folder) as inside:
        return NameRules(
            case=_same(inside, f"{TEMP_PREFIX}CaseProbe", f"{TEMP_PREFIX}caseprobe"),
            form=_same(inside, f"{TEMP_PREFIX}\u00e9", f"{TEMP_PREFIX}e\u0301"),
            ends=_same(inside, f"{TEMP_PREFIX}ends. ", f"{TEMP_PREFIX}ends"),
        )


def _same(folder: str, name: str, other: str) -> bool:
    """Whether a file that is written by one name is found by the other."""
    try:
        with open(os.path.join(folder, name), "wb"):
            pass
        return os.path.exists(os.path.join(folder, other))
    except OSError:  # a name that can't be there meets none
        return False


def _sentence(name: str, other: str, more: str, targets: Mapping[str, str]) -> str:
    first, second = sorted((name, other))
    if targets[first] == targets[second]:
        what = f"'{first}' and '{second}'{more} would both become '{targets[first]}'"
        return f"{what}: rename one, or pass --keep-suffix."
    return (
        f"'{first}' and '{second}'{more} would be one file in OUT, where '{targets[first]}' and '{targets[second]}' "
        "are the same name: rename one, or choose another OUT."
    )


def _readable(path: Path) -> bool:
    return _decodes(path, file_stamp(path))


@lru_cache(maxsize=1 << 16)
def _decodes(path: Path, stamp: tuple[int, int] | None) -> bool:
    """stamp: tells one content of the file from another, so that a watched folder's are read once."""
    try:
        load_image(path, max_side=_LOOK)
    except ImageError:
        return False
    except Exception:  # it will be a row of its own kind
        return False
    return True
