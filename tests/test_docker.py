"""The Docker files, without Docker: they are parsed, and what they name must exist here.

Whether an image builds is not tested: that needs a Docker daemon and some gigabytes.
"""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILES = ("Dockerfile", "Dockerfile.gpu")
COMPOSE = "compose.yaml"


@dataclass
class Stage:
    """From one FROM to the next."""

    base: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [value for name, value in self.instructions if name == instruction]

    def last(self, instruction: str) -> str:
        found = self.all(instruction)
        assert found, f"no {instruction} in the stage from {self.base}"
        return found[-1]

    def environment(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for value in self.all("ENV") for pair in shlex.split(value))


def parse(text: str) -> list[Stage]:
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    stages = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if not line.strip():
            continue
        name, value = line.split(maxsplit=1)
        if name == "FROM":
            base, *rest = value.split()
            stages.append(Stage(base, rest[1] if rest else ""))
            assert not rest or rest[0] == "AS"
        else:
            assert name.isupper() and stages, f"not understood: {line}"
            stages[-1].instructions.append((name, value.strip()))
    return stages


def pinned(image: str) -> bool:
    """Whether its tag names a release down to the last number."""
    return re.search(r":v?\d+\.\d+\.\d+", image) is not None


def carclf(arguments: list[str]):
    """What the command makes of its arguments, without doing it. Raises what ends a command with exit code 2."""
    import typer

    from carclf.cli import app

    group = typer.main.get_command(app)
    name, *rest = arguments
    assert name in group.commands, f"there is no command carclf {name}"
    return group.commands[name].make_context(name, list(rest))


