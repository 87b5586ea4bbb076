"""What stands behind a drawn street: rows of house fronts, shops, warehouses and walls."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from carclf.datasets.drawn.canvas import any_color, fill, grain, rect, stroke, tint
from carclf.datasets.drawn.things import fence, tree


def facade_color(rng: np.random.Generator) -> np.ndarray:
    """Plaster, brick, stone or concrete."""
    tones = (
        (206, 196, 176), (158, 92, 72), (186, 178, 168), (222, 214, 204), (150, 150, 152), (196, 168, 128),
        (120, 76, 62), (176, 190, 196), (210, 176, 160), (90, 94, 100),
    )  # fmt: skip
    return np.clip(np.array(tones[rng.integers(len(tones))]) * rng.uniform(0.8, 1.1) + rng.normal(0, 6, 3), 20, 245)


def houses(canvas: np.ndarray, rng: np.random.Generator, foot: float, k: float, town: bool) -> None:
    """A row of house fronts with windows, doors, roofs; shops on the ground floor in town. k = pixels per cm."""
    w = canvas.shape[1]
    x = -rng.uniform(0, 500) * k
    while x < w:
        wide = rng.uniform(500, 1300) * k
        storey = rng.uniform(270, 340) * k
        floors = int(rng.integers(3, 7) if town else rng.integers(1, 4))
        top, color = foot - storey * floors, facade_color(rng)
        if not town and rng.random() < 0.35:  # a gap with a tree and a fence
            tree(canvas, rng, x + wide * 0.5, foot, rng.uniform(400, 900) * k)
            fence(canvas, rng, x, x + wide, foot, 120 * k)
            x += wide
            continue
        roof = tint((130, 72, 56) if rng.random() < 0.5 else (84, 84, 90), rng.uniform(0.7, 1.2))
        if not town:
            fill(
                canvas,
                [
                    (x - 30 * k, top),
                    (x + wide * 0.2, top - storey * 0.7),
                    (x + wide * 0.8, top - storey * 0.7),
                    (x + wide + 30 * k, top),
                ],
                roof,
            )
        else:
            fill(
                canvas,
                [(x - 4, top - 30 * k), (x + wide, top - 30 * k), (x + wide, top), (x - 4, top)],
                tint(color, 0.8),
            )
        y0, x0, x1 = max(0, int(top)), max(0, int(x)), min(w, int(x + wide))
        if x1 > x0 and foot > y0:
            area = canvas[y0 : int(foot) + 1, x0:x1]
            area[:] = color.astype(np.uint8)
            if rng.random() < 0.4:  # brick courses
                for y in range(0, area.shape[0], max(3, int(16 * k))):
                    area[y] = tint(color, 0.86).astype(np.uint8)
            grain(area, rng, rng.uniform(4, 14))
        columns = max(1, int(wide / (rng.uniform(150, 260) * k)))
        pitch, glass = wide / columns, tint((70, 84, 98), rng.uniform(0.5, 1.5))
        frame = (236, 234, 228) if rng.random() < 0.6 else tint(color, 0.55)
        for f in range(floors):
            sill = foot - storey * f - storey * 0.28
            shop = town and f == 0 and rng.random() < 0.75
            if shop:
                shopfront(canvas, rng, x, wide, foot, storey)
                continue
            for c in range(columns):
                door = f == 0 and rng.random() < 0.22
                low, half = (foot if door else sill), pitch * (0.22 if door else 0.27)
                mid, high = x + pitch * (c + 0.5), sill - storey * 0.48
                fill(
                    canvas,
                    [
                        (mid - half - 5 * k, low + 4 * k),
                        (mid - half - 5 * k, high - 5 * k),
                        (mid + half + 5 * k, high - 5 * k),
                        (mid + half + 5 * k, low + 4 * k),
                    ],
                    frame,
                )
                pane = tint(any_color(rng), 0.7) if door else tint(glass, rng.uniform(0.7, 1.3))
                fill(canvas, [(mid - half, low), (mid - half, high), (mid + half, high), (mid + half, low)], pane)
                if not door:
                    fill(
                        canvas,
                        [(mid - half, low), (mid - half, high), (mid + half * rng.uniform(-0.8, 0.6), high)],
                        tint(pane, 1.2, 10),
                    )
                    stroke(canvas, [(mid, low), (mid, high)], frame, 4 * k)
                    stroke(canvas, [(mid - half, sill), (mid + half, sill)], frame, 6 * k)
        x += wide + (rng.uniform(0, 160) * k if not town else 0)


def shopfront(canvas: np.ndarray, rng: np.random.Generator, x: float, wide: float, foot: float, storey: float) -> None:
    """Shop window, awning or sign board with strokes that read as lettering."""
    board, end = any_color(rng), x + wide
    rect(canvas, x, foot - storey, end, foot, tint(board, 0.6))
    pane = tint((120, 128, 130), rng.uniform(0.3, 1.3))
    rect(canvas, x + wide * 0.05, foot - storey * 0.68, end - wide * 0.05, foot - storey * 0.14, pane)
    for a in x + wide * rng.uniform(0.07, 0.87, rng.integers(4, 10)):  # wares behind the glass
        rect(canvas, a, foot - storey * rng.uniform(0.2, 0.55), a + wide * 0.06, foot - storey * 0.15, any_color(rng))
    rect(canvas, x, foot - storey * 0.94, end, foot - storey * 0.72, board)
    ink, n = 255 - board, int(rng.integers(4, 11))
    for a in np.linspace(x + wide * 0.2, x + wide * 0.8, n):
        corners = rng.integers(0, (3, 3), (int(rng.integers(3, 6)), 2)) / 2
        stroke(canvas, corners * [wide * 0.03, -storey * 0.11] + [a, foot - storey * 0.775], ink, storey * 0.025)
    if rng.random() < 0.5:
        edges = np.linspace(x, end, 11)
        for i, (a, b) in enumerate(pairwise(edges)):
            rect(canvas, a, foot - storey * 0.74, b, foot - storey * 0.58, board if i % 2 else (238, 234, 226))


def hall(canvas: np.ndarray, rng: np.random.Generator, foot: float, k: float, industrial: bool) -> None:
    """A warehouse with ribs and roller doors, or a long wall with graffiti."""
    w = canvas.shape[1]
    tall, color = (rng.uniform(450, 900) if industrial else rng.uniform(180, 420)) * k, facade_color(rng)
    y0 = max(0, int(foot - tall))
    area = canvas[y0 : int(foot) + 1]
    area[:] = color.astype(np.uint8)
    grain(area, rng, 10)
    pitch = max(5.0, rng.uniform(25, 110) * k)
    for x in np.arange(0, w, pitch):
        stroke(canvas, [(x, y0), (x, foot)], tint(color, rng.uniform(0.78, 0.9)), max(1, 3 * k))
    if industrial:
        for x in np.arange(rng.uniform(-200, 200) * k, w, rng.uniform(600, 900) * k):
            door = any_color(rng)
            fill(canvas, [(x, foot), (x, foot - 330 * k), (x + 340 * k, foot - 330 * k), (x + 340 * k, foot)], door)
            for y in np.arange(foot - 330 * k, foot, max(3, 22 * k)):
                stroke(canvas, [(x, y), (x + 340 * k, y)], tint(door, 0.8), 2 * k)
    else:
        for _ in range(rng.integers(0, 6)):
            p = np.array([rng.uniform(0, w), foot - tall * rng.uniform(0.2, 0.8)]) + np.cumsum(
                rng.normal(0, 30 * k, (6, 2)), 0
            )
            stroke(canvas, p, any_color(rng), rng.uniform(5, 16) * k)
        for _ in range(rng.integers(0, 5)):
            tree(canvas, rng, rng.uniform(0, w), foot - tall * 0.95, rng.uniform(300, 600) * k)
