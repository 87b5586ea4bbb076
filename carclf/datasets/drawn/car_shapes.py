"""Six drawn car bodies: their measures, a pinhole camera and the painter that puts one on a canvas.

A car is a side profile in centimetres (x from nose to tail, y up from the ground) swept across its width (z away from
the viewer), so that one table of numbers gives side views and three-quarter views alike. The side is painted flat and
then warped onto the curved flank; roof, bonnet and the visible end are shaded strips. Colours are RGB throughout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from carclf.datasets.drawn.canvas import Points

MARGIN = 14.0  # cm around the flat side painting


@dataclass(frozen=True)
class CarShape:
    """One body: all lengths in cm. `profile` runs from the nose's foot over the roof to the tail's foot."""

    length: float
    height: float
    width: float
    wheel: float
    axles: tuple[float, float]
    sill: float
    belt: float
    profile: Points
    glass: Points
    pillars: tuple[float, ...]
    doors: tuple[float, ...]
    screens: tuple[tuple[float, float], tuple[float, float]]
    nose: float  # height of the bonnet's leading edge
    tail: float  # height of the boot lid's or tailgate's lamps


BODIES: dict[str, CarShape] = {
    "hatchback": CarShape(
        366, 150, 170, 30, (72, 298), 24, 94,
        ((3, 22), (0, 48), (5, 66), (24, 80), (84, 96), (146, 140), (190, 150), (276, 147), (322, 136), (354, 98),
         (364, 88), (366, 50), (360, 24)),
        ((96, 97), (148, 135), (192, 142), (276, 139), (306, 130), (288, 100)), (196, 278), (90, 198, 276),
        ((88, 150), (318, 357)), 76, 92),
    "sedan": CarShape(
        474, 144, 182, 32, (92, 374), 24, 94,
        ((4, 20), (0, 48), (6, 64), (34, 80), (128, 95), (202, 137), (246, 144), (308, 141), (392, 106), (458, 101),
         (472, 88), (474, 48), (466, 24)),
        ((140, 97), (204, 131), (246, 136), (308, 133), (366, 108), (360, 99)), (252, 338), (132, 254, 338),
        ((131, 206), (312, 392)), 75, 86),
    "suv": CarShape(
        440, 184, 190, 41, (88, 352), 40, 116,
        ((6, 38), (0, 66), (0, 98), (10, 110), (116, 118), (152, 172), (190, 182), (396, 181), (424, 174), (438, 118),
         (440, 100), (440, 62), (434, 38)),
        ((128, 120), (156, 165), (194, 172), (392, 171), (412, 164), (420, 120)), (222, 316), (116, 226, 320),
        ((118, 166), (422, 438)), 104, 112),
    "pickup": CarShape(
        536, 184, 192, 40, (96, 424), 42, 116,
        ((6, 42), (0, 70), (2, 98), (16, 108), (134, 118), (184, 174), (216, 184), (318, 182), (340, 174), (350, 122),
         (356, 119), (526, 119), (535, 114), (536, 62), (528, 46)),
        ((148, 120), (186, 167), (218, 174), (316, 172), (330, 164), (334, 121)), (250,), (138, 252, 338),
        ((138, 188), (338, 350)), 102, 108),
    "van": CarShape(
        508, 206, 196, 34, (92, 402), 28, 112,
        ((4, 28), (0, 58), (6, 82), (26, 96), (74, 112), (132, 188), (172, 204), (300, 206), (470, 204), (494, 192),
         (504, 112), (508, 50), (502, 28)),
        ((88, 115), (136, 176), (166, 184), (206, 184), (206, 114)), (206,), (84, 212, 330),
        ((78, 138), (492, 504)), 90, 110),
    "coupe": CarShape(
        446, 124, 188, 33, (90, 354), 17, 82,
        ((4, 15), (0, 38), (8, 58), (50, 76), (150, 86), (224, 117), (262, 124), (312, 118), (396, 94), (434, 92),
         (446, 76), (444, 42), (430, 18)),
        ((168, 86), (226, 110), (264, 115), (306, 110), (352, 92), (320, 86)), (298,), (152, 288),
        ((154, 228), (312, 378)), 64, 80),
}  # fmt: skip
CAR_SHAPES: tuple[str, ...] = tuple(BODIES)


def vary(shape: CarShape, rng: np.random.Generator) -> CarShape:
    """The same body with slightly other proportions, as another maker would build it."""
    sx, sy = rng.uniform(0.94, 1.06), rng.uniform(0.96, 1.05)

    def xs(values):
        return tuple(v * sx for v in values)

    def pts(values):
        return tuple((x * sx, y * sy) for x, y in values)

    return replace(
        shape, length=shape.length * sx, height=shape.height * sy, wheel=shape.wheel * rng.uniform(0.95, 1.08),
        axles=xs(shape.axles), sill=shape.sill * sy, belt=shape.belt * sy, profile=pts(shape.profile),
        glass=pts(shape.glass), pillars=xs(shape.pillars), doors=xs(shape.doors),
        screens=(xs(shape.screens[0]), xs(shape.screens[1])), nose=shape.nose * sy, tail=shape.tail * sy,
    )  # fmt: skip


@dataclass
class Camera:
    """Pinhole camera looking at the car's middle; yaw > 0 (radians) shows the nose, < 0 the tail; lengths in cm."""

    shape: CarShape
    yaw: float
    distance: float
    height: float
    flip: bool = False
    focal: float = 1.0
    center: float = 0.0
    horizon: float = 0.0

    def project(self, points: np.ndarray) -> np.ndarray:
        """Car coordinates [..., 3] (x, y, z in cm) to canvas pixels [..., 2]."""
        p = np.asarray(points, float)
        x, z = p[..., 0] - self.shape.length / 2, p[..., 2] - self.shape.width / 2
        depth = self.distance + x * np.sin(self.yaw) + z * np.cos(self.yaw)
        u = (x * np.cos(self.yaw) - z * np.sin(self.yaw)) / depth * (-1 if self.flip else 1)
        return np.stack(
            [self.center + self.focal * u, self.horizon - self.focal * (p[..., 1] - self.height) / depth], -1
        )

    def place(self) -> np.ndarray:
        """Where the camera stands, in car coordinates (x, y, z in cm)."""
        x, z = self.shape.length / 2, self.shape.width / 2
        return np.array(
            [x - self.distance * np.sin(self.yaw), self.height, z - self.distance * np.cos(self.yaw)], dtype=float
        )

    def flank(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the rays through canvas pixels meet the curved flank: x and y in cm, same shape as u and v."""
        s, c = np.sin(self.yaw), np.cos(self.yaw)
        du, dv = (u - self.center) / self.focal * (-1 if self.flip else 1), (self.horizon - v) / self.focal
        dx, dz = du * c + s, np.maximum(c - du * s, 0.05)
        z = np.zeros_like(du)
        for _ in range(14):  # damped fixed point: the flank bends little, so a few rounds are enough
            t = (z - self.shape.width / 2 + self.distance * c) / dz
            x, y = self.shape.length / 2 - self.distance * s + t * dx, self.height + t * dv
            z = 0.45 * z + 0.55 * inset(self.shape, x, y)
        return x, y


def inset(shape: CarShape, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How far (cm) the flank lies inside the widest point: rounded ends in plan view, glass leaning inwards."""
    ends = np.clip(1 - x / 80, 0, 1) ** 2 * 20 + np.clip(1 - (shape.length - x) / 80, 0, 1) ** 2 * 14
    return ends + np.clip(y - shape.belt, 0, shape.height) * 0.24
