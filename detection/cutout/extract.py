"""From a photo and a vehicle found in it to its cut-out: the one composition that folders and prediction share."""

from __future__ import annotations

import cv2
import numpy as np

from detection.cutout.cut import CutoutStyle, cut_out
from detection.cutout.edge import Edge, finish_vehicle
from detection.images.exposure import expose
from detection.images.read import shrink
from detection.vehicle import Vehicle, resize_vehicle, turned_array

# Detectors look at some hundred pixels per side. Beyond this a photo would only cost time and memory: at 60 megapixels
# every vehicle's mask is 60 MB. The chosen mask is enlarged, and the cut is made in the photo itself.
DETECT_SIDE = 1600


def detector_view(image: np.ndarray) -> np.ndarray:
    """The RGB uint8 HxWx3 photo as a detector is shown it: at most `DETECT_SIDE` pixels per side; of a dark photo a
    copy as bright as the photos that the models were trained on."""
    return expose(shrink(image, DETECT_SIDE))


def extract(
    image: np.ndarray,
    vehicle: Vehicle,
    style: CutoutStyle,
    bright: np.ndarray | None = None,
    edge: Edge = "guided",
) -> tuple[np.ndarray, Vehicle]:
    """The cut-out of a vehicle and the vehicle as it was cut: in pixels of the photo, its edge fitted to the picture.

    image: RGB uint8 HxWx3, the photo at full size. vehicle: as found in `detector_view(image)`. bright: the photo as
    `expose` gives it, in which the edge is looked for; None for the photo itself. edge: see `finish_vehicle`.
    Returns RGB or RGBA uint8 (see `cut_out`); of a photo on its side (`Vehicle.turned`) the cut-out stands upright, the
    vehicle is that of the photo as it is. Raises ValueError for an empty mask.
    """
    vehicle = finish_vehicle(image if bright is None else bright, resize_vehicle(vehicle, image.shape[:2]), edge)
    return cut_upright(image, vehicle, style), vehicle


def cut_upright(image: np.ndarray, vehicle: Vehicle, style: CutoutStyle) -> np.ndarray:
    """The cut-out of a vehicle as `extract` has finished it, perhaps from a changed copy of its photo."""
    return turned_array(cut_out(image, vehicle, style), vehicle.turned)


def shrink_crop(crop: np.ndarray, max_side: int) -> np.ndarray:
    """A cut-out (RGB or RGBA uint8) with its longer side at most `max_side` pixels.

    Colours are averaged by their opacity: what lies below full transparency must not come up at the edge.
    """
    if crop.shape[2] == 3 or max(crop.shape[:2]) <= max_side:
        return shrink(crop, max_side)
    opacity = crop[..., 3].astype(np.float32)
    weighed = shrink(np.dstack([crop[..., :3] * opacity[..., None], opacity]), max_side)
    alpha = weighed[..., 3:]
    colours = np.divide(weighed[..., :3], alpha, out=np.full_like(weighed[..., :3], 255), where=alpha > 0)
    alpha = np.rint(alpha)
    colours = np.where(alpha == 0, 255, np.rint(colours))
    return cv2.merge([*cv2.split(colours.astype(np.uint8)), alpha[..., 0].astype(np.uint8)])
