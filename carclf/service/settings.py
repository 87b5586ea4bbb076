"""How the service is run: where it listens, which models answer, what it takes."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from detection.common.config import first_complaint
from detection.common.errors import UsageError
from detection.common.networks.runtime import Runtime
from detection.publishing.hiding.cover import HideStyle

API_KEY_VARIABLE = "CARCLF_API_KEY"
MEGABYTE = 1_000_000


class ServiceSettings(BaseModel):
    """Sizes in bytes, times in seconds. `of` makes one with messages for people."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)

    # The path under which a proxy shows the service, such as /cars; and the pages of others that may call it.
    root_path: str = Field("", pattern=r"^(/[A-Za-z0-9._~-]+)*$")
    cors: tuple[str, ...] = ()
    # Balancers keep idle connections for 60 seconds: it must be longer here, or they send into a closed one.
    keep_alive: int = Field(75, ge=1, le=86400)

    model: str = "bundled"
    detector: str | None = None
    device: str = "auto"
    runtime: Runtime = "auto"
    threads: int | None = Field(None, ge=1, le=1024)
    tta: int = Field(1, ge=1, le=100)
    threshold: float | None = Field(None, ge=0, le=1)
    levels: bool | None = None  # whether answers are at the deepest level that is sure; None: where the model can
    sure: float | None = Field(None, gt=0, lt=1)
    only: str | None = None  # the classes, models and makes that there can be, as `CarRecognizer` takes them
    colour: bool = True  # whether the colour of the paint is told, too
    kinds: str | None = None  # of vehicle that count, as `CarRecognizer` takes them
    hide: HideStyle | None = None  # what is hidden in all pictures that are sent back
    # The address of a message broker, with its password, where workers answer in place of this process.
    broker: SecretStr | None = None

    api_key: SecretStr | None = None
    save_uploads: Path | None = None
    # Whether a client may name a photo by its URL, which this process fetches then: public addresses only.
    allow_urls: bool = False

    max_files: int = Field(16, ge=1, le=1000)
    max_photo_bytes: int = Field(20 * MEGABYTE, ge=1)
    max_request_bytes: int = Field(64 * MEGABYTE, ge=1)
    # Of all requests together: what they have sent and is not answered yet stays in memory.
    max_waiting_bytes: int = Field(128 * MEGABYTE, ge=1)
    max_pixels: int = Field(50_000_000, ge=1)
    # A photo whose longer side is larger is shrunk to it when it is decoded: the models look at less than that.
    max_side: int = Field(2560, ge=64)
    # In all, and of one address that is none of `proxies` (addresses or networks, which name their clients).
    max_connections: int = Field(1000, ge=1, le=100_000)
    max_per_address: int = Field(500, ge=1, le=100_000)
    proxies: tuple[str, ...] = ()
    head_timeout: float = Field(10, gt=0, le=3600)
    body_timeout: float = Field(30, gt=0, le=3600)
    answer_timeout: float = Field(60, gt=0, le=3600)
    stop_timeout: float = Field(30, gt=0, le=3600)

    batch_size: int = Field(4, ge=1, le=256)
    batch_wait: float = Field(0.02, ge=0, le=1)
    queue_length: int = Field(64, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> ServiceSettings:
        if self.max_request_bytes > self.max_waiting_bytes:
            raise ValueError(
                "max_request_bytes is more than max_waiting_bytes, so such a request would never be accepted"
            )
        if self.max_photo_bytes > self.max_request_bytes:
            raise ValueError("max_photo_bytes is more than max_request_bytes")
        if self.max_files > self.queue_length:
            raise ValueError("max_files is more than queue_length, so such a request would never be accepted")
        if self.broker is not None and self.hide is not None and self.hide != HideStyle(what=self.hide.what):
            raise ValueError("the workers hide what --hide names: say how with `carclf worker --way` and its like")
        for proxy in self.proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                raise ValueError(f"the proxy '{proxy}' is no address and no network such as 10.0.0.0/8") from None
        if self.api_key is not None:
            check_api_key(self.api_key.get_secret_value(), "the API key")
        return self

    @classmethod
    def of(cls, **values) -> ServiceSettings:
        """Raises `UsageError` with one sentence; the values of secrets are not in it."""
        try:
            return cls(**values)
        except ValidationError as error:
            complaint = first_complaint(error)
            where = f"{complaint.key}: " if complaint.key else ""
            raise UsageError(f"The service can't run with these settings: {where}{complaint.text}.") from None


def check_api_key(key: str, what: str) -> str:
    """Raises ValueError for a key that no HTTP header can carry."""
    if not key or any(not "!" <= letter <= "~" for letter in key):
        raise ValueError(f"{what} must be of visible ASCII letters, at least one, without spaces")
    return key


def find_api_key(file: Path | None = None) -> SecretStr | None:
    """The key in the file, or in the environment variable `CARCLF_API_KEY`; None when neither is given.

    An empty file is an error, since somebody meant to close the service; an empty variable counts as none, as it is how
    container set-ups leave one out. Raises `UsageError`.
    """
    if file is None:
        key, what = os.environ.get(API_KEY_VARIABLE, "").strip(), f"the API key in {API_KEY_VARIABLE}"
        if not key:
            return None
    else:
        try:
            key, what = file.read_text(encoding="utf-8").strip(), f"the API key in '{file}'"
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise UsageError(f"The API key can't be read from '{file}': {why}.") from error
    try:
        return SecretStr(check_api_key(key, what))
    except ValueError as error:
        raise UsageError(f"{str(error)[0].upper()}{str(error)[1:]}.") from error
