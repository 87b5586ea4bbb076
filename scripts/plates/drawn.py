"""Number plates of many countries, drawn and set into photos in perspective."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Random = np.random.Generator
_FINER = 4  # a plate is drawn at so many times the photo's resolution, and shrunk


@dataclass(frozen=True)
class _Kind:
    """size: in millimetres. grounds, inks: named below. texts: A is a letter, 0 a digit, / a new line.
    extra: strip (blue, at the left), region (at the right), words (above and below)."""

    share: float
    size: tuple[int, int]
    grounds: str
    texts: tuple[str, ...]
    inks: str = "k"
    extra: str = ""


_EUROPE = ("AA-000-AA", "AA 00 AAA", "AAA 0000", "A AA 0000", "0AA 0000", "AA 000 A", "AAA-000", "0 AAA 000")
_KINDS = (
    _Kind(0.22, (520, 112), "w", _EUROPE, extra="strip"),
    _Kind(0.10, (520, 112), "y", ("AA00 AAA", "00-AAA-0", "AA-00-AA"), extra="strip"),
    _Kind(0.06, (520, 112), "k", ("AAA 000", "00 AA 00", "A 0000"), "w"),
    _Kind(0.22, (305, 152), "wcws", ("0AAA000", "AAA 0000", "AAA-000", "000 AAA", "AA 00000"), "kbrg", "words"),
    _Kind(0.05, (280, 200), "wy", ("AA 00/AAA 0",)),
    _Kind(0.06, (180, 200), "wy", ("AA0/0000",)),
    _Kind(0.05, (330, 165), "wyw", ("AA 000/00-00",)),
    _Kind(0.05, (440, 140), "b", ("AA 00000",), "w"),
    _Kind(0.05, (520, 112), "w", ("A000AA 00",), extra="region"),
    _Kind(0.05, (500, 120), "wy", ("AA 00 AA 0000",)),
    _Kind(0.04, (400, 130), "w", ("AAA 0000",), "r", "words"),
    _Kind(0.05, (520, 112), "rgs", _EUROPE, "w"),
)


def _colour(rng: Random, names: str) -> tuple[int, int, int]:
    low, high = {
        "w": ((215, 215, 200), (256, 256, 250)),
        "y": ((220, 170, 0), (256, 220, 60)),
        "k": ((0, 0, 0), (45, 45, 45)),
        "b": ((0, 40, 120), (60, 90, 220)),
        "r": ((130, 15, 25), (180, 40, 50)),
        "g": ((20, 85, 45), (50, 130, 80)),
        "s": ((90, 90, 95), (190, 195, 200)),
        "c": ((150, 150, 150), (256, 256, 256)),
    }[names[rng.integers(len(names))]]
    red, green, blue = (int(rng.integers(a, b)) for a, b in zip(low, high, strict=True))
    return red, green, blue


def _text(rng: Random, pattern: str) -> str:
    letters = {"A": string.ascii_uppercase, "0": string.digits}
    return "".join(rng.choice(list(letters[one])) if one in letters else one for one in pattern)


@lru_cache
def fonts() -> tuple[Path, ...]:
    """Plain sans-serif fonts: of the system, else matplotlib's own."""
    import matplotlib

    there = sorted(Path("/usr/share/fonts/truetype").rglob("*.ttf"))
    plain = [one for one in there if any(word in one.name for word in ("Sans", "Mono", "Bold", "Narrow"))]
    plain = [one for one in plain if "Light" not in one.name and "Serif" not in one.name]
    own = Path(matplotlib.__file__).parent / "mpl-data" / "fonts" / "ttf"
    return tuple(plain) or tuple(sorted(own.glob("DejaVuSans*.ttf")))


@lru_cache(256)
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size)


