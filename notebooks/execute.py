# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Run the notebooks from a clean kernel each: ``python notebooks/execute.py [--save] [NAME ...]``.

The scripts are the source. With ``--save`` the notebooks with their outputs are written beside them; otherwise they are
thrown away, and what counts is that nothing failed.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import re
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import jupytext
import nbformat
import papermill
from PIL import Image

__all__ = ["FOLDER", "from_script", "main", "run", "scripts"]

FOLDER = Path(__file__).resolve().parent


def scripts() -> list[Path]:
    """The scripts of all notebooks, ``NN_name.py``, in their order."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def from_script(script: Path) -> nbformat.NotebookNode:
    """Make a notebook without outputs.

    Args:
        script: in jupytext's percent format.

    Returns:
        The notebook, with cell identifiers that depend on the cell's place alone.
    """
    notebook = jupytext.read(script)
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    )
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number:02d}", nbformat.from_dict({})
    return notebook


def tidy(outputs: Sequence[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join what was printed in pieces, keep the last state of progress bars only, and make pictures smaller."""
    joined: list[nbformat.NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last is not None and output.output_type == "stream" and last.get("name") == output.name:
            last.text += output.text
        else:
            joined.append(output)
    for output in joined:
        if output.output_type == "stream":
            output.text = re.sub(r"[^\n]*\r(?!\n)", "", output.text.replace("\r\n", "\n"))
        elif "image/png" in output.get("data", {}):
            output.data["image/png"] = smaller(output.data["image/png"])
    return joined


def smaller(picture: str) -> str:
    """Bring a PNG picture in base64 to 256 colors, which pictures of noise need to be small."""
    saved = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(saved, format="png", optimize=True)
    return min(picture, base64.b64encode(saved.getvalue()).decode(), key=len)


def run(script: Path, folder: Path) -> Path:
    """Run one notebook.

    Args:
        script: its script.
        folder: where the notebook with its outputs goes.

    Returns:
        The notebook.

    Raises:
        PapermillExecutionError: if a cell fails.
    """
    saved = folder / f"{script.stem}.ipynb"
    with tempfile.TemporaryDirectory() as scratch:
        source, result = Path(scratch, "source.ipynb"), Path(scratch, "result.ipynb")
        nbformat.write(from_script(script), source)
        papermill.execute_notebook(
            source, result, cwd=FOLDER, progress_bar=False, log_output=False, execution_timeout=900
        )
        executed = nbformat.read(result, as_version=4)
    notebook = from_script(script)
    for plain, done in zip(notebook.cells, executed.cells, strict=True):
        if plain.cell_type == "code":
            plain.outputs, plain.execution_count = tidy(done.outputs), done.execution_count
    nbformat.write(notebook, saved)
    return saved


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="beginnings of names, such as 03; all by default")
    parser.add_argument("--save", action="store_true", help="write the outputs into the notebooks")
    parser.add_argument("--jobs", type=int, default=1, help="notebooks at once")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["PYTHONWARNINGS"] = "ignore"
    chosen = [s for s in scripts() if not options.names or s.name.startswith(tuple(options.names))]
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(options.jobs) as pool:
        start = time.perf_counter()
        for saved in pool.map(partial(run, folder=FOLDER if options.save else Path(scratch)), chosen):
            size = saved.stat().st_size / 1e6
            print(f"{saved.name}: done after {time.perf_counter() - start:.0f} s, {size:.1f} MB", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
