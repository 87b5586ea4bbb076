"""Handing out work to the workers of a cluster, and finding out which photo kills them.

Few small batches are on their way to each worker, so the driver knows what was in the air when one died. All of that is
tried again one by one, each alone in its worker; what kills a worker then, and once more, has its answer. Ray's own
ways (restarts of an actor, Ray Data's blocks) start the same batch again without end.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from detection.cluster.connect import Cluster
from detection.cluster.work import Batch, Done, Hello, Work, Worker
from detection.common.console import say
from detection.common.errors import UsageError
from detection.version import __version__

Item = TypeVar("Item")
KILLED = "killed its worker"
_DEATHS = 2  # of workers that had this photo alone
_STARTS = 3  # workers that end before they have done anything, one after another
_BATCHES = 2  # on their way to each worker
_CORES = 4
_LOOK = 5.0  # seconds between two looks at the size of the cluster
_TELL = 30.0


@dataclass
class _Member:
    """One worker. tasks: the numbers of the items that each call of it was given. alone: it gets suspects only."""

    actor: Any
    node: str = ""
    ready: bool = False
    alone: bool = False
    tasks: dict[Any, list[int]] = field(default_factory=dict)


class Crew:
    """The workers of one run, each with a GPU where there are any. A context manager, that ends them."""

    def __init__(self, ray: Any, work: Work, cluster: Cluster):
        self._ray, self._work, self._cluster = ray, ray.put(work), cluster
        nodes = self._nodes()
        self._gpus = int(cluster.gpu and any(node.get("GPU", 0) >= 1 for node in nodes.values()))
        most = max((int(node.get("CPU", 0)) for node in nodes.values()), default=0)
        self._cores = cluster.cores or max(1, min(_CORES, most))
        self.batch = 64 if self._gpus else 16
        self._actor = ray.remote(
            num_cpus=self._cores, num_gpus=self._gpus, max_restarts=0, max_task_retries=0, max_concurrency=_BATCHES
        )(Worker)
        self._members: list[_Member] = []
        self._calls: dict[Any, _Member] = {}
        self._next_look = self._told = 0.0
        self._failed = 0
        self.lost = 0  # workers that ended before their work did
        self.facts: Any = None

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members:
            self._ray.kill(member.actor, no_restart=True)
        self._members.clear()
        self._calls.clear()

    def load(self) -> Any:
        """What the first worker says of its models. Raises `UsageError` when they can't be loaded."""
        self._told = time.monotonic()
        while self.facts is None:
            self._grow()
            for call in self._wait():
                member = self._calls.pop(call)
                try:
                    self._greet(member, self._ray.get(call))
                except self._ray.exceptions.RayError as error:
                    self._lose(member, error)
        return self.facts

    def run(
        self,
        items: Iterable[Item],
        order: Any,
        killed: Callable[[Item], Any],
        *,
        total: int | None = None,
        ordered: bool = False,
    ) -> Iterator[tuple[Item, Any]]:
        """Each item with its result, as they come, or `ordered` as the items are. In memory are those on their way.

        order: for `Work.begin`. total: how many items there are, if that is known. killed: the result of an item that
        kills its worker. Raises what a worker can't go on after, as `Fault.error` does.
        """
        flow = _Flow(items, killed, total, ordered)
        while True:
            self._grow()
            for member in self._members:
                self._feed(member, flow, order)
            yield from flow.finished()
            if flow.empty:
                return
            for call in self._wait():
                member = self._calls.pop(call)
                numbers = member.tasks.pop(call, [])
                try:
                    answer = self._ray.get(call)
                except self._ray.exceptions.RayTaskError:
                    raise
                except self._ray.exceptions.RayError as error:
                    if numbers:
                        member.tasks[call] = numbers
                    flow.suspect(self._lose(member, error), self._by_itself(member, error))
                    continue
                if isinstance(answer, Hello):
                    self._greet(member, answer)
                    continue
                self._failed = 0
                flow.take(numbers, answer)
                if answer.fault is not None:
                    yield from flow.finished()
                    raise answer.fault.error()

    def _feed(self, member: _Member, flow: _Flow, order: Any) -> None:
        if not member.ready:
            return
        if flow.suspects and not any(one.alone for one in self._members):
            member.alone = True
        if member.alone and not member.tasks and flow.suspects:
            self._call(member, flow, order, [flow.suspects.popleft()])
        member.alone = member.alone and bool(flow.suspects or member.tasks)
        if member.alone:
            return
        while len(member.tasks) < _BATCHES:
            numbers = flow.more(self.batch, _BATCHES * len(self._members))
            if not numbers:
                return
            self._call(member, flow, order, numbers)

    def _call(self, member: _Member, flow: _Flow, order: Any, numbers: list[int]) -> None:
        call = member.actor.do.remote(order, Batch([flow.items[number] for number in numbers]))
        member.tasks[call] = numbers
        self._calls[call] = member

    def _wait(self) -> list[Any]:
        if not self._calls:
            time.sleep(0.1)
            return []
        done, _ = self._ray.wait(list(self._calls), timeout=1.0)
        return done

    def _greet(self, member: _Member, hello: Hello) -> None:
        if hello.version != __version__:
            raise UsageError(
                f"A worker runs carclf {hello.version}, and this is {__version__}: install the same on all machines."
            )
        if hello.fault is not None:
            raise UsageError(f"A worker can't begin: {hello.fault.text}") from hello.fault.error()
        if self.facts is None:
            self.facts = hello.facts
        elif self.facts != hello.facts:
            raise UsageError(
                "The workers have different models, or compute differently (GPU and CPU): make the machines alike, or "
                "choose --device and --runtime."
            )
        member.node, member.ready = hello.node, True

    def _lose(self, member: _Member, error: Exception) -> list[int]:
        """The numbers of what was in the air. Raises `UsageError` when no worker can begin."""
        self.lost += 1
        self._members.remove(member)
        self._next_look = 0.0
        for call in [call for call, one in self._calls.items() if one is member]:
            del self._calls[call]
        self._ray.kill(member.actor, no_restart=True)
        if not member.ready and "its node has died" not in str(error):  # a machine that goes away is no worker's fault
            self._failed += 1
            if self._failed >= _STARTS:
                lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                raise UsageError(
                    f"{_STARTS} workers ended before they could begin ({lines[-1][:300] if lines else error}): install "
                    "carclf on all machines, and see that their memory is enough."
                )
        return sorted(number for numbers in member.tasks.values() for number in numbers)

    def _by_itself(self, member: _Member, error: Exception) -> bool:
        """Whether a worker died while its machine lived on: only then a photo may have killed it."""
        return "node" not in str(error).partition("\n")[0] and member.node in self._nodes()

    def _nodes(self) -> dict[str, dict[str, float]]:
        """The resources of each machine that lives."""
        return {node["NodeID"]: node.get("Resources", {}) for node in self._ray.nodes() if node["Alive"]}

    def _grow(self) -> None:
        """Starts workers where there is room for more: at first, for those that were lost, on machines that came."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _LOOK
            for _ in range(self._wanted() - len(self._members)):
                member = _Member(self._actor.remote(self._work, self._cores))
                self._members.append(member)
                self._calls[member.actor.hello.remote()] = member
        if any(member.ready for member in self._members):
            self._told = now
        elif now - self._told >= _TELL:
            self._told = now
            gpu = " and a GPU" if self._gpus else ""
            say(f"No worker has begun yet: the cluster needs room for one, {self._cores} cores{gpu}.")

    def _wanted(self) -> int:
        if self._cluster.workers is not None:  # more than fit now: a cluster that scales sees that they wait
            return self._cluster.workers
        fitting = 0
        for node in self._nodes().values():
            rooms = [int(node.get("CPU", 0) // self._cores)]
            rooms += [int(node.get("GPU", 0))] if self._gpus else []
            fitting += min(rooms)
        return max(1, fitting)


class _Flow:
    """Items on their way, by number. suspects: those that were in the air when a worker died."""

    def __init__(self, items: Iterable[Any], killed: Callable[[Any], Any], total: int | None, ordered: bool):
        self._source, self._killed, self._total, self._ordered = iter(items), killed, total, ordered
        self.items: dict[int, Any] = {}
        self._results: dict[int, Any] = {}
        self.suspects: deque[int] = deque()
        self._alone: set[int] = set()
        self._deaths: Counter[int] = Counter()
        self._taken = self._given = 0
        self._dry = False

    @property
    def empty(self) -> bool:
        return self._dry and not self.items

    def more(self, batch: int, batches: int) -> list[int]:
        """The numbers of the next items, [] where there are none or too many wait for an earlier one."""
        numbers: list[int] = []
        limit = 4 * batch * batches
        if self._total is not None:  # the last ones are small, so that all workers end at about the same time
            batch = min(batch, max(1, (self._total - self._taken) // (2 * batches)))
        while len(numbers) < batch and not self._dry and not (self._ordered and self._taken - self._given >= limit):
            try:
                self.items[self._taken] = next(self._source)
            except StopIteration:
                self._dry = True
                break
            numbers.append(self._taken)
            self._taken += 1
        return numbers

    def take(self, numbers: list[int], done: Done) -> None:
        for place, result in done.results:
            self._results[numbers[place]] = result
        missing = len(numbers) - len(done.results)
        if missing and done.fault is None:
            raise RuntimeError(f"a worker gave no result for {missing} of {len(numbers)} photos")

    def suspect(self, numbers: list[int], by_itself: bool) -> None:
        """Tries these again, one by one; of one that was alone it is known who killed the worker."""
        if by_itself and len(numbers) == 1 and numbers[0] in self._alone:
            self._deaths[numbers[0]] += 1
        for number in reversed(numbers):
            if self._deaths[number] >= _DEATHS:
                self._results[number] = self._killed(self.items[number])
            else:
                self._alone.add(number)
                self.suspects.appendleft(number)

    def finished(self) -> Iterator[tuple[Any, Any]]:
        if self._ordered:
            while self._given in self._results:
                yield self._leave(self._given)
                self._given += 1
            return
        for number in list(self._results):
            yield self._leave(number)

    def _leave(self, number: int) -> tuple[Any, Any]:
        self._alone.discard(number)
        self._deaths.pop(number, None)
        return self.items.pop(number), self._results.pop(number)
