"""What a folder run would do, without a detector and without touching anything."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from detection.common.files.sorted_names import without
from detection.common.tally import counted
from detection.cutout.cut import CutoutStyle
from detection.folder.options import CleanOptions
from detection.folder.out.folder import check_output, remaining
from detection.folder.out.journal import Journal
from detection.folder.out.manifest import FAILED
from detection.folder.plan import Plan, at_hand, plan_folder, read_settings, settings_of

_SHOWN = 10


@dataclass(frozen=True)
class DryRun:
    """`todo` are the photos that would be done, `earlier` how many rows would stay, `failed` of these are failures."""

    plan: Plan
    todo: Sequence[str]
    earlier: int
    failed: int

    def __str__(self) -> str:
        plan, options, total = self.plan, self.plan.options, len(self.plan.sources)
        shard = "" if options.shard.whole else f" of shard {options.shard}"
        failed = f" ({self.failed} failed)" if self.failed else ""
        quality = "" if plan.suffix == ".png" else f", quality {options.quality}"
        size = "" if options.max_size is None else f", at most {options.max_size} pixels per side"
        lines = [
            f"{counted(total, 'photo')} in '{plan.source}'{shard}: {len(self.todo)} to do, "
            f"{self.earlier} done earlier{failed}.",
            f"Would go to '{plan.results}' as {plan.suffix[1:]}{quality}{size}; nothing was written.",
        ]
        rank = 1 if options.all_vehicles else None
        lines += list(plan.found.notes)
        clashing = {source: clash for source, clash in plan.clashes.items() if source in self.todo}
        lines += sorted({clash.reason for clash in clashing.values()})
        free = (source for source in self.todo if source not in clashing)
        lines += [f"  {source} -> {plan.target(source, rank)}" for source in islice(free, _SHOWN)]
        more = len(self.todo) - len(clashing) - _SHOWN
        if more > 0:
            lines.append(f"  ... and {more} more")
        return "\n".join(lines)


def dry_run(source: Path, output: Path, style: CutoutStyle, options: CleanOptions) -> DryRun:
    """Checks all that can be checked without the detector. Raises `UsageError` as the run itself would."""
    with at_hand(plan_folder(source, output, style, options)) as plan:
        return _look(plan)


def _look(plan: Plan) -> DryRun:
    options = plan.options
    file = plan.output / "settings.json"
    before = read_settings(file, plan.output) if file.is_file() and not options.restart else {}
    # Which detector it will be, and which kinds it takes, is only known when it is loaded: taken to be the same.
    if options.kinds is None and before.get("only"):
        plan = replace(plan, options=options.model_copy(update={"kinds": tuple(before["only"])}))
    check_output(plan, settings_of(plan, before.get("detector", ""), before.get("fingerprint", "")))
    if options.restart:
        return DryRun(plan, plan.sources, 0, 0)
    with closing(Journal(plan.output / options.shard.file("journal.jsonl"), read_only=True)) as journal:
        todo = remaining(plan, journal)
        failed = sum(record.status in FAILED for record in journal.records(without(plan.sources, todo)))
    return DryRun(plan, todo, len(plan.sources) - len(todo), failed)