def draw_plate(rng: Random) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """A plate as float32 RGB, perhaps dirty and in a holder's frame, and the plate's box (x1, y1, x2, y2) in it."""
    shares = np.array([kind.share for kind in _KINDS])
    kind = _KINDS[rng.choice(len(_KINDS), p=shares / shares.sum())]
    width, height = kind.size
    ground, ink = _colour(rng, kind.grounds), _colour(rng, kind.inks)
    picture = Image.new("RGB", kind.size, ground)
    draw = ImageDraw.Draw(picture)
    font = fonts()[rng.integers(len(fonts()))]
    left, right, top, bottom = 12, width - 12, 8, height - 8
    if kind.extra == "strip" and rng.random() < 0.7:
        draw.rectangle((0, 0, 46, height), fill=(20, 50, 150))
        draw.text((14, height - 44), "DFLIE"[rng.integers(5)], font=_font(font, 30), fill=(255, 255, 255))
        left = 54
    if kind.extra == "region":
        draw.line((width - 120, 0, width - 120, height), fill=ink, width=4)
        right = width - 125
    if kind.extra == "words":
        word = _text(rng, "AAAAAAA"[: rng.integers(5, 8)])
        small = _font(font, int(height * 0.17))
        draw.text((width / 2, 8), word, font=small, fill=_colour(rng, "rbk"), anchor="mt")
        top = int(height * 0.24)
        if rng.random() < 0.5:
            small = _font(font, int(height * 0.11))
            draw.text((width / 2, height - 6), _text(rng, "AAAA AAAA"), font=small, fill=ink, anchor="mb")
            bottom = int(height * 0.84)
    lines = _text(rng, str(rng.choice(kind.texts))).split("/")
    for number, line in enumerate(lines):
        space = (bottom - top) / len(lines)
        letters = _font(font, int(space * rng.uniform(0.85, 1.1)))
        box = letters.getbbox(line)
        layer = Image.new("L", (max(1, int(box[2])), max(1, int(box[3]))), 0)
        ImageDraw.Draw(layer).text((0, 0), line, font=letters, fill=255)
        layer = layer.crop(tuple(int(side) for side in box))
        across = max(4, min(right - left, int(layer.width * rng.uniform(0.8, 1.1))))
        layer = layer.resize((across, max(4, int(space * 0.8))))
        place = int(left + (right - left - across) / 2), int(top + number * space + space * 0.1)
        picture.paste(Image.new("RGB", layer.size, ink), place, layer)
    if rng.random() < 0.6:
        draw.rectangle((1, 1, width - 2, height - 2), outline=ink, width=int(rng.integers(2, 6)))
    plate = np.asarray(picture).astype(np.float32)
    if rng.random() < 0.35:  # dirt and wear
        cloud = cv2.resize(rng.random((5, 9)).astype(np.float32), kind.size, interpolation=cv2.INTER_CUBIC)[..., None]
        dirt = np.array([95, 80, 60], np.float32)
        plate = plate * (1 - cloud * rng.uniform(0.1, 0.6)) + dirt * cloud * rng.uniform(0.1, 0.6)
    if rng.random() > 0.3:
        return plate, (0, 0, width, height)
    rim = int(rng.integers(6, 24))
    framed = np.empty((height + 2 * rim, width + 2 * rim, 3), np.float32)
    framed[:] = (20, 20, 20) if rng.random() < 0.7 else (170, 170, 175)
    framed[rim:-rim, rim:-rim] = plate
    return framed, (rim, rim, width + rim, height + rim)


