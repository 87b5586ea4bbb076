"""Makes docs/notebooks/*.ipynb from the .py files beside them, and runs each one on drawn data.

python scripts/make_notebooks.py [NAME ...] [--check]

Needs `pip install ".[train,notebooks]"`. --check runs nothing: it names the notebooks whose cells are not those of
their source, and exits 1 if there are any.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "notebooks"
CELL_SECONDS = 600
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def read_source(path: Path) -> Any:
    """The notebook that a source in the percent format stands for, without outputs."""
    import jupytext

    notebook = jupytext.read(path, fmt="py:percent")
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number}"  # else a random one, and every run would change the file
    notebook.metadata = type(notebook.metadata)(kernelspec=KERNEL, language_info={"name": "python"})
    return notebook


def run_notebook(source: Path, folder: Path, parameters: str = "") -> Any:
    """The notebook of `source` with its outputs, run in `folder`.

    parameters: Python lines that come after the cell with the tag `parameters`, and so win over it.
    Raises `nbclient.exceptions.CellExecutionError` when a cell fails.
    """
    import nbformat
    from nbclient import NotebookClient

    if sys.platform == "win32":  # the messages of kernels need the older event loop there
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
    notebook = read_source(source)
    if parameters:
        place = next(n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
        notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(parameters, id="given"))
    environment = dict(os.environ)
    environment.pop("MPLBACKEND", None)  # pictures go to the cells
    environment["PYTHONWARNINGS"] = "ignore:IProgress not found"  # tqdm without ipywidgets, by the place of its file
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name=KERNEL["name"],
        resources={"metadata": {"path": str(folder)}},
        coalesce_streams=True,  # one output, not one per line
    )
    client.execute(env=environment)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the time of day
        for output in cell.get("outputs", ()):
            output.get("metadata", {}).clear()
            data = output.get("data", {})
            for holder, key in ((output, "text"), (data, "text/plain"), (data, "text/html")):
                if key in holder:
                    holder[key] = _without_place(holder[key], folder)
    notebook.metadata.kernelspec, notebook.metadata.language_info = KERNEL, {"name": "python"}
    return notebook


def _without_place(text: str, folder: Path) -> str:
    """The same with paths from the folder on, so that it reads alike wherever it was run."""
    for place in {str(folder), str(folder.resolve())}:
        text = text.replace(f"{place}{os.sep}", "")
    return text


def cells(notebook: Any) -> list[tuple[str, str]]:
    """What a notebook says, without what came of it."""
    return [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def is_fresh(source: Path) -> bool:
    """Whether the .ipynb beside a source has its cells."""
    import nbformat

    target = source.with_suffix(".ipynb")
    return target.is_file() and cells(nbformat.read(target, as_version=4)) == cells(read_source(source))


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the notebooks of docs/notebooks from their sources.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="notebooks to make, such as 1_first_look (all)")
    parser.add_argument("--check", action="store_true", help="only say which ones are not those of their source")
    args = parser.parse_args()
    sources = {path.stem: path for path in sorted(FOLDER.glob("*.py"))}
    if unknown := [name for name in args.names if name not in sources]:
        parser.error(f"there is no notebook '{unknown[0]}': known are {', '.join(sources)}")
    chosen = [sources[name] for name in args.names or sources]
    try:
        import jupytext  # noqa: F401
        import nbclient  # noqa: F401
    except ImportError as error:
        parser.error(f'{error.name} is missing: pip install ".[notebooks]"')
    if args.check:
        stale = [path.stem for path in chosen if not is_fresh(path)]
        for name in stale:
            print(f"{name}.ipynb is not what {name}.py says: python scripts/make_notebooks.py {name}", file=sys.stderr)
        return 1 if stale else 0
    import nbformat

    sys.path.insert(0, str(ROOT))
    from detection.common.files import write_text

    for path in chosen:
        with tempfile.TemporaryDirectory() as folder:
            notebook = run_notebook(path, Path(folder))
        target = path.with_suffix(".ipynb")
        write_text(target, nbformat.writes(notebook) + "\n")
        print(f"{target.relative_to(ROOT)}: {target.stat().st_size // 1000} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
