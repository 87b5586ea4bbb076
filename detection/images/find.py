"""Which files are photos, and all of them below a folder."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import translate
from itertools import compress, islice
from pathlib import Path

from detection.common.errors import UsageError
from detection.common.files import user_path
from detection.common.files.sorted_names import sorted_names
from detection.common.places.faults import PlaceError
from detection.common.places.paths import folder_of
from detection.common.places.place import Place
from detection.common.places.store import usage
from detection.common.tally import counted

# Of cameras; .raw is left out, as it may be anything.
RAW_SUFFIXES = frozenset(
    [".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".srf", ".raf", ".orf", ".rw2", ".rwl", ".pef",
     ".srw", ".3fr", ".fff", ".iiq", ".erf", ".mef", ".mos", ".dcr", ".kdc", ".gpr", ".x3f"]
)  # fmt: skip
# Raw files and JPEG XL need an optional reader, but as inputs they get a row that says so; as unknown files they would
# vanish.
IMAGE_SUFFIXES = RAW_SUFFIXES.union(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".avif",
        ".heic",
        ".heif",
        ".jxl",
    ]
)

# What others leave beside photos, in lower case: previews, bins, snapshots and notes, never photos and never classes.
# Names that begin with a dot (.AppleDouble, ._a.jpg, .ipynb_checkpoints, .Trash-1000, .thumbnails) are hidden anyway.
CLUTTER = frozenset(
    [
        # network storage: Synology, QNAP, NetApp, ZFS, Buffalo
        *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "@sharebin", "@sharesnap", "@transcode", "@__thumb"),
        *("#recycle", "#snapshot", "~snapshot", "lost+found", "trashbox"),
        # Windows
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "system volume information", "$recycle.bin"),
        *("recycler", "recycled", "found.000"),
        # macOS and its archives
        *("__macosx", "network trash folder", "temporary items", "icon\r", "thedbdesktop", "thevolumesettingsfolder"),
        # programs and notebooks
        *("__pycache__", "picasa.ini", "thumbnails.db"),
    ]
)
# Copies that an editor keeps, and downloads that have not ended: no photos, whatever they hold.
_UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".opdownload", ".filepart", ".tmp", ".bak", "~")
TIFF_STARTS = (b"II*\0", b"MM\0*")
# How raw files begin that do not begin like a TIFF: Fujifilm, Olympus, Panasonic, Sigma. Canon's newest are told apart.
RAW_STARTS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb")
JXL_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"crx ")
# What a check of the disk rescued may be photos: passed over, but not silently where nobody can look.
_RESCUED = "lost+found"
_HEAD = 32
_LOOKED_AT_ONCE = 4096  # names of a place, of which some may be photos by their content
_MOST_SUFFIXES = 1000  # of files that are numbered by their suffix, not every one is kept
_SUFFIXES_TOLD = 8
_LEFT_OUT_TOLD = 5
# In a place, where a look costs a request, these are no photos, whatever they hold.
_TEXTS = frozenset([".json", ".jsonl", ".txt", ".csv", ".tsv", ".xml", ".html", ".md", ".yaml", ".yml", ".cls"])
_OTHERS = "other"


@dataclass
class FoundImages:
    """What lies below a folder.

    names: photos as paths below the folder with slashes, sorted. passed: number of files that are no photo, by suffix
    as it is written ('' for none). unreadable: folders below that could not be read (their path below) and why.
    left_out: a sentence for each thing in a place whose name can't be that of a file.
    """

    names: Sequence[str] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """A sentence for each folder that could not be read, and one about the files that were passed over."""
        notes = [f"The folder '{folder}' can't be read: {reason}. What is in it is left out."
                 for folder, reason in self.unreadable]  # fmt: skip
        more = len(self.left_out) - _LEFT_OUT_TOLD
        notes += self.left_out[:_LEFT_OUT_TOLD] + ([f"{more} more are left out for their names."] if more > 0 else [])
        return [*notes, *filter(None, [passed_over(self.passed)])]

    @property
    def missed(self) -> int:
        """How many folders could not be read, and things not be taken."""
        return len(self.unreadable) + len(self.left_out)


def passed_over(passed: Counter[str]) -> str:
    """
    >>> passed_over(Counter({".CR2": 8, "": 3, ".jxl": 1}))
    '12 files were passed over: 8 .CR2, 3 without suffix, 1 .jxl.'
    """
    if not passed:
        return ""
    ranked = sorted(passed.items(), key=lambda pair: (-pair[1], pair[0]))
    kinds = [f"{number} {suffix or 'without suffix'}" for suffix, number in ranked[:_SUFFIXES_TOLD]]
    more = sum(number for _, number in ranked[_SUFFIXES_TOLD:])
    kinds += [f"{more} others"] if more else []
    return f"{counted(passed.total(), 'file was', 'files were')} passed over: {', '.join(kinds)}."


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or one that storage, systems and programs leave beside photos.

    >>> is_clutter("@eaDir"), is_clutter("._a.jpg"), is_clutter("Audi")
    (True, True, False)
    """
    return name.startswith(".") or name.lower() in CLUTTER


