"""One page of a contact sheet: pairs of photo and cut-out with a few words below each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from detection.common.places.place import Place
from detection.images.lettering import draw_text, drawable, text_length
from detection.images.read import ImageError, load_image

# Pixels. A page of 4 x 6 pairs is 1606 x 1244 then, which a common screen shows in full width.
THUMB = (190, 143)
_GAP, _MARGIN, _TEXT = 4, 14, 48
_FONT_SIZE = 12
_PAGE, _FRAME, _INK = (233, 233, 236), (196, 196, 202), (40, 40, 46)
_COLOURS = {"ok": (24, 128, 56), "no_car": (176, 104, 0), "unreadable": (190, 30, 30), "error": (190, 30, 30)}
_BOX, _OUTLINE = (255, 200, 0), (255, 0, 200)
_CHECKER = (255, 204)
_CHECKER_SIDE = 8


@dataclass(frozen=True)
class SheetPair:
    """One photo of a folder run, and what became of it.

    `photo` and `cut` are files, `cut` None when there is none, which `nothing` says in its place; `box` is xyxy in
    pixels of the EXIF-turned photo of `size` (height, width), `mask` the vehicle's bool mask at any size; None when
    they are not known.
    """

    name: str
    photo: Path
    cut: Path | None
    status: str
    score: float | None = None
    reason: str = ""
    box: tuple[float, float, float, float] | None = None
    size: tuple[int, int] | None = None
    mask: np.ndarray | None = None
    nothing: str = "nothing written"


def page_size(columns: int, rows: int) -> tuple[int, int]:
    """(height, width) of a page in pixels."""
    return rows * (THUMB[1] + _TEXT) + (rows + 1) * _MARGIN, columns * (2 * THUMB[0] + _GAP) + (columns + 1) * _MARGIN


def draw_pair(pair: SheetPair) -> np.ndarray:
    """RGB uint8 of one cell: the photo with box and outline, the cut-out, the text. Never fails: reasons are drawn."""
    cell = Image.new("RGB", (2 * THUMB[0] + _GAP, THUMB[1] + _TEXT), _PAGE)
    draw = ImageDraw.Draw(cell)
    for left, picture in ((0, _photo(pair)), (THUMB[0] + _GAP, _cut(pair))):
        draw.rectangle((left, 0, left + THUMB[0] - 1, THUMB[1] - 1), fill=(222, 222, 226))
        if isinstance(picture, str):
            _paragraph(draw, picture, (left + 8, THUMB[1] // 2 - 24), THUMB[0] - 16, 3, (110, 110, 118))
            continue
        height, width = picture.shape[:2]
        corner = left + (THUMB[0] - width) // 2, (THUMB[1] - height) // 2
        cell.paste(Image.fromarray(picture), corner)
        if left:  # a white cut-out needs a border; on the photo it would hide a box that fills the frame
            draw.rectangle((corner[0], corner[1], corner[0] + width - 1, corner[1] + height - 1), outline=_FRAME)
    _caption(draw, pair, cell.width)
    return np.asarray(cell)


def join_page(cells: Sequence[np.ndarray], columns: int, rows: int) -> np.ndarray:
    """RGB uint8 of a page. Its unused rows are left out."""
    rows = min(rows, -(-len(cells) // columns))
    page = np.full((*page_size(columns, rows), 3), _PAGE, np.uint8)
    for number, cell in enumerate(cells):
        height, width = cell.shape[:2]
        top = _MARGIN + number // columns * (height + _MARGIN)
        left = _MARGIN + number % columns * (width + _MARGIN)
        page[top : top + height, left : left + width] = cell
    return page


def _photo(pair: SheetPair) -> np.ndarray | str:
    try:
        # Twice as large as drawn: a JPEG is decoded at reduced size, and shrinking that by half looks best.
        picture = _fit(load_image(pair.photo, max_side=2 * max(THUMB)))
    except ImageError:
        return "can't be shown"
    height, width = picture.shape[:2]
    if pair.mask is not None:
        small = cv2.resize(pair.mask.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_AREA)
        contours, _ = cv2.findContours((small > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, _OUTLINE, 1, cv2.LINE_AA)
    if pair.box is not None and pair.size is not None:
        across, down = width / pair.size[1], height / pair.size[0]
        scaled = np.array(pair.box) * (across, down, across, down)
        x1, y1, x2, y2 = (int(value) for value in np.clip(np.rint(scaled), -9, 2 * max(THUMB)))
        # Inside the photo, so that a side on its border is seen.
        first, last = (max(0, x1), max(0, y1)), (min(width, x2) - 1, min(height, y2) - 1)
        cv2.rectangle(picture, first, last, _BOX, 1)
    return picture


def _cut(pair: SheetPair) -> np.ndarray | str:
    if pair.cut is None:
        return pair.nothing
    try:
        picture = _transparent(pair.cut)
        return _fit(load_image(pair.cut, max_side=2 * max(THUMB))) if picture is None else picture
    except ImageError as error:
        return str(error) if pair.cut.exists() else "the file is gone"


def _transparent(path: Path) -> np.ndarray | None:
    """A transparent cut-out on a checkerboard, fitted; None for every other file."""
    try:
        file = BytesIO(path.read_bytes()) if isinstance(path, Place) else path
        with Image.open(file, formats=("PNG", "WEBP")) as image:
            if not image.has_transparency_data:
                return None
            image = image.convert("RGBA")
    except Exception:  # Pillow's plugins raise a dozen types; `load_image` has the words for it
        return None
    scale = min(THUMB[0] / image.width, THUMB[1] / image.height, 1.0)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    small = np.asarray(image.resize(size, Image.Resampling.BOX), np.float32)  # weighs colours by alpha
    y, x = np.indices(small.shape[:2]) // _CHECKER_SIDE
    board = np.where((y + x) % 2 == 0, *map(np.float32, _CHECKER))[..., None]
    alpha = small[..., 3:] / 255
    return np.rint(small[..., :3] * alpha + board * (1 - alpha)).astype(np.uint8)


def _fit(image: np.ndarray) -> np.ndarray:
    """The image shrunk to fit a thumb; a new array."""
    height, width = image.shape[:2]
    scale = min(THUMB[0] / width, THUMB[1] / height)
    if scale >= 1:
        return image.copy()
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _caption(draw: ImageDraw.ImageDraw, pair: SheetPair, width: int) -> None:
    """The name's end, then status and score, then the reason."""
    top = THUMB[1] + 3
    _text(draw, (0, top), _shorten(drawable(pair.name), width, keep_end=True), _INK)
    colour = _COLOURS.get(pair.status, _INK)
    status = pair.status if pair.score is None else f"{pair.status} {pair.score:.3f}"
    _text(draw, (0, top + 15), _shorten(drawable(status), width), colour)
    if pair.reason:
        indent = int(text_length(drawable(status), _FONT_SIZE)) + 12
        _paragraph(draw, pair.reason, (indent, top + 15), width - indent, 2, _INK)


