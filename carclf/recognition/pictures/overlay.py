"""A photo with what was found in it: vehicles tinted, outlined and boxed, with their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw

from carclf.classifier.levels.names import CLASS
from carclf.recognition.prediction import ERROR, NO_CAR, OK, UNKNOWN, UNREADABLE, Prediction
from detection.images.lettering import draw_text, drawable, tell_lacking, text_length

if TYPE_CHECKING:
    from detection.vehicle import Vehicle


# The longer side of an overlay: names must be legible on a thumbnail, and nobody looks at 60 megapixels of them.
SMALLEST_SIDE, LARGEST_SIDE = 640, 1600
COLOURS = {
    OK: (14, 148, 104),
    UNKNOWN: (206, 112, 8),
    NO_CAR: (84, 96, 114),
    ERROR: (190, 40, 48),
    UNREADABLE: (190, 40, 48),
}
_TINT = 0.22
_TEXT, _SMALL_TEXT = (255, 255, 255), (232, 238, 240)
_SHIFT = 4  # OpenCV draws lines at 1/16 of a pixel
_SMOOTH = 4  # corners of labels are drawn this much larger, and shrunk


class Overlay:
    """Takes the vehicles of a photo one after the other, and keeps none of them: a mask is as large as the photo.

    photo: RGB uint8 HxWx3; the overlay has its proportions, and a longer side from 640 to 1600 pixels.
    """

    def __init__(self, photo: np.ndarray):
        height, width = photo.shape[:2]
        self._scale = min(max(1.0, SMALLEST_SIDE / max(height, width)), LARGEST_SIDE / max(height, width))
        self._size = max(1, round(width * self._scale)), max(1, round(height * self._scale))
        way = cv2.INTER_AREA if self._scale < 1 else cv2.INTER_CUBIC
        self._canvas = cv2.resize(photo, self._size, interpolation=way) if self._scale != 1 else photo.copy()
        self._found: list[Prediction] = []

    def add(self, prediction: Prediction, vehicle: Vehicle | None) -> None:
        """vehicle: with its mask in pixels of the photo; None where there is none."""
        self._found.append(prediction)
        if vehicle is not None:
            self._paint(vehicle, COLOURS[prediction.status])

    def finish(self) -> np.ndarray:
        """RGB uint8, with the boxes and labels of all that were added."""
        for one in self._found:
            if one.box is not None:
                self._draw_box(one.box, COLOURS[one.status])
        tell_lacking(label for one in self._found for label, _ in one.top)
        labels = []
        taken: list[tuple[int, int, int, int]] = []
        for one in self._found:  # the main vehicle's label chooses its place first
            label = _draw_label(_texts(one), COLOURS[one.status], self._size, small=(one.vehicle or 1) > 1)
            place = self._place(label.size, one.box, taken)
            taken.append((*place, place[0] + label.width, place[1] + label.height))
            labels.append((label, place))
            if one.box is not None:
                self._lead(taken[-1], self._in_canvas(one.box), COLOURS[one.status])
        image = Image.fromarray(self._canvas)
        for label, place in labels:
            image.paste(label, place, label)
        return np.asarray(image)

    @property
    def _line(self) -> int:
        return max(2, round(max(self._size) / 400))

    def _paint(self, vehicle: Vehicle, colour: tuple[int, int, int]) -> None:
        """Tints the mask and draws its outline."""
        soft = vehicle.mask.astype(np.uint8) * 255 if vehicle.alpha is None else vehicle.alpha
        soft = cv2.resize(soft, self._size, interpolation=cv2.INTER_AREA if self._scale < 1 else cv2.INTER_CUBIC)
        share = soft[..., None].astype(np.float32) * (_TINT / 255)
        mixed = self._canvas * (1 - share) + np.array(colour, np.float32) * share
        self._canvas = np.rint(mixed).astype(np.uint8)
        # The contour of an enlarged mask runs between the pixels, and not along their stairs.
        large = cv2.resize(cv2.GaussianBlur(soft, (0, 0), 1.0), None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
        found, _ = cv2.findContours((large > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        lines = [np.rint((line + 0.5) / 4 * (1 << _SHIFT) - (1 << _SHIFT) / 2).astype(np.int32) for line in found]
        cv2.polylines(self._canvas, lines, True, (255, 255, 255), self._line + 1, cv2.LINE_AA, _SHIFT)
        cv2.polylines(self._canvas, lines, True, colour, self._line, cv2.LINE_AA, _SHIFT)

    def _draw_box(self, box: tuple[float, float, float, float], colour: tuple[int, int, int]) -> None:
        x1, y1, x2, y2 = self._in_canvas(box)
        cv2.rectangle(self._canvas, (x1, y1), (x2, y2), colour, max(1, self._line // 2), cv2.LINE_AA)

    def _in_canvas(self, box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
        """A box of the photo in whole pixels of the canvas, the last ones included."""
        width, height = self._size
        x1, y1, x2, y2 = (value * self._scale for value in box)
        left, top = (max(0, min(round(value), side - 1)) for value, side in ((x1, width), (y1, height)))
        right, bottom = (max(0, min(round(value) - 1, side - 1)) for value, side in ((x2, width), (y2, height)))
        return left, top, right, bottom

    def _place(
        self, size: tuple[int, int], box: tuple[float, float, float, float] | None, taken: list[tuple]
    ) -> tuple[int, int]:
        """Left and top of a label, inside the picture: above the box, below it, or in it; where none lies if it can."""
        width, height = self._size
        margin = 2 * self._line
        if box is None:
            left, tops = margin, [margin]
        else:
            left, top, _, bottom = self._in_canvas(box)
            tops = [top - size[1], bottom + 1, top + margin, bottom - size[1] - margin]
        left = max(0, min(left, width - size[0]))
        inside = [top for top in tops if 0 <= top <= height - size[1]] or [max(0, min(tops[-1], height - size[1]))]
        further = sorted(range(0, height - size[1] + 1, size[1]), key=lambda top: abs(top - inside[0]))
        free = (top for top in (*inside, *further) if not any(_meet((left, top), size, other) for other in taken))
        return left, next(free, inside[0])

    def _lead(self, label: tuple, box: tuple, colour: tuple[int, int, int]) -> None:
        """A line from a label to its vehicle, where others keep them apart."""
        left, top, right, bottom = label
        if bottom < box[1] - 1 or top > box[3] + 1:
            near = (bottom, box[1]) if bottom < box[1] else (top, box[3])
            across = min(max((left + right) // 2, box[0]), box[2])
            start, end = (min(max(across, left), right), near[0]), (across, near[1])
            cv2.line(self._canvas, start, end, colour, self._line, cv2.LINE_AA)


def _meet(place: tuple[int, int], size: tuple[int, int], other: tuple[int, int, int, int]) -> bool:
    (left, top), (width, height) = place, size
    return left < other[2] and other[0] < left + width and top < other[3] and other[1] < top + height


def _texts(one: Prediction) -> list[tuple[str, str]]:
    """The label's lines, the first one to be large: text, which may be cut, and a figure, which may not."""
    rank = "" if one.vehicle is None else f"{one.vehicle}  "
    single = (one.vehicle or 1) > 1  # of the others their names must do, or a street is nothing but labels
    guesses = [(label, f"  {probability:.0%}") for label, probability in one.top]
    if one.status == OK:
        figure = f"  {one.confidence or 0:.0%}"
        others = [] if one.vehicle is not None else guesses[1:3] if one.level in (None, CLASS) else guesses[:2]
        paint = f", {one.colour}" if one.colour else ""  # at the end: where there is no room, it is cut first
        return [(f"{rank}{one.label or ''}{paint}", figure), *others]
    if one.status == UNKNOWN:
        label, figure = guesses[0]
        return [(f"{rank}unknown", ""), *([] if single else [(f"at best {label}", figure)])]
    if one.status == NO_CAR:
        return [("no car found", "")]
    return [(f"{rank}{one.status}", ""), *([] if single or not one.reason else [(one.reason, "")])]


