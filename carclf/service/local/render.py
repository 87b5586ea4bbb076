"""What the recognizer found, as the service says it: plain numbers, outlines, and pictures small enough for a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from carclf.recognition.prediction import COLOUR_COLUMNS, ERROR, LEVEL_COLUMNS
from carclf.service.contract import Answer, Guess, Hidden

if TYPE_CHECKING:
    from carclf.recognition.prediction import Recognition
    from detection.publishing.hiding.faces import Face
    from detection.publishing.hiding.plates import Plate


CUTOUT_SIDE = 480
# An outline may leave the mask's edge by this part of the photo's longer side, which is a pixel or two on a page, and
# by the steps of the mask's own pixels.
_TOLERANCE = 0.002
_STEPS = 1.0
_SPECK = 0.02  # of the largest part: less is no part of the car that anyone would see


def to_answer(recognition: Recognition, name: str, size: tuple[int, int], pictures: bool = False) -> Answer:
    """The answer for a photo.

    name: how the client called it. size: width and height of the photo that was sent, EXIF turned; what was recognized
    may be a smaller copy of it, and is scaled up. pictures: with outline and cut-out, where `recognition` has them.
    """
    prediction, private = recognition.prediction, recognition.prediction.private
    photo, seen = recognition.photo, recognition.size
    seen = seen if photo is None else photo.shape[:2]
    across, down = (1.0, 1.0) if seen is None else (size[0] / seen[1], size[1] / seen[0])
    vehicle = recognition.vehicle if pictures else None
    return Answer(
        file=name,
        status=prediction.status,
        label=prediction.label,
        confidence=prediction.confidence,
        top=[Guess(label=label, probability=probability) for label, probability in prediction.top],
        box=None if prediction.box is None else _scaled(prediction.box, across, down),
        reason=public_reason(prediction.status, prediction.reason),
        width=size[0],
        height=size[1],
        outline=None if vehicle is None else outline(vehicle.mask, across, down),
        cutout=data_uri(recognition.cutout) if pictures and recognition.cutout is not None else None,
        said=None if prediction.label is None else prediction.said,
        hidden=None if private is None else [_hidden(one, across, down) for one in private.hidden],
        nearly_hidden=None if private is None else [_hidden(one, across, down) for one in private.near],
        **{name: getattr(prediction, name) for name in (*LEVEL_COLUMNS, *COLOUR_COLUMNS)},
    )


def public_reason(status: str, reason: str) -> str:
    """The reason without what an exception says: that may name files of this machine, and is for the log.

    >>> public_reason("error", "the detector failed: OSError: /srv/weights")
    'the detector failed'
    """
    return reason.split(":")[0] if status == ERROR else reason


def outline(mask: np.ndarray, across: float = 1.0, down: float = 1.0) -> list[list[tuple[float, float]]]:
    """Polygons [x, y] round the parts of a bool HxW mask, the largest first; coordinates are multiplied by the factors.

    >>> mask = np.zeros((40, 40), bool); mask[10:20, 5:30] = True
    >>> outline(mask)
    [[(5.0, 10.0), (5.0, 20.0), (30.0, 20.0), (30.0, 10.0)]]
    """
    # Contours run through the centres of a shape's own pixels; on a padded grid of twice the size, halved, they run
    # along its edge.
    large = np.repeat(np.repeat(mask.astype(np.uint8), 2, axis=0), 2, axis=1)
    contours, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return []
    areas = [cv2.contourArea(contour) for contour in contours]
    tolerance = 2 * max(_STEPS, _TOLERANCE * max(mask.shape))
    polygons = []
    for index in sorted(range(len(contours)), key=lambda one: -areas[one]):
        if areas[index] < _SPECK * max(areas):
            break
        points = cv2.approxPolyDP(contours[index], tolerance, closed=True)[:, 0]
        if len(points) > 2:
            points = (points + (points % 2)) / 2  # odd: the far edge of a pixel
            polygons.append([(round(x * across, 1), round(y * down, 1)) for x, y in points.tolist()])
    return polygons


def data_uri(image: np.ndarray, side: int = CUTOUT_SIDE) -> str:
    """A JPEG of RGB uint8 HxWx3, its longer side at most `side`, as an address that a page can show."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale < 1:
        smaller = max(1, round(width * scale)), max(1, round(height * scale))
        image = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _hidden(one: Plate | Face, across: float, down: float) -> Hidden:
    corners = [(round(float(x) * across, 1), round(float(y) * down, 1)) for x, y in one.corners]
    return Hidden(kind=one.kind, corners=corners, score=round(one.score, 3))


def _scaled(box: Sequence[float], across: float, down: float) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (round(float(value) * factor, 1) for value, factor in zip(box, (across, down) * 2, strict=True))
    return x1, y1, x2, y2
