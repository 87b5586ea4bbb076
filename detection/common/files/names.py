"""Names of files by the rules of Windows, and folders where there may be several drives."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from detection.common.errors import UsageError

ON_WINDOWS = os.name == "nt"
_FORBIDDEN = re.compile(r'[\x00-\x1f<>:"/\\|?*]')
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?")
_MOST = 255
_WRITTEN = re.compile("%[0-9A-F]{2}")


def name_fault(name: str) -> str:
    """Why Windows takes no file or folder of this name, in a few words; empty where it does.

    >>> name_fault("car 1.jpg"), name_fault("a:b.jpg"), name_fault("Aux.jpg"), name_fault("x. ")
    ('', "':' in it", 'the name of a device', 'a dot or space at its end')
    """
    found = _FORBIDDEN.search(name)
    if found:
        return f"{found[0]!r} in it"
    if not name or name.endswith((".", " ")):
        return "a dot or space at its end" if name else "no letter"
    if _DEVICES.fullmatch(name):
        return "the name of a device"
    if len(name.encode("utf-16-le", "surrogatepass")) > 2 * _MOST:
        return f"more than {_MOST} letters"
    return ""


def windows_path(path: str) -> str:
    """A path with slashes, made on another system, with each name as Windows takes it: `%3A` stands for a colon.

    Different paths stay different; those that Windows takes, and hold nothing that looks so, stay as they are.

    >>> windows_path("10:30/aux.jpg"), windows_path("a/b.jpg"), windows_path("5%3A")
    ('10%3A30/%61ux.jpg', 'a/b.jpg', '5%253A')
    """
    return "/".join(part if part in ("", ".", "..") else _windows_name(part) for part in path.split("/"))


def _windows_name(name: str) -> str:
    changed = _WRITTEN.sub(lambda found: f"%25{found[0][1:]}", name)
    changed = _FORBIDDEN.sub(lambda found: f"%{ord(found[0]):02X}", changed)
    if changed.endswith((".", " ")):
        changed = f"{changed[:-1]}%{ord(changed[-1]):02X}"
    if _DEVICES.fullmatch(changed):
        changed = f"%{ord(changed[0]):02X}{changed[1:]}"
    return changed


def common_folder(folders: Iterable[str], join=os.path.commonpath) -> str:
    """The deepest folder that holds all of these. Raises `UsageError` where they lie on several drives of Windows."""
    folders = list(folders)
    try:
        return join(folders)
    except ValueError as error:
        raise UsageError(
            f"The photos lie on several drives, as '{folders[0]}' and '{folders[-1]}' do: put them on one."
        ) from error
