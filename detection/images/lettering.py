"""Text of users in pictures: names of classes and files in any script, each letter with a font that has it.

DejaVu Sans, which comes with matplotlib, has Latin, Greek, Cyrillic, Hebrew and Arabic letters. For others the fonts of
the system are searched. Letters that no font has are drawn as codes: empty boxes would all look alike.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from PIL import ImageDraw, ImageFont, features

log = logging.getLogger("carclf")

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_NOT_A_LETTER = "\U0010fffe"  # what a font draws for it, it draws for all that it lacks
_JOINERS = "\u200c\u200d"  # steer how letters join, in Persian and Hindi for example
# Marks, scripts from right to left, of India and its neighbours.
_JOINED = re.compile(f"[\u0300-\u036f\u0590-\u109f\u1780-\u1aff\ufb1d-\ufdff\ufe70-\ufeff{_JOINERS}]")
_MOST_FONTS = 500  # of the system's, so that a letter that none has costs no minute
# Where a family has several fonts, plain ones first; GNU Unifont's letters are coarse.
_WORSE = ("bold", "black", "heavy", "italic", "oblique", "light", "thin", "mono", "serif", "cond", "unifont")
_NO_HELP = ("lastresort", "emoji", "symbol")
_in_use: list[str] = []  # the system's fonts that had a letter before
_told: set[str] = set()


def draw_text(
    draw: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    size: int,
    ink: tuple[int, ...],
    bold: bool = False,
    centred: bool = False,
) -> None:
    """Draws one line of `drawable` text. corner: its left and top; with `centred`, left and the line's middle."""
    ascent, descent = _metrics(size, bold)
    left, base = corner[0], corner[1] + ((ascent - descent) / 2 if centred else ascent)
    for font, part in _runs(text, size, bold):
        draw.text((left, base), part, font=font, fill=ink, anchor="ls")
        left += font.getlength(part)


def text_length(text: str, size: int, bold: bool = False) -> float:
    """Width in pixels of a line of `drawable` text."""
    return sum(font.getlength(part) for font, part in _runs(text, size, bold))


def printable(text: str) -> str:
    """The text on one line, with escapes for control characters and for bytes that are no UTF-8.

    >>> printable("line\\nbreak \\udce9")
    'line\\\\nbreak \\\\xe9'
    """
    parts = []
    for character in text:
        if 0xDC80 <= ord(character) <= 0xDCFF:  # how Python holds such a byte of a file name
            parts.append(f"\\x{ord(character) - 0xDC00:02x}")
        elif character.isprintable() or character in _JOINERS:
            parts.append(character)
        else:
            parts.append(_code(character))
    return "".join(parts)


def drawable(text: str) -> str:
    """`printable`, composed (a Mac's file names come with their accents apart), with codes for what no font has."""
    return "".join(one if _font_of(one) is not None else _code(one) for one in _composed(text))


def tell_lacking(names: Iterable[str]) -> None:
    """Says, once in a process, which of the names will be drawn with codes in the place of letters."""
    lacking = [name for name in names if any(_font_of(one) is None for one in _composed(name))]
    if lacking and not _told:
        _told.update(lacking)
        some = ", ".join(f"'{name}'" for name in lacking[:3]) + (f" and {len(lacking) - 3} more" if lacking[3:] else "")
        log.warning("No font of this system has all letters of %s: pictures show codes in their place, tables and HTML "
                    "pages the letters. Install a font of that script, for example Noto Sans CJK.", some)  # fmt: skip


def fonts_beside(text: str) -> list[str]:
    """The files of the system's fonts that `drawable` text needs beside DejaVu Sans."""
    files = dict.fromkeys(_font_of(character) for character in text)
    return [file for file in files if file]


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", printable(text))


