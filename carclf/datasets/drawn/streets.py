"""Drawn streets without cars: sky, houses, trees, pavement, road and clutter on an RGB uint8 canvas.

Everything stands on one ground plane: `horizon` is the row (pixels) of the eye's height and `eye` that height in cm,
so a row below the horizon fixes the scale there.
"""

from __future__ import annotations

import cv2
import numpy as np

from carclf.datasets.drawn.canvas import blend, cloudy, fill, grain, stroke, tint, weather
from carclf.datasets.drawn.houses import hall, houses
from carclf.datasets.drawn.things import fence, hedge, post, tree


def scale_at(row: float, horizon: float, eye: float) -> float:
    """Pixels per cm of things standing on the ground at this row."""
    return max((row - horizon) / eye, 0.05)


def draw_street(
    rng: np.random.Generator, height: int, width: int, horizon: float, kerb: float, eye: float
) -> np.ndarray:
    """A street seen from the side; `kerb` is the row where the road begins. RGB uint8 [height, width, 3]."""
    canvas = np.empty((height, width, 3), np.uint8)
    sky(canvas, rng, horizon)
    foot = horizon + (kerb - horizon) * rng.uniform(0.55, 0.9)  # where the houses stand
    setting = rng.choice(["houses", "town", "park", "hall", "wall"], p=[0.28, 0.3, 0.2, 0.12, 0.1])
    far = rng.uniform(90, 190) + rng.normal(0, 8, 3)
    xs = np.linspace(0, width, 24)
    fill(canvas, [(0, foot), *zip(xs, horizon - rng.uniform(0, 60, 24), strict=True), (width, foot)], far)
    if setting == "park":
        green = np.array([rng.uniform(70, 120), rng.uniform(105, 150), rng.uniform(40, 70)])
        fill(canvas, [(0, horizon), (width, horizon), (width, foot + 2), (0, foot + 2)], green)
        for _ in range(rng.integers(5, 10)):
            row = horizon + (foot - horizon) * rng.uniform(0.4, 1)
            tree(canvas, rng, rng.uniform(0, width), row, rng.uniform(350, 1100) * scale_at(row, horizon, eye))
        if rng.random() < 0.6:
            hedge(canvas, rng, foot, rng.uniform(60, 170) * scale_at(foot, horizon, eye))
    elif setting in ("houses", "town"):
        houses(canvas, rng, foot, scale_at(foot, horizon, eye), setting == "town")
    else:
        hall(canvas, rng, foot, scale_at(foot, horizon, eye), setting == "hall")
    pavement(canvas, rng, foot, kerb, horizon)
    furniture(canvas, rng, foot, kerb, horizon, eye)
    road(canvas, rng, kerb, horizon)
    weather(canvas, rng, rng.uniform(0.1, 0.5), horizon)
    return canvas


