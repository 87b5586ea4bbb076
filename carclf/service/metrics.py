"""What the service counts and times, for Prometheus."""

from __future__ import annotations

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75, 1, 2, 5, 10, 30, 60)
_PHOTOS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
prometheus_client.disable_created_metrics()  # a second series for each, with the time at which it began
STAGES = ("receive", "decode", "queue", "models", "render")


class Metrics:
    """A registry of its own for each service, so that several can live in one process.

    Labels are few and known beforehand: route templates, never paths as they were asked for.
    """

    content_type = prometheus_client.CONTENT_TYPE_LATEST

    def __init__(self):
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "carclf_requests_total", "HTTP requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "carclf_request_seconds", "From the head of a request to the end of its answer", ["route"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.answers = Counter("carclf_answers_total", "Photos answered, by status", ["status"], registry=self.registry)
        self.stage_seconds = Histogram(
            "carclf_stage_seconds",
            "Time of a request in receive, of a photo in decode, queue and render, of a batch in models",
            ["stage"], buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.batch_photos = Histogram(
            "carclf_batch_photos", "Photos in a batch for the models", buckets=_PHOTOS, registry=self.registry
        )
        self.waiting = Gauge(
            "carclf_waiting_photos", "Photos that were taken and are not answered yet", registry=self.registry
        )
        self.ready = Gauge("carclf_ready", "1 when photos can be answered", registry=self.registry)
        for stage in STAGES:
            self.stage_seconds.labels(stage)

    def stage(self, name: str):
        """A context that times a stage."""
        return self.stage_seconds.labels(name).time()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        known = method if method in METHODS else "other"
        self.requests.labels(known, route, str(status)).inc()
        self.request_seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        return prometheus_client.generate_latest(self.registry)
