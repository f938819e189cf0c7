"""Makes shared folders once per test run: the first worker that needs one fills it, and every worker reads it.

Here: the folder and its lock. Not here: its content (fixtures).
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

VARIABLE = "TESTS_SHARED_FOLDER"
"""set by `conftest.py` for the workers that the run starts"""


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of that name, filled once by `make` in any worker. Read it; to write, copy it."""
    root = Path(os.environ[VARIABLE])
    folder, made = root / name, root / f"{name}.made"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder
