"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detection.common.errors import UsageError
from detection.common.places.paths import path_of, place_of
from detection.common.places.place import Place
from detection.version import __version__

if TYPE_CHECKING:
    import pandas as pd


TEMP_PREFIX = ".carclf-"
_ESCAPE = re.compile(r"\\x[89a-f][0-9a-f]")
_ESCAPED = re.compile(r"\\(\\|x[89a-f][0-9a-f])")
_temp_numbers = itertools.count()


# The key under which files say who wrote them; those of version 0.4 do not.
WRITTEN_BY = "written_by"


def written_by(format: int) -> dict[str, Any]:
    """What each file that a later run reads says of itself.

    format: a number of this kind of file, raised when an older carclf would read it wrongly.
    """
    return {WRITTEN_BY: {"carclf": __version__, "format": format}}


def check_written(path: str | Path, values: Mapping[str, Any], format: int) -> None:
    """Raises `UsageError` for a file that a newer carclf has written, by `written_by`, in a way unknown here."""
    noted = values.get(WRITTEN_BY)
    if isinstance(noted, Mapping):
        check_format(path, noted.get("format"), format, noted.get("carclf"))


def check_format(path: str | Path, found: object, known: int | str, version: object = None) -> None:
    """Raises `UsageError` when a file's format, or the major version of carclf that wrote it, is newer than ours.

    found, known: numbers, or names that end in one, such as `carclf-export-1`. Anything else is nobody's newer format.
    """
    format, number = _number_at_end(found), _number_at_end(known)
    newer = format is not None and number is not None and format[0] == number[0] and format[1] > number[1]
    major = re.match(r"[0-9]{1,9}", version) if isinstance(version, str) else None
    if newer or (major and int(major[0]) > int(__version__.split(".")[0])):
        whose = f"carclf {version[:20]}, which" if isinstance(version, str) else "a carclf that"
        raise UsageError(
            f"'{path}' was written by {whose} is newer than this {__version__}: update carclf, or write it anew with "
            "this one."
        )


def _number_at_end(format: object) -> tuple[str, int] | None:
    if isinstance(format, bool) or not isinstance(format, int | str):
        return None
    match = re.fullmatch(r"(.*?)([0-9]{1,9})", str(format))
    return None if match is None else (match[1], int(match[2]))


def expand_home(text: str) -> str:
    """A path with `~` or `~name` at its start as that home folder; any other text as it is.

    A shell does so only for words that begin with it: `--output=~/x` and `output=~/x` come as they were typed.

    >>> expand_home("a~/b"), expand_home("~/b") == os.path.expanduser("~/b")
    ('a~/b', True)
    """
    below = text.startswith("~") and ("/" in text or os.sep in text)
    return os.path.expanduser(text) if text == "~" or below else text


def user_path(path: str | Path) -> Path:
    """A path that a person named; `~` at its start is the home folder, and an address such as s3://... a `Place`."""
    return place_of(path) or Path(expand_home(str(path)))


def cache_folder() -> Path:
    """Where files are kept that can be fetched or made again: `CARCLF_CACHE`, else `XDG_CACHE_HOME`/carclf, else
    ~/.cache/carclf. It need not exist."""
    named = os.environ.get("CARCLF_CACHE")
    if named:
        return user_path(named)
    home = os.environ.get("XDG_CACHE_HOME")
    return user_path(home) / "carclf" if home else user_cache_folder()


def user_cache_folder() -> Path:
    """~/.cache/carclf, wherever the variables of `cache_folder` point."""
    return Path.home() / ".cache" / "carclf"


def replace_file(path: Path, data: bytes | memoryview) -> None:
    """Writes a file by way of a temp file in the same folder and a rename, so that it is never half there."""
    replace_chunks(path, (data,))


def replace_chunks(
    path: Path, chunks: Iterable[bytes | memoryview], ready: Callable[[], object] = lambda: None
) -> None:
    """The same for a file that is too large to be made in memory.

    ready: called when all is written, before the rename: Windows replaces no file that is open, here or elsewhere.
    """
    place = place_of(path)
    if place is not None:
        place.write_bytes(b"".join(chunks))
        return
    # Not named after the file: a name at the file system's limit would not take a longer one.
    temp = path.with_name(f"{TEMP_PREFIX}{os.getpid()}-{next(_temp_numbers)}.tmp")
    try:
        with open(temp, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
        ready()
        move_over(temp, path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


# Windows: access denied, in use by another process, a part of it locked by one.
_IN_USE = (5, 32, 33)


class FileInUse(UsageError, PermissionError):
    """Another program has a file open that was to be replaced, as only Windows minds."""

    def __init__(self, path: Path):
        super().__init__(
            f"'{path}' is open in another program, or is not to be written: close it there; then the same command "
            "writes it."
        )
        self.strerror = "it is open in another program"


def move_over(source: Path, target: Path) -> None:
    """Renames a file or a folder, over a file that is there.

    A virus scanner or an indexer holds on Windows what has just been written, for less than a second: tried again.
    Raises `FileInUse` where that does not help, and OSError.
    """
    for wait in (0.05, 0.1, 0.2, 0.4, 0.8, 0.0):
        try:
            os.replace(source, target)
            return
        except OSError as error:
            if getattr(error, "winerror", None) not in _IN_USE:
                raise
            if not wait:
                raise FileInUse(target) from error
            time.sleep(wait)


def check_output(path: str | Path | None) -> None:
    """Finds out before the long work, not after it, that a result can't be written. Raises `UsageError`."""
    if path is None:
        return
    path = user_path(path)
    if path.is_dir():
        raise UsageError(f"The output '{path}' is a folder: name a file in it.")
    if isinstance(path, Place):
        path.store.check_writable()
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(f"The output '{path}' can't be written: {error.strerror or error}.") from error


def bring_file(source: Path, target: Path, link: bool = True) -> bool:
    """Makes target a hard link to source, or a copy where the file system takes no link; replaces what was there.

    Returns whether it is a link, which shares its content with the source. With link=False it is always a copy.
    """
    if isinstance(source, Place):
        replace_file(target, source.read_bytes())
        return False
    temp = target.with_name(f"{TEMP_PREFIX}{os.getpid()}-{next(_temp_numbers)}.tmp")
    temp.unlink(missing_ok=True)
    try:
        try:
            if link:
                os.link(os.path.realpath(source), temp)  # of a symbolic link, the file that it means
        except OSError:
            link = False
        if not link:
            shutil.copyfile(source, temp)
        move_over(temp, target)
    finally:  # a link to a file that is there already is not moved by a rename
        temp.unlink(missing_ok=True)
    return link


def same_content(path: Path, chunks: Iterable[bytes]) -> bool:
    """Whether the file is there and holds just these bytes."""
    try:
        with open(path, "rb") as file:
            return all(file.read(len(chunk)) == chunk for chunk in chunks) and not file.read(1)
    except FileNotFoundError:
        return False


def escape_name(text: str) -> str:
    r"""A file name as valid UTF-8, for results; `read_name` gives the name back, whatever it is.

    Each byte that is not UTF-8 becomes `\x` and two hexadecimal digits, and in such a name each backslash is doubled
    (also in one that holds such an escape by itself). All other names stay as they are.

    >>> print(escape_name("caf\udce9.jpg"), escape_name("back\\slash.jpg"), escape_name("caf\\xe9.jpg"))
    caf\xe9.jpg back\slash.jpg caf\\xe9.jpg
    """
    if text.isascii() and "\\" not in text:
        return text
    if not _ESCAPE.search(text) and not any("\udc80" <= char <= "\udcff" for char in text):
        return text
    doubled = text.replace("\\", "\\\\")
    return re.sub("[\udc80-\udcff]", lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", doubled)


def read_name(text: str) -> str:
    """The file name that `escape_name` has made this of, bytes that are not UTF-8 as surrogates (`os.fsencode`).

    A name of an older file, with such bytes as they are, comes back unchanged.
    """
    if not _ESCAPE.search(text):
        return text
    return _ESCAPED.sub(lambda found: "\\" if found[1] == "\\" else chr(0xDC00 + int(found[1][1:], 16)), text)


def escaped(value: Any) -> Any:
    """`escape_name` of each text in lists and dicts; other values stay as they are."""
    return _each_text(value, escape_name)


def names_read(value: Any) -> Any:
    """`read_name` of each text in lists and dicts."""
    return _each_text(value, read_name)


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_each_text(key, change): _each_text(one, change) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_each_text(one, change) for one in value]
    return value


def write_text(path: Path, text: str) -> None:
    """Temp file in the same folder, then replace: a reader sees the old file or the whole new one."""
    path = user_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").encode("utf-8"))


def write_json(path: Path, values: Mapping | Sequence[Any]) -> None:
    write_text(path, json.dumps(escaped(values), indent=2, ensure_ascii=False) + "\n")


def write_table(path: Path, rows: Sequence[Mapping] | pd.DataFrame) -> None:
    import pandas as pd

    # pandas' own text can't hold a name that is not UTF-8.
    table = rows.map(escaped) if isinstance(rows, pd.DataFrame) else pd.DataFrame([escaped(row) for row in rows])
    write_text(path, table.to_csv(index=False))


def file_stamp(path: Path) -> tuple[int, int] | None:
    """Size and mtime (ns) of a file, or what a place tells contents apart by; None when it can't be asked (a broken
    link)."""
    if isinstance(path, Place):
        return path.stamp()
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def write_changed(
    path: Path, chunks: Callable[[], Iterable[bytes]], ready: Callable[[], object] = lambda: None
) -> None:
    """Replaces the file unless it holds this already: a finished run started again touches nothing. ready: as
    `replace_chunks` has it."""
    if not same_content(path, chunks()):
        replace_chunks(path, chunks(), ready)


def remove_leftovers(output: Path, older_than: float) -> None:
    """Removes temp files of this age (seconds) that a killed run has left."""
    latest = time.time() - older_than
    for folder, _, names in os.walk(output):
        for name in names:
            if name.startswith(TEMP_PREFIX) and name.endswith(".tmp"):
                path = Path(folder, name)
                try:
                    if not older_than or path.stat().st_mtime < latest:
                        path.unlink()
                except (FileNotFoundError, PermissionError):  # another shard has just renamed it, or writes it
                    continue


def file_sha256(path: str | Path) -> bytes:
    """The SHA-256 of a file's bytes, read piece by piece. Raises OSError, and ValueError for what is no file name."""
    path = path_of(path)
    if isinstance(path, Place):
        return hashlib.sha256(path.read_bytes()).digest()
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()