def find_images(root: str | Path) -> list[Path]:
    """All photos below `root`, sorted; hidden files and folders and clutter are skipped.

    A photo is a file with an image suffix, or with another one or none whose content is a photo's.
    Links to folders are followed, but not back into a folder that they lie in. A folder below that can't be read is
    left out. Raises `UsageError` when `root` is not a folder, or can't be read.
    """
    root = user_path(root)
    return sorted(root / name for name in image_names(root))


def image_names(root: str | Path) -> Sequence[str]:
    """The same files as `find_images`, as paths below `root` with slashes, sorted: of millions the most part is in a
    temporary file."""
    return survey_images(root).names


def survey_images(root: str | Path, exclude: Sequence[str] = ()) -> FoundImages:
    """The same, with what was passed over and what could not be read.

    exclude: patterns of paths below `root` (`*` and `**` stand for anything); one without a slash is that of a name,
    at any depth. A folder that one fits is left out with all that is in it.
    """
    root = folder_of(root) or user_path(root)
    if isinstance(root, Place):
        return _survey_place(root, _excluder(exclude))
    if not root.is_dir():
        raise UsageError(f"There is no folder '{root}': check the path.")
    found = FoundImages()
    found.names = sorted_names(_walk(str(root), "", (), found, _excluder(exclude)))
    found.unreadable.sort()
    return found


def _survey_place(root: Place, excluded: Callable[[str], bool] | None) -> FoundImages:
    """The same of a place: it is listed at once, and what each photo's size and mark are is known from then on."""
    if not root.is_dir():
        raise UsageError(f"There is no folder '{root}': check the address.")
    if root.key:
        raise UsageError(f"'{root}' lies in an archive: name the archive itself, and leave out what is not meant.")
    try:
        listing = root.store.walk()
        chosen = root.store.chosen
        keys = root.store.remember(entry for entry in listing.entries if _wanted(entry.key, excluded, chosen))
    except PlaceError as error:
        raise usage(f"The folder '{root}' can't be read", error) from error
    found = FoundImages(left_out=listing.left_out)
    found.names = keys if chosen else sorted_names(_photos_among(keys, root, found))
    return found


def _photos_among(keys: Iterable[str], root: Place, found: FoundImages) -> Iterator[str]:
    """Those of a place's keys that are photos; what they are not is noted."""
    rest = iter(keys)
    with ThreadPoolExecutor(root.store.threads, thread_name_prefix="carclf-look") as pool:
        while some := list(islice(rest, _LOOKED_AT_ONCE)):
            others = [key for key in some if not _has_image_suffix(key)]
            looked = [key for key in others if os.path.splitext(key)[1].lower() not in _TEXTS]
            passed = set(others).difference(
                compress(looked, pool.map(lambda key: _looks_like_photo(root, key), looked))
            )
            for key in some:
                if key in passed:
                    _pass_over(found, os.path.splitext(key)[1])
                else:
                    yield key


