"""Draws docs/architecture.svg: the rooms of both packages, floor upon floor, and which room needs which.

    python scripts/draw_architecture.py            # draw it anew
    python scripts/draw_architecture.py --check    # exit 1 when it is stale, or when an import does not point down

A room is a folder or a module directly in `detection` or `carclf`. Everything but the order of the floors comes from
the code, which is read and not imported, so this needs nothing but Python.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "architecture.svg"

# The floors of each package, lowest first; the rooms of a floor from left to right, each with its place in units of a
# room's width. A room may import what lies on floors below its own, and nothing else.
FLOORS: dict[str, list[dict[str, float]]] = {
    "detection": [
        {"version": 1},
        {"common": 1},
        {"vehicle": 1, "cluster": 2},
        {"detectors": 0, "images": 2},
        {"cutout": 0.5, "masks": 1.5},
        {"publishing": 0.5},
        {"folder": 1, "evaluation": 2},
        {"training": 1.5},
    ],
    "carclf": [
        {"weights": 1.5},
        {"classifier": 0.5, "datasets": 1.5},
        {"recognition": 1},
        {"evaluation": 0.5, "service": 1.5},
        {"runs": 0.5},
        {"training": 0.5},
        {"tools": 0.5},
        {"commands": 1},
        {"cli": 1},
        {"__main__": 1},
    ],
}
SAYINGS = {
    "detection": "stage 1: finds the vehicles in a photo and cuts the main one out; knows nothing of carclf",
    "carclf": "stage 2: names what was cut out; training, service and commands",
}


class Misplaced(Exception):
    """FLOORS and the code do not fit together; the text is one sentence."""


@dataclass
class Room:
    """One room. name: as it is imported. floor: 0 is the lowest of the house. place: from the left, in rooms.
    said: its docstring. needs: the rooms that it imports, with the places where it does, as file:line.
    """

    name: str
    floor: int
    place: float
    said: str = ""
    files: int = 0
    needs: dict[str, list[str]] = field(default_factory=dict)


def read_house(root: Path) -> dict[str, Room]:
    """All rooms by name, lowest floor first. Raises `Misplaced` when FLOORS has other rooms than the code."""
    rooms: dict[str, Room] = {}
    floors = [(package, floor) for package, floors in FLOORS.items() for floor in floors]
    for number, (package, floor) in enumerate(floors):
        for name, place in floor.items():
            rooms[f"{package}.{name}"] = Room(f"{package}.{name}", number, place)
    modules = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for package in FLOORS
        for path in sorted((root / package).rglob("*.py"))
    }
    found = {room_of(module) for module in modules} - set(FLOORS)
    if lost := sorted(found - set(rooms)):
        raise Misplaced(f"{lost[0]} is on no floor: add it to FLOORS in scripts/draw_architecture.py.")
    if gone := sorted(set(rooms) - found):
        raise Misplaced(f"{gone[0]} is on a floor, but not in the code: take it out of FLOORS.")
    trees = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in modules.items()}
    faces = {package: handed_on(trees[package]) for package in FLOORS}
    for module, path in modules.items():
        if module in FLOORS:  # a package's face hands names of all floors on
            continue
        room = rooms[room_of(module)]
        room.files += 1
        if module == room.name:
            room.said = ast.get_docstring(trees[module]) or ""
        for wanted, line in imports(trees[module], faces, set(modules)):
            other = room_of(wanted)
            if other in rooms and other != room.name:
                room.needs.setdefault(other, []).append(f"{path.relative_to(root).as_posix()}:{line}")
    return rooms


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def imports(tree: ast.AST, faces: dict[str, dict[str, str]], modules: set[str]) -> list[tuple[str, int]]:
    """The modules that a module imports wherever in its code, for type checkers too, with the line of each.

    faces: for each package, where the names that it hands on come from. Relative imports are not used here.
    """
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.append((full if full in modules else faces.get(base, {}).get(alias.name, base), node.lineno))
    return found


def handed_on(tree: ast.AST) -> dict[str, str]:
    """Name -> module, for what a package's `__init__` imports."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module or "" for node in nodes for alias in node.names}


def in_short(docstring: str, fits: Callable[[str], bool]) -> str:
    """The first sentence of a docstring's first line; where it does not fit, what comes before its colon or comma."""
    said = docstring.strip().partition("\n")[0].replace("`", "").partition(". ")[0].rstrip(".")
    clauses = [said[: end.start()] for end in re.finditer("[:;]", said)]
    for words in (said, *reversed(clauses), said.partition(",")[0]):
        if fits(words):
            return words
    while not fits(f"{said} …"):
        said = said.rpartition(" ")[0]
    return f"{said} …"


def wrong_ways(rooms: dict[str, Room]) -> list[tuple[Room, Room]]:
    """The pairs of rooms whose first one imports the second one, which does not lie below it."""
    pairs = [(room, rooms[other]) for room in rooms.values() for other in sorted(room.needs)]
    return [(room, other) for room, other in pairs if other.floor >= room.floor]


