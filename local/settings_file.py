"""The settings file `.env`: made with fresh secrets where it has none, and read beneath the real environment.

`make .env` runs this module with any Python: only `read_settings` needs a library.
"""

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / ".env"
SECRETS = ("SECRET_KEY", "POSTGRES_PASSWORD")


def ensure_settings_file(path: Path = FILE) -> list[str]:
    """Fill in each secret that the file leaves empty, and return their names; without a file, begin with the example.

    All else in the file stays. What is written can be read by its owner only.
    """
    text = (path if path.exists() else path.with_name(".env.example")).read_text()
    filled = [name for name in SECRETS if not re.search(rf"^(?:export )?{name}=[ \t]*[^\s#]", text, re.MULTILINE)]
    for name in filled:
        line = f"{name}={secrets.token_urlsafe(32)}"
        text, count = re.subn(rf"^{name}=[ \t]*(?:#.*)?$", line, text, count=1, flags=re.MULTILINE)
        if not count:
            text = f"{text.rstrip()}\n{line}\n"
    if filled:
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        fresh.rename(path)
    return filled


def read_settings(environment: Mapping[str, str], path: Path = FILE) -> dict[str, str]:
    """The environment, and beneath it what the file says. An empty value is none."""
    from dotenv import dotenv_values

    written = {name: value for name, value in dotenv_values(path, interpolate=False).items() if value}
    return {**written, **environment}


def main() -> None:
    """Say what was done, never the values."""
    filled = ensure_settings_file()
    print(f".env: made fresh {' and '.join(filled)}" if filled else ".env: has its secrets")


if __name__ == "__main__":
    main()