def _wanted(key: str, excluded: Callable[[str], bool] | None, chosen: bool) -> bool:
    parts = key.split("/")
    if not chosen and any(map(is_clutter, parts)):
        return False
    return excluded is None or not any(excluded("/".join(parts[:depth])) for depth in range(1, len(parts) + 1))


def _has_image_suffix(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _looks_like_photo(root: Place, key: str) -> bool:
    if key.lower().endswith(_UNFINISHED):
        return False
    try:
        return is_photo_head(root.store.read(key, 0, _HEAD))
    except PlaceError:
        return False


def holds_image(path: str | Path) -> bool:
    """Whether a file's first bytes are those of a photo, whatever its name; False for one that can't be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for ever
            return False
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError):
        return False
    return is_photo_head(head)


def is_photo_head(head: bytes) -> bool:
    """Whether a file that begins with these bytes (32 or more, unless it has fewer) is a photo of a known format."""
    if head[4:8] == b"ftyp":
        return head[8:12] in _BRANDS
    if head.startswith(b"BM"):
        return head[6:10] == b"\0\0\0\0" and len(head) >= _HEAD
    if head.startswith(b"RIFF"):
        return head[8:12] == b"WEBP"
    known = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", JXL_CONTAINER)
    return head.startswith((*known, *TIFF_STARTS, *RAW_STARTS))


def _walk(
    folder: str,
    below: str,
    ancestors: tuple[tuple[int, int], ...],
    found: FoundImages,
    excluded: Callable[[str], bool] | None,
) -> Iterator[str]:
    """The names of the photos in `folder`, which is `below` the root ('' or a path with a slash at its end)."""
    try:
        status = os.stat(folder)
        identity = (status.st_dev, status.st_ino)
        if identity in ancestors:  # a link that leads back up
            return
        with os.scandir(folder) as listing:  # closed before those below are opened, and a million names take no memory
            entries = sorted_names(_not_clutter(listing, found))
    except OSError as error:
        if below:
            found.unreadable.append((folder, error.strerror or str(error)))
            return
        raise UsageError(f"The folder '{folder}' can't be read: {error.strerror}.") from error
    for name in entries:
        if excluded is not None and excluded(below + name):
            continue
        path = os.path.join(folder, name)
        if os.path.isdir(path):  # unlike entry.is_dir() it takes a link to itself calmly
            yield from _walk(path, f"{below}{name}/", (*ancestors, identity), found, excluded)
            continue
        suffix = os.path.splitext(name)[1]
        if suffix.lower() in IMAGE_SUFFIXES or (not name.lower().endswith(_UNFINISHED) and holds_image(path)):
            yield below + name
        else:
            _pass_over(found, suffix)


def _not_clutter(listing: Iterable[os.DirEntry[str]], found: FoundImages) -> Iterator[str]:
    for entry in listing:
        if not is_clutter(entry.name):
            yield entry.name
        elif entry.name == _RESCUED and not os.access(entry.path, os.R_OK | os.X_OK):
            found.unreadable.append((entry.path, "Permission denied"))


def _pass_over(found: FoundImages, suffix: str) -> None:
    known = suffix in found.passed or len(found.passed) < _MOST_SUFFIXES
    found.passed[suffix if known else f".{_OTHERS}"] += 1


def _excluder(patterns: Sequence[str]) -> Callable[[str], bool] | None:
    if not patterns:
        return None
    whole: list[str] = []
    bare: list[str] = []
    for pattern in patterns:
        pattern = pattern.replace(os.sep, "/").removeprefix("./").strip("/")
        (whole if "/" in pattern else bare).append(translate(pattern))
        if pattern.startswith("**/"):  # at the top, too
            (whole if "/" in pattern[3:] else bare).append(translate(pattern[3:]))
    paths, names = (re.compile("|".join(some)) if some else None for some in (whole, bare))
    return lambda path: bool((paths and paths.match(path)) or (names and names.match(path.rpartition("/")[2])))
