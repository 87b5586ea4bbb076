"""Cases of the queue, with a RabbitMQ that they start."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.fault_cases.case import Broken, Case, check, equal, need, status, wait_until


@contextmanager
def _broker(case: Case) -> Iterator[object]:
    need("rabbitmq-server")
    from tests.carclf.service.rabbitmq import start_server

    folder = case.work / "rabbitmq"
    folder.mkdir()
    server = start_server(folder)
    case.variables["CARCLF_BROKER"] = server.url
    try:
        yield server
    finally:
        server.end()


def _photo(case: Case) -> Path:
    return case.source.parent / "icc-profile" / "srgb.jpg"


@check("queue-vhost")
def virtual_host(case: Case) -> None:
    with _broker(case) as server:
        done = case.shell(f"carclf worker --broker {server.url.rstrip('/')}/nosuchvhost", 60)
    equal(done.code, 2)
    done.has("nosuchvhost")


@check("queue-alarm-readyz")
def memory_alarm(case: Case) -> None:
    need("curl")
    with _broker(case) as server, case.running("carclf worker"), case.serving(f"--broker {server.url}") as port:
        send = f"curl -s -o out.json -w '%{{http_code}} %{{time_total}}' -F photos=@'{_photo(case)}' http://127.0.0.1:{port}/predict"
        case.shell(send).has("^200")
        server.control("set_vm_memory_high_watermark", "absolute", "1MB")
        case.shell(f"timeout 3 {send}")  # the first one that is published meets the alarm
        wait_until(lambda: status(port, "/readyz") == 503, 15, lambda: "readyz is not 503")
        done = case.shell(send)
        done.has("^503")
        if float(done.text.split()[1]) > 5:
            raise Broken(f"503 came after {done.text.split()[1]} s")
        server.control("set_vm_memory_high_watermark", "0.6")
        wait_until(lambda: status(port, "/readyz") == 200, 30, lambda: "readyz stays 503")


@check("queue-two-models")
def two_models(case: Case) -> None:
    other = "carclf worker --model dealer19"
    with _broker(case) as server, case.running("carclf worker") as first, case.running(other) as second:
        time.sleep(20)
        with case.serving(f"--broker {server.url}") as port:
            (case.folder / "photos").mkdir()
            shutil.copy(_photo(case), case.folder / "photos")
            done = case.shell(f"{sys.executable} load.py {port} 20 4", 300)
        said = first.read_text() + second.read_text()
    done.has("differing labels 0")
    if "model" not in said:
        raise Broken(f"nobody said that the models differ: {said[-400:]}")


@check("dead-letters-memory")
def dead_letters(case: Case) -> None:
    need("/usr/bin/time")
    shutil.copy(_photo(case), case.folder / "photo.jpg")
    with _broker(case):
        with case.running("carclf worker"):
            time.sleep(20)
        peaks = []
        for count in (5, 55):
            case.shell(f"{sys.executable} deadfill.py {count}", 200)
            done = case.shell("/usr/bin/time -f 'peak %M' carclf dead-letters | tail -3", 200)
            peaks.append(int(done.text.split("peak ")[1].split()[0]) / 1024)
    if peaks[1] > peaks[0] + 60:
        raise Broken(f"{peaks} MiB")
