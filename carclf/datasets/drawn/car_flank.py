"""The flat painting of a car's flank: body, doors, glass, lamps and wheels, before it is warped into the picture."""

from __future__ import annotations

import cv2
import numpy as np

from carclf.datasets.drawn.canvas import fill, smooth, stroke, tint
from carclf.datasets.drawn.car_shapes import MARGIN, CarShape


def paint_side(
    shape: CarShape, kind: str, paint: np.ndarray, k: float, around: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The flat side, nose left, k pixels per cm, MARGIN cm around it: RGBA uint8; `around` (RGB) is what it mirrors."""
    h, w = int((shape.height + 2 * MARGIN) * k), int((shape.length + 2 * MARGIN) * k)

    def at(points):
        p = np.asarray(points, float).reshape(-1, 2)
        return np.stack([(p[:, 0] + MARGIN) * k, (shape.height + MARGIN - p[:, 1]) * k], 1)

    # Paint reflects ground, horizon and sky: a curve of brightness over the height, bent along the length.
    y, x = np.mgrid[0:h:4, 0:w:4].astype(np.float32) / k
    y, x = shape.height + MARGIN - y, x - MARGIN
    bend = 5 * np.sin(x / shape.length * rng.uniform(2, 5) + rng.uniform(0, 6)) + rng.normal(0, 3)
    b, crease = shape.belt, rng.uniform(0.66, 0.82)
    at_y = [0, 0.25 * b, 0.45 * b, (crease - 0.03) * b, crease * b, (crease + 0.12) * b, b, shape.height]
    contrast = rng.uniform(0.5, 1.15)
    level = 1 + contrast * (np.array([0.45, 0.62, 0.92, 0.74, 1.16, 1.06, 1.22, 1.1]) - 1)
    shade = np.interp(y + bend * np.clip(y / b, 0, 1), at_y, level).astype(np.float32)
    shade *= 1 - 0.16 * np.abs(x / shape.length * 2 - 1) ** 3
    gloss = rng.uniform(10, 46) * np.exp(-(((y - 0.9 * b + bend) / 7) ** 2)) * (0.55 + 0.45 * np.sin(x / 70 + bend))
    shade, gloss = (cv2.resize(a.astype(np.float32), (w, h)) for a in (shade, gloss))
    rgb = np.clip(shade[..., None] * paint.astype(np.float32) + gloss[..., None], 0, 255).astype(np.uint8)
    rgb = cv2.addWeighted(rgb, 1 - (a := rng.uniform(0.02, 0.14)), cv2.resize(around, (w, h)), a, 0)
    alpha = np.zeros((h, w), np.uint8)
    outline = at(smooth(shape.profile))
    fill(alpha, outline, 255)

    dark, seam = (20, 21, 24), tint(paint, 0.42)
    line = max(1.0, 0.9 * k)
    if rng.random() < {"suv": 0.9, "pickup": 0.6}.get(kind, 0):  # plastic cladding
        fill(
            rgb,
            at([(-20, 0), (-20, shape.sill + 13), (shape.length + 20, shape.sill + 13), (shape.length + 20, 0)]),
            (44, 45, 47),
        )
        for ax in shape.axles:
            cv2.circle(
                rgb,
                tuple(int(v) for v in at([(ax, shape.wheel)])[0]),
                int(shape.wheel * 1.36 * k),
                (44, 45, 47),
                -1,
                cv2.LINE_AA,
            )
    else:
        fill(
            rgb,
            at([(-20, 0), (-20, shape.sill + 4), (shape.length + 20, shape.sill + 4), (shape.length + 20, 0)]),
            (32, 33, 35),
        )
    if kind in ("hatchback", "suv") and rng.random() < 0.2:  # two-tone roof
        top = shape.height - 9
        fill(rgb, at([(0, 260), (0, top), (shape.length, top - 6), (shape.length, 260)]), dark)

    # Doors, handles, crease.
    low = shape.sill + 8
    for i, d in enumerate(shape.doors):
        lean = 6 if i == 0 else -4
        stroke(rgb, at([(d, b), (d + lean, low + 16), (d + lean + 4, low)]), seam, line)
    stroke(rgb, at([(shape.doors[0] + 8, low), (shape.doors[-1], low)]), seam, line)
    for d in shape.doors[1:]:
        grip = tint(paint, 1.25, 12) if rng.random() < 0.7 else (180, 182, 186)
        fill(rgb, at([(d - 24, b - 12), (d - 7, b - 11), (d - 7, b - 15), (d - 24, b - 16)]), tint(paint, 0.5))
        fill(rgb, at([(d - 24, b - 10.5), (d - 7, b - 9.5), (d - 7, b - 13), (d - 24, b - 14)]), grip)
    stroke(
        rgb,
        at([(36, crease * b - 6), (shape.length * 0.5, crease * b), (shape.length - 26, crease * b + 3)]),
        tint(paint, 0.66),
        line,
    )
    if kind == "van":
        for rail in (b * 0.98, b * 0.55):
            stroke(rgb, at([(shape.doors[1], rail), (shape.length - 12, rail)]), seam, line * 1.4)
        if rng.random() < 0.5:  # a firm's lettering
            ink = rng.integers(20, 230, 3)
            for i in range(rng.integers(4, 8)):
                fill(rgb, at([(232 + i * 22, 132), (244 + i * 22, 132), (246 + i * 22, 156), (234 + i * 22, 156)]), ink)
    if kind == "pickup":
        stroke(rgb, at([(shape.doors[-1] + 8, low), (shape.doors[-1] + 8, b)]), seam, line * 2)
        stroke(rgb, at([(shape.doors[-1] + 12, b + 1), (shape.length - 4, b + 1)]), dark, line * 3)
    cap = (shape.length * 0.84, b * 0.8)
    stroke(rgb, at([(cap[0] + dx, cap[1] + dy) for dx, dy in ((-7, -7), (7, -7), (7, 7), (-7, 7))]), seam, line, True)

    # Glass: black surround, glass from sky to interior, seats, pillars, reflections.
    panes = [at(smooth(shape.glass, 2, True, 0.14))]
    if kind == "van" and rng.random() < 0.45:
        panes.append(
            at(smooth([(222, 116), (222, 178), (shape.length - 30, 178), (shape.length - 24, 116)], 2, True, 0.1))
        )
    glass = np.array([38, 46, 54]) + rng.integers(-8, 26)
    surround = (200, 203, 206) if rng.random() < 0.25 else (14, 15, 17)
    for pane in panes:
        stroke(rgb, pane, surround, 3.2 * k, True)
        pane_mask = np.zeros((h, w), np.uint8)
        fill(pane_mask, pane, 255)
        x0, y0, pw, ph = cv2.boundingRect(pane.astype(np.int32))
        inner: np.ndarray = np.empty((ph, pw, 3), np.uint8)
        inner[:] = np.clip(glass + np.linspace(48, 0, ph)[:, None, None] * rng.uniform(0.2, 1.6), 0, 255)
        for seat in np.arange(0.16, 0.95, 0.27) * pw + rng.uniform(-0.05, 0.05) * pw:
            cv2.ellipse(
                inner, (int(seat), int(ph * 0.52)), (int(7 * k), int(9 * k)), 8, 0, 360, (20, 22, 25), -1, cv2.LINE_AA
            )
            cv2.ellipse(
                inner, (int(seat + 3 * k), ph), (int(12 * k), int(ph * 0.36)), 0, 0, 360, (24, 26, 30), -1, cv2.LINE_AA
            )
        for p in shape.pillars:
            p0 = (p + MARGIN) * k - x0
            fill(inner, [(p0 - 3 * k, ph), (p0 - k, 0), (p0 + 5 * k, 0), (p0 + 4 * k, ph)], (16, 17, 19))
        inner = cv2.addWeighted(inner, 1 - (a := rng.uniform(0.05, 0.4)), cv2.resize(around, (pw, ph)), a, 0)
        shine = inner.copy()
        for _ in range(rng.integers(1, 4)):
            s, t = rng.uniform(-0.1, 1.0) * pw, rng.uniform(6, 40) * k
            fill(
                shine,
                [(s, 0), (s + t, 0), (s + t - ph * 0.7, ph), (s - ph * 0.7, ph)],
                rng.integers(120, 235, 3).mean(),
            )
            shine[..., 1:] = np.maximum(shine[..., 1:], shine[..., :1])
        inner = cv2.addWeighted(inner, 1 - (a := rng.uniform(0.05, 0.35)), shine, a, 0)
        cv2.copyTo(inner, pane_mask[y0 : y0 + ph, x0 : x0 + pw], rgb[y0 : y0 + ph, x0 : x0 + pw])

    # Lamps wrap round the corners; a roof rail on the tall ones; then the outline and the wheels.
    lamp = [
        (-2, shape.nose - 20),
        (-2, shape.nose - 3),
        (20, shape.nose + 1),
        (38, shape.nose + 1),
        (26, shape.nose - 11),
    ]
    fill(rgb, at(lamp), (206, 212, 218))
    stroke(rgb, at(lamp), (60, 62, 66), line, True)
    back, rise = shape.length, 30 if kind in ("suv", "van", "hatchback") else 14
    fill(
        rgb,
        at(
            [
                (back + 3, shape.tail - 16),
                (back + 3, shape.tail + rise),
                (back - 12, shape.tail + rise),
                (back - 24, shape.tail - 8),
            ]
        ),
        (rng.integers(140, 205), 18, 26),
    )
    if kind == "suv":
        stroke(rgb, at([(190, shape.height - 1), (380, shape.height - 4)]), (150, 152, 156), 3 * k)
    stroke(rgb, outline, tint(paint, 0.6), max(1, 1.2 * k))
    for ax in shape.axles:
        cv2.circle(
            rgb,
            tuple(int(v) for v in at([(ax, shape.wheel + 1)])[0]),
            int(shape.wheel * 1.19 * k),
            (10, 10, 11),
            -1,
            cv2.LINE_AA,
        )
    style, spokes, turn = rng.random(), int(rng.choice([5, 5, 6, 7, 8, 10])), rng.uniform(0, 6.3)
    metal = np.array([196, 199, 203]) * rng.choice([1.0, 0.85, 0.35], p=[0.55, 0.3, 0.15])
    for ax in shape.axles:
        paint_wheel(rgb, alpha, at([(ax, shape.wheel)])[0], shape.wheel * k, metal, spokes, turn, style)
    return np.dstack([rgb, alpha])


def paint_wheel(rgb, alpha, middle, radius: float, metal: np.ndarray, spokes: int, turn: float, style: float) -> None:
    """One wheel seen from the side, in place: tyre, rim, spokes or hub cap; `middle` and `radius` in pixels."""

    def disc(r, color, canvas=rgb):
        q = np.round(np.array([*middle, r]) * 16).astype(int)
        cv2.circle(
            canvas, (int(q[0]), int(q[1])), int(q[2]), tuple(float(c) for c in np.atleast_1d(color)), -1, cv2.LINE_AA, 4
        )

    disc(radius, 255, alpha)
    disc(radius, (26, 26, 28))
    disc(radius * 0.93, (44, 44, 46))
    disc(radius * 0.86, (33, 33, 35))
    rim = radius * (0.72 if style < 0.6 else 0.64)
    disc(rim, tint(metal, 0.9))
    disc(rim * 0.91, (28, 29, 32) if style < 0.8 else tint(metal, 0.8))
    disc(rim * 0.55, (74, 75, 78))
    for i in range(spokes):
        a = turn + 2 * np.pi * i / spokes
        d, n = np.array([np.cos(a), np.sin(a)]), np.array([-np.sin(a), np.cos(a)])
        wide = rim * (2.0 / spokes + 0.02)
        light = 1.0 + 0.16 * float(np.sin(a + 2))
        fill(
            rgb,
            [
                middle + n * wide * 0.6,
                middle + d * rim * 0.93 + n * wide * 0.5,
                middle + d * rim * 0.93 - n * wide * 0.5,
                middle - n * wide * 0.6,
            ],
            tint(metal, light),
        )
    disc(rim * 0.2, tint(metal, 0.8))
    disc(rim * 0.11, (40, 41, 44))
