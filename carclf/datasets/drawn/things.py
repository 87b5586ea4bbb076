"""Things that stand in a drawn street: trees, hedges, fences, lamps, signs, bins, crates, benches, people."""

from __future__ import annotations

import cv2
import numpy as np

from carclf.datasets.drawn.canvas import any_color, fill, stroke, tint


def tree(canvas: np.ndarray, rng: np.random.Generator, x: float, foot: float, tall: float) -> None:
    """One tree, `tall` pixels high: trunk, branches and a crown of overlapping leaf clumps."""
    wood = np.array([82, 66, 52]) * rng.uniform(0.6, 1.2)
    t = tall * rng.uniform(0.025, 0.045)
    lean = rng.normal(0, 0.04) * tall
    fill(
        canvas,
        [
            (x - t, foot),
            (x - t * 0.5 + lean, foot - tall * 0.6),
            (x + t * 0.5 + lean, foot - tall * 0.6),
            (x + t, foot),
        ],
        wood,
    )
    leaf = np.array([rng.uniform(46, 110), rng.uniform(84, 130), rng.uniform(30, 66)])
    if rng.random() < 0.15:
        leaf = np.array([rng.uniform(150, 200), rng.uniform(90, 130), rng.uniform(30, 60)])
    middle = np.array([x + lean, foot - tall * 0.7])
    a, r = rng.uniform(0, 2 * np.pi, 130), np.sqrt(rng.random(130))
    offsets = np.stack([r * np.cos(a) * 0.26, r * np.sin(a) * 0.28], 1) * tall
    if rng.random() < 0.12:  # bare in winter
        for offset in offsets[:24]:
            stroke(canvas, [middle + np.array([0, tall * 0.2]), middle + offset], wood, t * 0.3)
        return
    light = 0.55 + np.linspace(0, 0.4, 130) - offsets[:, 1] / tall * 1.1 + rng.normal(0, 0.12, 130)
    colors = np.clip(leaf * light[:, None], 0, 255)
    sizes = np.maximum(1, tall * rng.uniform((0.018, 0.015), (0.07, 0.05), (130, 2))).astype(int)
    for spot, color, size, turn in zip(
        (middle + offsets).astype(int), colors, sizes, rng.uniform(0, 180, 130), strict=True
    ):
        cv2.ellipse(canvas, spot.tolist(), size.tolist(), turn, 0, 360, color.tolist(), -1)


def hedge(canvas: np.ndarray, rng: np.random.Generator, foot: float, tall: float) -> None:
    """A hedge across the whole picture."""
    w = canvas.shape[1]
    leaf = np.array([rng.uniform(40, 80), rng.uniform(75, 115), rng.uniform(30, 55)])
    xs = np.linspace(0, w, 60)
    fill(
        canvas,
        [(0, foot), *zip(xs, foot - tall + rng.normal(0, tall * 0.04, 60), strict=True), (w, foot)],
        tint(leaf, 0.7),
    )
    for x, y, s in zip(rng.uniform(0, w, 160), rng.uniform(0, 1, 160), rng.uniform(0.05, 0.14, 160), strict=True):
        c = tint(leaf, 0.6 + 0.6 * y + rng.normal(0, 0.1))
        cv2.circle(canvas, (int(x), int(foot - tall * y * 0.97)), max(1, int(tall * s)), tuple(c), -1, cv2.LINE_AA)


def fence(canvas: np.ndarray, rng: np.random.Generator, x0: float, x1: float, foot: float, tall: float) -> None:
    """Pickets and two rails."""
    color = (226, 224, 216) if rng.random() < 0.5 else tint((110, 84, 60), rng.uniform(0.6, 1.2))
    for y in (0.3, 0.8):
        stroke(canvas, [(x0, foot - tall * y), (x1, foot - tall * y)], tint(color, 0.85), tall * 0.06)
    for x in np.arange(x0, x1, max(6, tall * 0.2)):
        fill(canvas, [(x, foot), (x, foot - tall), (x + tall * 0.09, foot - tall), (x + tall * 0.09, foot)], color)