def sky(canvas: np.ndarray, rng: np.random.Generator, horizon: float) -> None:
    """Gradient sky with clouds down to the horizon."""
    h, w = canvas.shape[:2]
    tops = ((92, 142, 208), (150, 168, 188), (206, 212, 218), (120, 110, 150), (70, 110, 180))
    lows = ((206, 222, 236), (214, 218, 222), (232, 232, 230), (240, 190, 150), (240, 226, 200))
    i = rng.integers(len(tops))
    n = int(np.clip(horizon, 8, h))
    rows = n // 4 + 1  # clouds are soft: a quarter of the size is enough
    t = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None]
    small = np.repeat(np.array(tops[i]) * (1 - t) + np.array(lows[i]) * t, w // 4, 1).astype(np.uint8)
    cloud = cloudy(rng, rows, w // 4, 5) * 0.6 + cloudy(rng, rows, w // 4, 16) * 0.4
    blend(small, (242, 243, 246), np.clip((cloud - rng.uniform(0.4, 0.7)) * 3, 0, 0.85))
    canvas[:n] = cv2.resize(small, (w, n))
    canvas[n:] = lows[i]


def pavement(canvas: np.ndarray, rng: np.random.Generator, foot: float, kerb: float, horizon: float) -> None:
    """Paving slabs from the houses to the kerb, and the kerb stone."""
    w, color = canvas.shape[1], rng.uniform(120, 195) + rng.normal(0, 5, 3)
    area = canvas[int(foot) : int(kerb) + 1]
    area[:] = color.astype(np.uint8)
    if rng.random() < 0.25:  # a grass verge instead
        area[:] = (rng.uniform(85, 120), rng.uniform(115, 145), rng.uniform(55, 75))
    else:
        vx = rng.uniform(0, w)
        for x in np.linspace(-2 * w, 3 * w, 60):
            a = (foot - horizon) / max(kerb - horizon, 1)
            stroke(canvas, [(vx + (x - vx) * a, foot), (x, kerb)], tint(color, 0.88))
    grain(area, rng, 12)
    thick = max(2.0, (kerb - horizon) * 0.07)
    fill(canvas, [(0, kerb - thick), (w, kerb - thick), (w, kerb), (0, kerb)], tint(color, 1.12))
    fill(canvas, [(0, kerb), (w, kerb), (w, kerb + thick * 0.7), (0, kerb + thick * 0.7)], tint(color, 0.55))


def road(canvas: np.ndarray, rng: np.random.Generator, kerb: float, horizon: float) -> None:
    """Asphalt, cobbles or a parking lot: stains, patches, markings, a manhole."""
    w = canvas.shape[1]
    y0 = int(kerb + max(1.0, (kerb - horizon) * 0.04))
    area = canvas[y0:]
    if area.shape[0] < 4:
        return
    color = rng.uniform(66, 150) + rng.normal(0, 4, 3)
    fade = np.linspace(rng.uniform(0.95, 1.15), rng.uniform(0.8, 1.05), area.shape[0])[:, None, None]
    area[:] = np.clip(color * fade, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        stains = cv2.resize(cloudy(rng, area.shape[0] // 4 + 1, w // 4, 9), (w, area.shape[0]))
        blend(area, color * 0.75, np.clip(stains - 0.5, 0, 0.5))
    paint, vx = (226, 224, 214) if rng.random() < 0.8 else (214, 178, 60), rng.uniform(0.2, 0.8) * w

    def row(t):
        return horizon + (kerb - horizon) * (1 + t)

    kind = rng.random()
    if kind < 0.4:  # lane marks along the road
        t = rng.uniform(0.5, 1.4)
        a, b = row(t), row(t + 0.06)
        dash = w * rng.uniform(0.12, 0.3)
        for x in np.arange(-rng.uniform(0, dash), w, dash * (1.6 if rng.random() < 0.7 else 1.0)):
            fill(canvas, [(x, a), (x + dash, a), (x + dash * 1.02, b), (x, b)], paint)
    elif kind < 0.65:  # parking bays or a crossing, running towards the viewer
        wide, pitch = (0.012, 0.34) if rng.random() < 0.6 else (0.06, 0.13)
        for x in np.arange(-3, 4, pitch) * w + vx:
            a, b = row(0.06), row(rng.uniform(1.2, 1.3))
            far, near = (a - horizon) / max(kerb - horizon, 1), (b - horizon) / max(kerb - horizon, 1)
            quad = [
                (vx + (x - vx) * far, a),
                (vx + (x + wide * w - vx) * far, a),
                (vx + (x + wide * w - vx) * near, b),
                (vx + (x - vx) * near, b),
            ]
            fill(canvas, quad, paint)
    elif kind < 0.75:
        for t in np.cumsum(rng.uniform(0.04, 0.07, 40)):
            stroke(canvas, [(0, row(t)), (w, row(t))], tint(color, 0.8))
    if rng.random() < 0.35:
        y = int(row(rng.uniform(0.3, 1.2)))
        r = max(4, int((y - horizon) * 0.22))
        cv2.ellipse(
            canvas,
            (int(rng.uniform(0, w)), y),
            (r, max(2, r // 4)),
            0,
            0,
            360,
            tuple(tint(color, 0.55)),
            -1,
            cv2.LINE_AA,
        )
    if rng.random() < 0.5:  # a crack or a tar seam
        x = np.linspace(0, w, 12)
        stroke(
            canvas, np.stack([x, row(rng.uniform(0.2, 1.0)) + np.cumsum(rng.normal(0, 8, 12))], 1), tint(color, 0.7), 2
        )
    grain(area, rng, rng.uniform(6, 22))


def furniture(
    canvas: np.ndarray, rng: np.random.Generator, foot: float, kerb: float, horizon: float, eye: float
) -> None:
    """Things that stand on the pavement: trees, lamps, signs, bins, crates, benches, people, fences."""
    w = canvas.shape[1]
    for _ in range(rng.integers(1, 8)):
        row = foot + (kerb - foot) * rng.uniform(0.1, 0.9)
        k, x = scale_at(row, horizon, eye), rng.uniform(0, w)
        kind = rng.choice(["tree", "lamp", "sign", "bin", "crates", "bench", "person", "fence"])
        if kind == "tree":
            tree(canvas, rng, x, row, rng.uniform(350, 800) * k)
        elif kind == "fence":
            fence(canvas, rng, x, x + rng.uniform(300, 900) * k, row, rng.uniform(80, 130) * k)
        else:
            post(canvas, rng, kind, x, row, k)