def turned_rectangle(rng: Random, width: float, aspect: float) -> np.ndarray:
    """Corners (4x2, from the top left clockwise, round 0) of a rectangle that is turned in space; `width` px if not."""
    w, h = width / 2, width / aspect / 2
    corners = np.array([[-w, -h, 0], [w, -h, 0], [w, h, 0], [-w, h, 0]])
    yaw, tilt = np.clip(rng.normal(0, 0.5), -1.15, 1.15), rng.normal(0, 0.15)
    roll = rng.normal(0, 0.05) + 0.25 * yaw * rng.normal(0, 0.6)
    (cy, sy), (ct, st), (cr, sr) = ((np.cos(angle), np.sin(angle)) for angle in (yaw, tilt, roll))
    turn = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]]) @ [[1, 0, 0], [0, ct, -st], [0, st, ct]]
    turned = corners @ (turn @ [[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]).T
    distance = width * rng.uniform(4, 9)
    return turned[:, :2] * (distance / (distance + turned[:, 2:]))


def _over(quad: np.ndarray, aspect: float) -> np.ndarray:
    """A quad somewhat larger than another one, whose shape comes nearer to a plate of that aspect."""
    middle = quad.mean(axis=0)
    along = (quad[1] + quad[2] - quad[0] - quad[3]) / 2
    down = (quad[3] + quad[2] - quad[0] - quad[1]) / 2
    ratio = float(np.clip(aspect * np.hypot(*down) / max(1e-3, np.hypot(*along)), 0.75, 1.35))
    moves = quad - middle
    across = moves @ along / max(1e-3, along @ along)
    wider = moves * (1.06 * max(1.0, 1 / ratio)) + np.outer(across, along) * 1.06 * (
        max(1.0, ratio) - max(1.0, 1 / ratio)
    )
    return middle + wider


def set_plate(
    rng: Random,
    image: np.ndarray,
    centre: tuple[float, float] = (0.0, 0.0),
    width: float = 0.0,
    real: np.ndarray | None = None,
    over: np.ndarray | None = None,
) -> np.ndarray | None:
    """Sets a plate into a float32 RGB photo, in place, in the light of its surroundings. Returns its corners (4x2).

    centre, width: where, in a position of its own; over: or the corners of a plate that is to be hidden by it.
    real: the picture of a plate to be set, in place of a drawn one. None comes back where there is no room for it.
    """
    plate, box = draw_plate(rng) if real is None else (real, (0, 0, real.shape[1], real.shape[0]))
    aspect = (box[2] - box[0]) / (box[3] - box[1])
    if over is None:
        quad = turned_rectangle(rng, width, aspect) + np.array(centre)
    else:
        quad, width = _over(over, aspect), float(np.ptp(over[:, 0]))
    straight = np.array([[box[0], box[1]], [box[2], box[1]], [box[2], box[3]], [box[0], box[3]]], np.float32)
    matrix = cv2.getPerspectiveTransform(straight, quad.astype(np.float32))
    x1, y1 = np.maximum(np.floor(quad.min(axis=0) - width * 0.2 - 3).astype(int), 0)
    x2, y2 = np.minimum(np.ceil(quad.max(axis=0) + width * 0.2 + 4).astype(int), image.shape[1::-1])
    if x2 - x1 < 3 or y2 - y1 < 2 or (x2 - x1) * (y2 - y1) > 250_000:
        return None
    shift = _FINER / 2 - 0.5
    finer = np.array([[_FINER, 0, shift - x1 * _FINER], [0, _FINER, shift - y1 * _FINER], [0, 0, 1]]) @ matrix
    coarser = (box[2] - box[0]) / max(1.0, width * _FINER)
    plate = cv2.GaussianBlur(plate, (0, 0), 0.4 * coarser) if coarser > 1.5 else plate
    large, size = ((x2 - x1) * _FINER, (y2 - y1) * _FINER), (x2 - x1, y2 - y1)
    laid = cv2.warpPerspective(plate, finer, large, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpPerspective(np.ones(plate.shape[:2], np.float32), finer, large)
    laid, alpha = (cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in (laid, alpha))
    around = image[max(0, y1 - 20) : y2 + 20, max(0, x1 - 20) : x2 + 20]
    light = np.clip((np.percentile(around, 80) / 200) ** 0.7 * rng.uniform(0.65, 1.25), 0.15, 1.25)
    slope = np.linspace(rng.uniform(0.75, 1.1), rng.uniform(0.75, 1.1), x2 - x1, dtype=np.float32)[None, :, None]
    if rng.random() < 0.3:  # the bumper's shadow
        shade = np.arange(y2 - y1)[:, None, None] < rng.uniform(0.2, 0.8) * (y2 - y1)
        slope = slope * np.where(shade, rng.uniform(0.4, 0.8), 1)
    laid = (laid * light * slope + rng.uniform(0, 25)).astype(np.float32)
    blur = rng.uniform(0.2, 0.9) + 0.4 * (rng.random() < 0.2)
    laid = cv2.GaussianBlur(laid, (0, 0), blur)
    alpha = cv2.GaussianBlur(alpha, (0, 0), min(blur, 0.6))[..., None]
    place = image[y1:y2, x1:x2]
    place[:] = place * (1 - alpha) + laid * alpha
    return quad


def set_words(rng: Random, image: np.ndarray, plates: Sequence[np.ndarray]) -> None:
    """Writes a word on a float32 RGB photo, in place, clear of the corners (4x2 each) of plates: lettering is none."""
    height, width = image.shape[:2]
    font = _font(fonts()[rng.integers(len(fonts()))], int(np.exp(rng.uniform(np.log(9), np.log(40)))))
    word = _text(rng, str(rng.choice(["AAAAAA", "AAA AAAA", "AAAAA 00", "00/00/0000", "AAAAAAAAAA", "0.0 AAA"])))
    word = word.lower() if rng.random() < 0.4 else word
    _, _, x2, y2 = font.getbbox(word)
    left, top = rng.integers(0, max(1, int(width - x2))), rng.integers(0, max(1, int(height - y2)))
    for plate in plates:
        (a, b), (c, d) = plate.min(axis=0), plate.max(axis=0)
        if left + x2 > a - 4 and left < c + 4 and top + y2 > b - 4 and top < d + 4:
            return
    layer = Image.new("L", (width, height), 0)
    ImageDraw.Draw(layer).text((int(left), int(top)), word, font=font, fill=255)
    alpha = cv2.GaussianBlur(np.asarray(layer).astype(np.float32) / 255, (0, 0), rng.uniform(0.3, 0.9))[..., None]
    ink = np.array(_colour(rng, "wwkkyrbs"), np.float32)
    image[:] = image * (1 - alpha) + ink * alpha