def shown_needs(rooms: dict[str, Room]) -> list[tuple[Room, Room]]:
    """The needs that point down, without those that follow from others: who needs `folder` needs `cutout` anyway."""
    down = {name: {other for other in room.needs if rooms[other].floor < room.floor} for name, room in rooms.items()}
    below: dict[str, set[str]] = {}
    for name in rooms:  # lowest floor first
        below[name] = down[name].union(*(below[other] for other in down[name]))
    return [
        (rooms[name], rooms[other])
        for name in rooms
        for other in sorted(down[name])
        if not any(other in below[between] for between in down[name])
    ]


# ---- the picture, in pixels

WIDE, HIGH = 292, 62  # of a room
GAP = 32  # between rooms, and between floors
LEFT, RIGHT = 60, 46  # room for arrows beside the rooms
TITLE = 52  # over the floors of a package
WIDTH = LEFT + 3 * WIDE + 2 * GAP + RIGHT
LETTERS = 43  # that fit into a line of a room
INK, SOFT, PAPER, ARROW, WRONG = "#1f2a37", "#566273", "#faf9f5", "#7d8b9c", "#c62828"
WALLS = {"detection": ("#e9f3ea", "#8fbf97"), "carclf": ("#e8effa", "#8fb0de")}


class Drawing:
    """Where everything is."""

    def __init__(self, rooms: dict[str, Room]):
        self.rooms = rooms
        self.wrong = wrong_ways(rooms)
        self.tops: dict[int, int] = {}
        self.panels: dict[str, tuple[int, int]] = {}
        y, number = 20, sum(map(len, FLOORS.values()))
        for package in reversed(FLOORS):
            top, y = y, y + TITLE
            for _ in FLOORS[package]:
                number -= 1
                self.tops[number] = y
                y += HIGH + GAP
            self.panels[package] = top, y - GAP + 22 - top
            y += 22
        self.height = y - GAP + 22 + 30 * bool(self.wrong) + 18 * len(self.wrong)
        self.lanes: list[tuple[float, float, float]] = []

    def x(self, room: Room) -> float:
        return LEFT + room.place * (WIDE + GAP)

    def svg(self) -> str:
        """The whole file. The same house gives the same text."""
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" width="{WIDTH}" '
            f'height="{self.height}" role="img" font-family="Inter, Roboto, Helvetica, Arial, sans-serif">',
            "<title>The rooms of carclf and detection, floor upon floor</title>",
            f"<!-- Made by scripts/{Path(__file__).name}: change the code, not this file. -->",
            marker("down", ARROW),
            marker("wrong", WRONG),
            f'<rect width="{WIDTH}" height="{self.height}" rx="12" fill="{PAPER}"/>',
        ]
        for package, (top, high) in self.panels.items():
            fill, _ = WALLS[package]
            parts.append(f'<rect x="14" y="{top}" width="{WIDTH - 28}" height="{high}" rx="10" fill="{fill}"/>')
        parts += self.arrows()
        for package, (top, _) in self.panels.items():
            parts.append(headline(30, top + 31, package, SAYINGS[package], WALLS[package][0]))
        parts += [part for room in self.rooms.values() for part in self.box(room)]
        parts += self.complaints()
        return "\n".join([*parts, "</svg>", ""])

    def box(self, room: Room) -> list[str]:
        x, y = self.x(room), self.tops[room.floor]
        package, name = room.name.split(".")
        files = f"{room.files} file{'s' * (room.files != 1)}"
        lines = textwrap.wrap(in_short(room.said, lambda words: len(textwrap.wrap(words, LETTERS)) <= 2), LETTERS)
        return [
            f'<rect x="{x:g}" y="{y}" width="{WIDE}" height="{HIGH}" rx="7" fill="#ffffff" '
            f'stroke="{WALLS[package][1]}" stroke-width="1.3"/>',
            text(x + 12, y + 21, name, 14.5, INK, weight=700),
            text(x + WIDE - 12, y + 21, files, 11.5, SOFT, anchor="end"),
            *(text(x + 12, y + 38 + 15 * number, line, 11.8, SOFT) for number, line in enumerate(lines)),
        ]

    def arrows(self) -> list[str]:
        """Down from each room to what it needs; those that do not point down in red."""
        shown = shown_needs(self.rooms)
        starts: dict[str, list[Room]] = {}
        ends: dict[str, list[Room]] = {}
        for room, other in shown:
            starts.setdefault(room.name, []).append(other)
            ends.setdefault(other.name, []).append(room)
        parts = []
        # Short ones first: they go straight, and the long ones find their way round.
        for room, other in sorted(shown, key=lambda pair: (pair[0].floor - pair[1].floor, pair[0].name, pair[1].name)):
            begin = self.port(room, other, starts[room.name]), self.tops[room.floor] + HIGH
            end = self.port(other, room, ends[other.name]), self.tops[other.floor] - 3
            parts.append(self.arrow(begin, end, room.floor, other.floor))
        for room, other in self.wrong:
            begin = self.x(room) + WIDE / 2, self.tops[room.floor]
            end = self.x(other) + WIDE / 2, self.tops[other.floor] + HIGH + 3
            parts.append(curve([begin, end], WRONG, 2.4, "wrong"))
        return parts

    def port(self, room: Room, other: Room, all_others: list[Room]) -> float:
        """Where at a room an arrow begins or ends: spread over its side, in the order of where they lead."""
        order = sorted(all_others, key=lambda one: (self.x(one), -one.floor))
        return self.x(room) + WIDE * (order.index(other) + 1) / (len(order) + 1)

    def arrow(self, begin: tuple[float, float], end: tuple[float, float], high: int, low: int) -> str:
        """A curve, past the rooms of the floors between."""
        if high - low == 1:
            return curve([begin, end], ARROW, 1.3, "down")
        top, bottom = self.tops[high - 1] - 4, self.tops[low + 1] + HIGH + 4
        lane = self.lane(begin[0], end[0], high, low)
        self.lanes.append((lane, top, bottom))
        return curve([begin, (lane, top), (lane, bottom), end], ARROW, 1.3, "down")

    def lane(self, begin: float, end: float, high: int, low: int) -> float:
        """The nearest upright way through the floors between, beside rooms and other arrows as far as there is one."""
        passed = [self.x(room) for room in self.rooms.values() if low < room.floor < high]
        top, bottom = self.tops[high - 1], self.tops[low + 1] + HIGH
        ways = [begin, end, *(float(x) for x in range(26, WIDTH - 20, 4))]
        free = [
            x
            for x in ways
            if all(not left - 10 < x < left + WIDE + 10 for left in passed)
            and all(abs(x - taken) > 9 or up > bottom or down < top for taken, up, down in self.lanes)
        ]
        return min(free or ways, key=lambda x: (abs(x - begin) + abs(x - end), x))

    def complaints(self) -> list[str]:
        if not self.wrong:
            return []
        y = self.height - 18 * len(self.wrong) - 16
        lines = [f"{room.name} imports {other.name}: {room.needs[other.name][0]}" for room, other in self.wrong]
        return [
            text(30, y, "These imports do not point down", 14, WRONG, weight=700),
            *(text(30, y + 20 + 18 * number, line, 12.5, WRONG) for number, line in enumerate(lines)),
        ]


