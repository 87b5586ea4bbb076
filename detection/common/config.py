"""Typed configs: a YAML file, then `key=value` overrides, checked by a pydantic model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, ValidationError

from detection.common.errors import UsageError
from detection.common.files import replace_file

Config = TypeVar("Config", bound=BaseModel)


class StrictConfig(BaseModel):
    """Base of every config: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read_config(schema: type[Config], path: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Merges schema defaults < YAML file < `key=value` overrides (dots reach into nested keys).

    Raises `UsageError` with one sentence for a missing file, bad YAML, an unknown key or a wrong value.
    """
    merged = OmegaConf.create()
    if path is not None:
        merged = _read_yaml(shipped_path(Path(path)))
    try:
        for override in overrides:
            if "=" not in override:
                raise UsageError(f"'{override}' is not a setting: write key=value, for example seed=1.")
        settings = OmegaConf.merge(merged, OmegaConf.from_dotlist(list(overrides)))
        values = OmegaConf.to_container(settings, resolve=True)
    except OmegaConfBaseException as error:
        raise UsageError(f"The settings can't be merged: {str(error).splitlines()[0]}.") from error
    return check_config(schema, values, path)


def check_config(schema: type[Config], values: object, path: str | Path | None = None) -> Config:
    """A config made of plain values. Raises `UsageError` with one sentence, which names `path` where there is one."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise UsageError(_sentence(error, schema, path)) from error


def write_config(config: BaseModel, path: str | Path) -> None:
    """Saves a resolved config as YAML that `read_config` reads back to an equal value."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    replace_file(Path(path), text.encode("utf-8"))


def shipped_path(path: Path) -> Path:
    """`configs/train/quick.yaml` means the shipped file, from whatever folder and from an installed copy too."""
    if path.exists() or path.parts[:1] != ("configs",):
        return path
    package = Path(__file__).parents[1]
    homes = (package.parent / "configs", package / "configs")
    return next((file for home in homes if (file := home.joinpath(*path.parts[1:])).is_file()), path)


def _read_yaml(path: Path) -> DictConfig:
    if not path.is_file():
        raise UsageError(f"There is no config file '{path}': check the path; the shipped ones are under configs/.")
    try:
        # The safe loader first: OmegaConf's own accepts no tags either, but this keeps the promise visible.
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"The config file '{path}' is not valid YAML: {str(error).splitlines()[0]}.") from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise UsageError(f"The config file '{path}' must hold 'key: value' lines, not a {type(values).__name__}.")
    return OmegaConf.create(values)


def _sentence(error: ValidationError, schema: type[BaseModel], path: str | Path | None) -> str:
    """Turns the first complaint of pydantic into one sentence."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "the settings"
    where = f" in '{path}'" if path is not None else ""
    if first["type"] == "extra_forbidden":
        return f"Unknown setting '{key}'{where}: known at the top are {', '.join(schema.model_fields)}."
    if first["type"] == "missing":
        return f"The setting '{key}'{where} is missing: add it, or pass {key}=VALUE."
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    return f"The setting '{key}'{where} is wrong: {message[0].lower() + message[1:]} (given: {first.get('input')!r})."
