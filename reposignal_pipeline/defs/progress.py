"""Progress bars in the terminal of a command, one for each step of its runs.

This module draws the bars; assets report their progress. Runs launched in the UI have no terminal and draw nothing.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

LEAST_SECONDS = 0.5
"""least duration of a step whose bar remains when it is done, so that bars of short checks disappear"""


@dataclass
class _Shown:
    bars: Progress | None = None
    step: TaskID | None = None


_shown = _Shown()


class _Count(ProgressColumn):
    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        return Text(f"{task.completed:,.0f} of {task.total:,.0f} {unit}" if unit and task.total is not None else "")


@contextmanager
def in_terminal() -> Iterator[None]:
    """Draw the steps of the runs inside this block if standard error is a terminal."""
    if _shown.bars or not (sys.stderr and sys.stderr.isatty()):
        yield
        return
    columns = (TextColumn("{task.description:<22}"), BarColumn(), TimeElapsedColumn(), _Count())
    # a duplicate, because Dagster redirects the descriptor of standard error to the log of each step
    with os.fdopen(os.dup(sys.stderr.fileno()), "w") as terminal:
        console = Console(file=terminal, highlight=False)
        with Progress(
            *columns, console=console, refresh_per_second=4, redirect_stdout=False, redirect_stderr=False
        ) as bars:
            _shown.bars = bars
            try:
                yield
            finally:
                end(is_done=sys.exception() is None)
                _shown.bars = None


def begin(step: str, *, stays: bool = True) -> None:
    """End the bar of the previous step and draw one for a new step; it remains when the step is done."""
    end()
    if _shown.bars:
        _shown.step = _shown.bars.add_task(step.replace("_", " "), total=None, unit="", stays=stays)


def reach(done: float, total: float, unit: str) -> None:
    """Show the progress of the current step, in its unit."""
    if _shown.bars and _shown.step is not None:
        _shown.bars.update(_shown.step, completed=done, total=total, unit=unit)


def end(*, is_done: bool = True) -> None:
    """End the bar of the current step: full if it is done, otherwise at its last progress."""
    if not _shown.bars or _shown.step is None:
        return
    task = next(task for task in _shown.bars.tasks if task.id == _shown.step)
    whole = task.total or 1
    _shown.bars.stop_task(_shown.step)
    if not is_done:
        _shown.bars.update(_shown.step, description=f"{task.description}: interrupted", total=whole)
    elif not task.fields["stays"] or ((task.elapsed or 0) < LEAST_SECONDS and not task.fields["unit"]):
        _shown.bars.remove_task(_shown.step)
    else:
        _shown.bars.update(_shown.step, completed=whole, total=whole)
    _shown.step = None


def say(line: str) -> None:
    """Write a line to standard error, above the bars if there are any."""
    if _shown.bars:
        _shown.bars.console.print(line, markup=False, soft_wrap=True)
    elif sys.stderr:
        print(line, file=sys.stderr, flush=True)
