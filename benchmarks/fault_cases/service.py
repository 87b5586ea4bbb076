"""Cases of `carclf serve`."""

from __future__ import annotations

import re
import shutil
import sys

from benchmarks.fault_cases.case import Broken, Case, check, equal, need, status


@check("e-filename-star-charset")
def charsets(case: Case) -> None:
    need("curl")
    with case.serving():
        codes = re.findall(r"(?m) (\d{3})$", case.script().text)
    equal(len(codes), 3)
    if not set(codes) <= {"200", "400"}:
        raise Broken(f"status {codes}")


@check("s-head-405")
def head(case: Case) -> None:
    need("curl")
    with case.serving():
        case.script().has("healthz 200", "readyz 200", "metrics 200")


@check("s-keepalive-15s")
def keep_alive(case: Case) -> None:
    with case.serving():
        case.script().has("open after 65 s")


@check("slowloris")
def slow_heads(case: Case) -> None:
    with case.serving() as port:
        command = f"ulimit -n 4096; exec {sys.executable} slowloris.py {port} 1005 45 headers"
        done = case.shell(command, 150)
        lines = [line for line in done.text.splitlines() if "healthz (200" in line]
        if not lines or "readyz (200" not in lines[-1]:
            raise Broken(done.text[-700:])
        equal(status(port, "/healthz"), 200)


@check("hog")
def half_sent_bodies(case: Case) -> None:
    need("curl")
    shutil.copy(case.source.parent / "icc-profile" / "srgb.jpg", case.folder / "mp48.jpg")
    with case.serving() as port:
        script = case.folder / "hog.py"
        script.write_text(script.read_text().replace("38100", str(port)))
        done = case.shell(f"{sys.executable} hog.py", 200)
    answers = re.findall(r"(?m) (\d{3}) readyz (\d{3})", done.text)
    refused = [pair for pair in answers if pair != ("200", "200")]
    if not answers or len(refused) > 1:
        raise Broken(done.text[-700:])
