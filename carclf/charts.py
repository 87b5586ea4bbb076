"""Charts as SVG text: coloured by the page's CSS variables, so that they fit a light and a dark page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 520, 240
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 26, 34


def line_chart(
    lines: dict[str, Sequence[float]],
    stages: Sequence[str],
    title: str,
    percent: bool = False,
) -> str:
    """One line a series over the epochs, the epochs of a stage on one band.

    lines: name -> one value an epoch (nan leaves a gap); at most two series (CSS classes a and b).
    stages: the name of the stage of each epoch.
    percent: the values are parts of one; the axis goes from 0 to 100 %.
    """
    values = [value for line in lines.values() for value in line if math.isfinite(value)]
    if not values:
        return ""
    ticks = [0, 0.25, 0.5, 0.75, 1.0] if percent else _ticks(min(0.0, *values), max(values))
    low, high = ticks[0], ticks[-1]
    count = max(len(line) for line in lines.values())

    def x(epoch: float) -> float:
        return LEFT + (epoch + 0.5) / count * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for number, (name, first, last) in enumerate(_bands(stages)):
        x0, x1 = x(first - 0.5), x(last + 0.5)
        parts.append(
            f'<rect class="band{number % 2}" x="{x0:.1f}" y="{TOP}" width="{x1 - x0:.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"/>'
        )
        parts.append(
            f'<text class="stage" x="{(x0 + x1) / 2:.1f}" y="{TOP - 9}">{escape(name.replace("_", " "))}</text>'
        )
    for tick in ticks:
        label = f"{tick:.0%}" if percent else f"{tick:g}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y(tick) + 4:.1f}">{label}</text>')
    for epoch in range(count):
        parts.append(f'<text class="epoch" x="{x(epoch):.1f}" y="{HEIGHT - BOTTOM + 15}">{epoch + 1}</text>')
    parts.append(f'<text class="epoch" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}">epoch</text>')
    for series, (name, line) in zip("ab", lines.items(), strict=False):
        points = [(x(i), y(value), value) for i, value in enumerate(line) if math.isfinite(value)]
        path = " ".join(f"{'L' if i else 'M'}{px:.1f} {py:.1f}" for i, (px, py, _) in enumerate(points))
        parts.append(f'<path class="{series}" d="{path}"/>')
        for px, py, value in points:
            shown = f"{value:.1%}" if percent else f"{value:.3f}"
            parts.append(
                f'<circle class="{series}" cx="{px:.1f}" cy="{py:.1f}" r="3"><title>{escape(name)}: {shown}'
                "</title></circle>"
            )
    return "".join([*parts, "</svg>"])


def _bands(stages: Sequence[str]) -> list[tuple[str, int, int]]:
    """(name, first epoch, last epoch) of each run of equal names."""
    bands: list[tuple[str, int, int]] = []
    for epoch, name in enumerate(stages):
        if bands and bands[-1][0] == name:
            bands[-1] = (name, bands[-1][1], epoch)
        else:
            bands.append((name, epoch, epoch))
    return bands


def _ticks(low: float, high: float) -> list[float]:
    """Four to seven round numbers that enclose low and high."""
    if high - low < 1e-9:  # an axis needs some length
        high = low + 1
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * power for unit in (1, 2, 5, 10) if unit * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 10) for number in range(first, last + 1)]
