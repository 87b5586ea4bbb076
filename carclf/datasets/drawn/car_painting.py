"""The painter: puts one car, seen through a `Camera`, on an RGB canvas and its pixels on a mask.

The side is painted flat and then warped onto the curved flank; roof, bonnet and the visible end are shaded strips.
"""

from __future__ import annotations

import cv2
import numpy as np

from carclf.datasets.drawn.canvas import fill, smooth, tint
from carclf.datasets.drawn.car_flank import paint_side
from carclf.datasets.drawn.car_shapes import MARGIN, Camera, CarShape, inset

PAINTS = (
    (236, 236, 232), (190, 194, 198), (112, 117, 122), (30, 32, 36), (28, 58, 128), (168, 22, 28), (60, 110, 170),
    (222, 178, 24), (34, 84, 52), (205, 92, 22), (188, 172, 140), (92, 62, 46), (120, 20, 60), (90, 170, 176),
)  # fmt: skip
PAINT_SHARES = [0.12] * 4 + [0.052] * 10  # most cars are white, silver, grey or black


def paint_car(canvas: np.ndarray, mask: np.ndarray, kind: str, camera: Camera, rng: np.random.Generator) -> None:
    """Paint the car on canvas (RGB uint8 HxWx3) and its pixels as 255 on mask (uint8 HxW), both in place."""
    shape = camera.shape
    paint = np.clip(
        np.array(PAINTS[rng.choice(len(PAINTS), p=PAINT_SHARES)]) * rng.uniform(0.85, 1.1) + rng.normal(0, 8, 3), 8, 248
    )
    line = smooth(shape.profile)
    around = cv2.resize(canvas, (96, 72), interpolation=cv2.INTER_AREA)

    def put(points3, color):
        fill(canvas, p := camera.project(points3), color)
        fill(mask, p, 255)

    def ring(x, y, z, r):
        a = np.linspace(0, 2 * np.pi, 33)[:-1]
        return np.stack([x + r * np.cos(a), y + r * np.sin(a), np.full(32, z)], 1)

    for ax in shape.axles:  # the far wheels, and the tread of the near ones
        for z in (shape.width, shape.width - 20, 22.0, 12.0):
            put(ring(ax, shape.wheel, z, shape.wheel * 0.98), (19, 19, 21))
    under, middle = (shape.axles[0], shape.axles[1]), shape.width / 2
    put([(under[0], 18, middle), (under[0], 40, middle), (under[1], 40, middle), (under[1], 18, middle)], (12, 12, 13))

    # Strips across the width, farthest first; the nearer ones cover what is behind them.
    near = np.column_stack([line, inset(shape, line[:, 0], line[:, 1])])
    far = near * [1, 1, -1] + [0, 0, shape.width]
    strips = np.stack([near[:-1], near[1:], far[1:], far[:-1]], 1)
    mirror(put, shape, shape.width + 4, tint(paint, 0.6))
    order = np.argsort(-(strips[..., 0].mean(1) - shape.length / 2) * np.sin(camera.yaw))
    light = rng.uniform(0.9, 1.2)
    for i in order:
        dx, dy = line[i + 1] - line[i]
        up = dx / (np.hypot(dx, dy) + 1e-6)  # 1 for a roof, 0 for a wall
        low = np.clip((line[i, 1] - shape.sill) / shape.belt, 0, 1)
        color = tint(paint, light * (0.62 + 0.24 * low + 0.36 * max(up, 0)), 16 * max(up, 0) ** 4)
        put(strips[i], color if line[i, 1] > shape.sill + 3 else (30, 31, 33))
    ends(put, shape, kind, camera, line, paint, rng)

    # The flank: painted flat, then looked up through the camera on a coarse grid that is smooth enough to stretch.
    box = camera.project(
        np.array([(x, y, z) for x in (-MARGIN, shape.length + MARGIN) for y in (0, shape.height + 6) for z in (0, 50)])
    )
    hh, ww = canvas.shape[:2]
    x0, y0 = np.maximum(np.floor(box.min(0)).astype(int) - 4, 0)
    x1, y1 = np.minimum(np.ceil(box.max(0)).astype(int) + 4, (ww, hh))
    if x1 - x0 < 8 or y1 - y0 < 8:
        return
    k = float(np.clip(camera.focal / camera.distance * 1.1, 0.5, 2.4))
    flat = paint_side(shape, kind, paint, k, around, rng)
    nu, nv = (x1 - x0) // 6 + 2, (y1 - y0) // 6 + 2
    u, v = np.meshgrid(np.linspace(x0, x1 - 1, nu), np.linspace(y0, y1 - 1, nv))
    x, y = camera.flank(u, v)
    maps = np.stack([(x + MARGIN) * k, (shape.height + MARGIN - y) * k], -1).astype(np.float32)
    maps = stretch(maps, x1 - x0, y1 - y0)
    side = cv2.remap(
        flat,
        maps,
        None,  # type: ignore[call-overload]  # missing in OpenCV's stubs: both maps may be one array
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0, 0, 0, 0),
    )
    # The canvas is supersampled, so a hard edge here becomes a soft one in the picture.
    _, cover = cv2.threshold(np.ascontiguousarray(side[..., 3]), 127, 255, cv2.THRESH_BINARY)
    cv2.copyTo(cv2.cvtColor(side, cv2.COLOR_RGBA2RGB), cover, canvas[y0:y1, x0:x1])
    np.maximum(mask[y0:y1, x0:x1], cover, out=mask[y0:y1, x0:x1])
    mirror(put, shape, -10, tint(paint, 0.95))
    mirror(put, shape, -11, (150, 156, 162) if camera.yaw < -0.1 else tint(paint, 0.6), 0.6)