def post(
    canvas: np.ndarray,
    rng: np.random.Generator,
    kind: str,
    x: float,
    foot: float,
    k: float,
    mask: np.ndarray | None = None,
) -> None:
    """One thing on the street at (x, foot), k pixels per cm; clears its pixels from `mask` (uint8) if one is given."""

    def put(points, color):
        p = np.asarray(points, float) * [k, -k] + [x, foot]
        fill(canvas, p, color)
        if mask is not None:
            fill(mask, p, 0)

    def block(x0, y0, x1, y1, color):
        put([(x0, y0), (x0, y1), (x1, y1), (x1, y0)], color)

    def disc(cx, cy, r, color, squash=1.0):
        a = np.linspace(0, 2 * np.pi, 25)
        put(np.stack([cx + r * np.cos(a), cy + r * squash * np.sin(a)], 1), color)

    metal, cloth = tint((96, 100, 104), rng.uniform(0.4, 1.6)), any_color(rng)
    if kind == "lamp":
        block(-11, 0, 11, 60, tint(metal, 0.8))
        block(-6, 0, 6, 560, metal)
        block(-3, 0, 1, 560, tint(metal, 1.3))
        put([(-6, 560), (70, 590), (110, 588), (110, 576), (6, 560)], metal)
        put([(70, 578), (112, 574), (112, 566), (76, 568)], (240, 236, 214))
    elif kind == "sign":
        block(-3.5, 0, 3.5, 260, (150, 153, 156))
        if rng.random() < 0.5:
            disc(0, 240, 34, (196, 26, 30) if rng.random() < 0.6 else (26, 70, 160))
            disc(0, 240, 25, (240, 240, 238))
        else:
            block(-36, 190, 36, 262, cloth)
            block(-26, 220, 26, 230, (240, 240, 238))
    elif kind == "bollard":
        block(-9, 0, 9, 95, cloth if rng.random() < 0.3 else metal)
        block(-9, 70, 9, 82, (232, 230, 224))
        block(-5, 0, -2, 95, tint(metal, 1.4))
        disc(0, 95, 9, tint(metal, 0.8), 0.6)
    elif kind == "trunk":
        bark = np.array([88, 72, 58]) * rng.uniform(0.6, 1.2)
        put([(-30, 0), (-20, 40), (-17, 700), (17, 700), (20, 40), (32, 0)], bark)
        for s in rng.uniform(-16, 12, 7):
            block(s, 10, s + 3, 690, tint(bark, rng.uniform(0.7, 1.25)))
    elif kind == "bin":
        put([(-28, 0), (-34, 96), (34, 96), (28, 0)], cloth)
        block(-37, 96, 37, 106, tint(cloth, 0.6))
        block(8, 0, 20, 80, tint(cloth, 1.2))
        disc(-20, 6, 9, (22, 22, 24))
    elif kind == "crates":
        for i in range(int(rng.integers(2, 6))):
            cx, cy = (i % 3) * 62 - 60, (i // 3) * 42
            wood = tint((166, 124, 78), rng.uniform(0.7, 1.2)) if rng.random() < 0.7 else cloth
            block(cx, cy, cx + 58, cy + 40, tint(wood, 0.6))
            for s in range(3):
                block(cx + 1, cy + 2 + s * 13, cx + 57, cy + 12 + s * 13, wood)
            block(cx + 2, cy, cx + 9, cy + 40, tint(wood, 0.85))
    elif kind == "bench":
        for s in (-70, 60):
            block(s, 0, s + 10, 48, (50, 50, 54))
        for y in (44, 62, 76, 90):
            block(-85, y, 85, y + 9, tint((140, 96, 58), rng.uniform(0.85, 1.1)))
    else:
        skin, trousers = tint((214, 170, 140), rng.uniform(0.5, 1.1)), tint((60, 66, 84), rng.uniform(0.5, 1.5))
        step = rng.uniform(4, 26)
        put([(-14, 86), (2, 86), (-step + 4, 0), (-step - 8, 0)], trousers)
        put([(-2, 86), (14, 86), (step + 8, 0), (step - 4, 0)], tint(trousers, 0.8))
        put([(-19, 146), (19, 146), (16, 80), (-16, 80)], cloth)
        put([(-19, 144), (-12, 144), (-18 - step * 0.3, 84), (-25 - step * 0.3, 86)], tint(cloth, 0.8))
        disc(0, 162, 11, skin, 1.2)
        disc(0, 169, 11, tint((70, 50, 34), rng.uniform(0.3, 2)), 0.7)
