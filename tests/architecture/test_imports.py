"""The directions of design hold: import-linter's contracts, and knowledge without I/O."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PURE = [
    "github-client/src/github_client/protocol.py",
    "github-client/src/github_client/quota.py",
    "github-client/src/github_client/cache.py",
    "github-client/src/github_client/trending/parser.py",
    "github-client/src/github_client/trending/html.py",
    "github-client/src/github_client/trending/parse_health.py",
    "github-client/src/github_client/languages.py",
    "github-client/src/github_client/models.py",
    "service-kit/src/service_kit/redaction.py",
    "service-kit/src/service_kit/query.py",
    "service-kit/src/service_kit/retry.py",
    "notifier-service/src/notifier_service/retry.py",
    "notifier-service/src/notifier_service/turns.py",
    "notifier-service/src/notifier_service/subscription.py",
    "notifier-service/src/notifier_service/api/body.py",
    "repo-service/src/repo_service/readme_html.py",
    "repo-service/src/repo_service/release_watch/news.py",
]
DOES_IO = {"aiohttp", "aiopg", "psycopg2", "asyncio", "socket", "subprocess"}


def test_the_import_contracts_are_kept() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("path", PURE)
def test_knowledge_does_no_io(path: str) -> None:
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    assert imported
    assert not imported & DOES_IO


def test_every_module_says_in_its_first_line_what_it_knows() -> None:
    modules = [path for path in ROOT.glob("*/src/*/**/*.py") if path.parts[-4] != "build"]
    assert len(modules) > 40
    silent = [str(path.relative_to(ROOT)) for path in modules if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []
