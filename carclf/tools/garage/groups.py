"""`carclf cluster`: unknown cars in groups by their look, to be named and learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from carclf.tools.garage.page import Car, Section, write_cars
from carclf.tools.garage.vectors import VectorTable
from detection.common.errors import UsageError
from detection.common.files import write_table
from detection.common.output_folder import OutputFolder
from detection.common.tally import counted

GROUPS, PAGE = "groups.csv", "index.html"
APART = 0.36  # mean cosine distance at which groups stay apart; chosen by benchmarks/garage.py
MOST = 10_000  # cars: a table of all distances between more does not fit the memory of a usual machine
_SHOWN = 12  # cars of each group on the page


def group(vectors: np.ndarray, apart: float = APART) -> np.ndarray:
    """`join` by cosine distances. vectors: float [N, F] of length 1."""
    return join(1 - np.asarray(vectors, np.float32) @ np.asarray(vectors, np.float32).T, apart)


def join(distances: np.ndarray, apart: float) -> np.ndarray:
    """Agglomerative clustering by average linkage. distances: float32 [N, N], symmetric; it is used up.

    Groups whose cars are `apart` or more from each other, on average, stay apart. Returns int [N], numbers of groups,
    the largest group first. The time grows with the square of N.
    """
    count = len(distances)
    if not count:
        return np.empty(0, int)
    np.fill_diagonal(distances, np.inf)
    sizes = np.ones(count)
    owner = np.arange(count)
    alive = np.ones(count, bool)
    # The chain of nearest neighbours ends in two that are each other's nearest. With average linkage these may be
    # joined at once: no later join brings anything nearer to them.
    chain: list[int] = []
    while alive.any():
        if not chain:
            chain.append(int(np.flatnonzero(alive)[0]))
        top = chain[-1]
        near = int(np.argmin(distances[top]))
        if len(chain) > 1 and distances[top, chain[-2]] <= distances[top, near]:
            near = chain[-2]
        if distances[top, near] >= apart:  # nothing comes nearer to it any more: its group is whole
            chain.pop()
            alive[top] = False
            distances[top], distances[:, top] = np.inf, np.inf
        elif len(chain) > 1 and near == chain[-2]:
            del chain[-2:]
            joined = (sizes[top] * distances[top] + sizes[near] * distances[near]) / (sizes[top] + sizes[near])
            sizes[near] += sizes[top]
            distances[near], distances[:, near] = joined, joined
            distances[near, near] = np.inf
            alive[top] = False
            distances[top], distances[:, top] = np.inf, np.inf
            owner[owner == top] = near
        else:
            chain.append(near)
    owners, numbers, members = np.unique(owner, return_inverse=True, return_counts=True)
    rank = np.empty(len(owners), int)
    rank[np.argsort(-members, kind="stable")] = np.arange(len(owners))
    return rank[numbers]


def write_groups(output: Path, table: VectorTable, apart: float = APART, least: int = 2) -> int:
    """Groups the cars of `table`, all of which have vectors, and writes output/groups.csv and output/index.html.

    least: cars of a group; those of smaller ones are one section at the end, and have no number. Returns the number of
    groups. Raises `UsageError` when there is no car, or too many, and when the folder holds something else.
    """
    folder = OutputFolder(output, GROUPS)
    folder.check(f"'{output}' exists and holds no groups of `carclf cluster`: name a new folder.")
    if not len(table.rows):
        raise UsageError("There is no unknown car to group: --all groups every car.")
    if len(table.rows) > MOST:
        raise UsageError(f"{MOST} cars can be grouped at a time, not {len(table.rows)}: take a part of them.")
    numbers = group(table.vectors, apart)
    sizes = np.bincount(numbers)
    rows, sections, alone = [], [], []
    for number in range(len(sizes)):
        places = np.flatnonzero(numbers == number)
        middle = table.vectors[places].mean(axis=0)
        places = places[np.argsort(-(table.vectors[places] @ middle), kind="stable")]  # the most typical first
        cars = [Car(table.rows[place]["file"], table.rows[place]["box"]) for place in places]
        whole = len(places) >= least
        rows += [
            {"group": number + 1 if whole else "", "class": "", "file": str(Path(car.file).absolute())} for car in cars
        ]
        if whole:
            more = f", of which {_SHOWN} are shown" if len(cars) > _SHOWN else ""
            sections.append(Section(f"Group {number + 1}", cars[:_SHOWN], f"{counted(len(cars), 'car')}{more}"))
        else:
            alone += cars
    groups = len(sections)
    if alone:
        sections.append(Section("Alone", alone[: 4 * _SHOWN], f"{counted(len(alone), 'car')} like no other one"))
    folder.make(lambda: write_table(output / GROUPS, rows))
    lead = (
        f"{counted(len(table.rows), 'car')} in {counted(groups, 'group')}. Write a name into the column class of "
        f"{GROUPS}, once per group, and give the file to carclf learn."
    )
    write_cars(output / PAGE, "Cars by their look", lead, sections)
    return groups
