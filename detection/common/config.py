"""Typed configs: a YAML file, then `key=value` overrides, checked by a pydantic model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo

from detection.common.errors import UsageError
from detection.common.files import expand_home, replace_file, user_path
from detection.common.places.address import scheme_of, without_secrets

Config = TypeVar("Config", bound=BaseModel)


class StrictConfig(BaseModel):
    """Base of every config: frozen, and a key that it does not know is an error.

    `~` at the start of a text, and of each path in a list of paths, is the home folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _expand_home(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {key: _at_home(value, cls.model_fields.get(key)) for key, value in values.items()}


def _at_home(value: Any, field: FieldInfo | None) -> Any:
    if isinstance(value, str):
        return expand_home(value)
    if isinstance(value, Path):
        return value if scheme_of(str(value)) else user_path(value)  # an address is opened by who reads it
    if isinstance(value, list | tuple) and field is not None and "Path" in str(field.annotation):
        return [_at_home(one, None) for one in value]
    return value


def read_config(schema: type[Config], path: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Merges schema defaults < the file's `base` < YAML file < `key=value` overrides (dots reach into nested keys).

    base: a key of the file that names another one, relative to it or shipped (`read_values`). In a list, a key is the
    `name` of an item or its number from 0, and `null` drops the item: `stages.head.epochs=2`, `stages.0.epochs=2`,
    `stages.half=null`.
    Raises `UsageError` with one sentence for a missing file, bad YAML, an unknown key or a wrong value.
    """
    # Here and not above: what only needs a `StrictConfig` reads no YAML.
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    values = {} if path is None else read_values(shipped_path(Path(path)))
    try:
        for override in overrides:
            if "=" not in override:
                raise UsageError(f"'{override}' is not a setting: write key=value, for example seed=1.")
        settings = OmegaConf.to_container(OmegaConf.from_dotlist(list(overrides)))
        plain = OmegaConf.to_container(OmegaConf.create(_overridden(values, settings)), resolve=True)
    except OmegaConfBaseException as error:
        raise UsageError(f"The settings can't be merged: {str(error).splitlines()[0]}.") from error
    return check_config(schema, plain, path)


def check_config(schema: type[Config], values: object, path: str | Path | None = None) -> Config:
    """A config made of plain values. Raises `UsageError` with one sentence, which names `path` where there is one."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        complaint = first_complaint(error)
        key = complaint.key or "the settings"
        where = f" in '{path}'" if path is not None else ""
        if complaint.kind == "extra_forbidden":
            known = ", ".join(schema.model_fields)
            raise UsageError(f"Unknown setting '{key}'{where}: known at the top are {known}.") from error
        if complaint.kind == "missing":
            raise UsageError(f"The setting '{key}'{where} is missing: add it, or pass {key}=VALUE.") from error
        raise UsageError(f"The setting '{key}'{where} {complaint.wrong}.") from error


@dataclass(frozen=True)
class Complaint:
    """One thing that pydantic finds wrong.

    key: where, with dots; empty for the whole. kind: pydantic's name for it. text: a sentence without its full stop and
    without the value that was given, which may be a secret.
    """

    key: str
    kind: str
    text: str
    given: object = field(repr=False)

    @property
    def wrong(self) -> str:
        return f"is wrong: {self.text[0].lower()}{self.text[1:]} (given: {without_secrets(repr(self.given))})"


def first_complaint(error: ValidationError) -> Complaint:
    """What pydantic says first, for a sentence about it."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    text = first["msg"].removeprefix("Value error, ").rstrip(".")
    return Complaint(key, first["type"], text, first.get("input"))


def write_config(config: BaseModel, path: str | Path) -> None:
    """Saves a resolved config as YAML that `read_config` reads back to an equal value."""
    import yaml

    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    replace_file(Path(path), text.encode("utf-8"))


def shipped_path(path: Path) -> Path:
    """`configs/train/quick.yaml` means the shipped file, from whatever folder and from an installed copy too.

    `~` is the home folder.
    """
    path = user_path(path)
    if path.exists() or path.parts[:1] != ("configs",):
        return path
    package = Path(__file__).parents[1]
    homes = (package.parent / "configs", package / "configs")
    return next((file for home in homes if (file := home.joinpath(*path.parts[1:])).is_file()), path)


def read_values(path: Path) -> dict[str, Any]:
    """The plain values of a YAML file over those of the file that its key `base` names, `${...}` as they stand.

    base: a path relative to the file that names it, or of a shipped file (configs/...); that file may name one too.
    Mappings are merged key by key, all else is replaced, a list as a whole. Raises `UsageError` with one sentence for a
    file that is missing or no YAML, and for files that are each other's base.
    """
    layers: list[dict[str, Any]] = []
    seen: list[Path] = []
    following: Path | None = path
    while following is not None:
        seen.append(following.resolve())
        values = _read_yaml(following)
        base = values.pop("base", None)
        layers.append(values)
        following = None if base is None else _find_base(base, following)
        if following is not None and following.resolve() in seen:
            raise UsageError(f"The config file '{path}' has itself as base, by way of '{base}': leave out one `base`.")
    merged: dict[str, Any] = {}
    for values in reversed(layers):
        merged = _merge(merged, values)
    return merged


def _find_base(base: object, path: Path) -> Path:
    if not isinstance(base, str) or not base:
        raise UsageError(f"The setting 'base' in '{path}' is wrong: it names another config file (given: {base!r}).")
    found = path.parent / expand_home(base)
    if not found.is_file():
        found = shipped_path(Path(base))
    if not found.is_file():
        raise UsageError(
            f"There is no config file '{base}', which '{path}' names as its base: write a path relative to that file."
        )
    return found


def _overridden(value: Any, change: Any, key: str = "") -> Any:
    """A value of a file with that of overrides over it; see `read_config`."""
    if not isinstance(change, dict):
        return change
    if isinstance(value, dict):
        within = {name: _overridden(value.get(name), one, f"{key}.{name}" if key else name)
                  for name, one in change.items()}  # fmt: skip
        return value | within
    if not isinstance(value, list):
        return change
    items: list[Any] = list(value)
    names = [str(item["name"]) if isinstance(item, dict) and "name" in item else None for item in items]
    dropped = set()
    for name, one in change.items():
        name = str(name)
        if name in names:
            number = names.index(name)
        elif name.isdecimal() and int(name) < len(items):
            number = int(name)
        else:
            known = ", ".join(str(number) if own is None else own for number, own in enumerate(names))
            raise UsageError(f"There is no '{name}' in '{key}': known there are {known or 'none'}.")
        items[number] = _overridden(items[number], one, f"{key}.{name}")
        if one is None:
            dropped.add(number)
    return [item for number, item in enumerate(items) if number not in dropped]


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        before = merged.get(key)
        merged[key] = _merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    if not path.is_file():
        raise UsageError(f"There is no config file '{path}': check the path; the shipped ones are under configs/.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = str(error)
        hint = " (a path with backslashes stands in single quotes)" if "escape character" in said else ""
        raise UsageError(f"The config file '{path}' is not valid YAML: {said.splitlines()[0]}{hint}.") from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise UsageError(f"The config file '{path}' must hold 'key: value' lines, not a {type(values).__name__}.")
    return values