def curve(points: list[tuple[float, float]], colour: str, width: float, end: str) -> str:
    """An arrow through points, upright at each of them."""
    path = f"M{points[0][0]:.4g} {points[0][1]:g}"
    for (x1, y1), (x2, y2) in pairwise(points):
        path += f" L{x2:.4g} {y2:g}" if x1 == x2 else curl(x1, y1, x2, y2)
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}" marker-end="url(#{end})"/>'


def curl(x1: float, y1: float, x2: float, y2: float) -> str:
    half = (y2 - y1) / 2
    return f" C{x1:.4g} {y1 + half:g} {x2:.4g} {y2 - half:g} {x2:.4g} {y2:g}"


def marker(name: str, colour: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="6.5" refY="4" markerWidth="7" markerHeight="7" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0.8 L7.4 4 L0 7.2 Z" fill="{colour}"/></marker>'
    )


def text(x: float, y: float, words: str, size: float, colour: str, weight: int = 400, anchor: str = "start") -> str:
    style = f'x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{colour}"'
    style += f' font-weight="{weight}"' * (weight != 400) + f" text-anchor={quoteattr(anchor)}" * (anchor != "start")
    return f"<text {style}>{escape(words)}</text>"


def headline(x: float, y: float, name: str, said: str, behind: str) -> str:
    """A package's name and a few words on it, with a rim that keeps arrows off the letters."""
    rim = f'stroke="{behind}" stroke-width="6" stroke-linejoin="round" paint-order="stroke"'
    return (
        f'<text x="{x:g}" y="{y:g}" {rim}><tspan font-size="19" font-weight="700" fill="{INK}">{escape(name)}</tspan>'
        f'<tspan dx="12" font-size="13" fill="{SOFT}">{escape(said)}</tspan></text>'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the picture is stale")
    check = parser.parse_args().check
    try:
        rooms = read_house(ROOT)
    except Misplaced as error:
        sys.exit(str(error))
    wrong = [
        f"{room.name} imports {other.name}, which does not lie below it: {', '.join(room.needs[other.name])}."
        for room, other in wrong_ways(rooms)
    ]
    drawn = Drawing(rooms).svg()
    if not check:
        PICTURE.write_text(drawn, encoding="utf-8")
    elif not PICTURE.is_file() or PICTURE.read_text(encoding="utf-8") != drawn:
        wrong.append("docs/architecture.svg is stale: python scripts/draw_architecture.py draws it anew.")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
