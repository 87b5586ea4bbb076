"""Charts as SVG text: coloured by the page's CSS variables, so that they fit a light and a dark page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

from carclf.runs.curves import bands, label_bands

WIDTH, HEIGHT = 520, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 26, 34
_LETTER = 6.2  # pixels of a letter of a stage's name
_EPOCHS = 16  # numbers below the axis


def line_chart(
    lines: Mapping[str, Sequence[float]],
    stages: Sequence[str],
    title: str,
    percent: bool = False,
    log: bool = False,
) -> str:
    """One line per series over the epochs, the epochs of a stage on one band, a border between two.

    lines: name -> one value per epoch (nan leaves a gap); at most two series (CSS classes a and b).
    stages: the name of the stage of each epoch; they are numbered where the names are too long.
    percent: the values are parts of one; the axis goes from 0 to 100 %. log: the axis goes by powers of ten, when all
    values are above 0.
    """
    values = [value for line in lines.values() for value in line if math.isfinite(value)]
    if not values:
        return ""
    log = log and min(values) > 0
    if log:
        first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        ticks = [10.0**power for power in range(first, max(last, first + 1) + 1)]
    else:
        ticks = [0, 0.25, 0.5, 0.75, 1.0] if percent else _ticks(min(0.0, *values), max(values))
    scale = math.log10 if log else float
    low, high = scale(ticks[0]), scale(ticks[-1])
    count = max(len(line) for line in lines.values())

    def x(epoch: float) -> float:
        return LEFT + (epoch + 0.5) / count * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (high - scale(value)) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    parts += _stage_bands(stages, x)
    for tick in ticks:
        label = f"{tick:.0%}" if percent else f"{tick:g}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y(tick) + 4:.1f}">{label}</text>')
    for epoch in _epoch_ticks(count):
        parts.append(f'<text class="epoch" x="{x(epoch - 1):.1f}" y="{HEIGHT - BOTTOM + 15}">{epoch}</text>')
    parts.append(f'<text class="epoch" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}">epoch</text>')
    for kind, (name, line) in zip("ab", lines.items(), strict=False):
        points = [(i, x(i), y(value), value) for i, value in enumerate(line) if math.isfinite(value)]
        path = " ".join(f"{'L' if i else 'M'}{px:.1f} {py:.1f}" for i, (_, px, py, _) in enumerate(points))
        parts.append(f'<path class="{kind}" d="{path}"/>')
        for epoch, px, py, value in points:
            shown = f"{value:.1%}" if percent else f"{value:.4g}"
            parts.append(
                f'<circle class="{kind}" cx="{px:.1f}" cy="{py:.1f}" r="{3 if count <= 30 else 2}"><title>'
                f"{escape(name)}, epoch {epoch + 1}: {shown}</title></circle>"
            )
    return "".join([*parts, "</svg>"])


def reliability_chart(bins: Sequence[Mapping], title: str) -> str:
    """Accuracy of the answers of each group of confidence, its 95 % interval, and the line where they would be equal.

    bins: rows of calibration.csv.
    """
    if not bins:
        return ""
    width, height, left, top, side, depth = 520, 470, 48, 12, 340, 56  # the square above, the counts below
    across = width - left - 20
    base = top + side

    def x(value: float) -> float:
        return left + value * across

    def y(value: float) -> float:
        return base - value * side

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">']
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<line class="grid" x1="{left}" x2="{x(1)}" y1="{y(tick)}" y2="{y(tick)}"/>')
        parts.append(f'<text class="tick" x="{left - 6}" y="{y(tick) + 4}">{tick:.0%}</text>')
        parts.append(f'<text class="epoch" x="{x(tick)}" y="{height - 22}">{tick:.0%}</text>')
    most = max(row["photos"] for row in bins)
    for row in bins:
        x0, x1 = x(row["low"]) + 1, x(row["high"]) - 1
        tip = (
            f"<title>confidence {row['low']:.0%} to {row['high']:.0%}, mean {row['confidence']:.1%}: "
            f"{row['accuracy']:.1%} of {row['photos']} photos right</title>"
        )
        middle, tall = (x0 + x1) / 2, row["photos"] / most * depth
        parts.append(
            f'<rect class="bar-a" x="{x0:.1f}" y="{y(row["accuracy"]):.1f}" width="{max(1, x1 - x0):.1f}" '
            f'height="{row["accuracy"] * side:.1f}">{tip}</rect>'
            f'<line class="whisker" x1="{middle:.1f}" x2="{middle:.1f}" y1="{y(row["accuracy_low"]):.1f}" '
            f'y2="{y(row["accuracy_high"]):.1f}"/>'
            f'<rect class="bar-b" x="{x0:.1f}" y="{base + 14 + depth - tall:.1f}" width="{max(1, x1 - x0):.1f}" '
            f'height="{tall:.1f}">{tip}</rect>'
        )
    parts.append(f'<line class="diagonal" x1="{x(0)}" y1="{y(0)}" x2="{x(1)}" y2="{y(1)}"/>')
    parts.append(f'<text class="epoch" x="{x(0.5)}" y="{height - 4}">confidence (below: photos)</text>')
    return "".join([*parts, "</svg>"])


def _stage_bands(stages: Sequence[str], x: Callable[[float], float]) -> list[str]:
    parts = []
    labels = label_bands([stage.replace("_", " ") for stage in stages], (WIDTH - LEFT - RIGHT) / _LETTER)
    for number, ((name, first, last), label) in enumerate(zip(bands(stages), labels, strict=True)):
        x0, x1 = x(first - 0.5), x(last + 0.5)
        parts.append(
            f'<rect class="band{number % 2}" x="{x0:.1f}" y="{TOP}" width="{x1 - x0:.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"/>'
        )
        if first:
            parts.append(f'<line class="border" x1="{x0:.1f}" x2="{x0:.1f}" y1="{TOP - 6}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(
            f'<text class="stage" x="{(x0 + x1) / 2:.1f}" y="{TOP - 9}">{escape(label)}'
            f"<title>{escape(name)}</title></text>"
        )
    return parts


def _epoch_ticks(count: int) -> list[int]:
    """Epoch numbers to write: all of a few, else the first and round ones."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 10**9) if count / step <= _EPOCHS)
    return [epoch for epoch in range(1, count + 1) if step == 1 or epoch == 1 or epoch % step == 0]


def _ticks(low: float, high: float) -> list[float]:
    """Four to seven round numbers that enclose low and high."""
    if high - low < 1e-9:  # an axis needs some length
        high = low + 1
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * power for unit in (1, 2, 5, 10) if unit * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 10) for number in range(first, last + 1)]