def stretch(grid: np.ndarray, width: int, height: int) -> np.ndarray:
    """Bilinear resize whose first and last samples stay on the borders: float32 [h, w, 2] -> [height, width, 2]."""
    v, u = np.linspace(0, grid.shape[0] - 1, height), np.linspace(0, grid.shape[1] - 1, width)
    maps = np.meshgrid(u.astype(np.float32), v.astype(np.float32))
    return cv2.remap(grid, *maps, cv2.INTER_LINEAR)


def mirror(put, shape: CarShape, z: float, color, size: float = 1.0) -> None:
    """A door mirror at the foot of the windscreen, z cm across."""
    x, y = shape.screens[0][0] + 0.42 * (shape.screens[0][1] - shape.screens[0][0]), shape.belt + 7
    a = np.linspace(0, 2 * np.pi, 17)[:-1]
    put(np.stack([x + 11 * size * np.cos(a), y + 8 * size * np.sin(a), z + 5 * np.cos(a)], 1), color)


def ends(put, shape: CarShape, kind: str, camera: Camera, line: np.ndarray, paint, rng: np.random.Generator) -> None:
    """Windscreen and rear window, and on the end that faces the camera lamps, grille, bumper and number plate."""

    def across(points):
        """(x, y, side -1 near .. 1 far) -> car coordinates on the swept surface."""
        p = np.asarray(points, float)
        half = shape.width / 2 - inset(shape, p[:, 0], p[:, 1])
        return np.column_stack([p[:, 0], p[:, 1], shape.width / 2 + p[:, 2] * half])

    def band(points, low, high, color):
        """A quadrilateral from points[0] to points[1] (x, y), between two pairs of sides."""
        (x0, y0), (x1, y1) = points
        put(across([(x0, y0, low[0]), (x1, y1, high[0]), (x1, y1, high[1]), (x0, y0, low[1])]), color)

    front, eye = camera.yaw > 0, camera.place()
    sky = rng.uniform(40, 110)
    for i, (x0, x1) in enumerate(shape.screens):
        run = line[(line[:, 0] > x0) & (line[:, 0] < x1) & (line[:, 1] > shape.belt)]
        if kind == "van" and i == 1:
            run = np.array([(shape.length - 13, shape.height - 26), (shape.length - 6, shape.belt + 6)])
        if len(run) < 2:
            continue
        a, b = run[0], run[-1]
        if np.dot(eye[:2] - a, (a[1] - b[1], b[0] - a[0])) <= 0:  # it faces away
            continue
        put(across([(x, y, -0.93) for x, y in run] + [(x, y, 0.93) for x, y in run[::-1]]), (sky * 0.8, sky * 0.9, sky))
        band((a, b), (-0.5, 0.1), (-0.1, 0.3), (sky + 30, sky + 38, sky + 44))
        foot, step = (a, b - a) if i == 0 else (b, a - b)
        band((foot + step * 0.03, foot + step * 0.14), (-0.92, 0.92), (-0.92, 0.92), (20, 21, 23))
    if kind == "pickup":
        y = shape.belt + 2
        band(((shape.screens[1][1] + 10, y), (shape.length - 10, y)), (-0.9, 0.9), (-0.9, 0.9), (34, 35, 37))
    if abs(np.sin(camera.yaw)) < 0.06:
        return
    walk, rise = (line, shape.nose) if front else (line[::-1], shape.tail + 20)
    part = walk[: int(np.argmax(walk[:, 1] > rise))]

    def patch(w0, w1, low, high, color, slant=0.0):
        ys = np.linspace(low, high, 4)
        xs = np.interp(ys, part[:, 1], part[:, 0])
        ws = np.linspace(0, slant, 4)
        put(across([*zip(xs, ys, w0 + ws, strict=True), *zip(xs[::-1], ys[::-1], (w1 - ws)[::-1], strict=True)]), color)

    s, top = shape.sill, shape.nose if front else shape.tail
    patch(-0.98, 0.98, part[0, 1], s + 5, (30, 31, 33))
    if front:
        chrome = rng.random() < 0.4
        patch(-0.72, 0.72, s + 7, s + 0.28 * (top - s), (24, 25, 27), 0.08)
        grille = (-0.5, 0.5, s + 0.42 * (top - s), top - 3)
        patch(*grille, (190, 192, 195) if chrome else (36, 37, 40), -0.05)
        patch(-0.46, 0.46, grille[2] + 2, grille[3] - 2, (18, 19, 21), -0.05)
        for y in np.linspace(grille[2] + 5, grille[3] - 4, int(rng.integers(2, 6))):
            patch(-0.44, 0.44, y, y + 1.2, (120, 122, 126) if chrome else (62, 64, 68))
        patch(-0.07, 0.07, top - 14, top - 6, (205, 208, 212))
        for w in (-0.98, 0.56):
            patch(w, w + 0.42, top - 18, top - 3, (60, 63, 68))
            patch(w + 0.04, w + 0.38, top - 16, top - 5, (222, 227, 232))
            patch(w + 0.14, w + 0.26, top - 14, top - 7, (255, 255, 250))
    else:
        patch(-0.8, 0.8, s + 0.5 * (top - s), top + 2, tint(paint, 0.72))
        patch(-0.78, 0.78, s + 0.52 * (top - s), top, tint(paint, 0.86))
        for w in (-0.98, 0.68):
            patch(w, w + 0.3, top - 16, top + (16 if kind in ("suv", "van", "hatchback") else 4), (178, 18, 26))
            patch(w + 0.06, w + 0.24, top - 12, top - 5, (240, 190, 150))
    y = s + 0.22 * (top - s) if front else s + 0.6 * (top - s)
    patch(-0.27, 0.27, y, y + 11, (236, 236, 230) if rng.random() < 0.7 else (235, 200, 60))
    for w in np.linspace(-0.2, 0.16, 6):
        patch(w, w + 0.045, y + 3, y + 8, (40, 42, 50))
