"""One photo set in the studio: cut out, framed, on its floor, with shadow and reflection."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from detection.cutout.cut import CutoutStyle
from detection.cutout.extract import extract
from detection.images.exposure import expose
from detection.publishing.studio.backdrop import backdrop
from detection.publishing.studio.framing import Frame, cut_sides, framed
from detection.publishing.studio.glass import Glass, find_glass, through_glass
from detection.publishing.studio.ground import ground_of
from detection.publishing.studio.shadow import mirrored, shadow_of
from detection.publishing.studio.style import StudioStyle
from detection.publishing.studio.tone import Tone, even_tone, toned
from detection.vehicle import Vehicle, turned_array

_CUT = CutoutStyle(background="transparent", padding=0.02)


@dataclass(frozen=True, eq=False)
class Composition:
    """image: RGB uint8 HxWx3. vehicle: as it was cut, in pixels of the photo. frame, tone, glass: what was done."""

    image: np.ndarray
    vehicle: Vehicle
    frame: Frame
    tone: Tone
    glass: Glass | None

    def cells(self) -> tuple[str, ...]:
        """The cells of a manifest that follow its usual ones, as text: see `STUDIO_COLUMNS`."""
        tone = " ".join(f"{value:.3f}" for value in (*self.tone.colour, self.tone.light))
        glass = "" if self.glass is None else f"{self.glass.share:.4f}"
        return self.frame.view, " ".join(self.frame.cut), f"{self.frame.scale:.4f}", tone, glass

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the picture, a sentence without a full stop each."""
        notes = []
        if self.frame.cut:
            sides = " and ".join(self.frame.cut)
            notes.append(f"the photo cuts the car off at the {sides}: it stays at the picture's border there")
        if self.frame.limited > 1:
            width, height = self.frame.size
            notes.append(
                f"the picture is {width} x {height}: for the size asked the car would be enlarged "
                f"{self.frame.limited * self.frame.scale:.1f} times"
            )
        return tuple(notes)


def set_in_studio(image: np.ndarray, vehicle: Vehicle, style: StudioStyle | None = None) -> np.ndarray:
    """A photo's car before a backdrop: RGB uint8 HxWx3 of the style's size, or smaller where the car is too small.

    image: RGB uint8 HxWx3, the photo at full size. vehicle: as a detector found it in the photo or a smaller copy.
    Raises ValueError for an empty mask, `UsageError` for a backdrop that can't be used.
    """
    return compose(image, vehicle, style or StudioStyle()).image


def compose(image: np.ndarray, vehicle: Vehicle, style: StudioStyle, bright: np.ndarray | None = None) -> Composition:
    """The same, and what was done. bright: the photo as `expose` gives it, in which the edge is looked for."""
    bright = expose(image) if bright is None else bright
    cut, whole = extract(image, vehicle, _CUT, bright, style.edge)
    upright = turned_array(whole.mask, whole.turned)
    tone = even_tone(image, whole.mask) if style.even else Tone()
    if style.even:
        cut = np.dstack([toned(cut[..., :3], tone), cut[..., 3]])
    # A speck is nowhere quite opaque.
    mask = cut[..., 3] >= min(128, max(1, int(cut[..., 3].max())))
    frame = framed(mask, cut_sides(upright), style.size, style.max_upscale)
    behind = backdrop(style.backdrop, frame.size, frame.floor, style.digest, style.horizon).astype(np.float32)
    glass = find_glass(cut[..., :3], mask) if style.glass else None
    if glass is not None:
        above = behind[: max(1, round(frame.floor))]
        cut = np.dstack([through_glass(cut[..., :3], glass, above.mean(axis=(0, 1))), cut[..., 3]])
    layer = _placed(cut, frame)
    ground = None if "bottom" in frame.cut else ground_of(layer[..., 3] >= 127.5)
    if ground is not None:
        behind *= 1 - shadow_of(ground, frame.size, style.light)[..., None]
        if style.reflection:
            image_below = mirrored(layer, ground) * style.reflection
            behind *= 1 - image_below[..., 3:] / 255
            behind += image_below[..., :3]
    picture = layer[..., :3] + behind * (1 - layer[..., 3:] / 255)
    return Composition(np.clip(np.rint(picture), 0, 255).astype(np.uint8), whole, frame, tone, glass)


def _placed(cut: np.ndarray, frame: Frame) -> np.ndarray:
    """A cut-out (RGBA uint8) in the picture: float32 HxWx4, colours multiplied by alpha."""
    width, height = frame.size
    alpha = cut[..., 3:].astype(np.float32)
    layer = np.dstack([cut[..., :3] * (alpha / 255), alpha])
    scale = frame.scale
    if scale < 1:  # averaged first: a warp alone looks at four pixels
        size = max(1, round(layer.shape[1] * scale)), max(1, round(layer.shape[0] * scale))
        layer = cv2.resize(layer, size, interpolation=cv2.INTER_AREA)
        ratios = size[0] / cut.shape[1], size[1] / cut.shape[0]
        steps = scale / ratios[0], scale / ratios[1]
    else:
        steps = scale, scale
    # Pixel centres, not corners, are what a warp maps.
    matrix = np.array(
        [
            [steps[0], 0, frame.left + steps[0] / 2 - 0.5],
            [0, steps[1], frame.top + steps[1] / 2 - 0.5],
        ]
    )
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    placed = cv2.warpAffine(layer, matrix, (width, height), flags=how)
    placed[..., 3] = np.clip(placed[..., 3], 0, 255)
    placed[..., :3] = np.clip(placed[..., :3], 0, placed[..., 3:])
    return placed
