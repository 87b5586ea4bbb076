"""Cases of `clean`, `predict` and the standard streams."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from benchmarks.fault_cases.case import Broken, Case, Skipped, check, equal, need


def _load(path: Path) -> np.ndarray:
    from detection.images.read import load_image

    return load_image(path)


def _statuses(case: Case, pattern: str) -> dict[str, str]:
    return {row["source"]: row["status"] for row in case.rows(pattern)}


@check("bits-in-16")
def bits(case: Case) -> None:
    case.script()
    found = _statuses(case, "bits-out/manifest.csv")
    for name in ("g12in16.png", "rgb12in16.png"):
        equal(found[name], "ok")
        picture = _load(next((case.work / "bits-out").rglob(f"{Path(name).stem}.*")))
        if picture[picture.min(axis=2) < 250].mean() < 40:
            raise Broken(f"{name} is black")


@check("case-folding")
def case_folding(case: Case) -> None:
    need("mkntfs", "lowntfs-3g")
    if not os.path.exists("/dev/fuse") or os.getuid():
        raise Skipped("needs root and /dev/fuse")
    mount = case.shell("truncate -s 60M nt.img; mkntfs -q -F nt.img; mkdir -p nt; lowntfs-3g -o ignore_case nt.img nt")
    if mount.code:
        raise Skipped(f"the disk can't be mounted: {mount.text[-200:]}")
    try:
        case.shell("carclf clean in nt/out")
        rows = case.rows(f"{case.source.name}/nt/out/manifest.csv")
        written = list((case.folder / "nt" / "out").rglob("*.jpg"))
        equal(len(rows), len([path for path in (case.folder / "in").rglob("*") if path.is_file()]))
        equal(len({row["output"].lower() for row in rows if row["output"]}), len(written))
        equal(len([row for row in rows if row["status"] == "ok"]), len(written))
    finally:
        case.shell("umount nt")


@check("cgroup-child")
def cgroups(case: Case) -> None:
    if os.getuid() or not os.access("/sys/fs/cgroup/cpu", os.W_OK):
        raise Skipped("needs root and a control group (version 1) that it may make")
    code = "from detection.common.machine import usable_cores; print(usable_cores())"
    group = f"/sys/fs/cgroup/cpu/carclf-case-{os.getpid()}"
    done = case.shell(
        f"mkdir {group} && echo 100000 > {group}/cpu.cfs_period_us && echo 50000 > {group}/cpu.cfs_quota_us &&"
        f' sh -c \'echo $$ > {group}/tasks; exec "{sys.executable}" -c "{code}"\'; rmdir {group}'
    )
    if "No such file" in done.text or "Permission" in done.text:
        raise Skipped(done.text.strip()[-200:])
    equal(done.text.strip(), "1")


@check("closed-stdin")
def closed_streams(case: Case) -> None:
    case.script()  # a traceback breaks it
    equal([row["status"] for row in case.rows("closed.csv")], ["ok"])


@check("damaged-jpeg")
def damaged(case: Case) -> None:
    done = case.script()
    found = _statuses(case, "damaged-out/manifest.csv")
    wanted = {"good.jpg": "ok", "sector.jpg": "unreadable", "cutEOI_50.jpg": "unreadable"}
    equal(found, wanted)
    done.has(r"(?m)^\S*good\.jpg.*Chevrolet Cobalt", r"(?m)^\S*sector\.jpg.*unreadable", r"cutEOI_50\.jpg.*unreadable")


@check("foreign-suffixes")
def foreign_suffixes(case: Case) -> None:
    """Better than told: the photo without a suffix is taken, and the raw one has a row with advice."""
    case.script().has(r"passed over: 1 \.sh, 1 \.txt")
    equal(_statuses(case, "foreign-out/manifest.csv"), {"00021.jpg": "ok", "noext": "ok", "raw.CR2": "unreadable"})


@check("icc-profile")
def profiles(case: Case) -> None:
    case.script()
    for name in ("adobe.jpg", "srgb.jpg"):
        picture = _load(case.work / "icc-out" / name)
        middle = picture[picture.shape[0] // 2 - 15 :, picture.shape[1] // 2 - 40 :][:30, :80].mean(axis=(0, 1))
        if np.abs(middle - (199, 19, 24)).max() > 4:
            raise Broken(f"{name}: {middle.round()}")


@check("latin1-name")
def names_that_are_not_utf8(case: Case) -> None:
    done = case.script()
    equal(len([line for line in done.text.splitlines() if line.endswith(" 2")]), 3)


@check("lost-found")
def unreadable_folder(case: Case) -> None:
    need("setpriv")
    done = case.script()
    equal(done.text.count("rc=3"), 2)
    done.has(r"lost\+found.*can't be read")
    equal(_statuses(case, "lf-out/manifest.csv").get("a.jpg"), "ok")


@check("many-cars")
def many_cars(case: Case) -> None:
    done = case.script()
    for run in ("mc1", "mc2"):
        rows = [row for row in case.rows(f"{run}/manifest.csv") if "17627" in row["source"]]
        if not rows or any(row["status"] != "ok" for row in rows):
            raise Broken(f"{run}: {[row['status'] for row in rows]}")
    done.has(r"17627\.jpg")


@check("nas-folders")
def network_storage(case: Case) -> None:
    case.script()
    equal(list(_statuses(case, "nas-out/manifest.csv")), ["a.jpg"])


@check("ort-telemetry")
def no_call_home(case: Case) -> None:
    """The cache stays empty and nothing is looked up, after a photo was named from an export."""
    need("strace")
    photo = next(path for path in case.source.parent.rglob("*.jpg") if path.stat().st_size > 10000)
    case.shell("carclf export --output exported --limit 1")
    case.shell(
        f"strace -f -e trace=connect,sendto,sendmsg -o st.txt carclf predict '{photo}' --model exported; sleep 5"
    )
    if "AF_INET" in (case.folder / "st.txt").read_text(errors="replace"):
        raise Broken("an internet address was asked for")
    left = [str(path) for path in (case.work / "home").rglob("*") if "Microsoft" in str(path) or "onnx" in path.name]
    equal(left, [])


@check("sideways")
def sideways(case: Case) -> None:
    done = case.script()
    rows = case.rows("sw-out/manifest.csv")
    equal([row["status"] for row in rows], ["ok"] * 2)
    if not all("side" in row["reason"] or "turned" in row["reason"] for row in rows):
        raise Broken(f"{[row['reason'] for row in rows]}")
    done.has("side|turned")


@check("tilde")
def tilde(case: Case) -> None:
    done = case.script()
    done.has(r"cannot access '~'")
    equal(len(case.rows("home/names.csv")), 1)


@check("watch-clash")
def watch_clash(case: Case) -> None:
    copy = case.work / "wc" / "out" / "manifest.csv"
    done = case.script(seconds=120)
    done.has("rc=3")
    found = _statuses(case, str(copy.relative_to(case.work)))
    equal(
        {name: found.get(name) for name in ("one.jpg", "y.jpg", "x.png")},
        {"one.jpg": "ok", "y.jpg": "ok", "x.png": "error"},
    )