@pytest.fixture(params=DOCKERFILES)
def stages(request) -> list[Stage]:
    return parse((ROOT / request.param).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def services() -> dict[str, dict]:
    return yaml.safe_load((ROOT / COMPOSE).read_text(encoding="utf-8"))["services"]


@pytest.fixture(scope="module")
def ours(services) -> dict[str, dict]:
    """Those that run carclf."""
    return {name: service for name, service in services.items() if "build" in service}


@pytest.mark.parametrize("image", ["python", "python:latest", "python:3.12-slim", "python:slim", "rabbitmq:4"])
def test_what_counts_as_pinned(image):
    assert not pinned(image)
    assert pinned("python:3.12.11-slim-bookworm")


@pytest.mark.parametrize("arguments", [["serve", "--no-such"], ["worker", "extra"], ["serve", "--port", "high"]])
def test_what_counts_as_a_wrong_command(arguments):
    with pytest.raises(Exception) as caught:
        carclf(arguments)
    assert caught.value.exit_code == 2


def test_images_come_from_a_pinned_release(stages):
    names = [stage.name for stage in stages]
    for number, stage in enumerate(stages):
        assert stage.base in names[:number] or pinned(stage.base), stage.base


def test_what_is_copied_exists_and_reaches_docker(stages):
    names = {stage.name for stage in stages}
    for stage in stages:
        for value in stage.all("COPY"):
            *sources, _ = [part for part in value.split() if not part.startswith("--")]
            if origin := re.search(r"--from=(\S+)", value):
                assert origin[1] in names
                continue
            for source in sources:
                assert (ROOT / source).exists(), source
                assert not ignored(source), f".dockerignore keeps {source} from Docker"


def test_docker_gets_no_data_and_no_secrets():
    assert all(ignored(path) for path in ("data/photos", ".git", ".env", ".venv", "runs", "tests", "shared"))


def test_the_image_does_not_run_as_root(stages):
    final = stages[-1]
    user = final.last("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "a number, so that Kubernetes can tell that it is not root"
    assert any(f"--uid {user.split(':')[0]} " in command for command in final.all("RUN"))
    names = [name for name, _ in final.instructions]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert "RUN" not in names[names.index("USER") :]


def test_the_command_of_the_image_exists(stages):
    final = stages[-1]
    assert json.loads(final.last("ENTRYPOINT")) == ["carclf"]
    context = carclf(json.loads(final.last("CMD")))
    assert context.params["host"] == "0.0.0.0"
    assert str(context.params["port"]) == final.last("EXPOSE")


def test_the_health_check_asks_the_service(stages):
    pytest.importorskip("fastapi")
    from carclf.service.metrics import Metrics
    from carclf.service.settings import ServiceSettings
    from carclf.service.web.app import create_app
    from tests.carclf.service.stand_ins import make_local

    final = stages[-1]
    command = json.loads(final.last("HEALTHCHECK").split(" CMD ")[1])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "HEALTHCHECK", "exec")
    port, path = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", command[2]).groups()
    assert port == final.last("EXPOSE")
    settings, metrics = ServiceSettings(), Metrics()
    assert path in create_app(make_local(settings), settings, metrics).openapi()["paths"]


def test_python_finds_what_was_installed(stages):
    final = stages[-1]
    installing = [value for stage in stages for value in stage.all("RUN") if "--prefix=" in value]
    assert len(installing) == 1
    prefix = re.search(r"--prefix=(\S+)", installing[0])[1]
    assert f"--from=carclf {prefix} {prefix}" in final.all("COPY")
    text = "\n".join([stages[0].base, *(value for stage in stages for value in stage.all("RUN"))])
    version = re.search(r"python:?(3\.\d+)", text)[1]
    environment = final.environment()
    assert environment["PYTHONPATH"] == f"{prefix}/lib/python{version}/site-packages"
    assert environment["PATH"].split(":")[:2] == [f"{prefix}/bin", "/opt/venv/bin"]


def test_the_scripts_that_build_take_their_options(stages):
    for stage in stages:
        for command in stage.all("RUN"):
            if script := re.search(r"/build/(scripts/\S+\.py)((?: --\S+)*)", command):
                usage = subprocess.run([sys.executable, ROOT / script[1], "--help"], capture_output=True, text=True)
                assert usage.returncode == 0
                assert all(option in usage.stdout for option in script[2].split())


def test_torch_is_pinned_in_the_image_that_trains_and_in_no_other():
    from packaging.requirements import Requirement

    light, full = (
        [value for stage in parse((ROOT / name).read_text(encoding="utf-8")) for value in stage.all("ARG")]
        for name in DOCKERFILES
    )
    assert not light
    wanted = {Requirement(text).name: Requirement(text).specifier for text in package().extras_require["train"]}
    assert len(set(full)) == 2
    for value in full:
        name, version = value.split("=")
        assert wanted[name.lower()].contains(version)


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / "docker" / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_the_packages_are_pinned_and_are_those_that_setup_asks_for():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    light, train = pins("requirements.txt"), pins("requirements-train.txt")
    assert not light.keys() & train.keys()
    assert not {"torch", "timm", "albumentations", "scipy", "matplotlib"} & light.keys()
    ours = package()
    for texts, known in ((ours.install_requires, light), (ours.extras_require["train"], light | train)):
        for text in texts:
            wanted = Requirement(text)
            if wanted.name in ("torch", "torchvision"):
                continue
            pin = known.get(canonicalize_name(wanted.name))
            assert pin and wanted.specifier.contains(pin), f"{text}: run docker/pin.py"


def test_what_the_image_leaves_out_is_what_its_size_leaves_out():
    """Of the light image; without a Docker daemon its size is a sum."""
    from benchmarks.install_size import LEFT_OUT

    (command,) = [
        value for stage in parse((ROOT / "Dockerfile").read_text()) for value in stage.all("RUN") if "rm -r" in value
    ]
    removed = re.findall(r"/site-packages/(\S+)", command)
    assert tuple(removed) == LEFT_OUT


def test_every_service_is_pinned_bounded_and_watched(services):
    assert {"web", "worker", "rabbitmq"} <= set(services)
    for name, service in services.items():
        assert pinned(service["image"]), name
        assert service["mem_limit"], name
        assert service["restart"] == "unless-stopped", "a worker that a photo has killed must come back"
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not service.get("privileged"), name
        assert service.get("user", "") not in ("root", "0"), name
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in services[other]


def test_our_services_can_write_nothing_but_temporary_files(ours):
    assert set(ours) >= {"web", "worker"}
    for name, service in ours.items():
        assert service["read_only"] is True, name
        assert service["tmpfs"][0].startswith("/tmp"), name
        assert "volumes" not in service, name


def test_the_commands_of_the_services_exist(ours):
    from detection.version import __version__

    for service in ours.values():
        carclf(service["command"])
        build = service["build"]
        file = "Dockerfile" if isinstance(build, str) else build["dockerfile"]
        assert file in DOCKERFILES
        assert service["image"].startswith(f"carclf:{__version__}")


def test_the_web_listens_where_it_is_published(ours):
    context = carclf(ours["web"]["command"])
    assert context.params["host"] == "0.0.0.0"
    (published,) = ours["web"]["ports"]
    assert published.rsplit(":", 1)[1] == str(context.params["port"])
    assert ":-127.0.0.1}" in published, "only this machine, unless somebody decides otherwise"


def test_workers_are_watched_by_the_file_that_they_touch(ours):
    workers = [service for service in ours.values() if service["command"][0] == "worker"]
    assert len(workers) == 2
    for service in workers:
        alive = carclf(service["command"]).params["alive"]
        test = service["healthcheck"]["test"]
        assert test[:3] == ["CMD", "python", "-c"]
        compile(test[3], "healthcheck", "exec")
        assert f"'{alive}'" in test[3]
        assert service["tmpfs"][0].startswith(str(Path(alive).parent))


def test_the_health_check_of_a_worker_tells_dead_from_alive(ours, tmp_path):
    import os
    import time

    code = ours["worker"]["healthcheck"]["test"][3].replace("/tmp/alive", str(tmp_path / "alive"))

    def healthy() -> bool:
        return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0

    assert not healthy()
    (tmp_path / "alive").touch()
    assert healthy()
    os.utime(tmp_path / "alive", (time.time() - 300,) * 2)
    assert not healthy()


def test_the_variables_are_known(services, ours):
    import typer

    from carclf.cli import app
    from carclf.service.settings import API_KEY_VARIABLE

    commands = typer.main.get_command(app).commands
    for name, service in ours.items():
        known = {parameter.envvar for parameter in commands[service["command"][0]].params} | {API_KEY_VARIABLE}
        assert set(service["environment"]) <= known, name
    password = "${CARCLF_RABBITMQ_PASSWORD:?"
    assert password in services["rabbitmq"]["environment"]["RABBITMQ_DEFAULT_PASS"], "no password that all know"
    for service in ours.values():
        url = service["environment"]["CARCLF_BROKER"]
        assert password in url
        user = services["rabbitmq"]["environment"]["RABBITMQ_DEFAULT_USER"]
        assert url.startswith(f"amqp://{user}:") and url.endswith("@rabbitmq:5672/")
    text = (ROOT / COMPOSE).read_text(encoding="utf-8")
    docs = (ROOT / "docs" / "queue.md").read_text(encoding="utf-8")
    for variable in set(re.findall(r"\$\{(\w+)", text)):
        assert variable in docs, f"docs/queue.md does not say what {variable} is"


def test_volumes_are_declared(services):
    compose = yaml.safe_load((ROOT / COMPOSE).read_text(encoding="utf-8"))
    for service in services.values():
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"]


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps it out: the last pattern that fits it, or a folder above it, decides."""
    lines = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.strip()]
    out = False
    parents = [path, *(str(parent) for parent in Path(path).parents if str(parent) != ".")]
    for line in lines:
        if line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        if any(fnmatch.fnmatch(one, pattern) for one in parents):
            out = not line.startswith("!")
    return out


def package():
    """What setup.py says."""
    import os

    import setuptools  # noqa: F401 - first: it brings a distutils of its own, whose run_setup knows its setup()

    before = os.getcwd()
    from distutils.core import run_setup

    os.chdir(ROOT)
    try:
        return run_setup("setup.py", stop_after="init")
    finally:
        os.chdir(before)