def _paragraph(
    draw: ImageDraw.ImageDraw, text: str, corner: tuple[int, int], width: int, lines: int, ink: tuple[int, int, int]
) -> None:
    """Draws text in lines of at most `width` pixels, broken at spaces; the last is shortened."""
    words = drawable(text).split()
    for number in range(lines):
        line = ""
        while words and (not line or text_length(f"{line} {words[0]}", _FONT_SIZE) <= width):
            line = f"{line} {words.pop(0)}".strip()
        if number == lines - 1:
            line = " ".join([line, *words])
        _text(draw, (corner[0], corner[1] + 15 * number), _shorten(line, width), ink)


def _text(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, ink: tuple[int, int, int]) -> None:
    if text:
        draw_text(draw, corner, text, _FONT_SIZE, ink)


def _shorten(text: str, width: int, keep_end: bool = False) -> str:
    """The text cut down to a width in pixels, with an ellipsis; its end stays when that tells more, as in a path."""
    if len(text) < 1000 and text_length(text, _FONT_SIZE) <= width:
        return text
    low, high = 0, min(len(text), 1000)
    while low < high:
        middle = (low + high + 1) // 2
        part = "..." + text[len(text) - middle :] if keep_end else text[:middle] + "..."
        low, high = (middle, high) if text_length(part, _FONT_SIZE) <= width else (low, middle - 1)
    return "..." + text[len(text) - low :] if keep_end else text[:low] + "..."
