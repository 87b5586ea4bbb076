"""Runs the cases of faults that people reported, and says how many hold.

    python -m benchmarks.fault_cases [NAME ...] [--cases FOLDER]

FOLDER (default: ../shared/cases) holds a folder per case: a cmd.sh, its files and an expected.txt. A case runs in a
copy of it. Exit code 1 when one does not hold; a case that can't be run here (no RabbitMQ, no rights) says why.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.fault_cases import brokers, photos, service, training  # noqa: F401 (they register their checks)
from benchmarks.fault_cases.case import CHECKS, ROOT, Broken, Case, Skipped


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases, by name; default: all")
    parser.add_argument("--cases", type=Path, default=ROOT.parent / "shared" / "cases", help="the folder of cases")
    arguments = parser.parse_args()
    if not arguments.cases.is_dir():
        print(f"There is no folder {arguments.cases}: name the folder of cases with --cases.")
        return 2
    there = sorted(path.name for path in arguments.cases.iterdir() if (path / "cmd.sh").is_file())
    unknown = [name for name in arguments.names if name not in there]
    if unknown:
        print(f"There is no case {', '.join(unknown)} in {arguments.cases}.")
        return 2
    count = {"holds": 0, "BROKEN": 0, "skipped": 0}
    for name in arguments.names or there:
        start = time.monotonic()
        word, why = _try(name, arguments.cases / name)
        count[word] += 1
        print(f"{word:8} {name:26} {time.monotonic() - start:6.1f} s  {why}", flush=True)
    print(f"{count['holds']} of {sum(count.values())} cases hold, {count['skipped']} can't be run here.")
    return 1 if count["BROKEN"] else 0


def _try(name: str, source: Path) -> tuple[str, str]:
    if name not in CHECKS:
        return "skipped", "no check is written for it"
    with tempfile.TemporaryDirectory(prefix="carclf-case-", ignore_cleanup_errors=True) as work:
        try:
            CHECKS[name](Case(source, Path(work)))
        except Skipped as skipped:
            return "skipped", str(skipped)
        except (Broken, OSError, ValueError, LookupError, subprocess.SubprocessError) as broken:
            return "BROKEN", " ".join(str(broken).split()) or repr(broken)
    return "holds", ""


if __name__ == "__main__":
    sys.exit(main())