def _code(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _runs(text: str, size: int, bold: bool) -> Iterator[tuple[Font, str]]:
    """Parts of the text that one font has."""
    file, part = "", ""
    for character in text:
        # What stands between the letters of a script belongs to them.
        own = file if character.isspace() or character in _JOINERS else (_font_of(character) or "")
        if own != file and part:
            yield _font(file, size, bold, _is_joined(part)), part
            part = ""
        file, part = own, part + character
    if part:
        yield _font(file, size, bold, _is_joined(part)), part


def _is_joined(text: str) -> bool:
    """Whether the letters change with their neighbours, or run from right to left, or carry marks."""
    return bool(_JOINED.search(text))


@lru_cache(maxsize=65536)
def _font_of(character: str) -> str | None:
    """The file of a font that has the character: empty for DejaVu Sans, None where none has it."""
    if character.isascii() or character.isspace() or character in _JOINERS or _has("", character):
        return ""
    found = next((file for file in (*_in_use, *_system_fonts()) if _has(file, character)), None)
    if found is not None and found not in _in_use:
        _in_use.append(found)
    return found


def _has(file: str, character: str) -> bool:
    try:
        font = _font(file, 16, False, False)
        mask = font.getmask(character)
        return bool(mask.size[0]) and bytes(mask) != _lacking(file)
    except (OSError, ValueError):  # a font that FreeType can't read, or has in fixed sizes only
        return False


@lru_cache(maxsize=512)
def _lacking(file: str) -> bytes:
    return bytes(_font(file, 16, False, False).getmask(_NOT_A_LETTER))


@lru_cache(maxsize=64)
def _font(file: str, size: int, bold: bool, joined: bool) -> Font:
    """Raises OSError. file: empty for DejaVu Sans, or Pillow's own font where matplotlib isn't there."""
    # Raqm joins letters, but may be missing; text that needs it not is to look the same everywhere.
    raqm = joined and features.check("raqm")
    engine = ImageFont.Layout.RAQM if raqm else ImageFont.Layout.BASIC
    if file:
        return ImageFont.truetype(file, size, layout_engine=engine)
    package = importlib.util.find_spec("matplotlib")  # looked up, not imported
    for folder in (package.submodule_search_locations or []) if package else []:
        try:
            name = f"DejaVuSans{'-Bold' if bold else ''}.ttf"
            path = str(Path(folder) / "mpl-data" / "fonts" / "ttf" / name)
            return ImageFont.truetype(path, size, layout_engine=engine)
        except OSError:
            continue
    return ImageFont.load_default(size)


@lru_cache(maxsize=32)
def _metrics(size: int, bold: bool) -> tuple[int, int]:
    """Ascent and descent of a line in pixels."""
    font = _font("", size, bold, False)
    return font.getmetrics() if isinstance(font, ImageFont.FreeTypeFont) else (size, 0)


@lru_cache(maxsize=1)
def _system_fonts() -> tuple[str, ...]:
    found: dict[str, str] = {}
    for folder in _font_folders():
        for place, _, files in os.walk(folder):
            for name in files:
                lower = name.lower()
                if lower.endswith((".ttf", ".ttc", ".otf", ".otc")) and not any(one in lower for one in _NO_HELP):
                    found.setdefault(name, os.path.join(place, name))
    ranked = sorted(found, key=lambda name: (sum(word in name.lower() for word in _WORSE), name))
    return tuple(found[name] for name in ranked[:_MOST_FONTS])


def _font_folders() -> Iterator[str]:
    """Where Linux, macOS and Windows keep fonts; a user's own first."""
    user = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    for data in (user, *shared.split(":")):
        yield os.path.expanduser(f"{data}/fonts")
    for folder in ("~/.fonts", "~/Library/Fonts", "/Library/Fonts", "/System/Library/Fonts"):
        yield os.path.expanduser(folder)
    for variable, below in (("LOCALAPPDATA", "Microsoft/Windows/Fonts"), ("WINDIR", "Fonts")):
        if variable in os.environ:
            yield os.path.join(os.environ[variable], below)