def _draw_label(
    texts: list[tuple[str, str]], colour: tuple[int, int, int], canvas: tuple[int, int], small: bool
) -> Image.Image:
    """RGBA, no wider than the canvas (width, height)."""
    large = max(15, round(max(canvas) * 0.0235))
    large = round(large * 0.78) if small else large
    padding = max(4, large // 3)
    room = max(1, canvas[0] - 2 * padding)
    sizes = [large, *[round(large * 0.78)] * (len(texts) - 1)]
    fitted = [_fit(*parts, size, size == large, room) for parts, size in zip(texts, sizes, strict=True)]
    lengths = [text_length(text, size, bold) for text, size, bold in fitted]
    width = min(canvas[0], round(max(lengths)) + 2 * padding)
    heights = [round(size * 1.3) for _, size, _ in fitted]
    height = sum(heights) + padding
    shape = Image.new("L", (width * _SMOOTH, height * _SMOOTH), 0)
    corner = (width * _SMOOTH - 1, height * _SMOOTH - 1)
    ImageDraw.Draw(shape).rounded_rectangle((0, 0, *corner), radius=padding * _SMOOTH // 2, fill=235)
    label = Image.new("RGBA", (width, height), (*colour, 0))
    label.putalpha(shape.resize((width, height), Image.Resampling.BOX))
    pen = ImageDraw.Draw(label)
    top = padding / 2
    for number, ((text, size, bold), tall) in enumerate(zip(fitted, heights, strict=True)):
        fill = _TEXT if number == 0 else _SMALL_TEXT
        draw_text(pen, (padding, top + tall / 2), text, size, (*fill, 255), bold, centred=True)
        top += tall
    return label


def _fit(text: str, figure: str, size: int, bold: bool, room: int) -> tuple[str, int, bool]:
    """Text, size and bold: a line that is too wide is written smaller, and what then is too much of it is cut off."""
    text = drawable(text)
    wide = text_length(text + figure, size, bold)
    if wide > room:
        size = max(11, int(size * room / wide))
    kept = len(text)
    while kept and text_length(text + figure, size, bold) > room:
        kept -= 1
        text = f"{text[:kept].rstrip()}…"
    return text + figure, size, bold
