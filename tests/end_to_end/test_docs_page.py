"""The documentation page, in a real browser: it shows every operation, and asks nobody but the gateway."""

import pytest

from gateway.documentation import read_description
from tests import chromium
from tests.whole_system import WholeSystem

OPERATIONS = {
    operation["operationId"]
    for path in read_description()["paths"].values()
    for name, operation in path.items()
    if name not in {"servers", "parameters"}
}
SHOWN = "[...document.querySelectorAll('.opblock')].map(one => one.id.split('-').pop())"
OPERATION = "document.querySelector('#operations-Repositories-getRepository')"
PATHS = ("/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/openapi.json")

needs_chromium = pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium on this machine")


@needs_chromium
async def test_the_page_shows_every_operation_and_asks_nobody_else(wegit: WholeSystem) -> None:
    async with chromium.opened(f"{wegit.url}/docs") as page:
        await page.comes_to_hold(f"{SHOWN}.length >= {len(OPERATIONS)}")
        assert set(await page.value(SHOWN)) == OPERATIONS
        await page.value(f"{OPERATION}.querySelector('.opblock-summary-control').click()")
        await page.comes_to_hold(f"{OPERATION}.innerText.includes('stargazers_count')")
        asked = {url for url in page.requests if not url.startswith("data:")}
        assert asked == {f"{wegit.url}{path}" for path in PATHS}
        assert page.complaints == []


@pytest.mark.parametrize("path", PATHS)
def test_what_it_is_made_of_need_not_be_sent_twice(wegit: WholeSystem, path: str) -> None:
    plain, packed = wegit.get(path), wegit.get(path, {"Accept-Encoding": "gzip"})
    assert (plain.status, packed.status, packed.headers["Content-Encoding"]) == (200, 200, "gzip")
    assert len(packed.body) < len(plain.body)
    assert plain.headers["ETag"] == packed.headers["ETag"]
    assert "'unsafe-eval'" not in plain.headers["Content-Security-Policy"]
    assert "script-src 'self';" in plain.headers["Content-Security-Policy"]
    again = wegit.get(path, {"If-None-Match": plain.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
