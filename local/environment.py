"""Makes and refreshes the virtual environment `.venv`; runs on any Python 3.11 or newer, with no library."""

import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv"
STAMP = FOLDER / ".stamp"
PYTHON = FOLDER / "bin" / "python"
IS_USABLE = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
# hatchling builds the editable packages; built without isolation they need it once, not once each.
BUILD = ["hatchling", "editables"]


def refresh_environment() -> None:
    """Bring `.venv` to what requirements-dev.txt and constraints.txt say. Raises SystemExit when pip fails."""
    started_at = time.monotonic()
    if PYTHON.exists() and subprocess.run([PYTHON, "-c", IS_USABLE], capture_output=True, check=False).returncode == 0:
        print(".venv: bringing the environment up to date", flush=True)
    else:
        version = ".".join(map(str, sys.version_info[:3]))
        print(f".venv: making the environment with Python {version}; the first time takes a minute or two", flush=True)
        shutil.rmtree(FOLDER, ignore_errors=True)
        venv.create(FOLDER, with_pip=True)
    _pip("-c", "constraints.txt", *BUILD)
    _pip("--no-build-isolation", "-r", "requirements-dev.txt")
    STAMP.touch()
    print(f".venv: ready after {time.monotonic() - started_at:.0f} s", flush=True)


def _pip(*arguments: str) -> None:
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", *arguments]
    settings = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}, check=False)
    if done.returncode != 0:
        sys.exit(".venv: pip could not install what is needed; what it says is above")


if __name__ == "__main__":
    refresh_environment()
