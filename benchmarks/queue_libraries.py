"""Photos through RabbitMQ to a worker and back, by `carclf.service` (FastStream) and by Celery, side by side.

    pip install celery
    python benchmarks/queue_libraries.py --broker amqp://guest:guest@127.0.0.1:5672/ [--photos 200] [--size 500000]

The worker's models are a stand-in that answers at once, so what is measured is the way there and back. Both keep photos
on disk, acknowledge them late, and take eight at a time; Celery's messages are JSON, since pickle is out of the
question. Prints seconds, their ratio, and the bytes of a message that holds one photo.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import statistics
import subprocess
import sys
import time

URL = "CARCLF_BENCHMARK_BROKER"
PREFETCH = 8


def celery_app():
    from celery import Celery

    app = Celery("photos", broker=os.environ[URL], backend="rpc://")
    app.conf.update(
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        task_default_queue="carclf.benchmark.celery",
        worker_prefetch_multiplier=PREFETCH,
        broker_transport_options={"confirm_publish": True},
        result_persistent=True,
    )

    @app.task(name="recognize")
    def recognize(photo: str) -> dict:
        return {"file": "", "status": "no_car", "reason": str(len(base64.b64decode(photo)))}

    return app, recognize


class AtOnce:
    """A backend that answers without looking."""

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def ready(self) -> bool:
        return True

    async def recognize(self, uploads, pictures=False) -> list:
        from carclf.service.contract import Answer

        return [Answer(file=upload.name, status="no_car", reason=str(len(upload.data))) for upload in uploads]


def work(library: str) -> None:
    """The worker's process."""
    if library == "celery":
        arguments = ["worker", "--pool", "solo", "--loglevel", "WARNING", "--without-gossip", "--without-mingle"]
        celery_app()[0].worker_main(arguments)
    else:
        from carclf.service.queue.worker import Worker

        asyncio.run(Worker(os.environ[URL], AtOnce(), PREFETCH).run())


def time_celery(photos: list[bytes], rounds: int) -> list[float]:
    app, recognize = celery_app()

    def once(some: list[bytes]) -> None:
        sent = [recognize.delay(base64.b64encode(photo).decode()) for photo in some]
        assert [int(one.get(timeout=120)["reason"]) for one in sent] == [len(photo) for photo in some]

    try:
        once(photos[:8])
        return [timed(lambda: once(photos)) for _ in range(rounds)]
    finally:
        app.close()


def time_carclf(photos: list[bytes], rounds: int) -> list[float]:
    from carclf.service.contract import Upload
    from carclf.service.queue.broker import BrokerBackend

    async def run() -> list[float]:
        backend = BrokerBackend(os.environ[URL])
        await backend.start()
        try:

            async def once(some: list[bytes]) -> None:
                answers = await backend.recognize([Upload(f"{number}.jpg", one) for number, one in enumerate(some)])
                assert [int(answer.reason) for answer in answers] == [len(photo) for photo in some]

            await once(photos[:8])
            found = []
            for _ in range(rounds):
                start = time.perf_counter()
                await once(photos)
                found.append(time.perf_counter() - start)
            return found
        finally:
            await backend.stop()

    return asyncio.run(run())


def timed(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def celery_bytes(photo: bytes) -> int:
    from kombu.serialization import dumps

    return len(dumps([[base64.b64encode(photo).decode()], {}, {}], serializer="json")[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", default=os.environ.get("CARCLF_BROKER", "amqp://guest:guest@127.0.0.1:5672/"))
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--size", type=int, default=500_000, help="bytes per photo")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", choices=("celery", "carclf"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ[URL] = options.broker
    if options.work:
        work(options.work)
        return
    photos = [os.urandom(options.size) for _ in range(options.photos)]
    results = {}
    for library, measure in (("carclf", time_carclf), ("celery", time_celery)):
        worker = subprocess.Popen([sys.executable, __file__, "--broker", options.broker, "--work", library])
        try:
            results[library] = measure(photos, options.rounds)
        finally:
            worker.terminate()
            worker.wait(60)
        print(f"{library}: {', '.join(f'{seconds:.2f}' for seconds in results[library])} s for {len(photos)} photos")
    ratio = statistics.median(results["celery"]) / statistics.median(results["carclf"])
    print(f"celery takes {ratio:.2f} times as long; a photo of {options.size:,} bytes is sent as", end=" ")
    print(f"{options.size:,} (carclf) and {celery_bytes(photos[0]):,} (celery)")


if __name__ == "__main__":
    main()
