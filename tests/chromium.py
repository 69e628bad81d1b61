"""A headless Chromium, by its DevTools protocol: what a page asks for, complains of, holds and looks like.

`python -m tests.chromium URL FILE.png` takes a picture, as of the API's page in the README.
"""

import asyncio
import base64
import itertools
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
START_SECONDS = 30.0
COMMAND_SECONDS = 20.0
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # it refuses to run as root with one, and sees nothing but our own page
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-port=0",
)


class Page:
    """A tab: `requests` are the URLs that it asked for, `complaints` what its console and its security policy say."""

    def __init__(self, wire: aiohttp.ClientWebSocketResponse) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._wire = wire
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def listen(self) -> None:
        """Take in what the browser says, until it is gone."""
        async for message in self._wire:
            told = message.json()
            if "id" in told:
                self._waiting.pop(told["id"]).set_result(told)
            elif told["method"] == "Network.requestWillBeSent":
                self.requests.append(told["params"]["request"]["url"])
            elif told["method"] == "Log.entryAdded":
                self.complaints.append(told["params"]["entry"]["text"])
            elif told["method"] == "Runtime.exceptionThrown":
                self.complaints.append(str(told["params"]["exceptionDetails"]))

    async def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command; its result."""
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._wire.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(COMMAND_SECONDS):
            told = await self._waiting[number]
        assert "error" not in told, told
        result: dict[str, Any] = told["result"]
        return result

    async def value(self, expression: str) -> Any:
        """What an expression of JavaScript is in the page."""
        told = await self.tell("Runtime.evaluate", expression=expression, returnByValue=True)
        return told["result"].get("value")

    async def comes_to_hold(self, expression: str) -> None:
        """Wait until an expression is true. Raises TimeoutError when it does not come to be in time."""
        async with asyncio.timeout(START_SECONDS):
            while not await self.value(expression):
                await asyncio.sleep(0.05)

    async def picture(self, width: int, height: int) -> bytes:
        """The page's top, as PNG."""
        await self.tell(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        told = await self.tell("Page.captureScreenshot", format="png")
        return base64.b64decode(told["data"])


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Page]:
    """A page that has been told to go to a URL; wait for what it should hold."""
    assert PROGRAM is not None
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        command = [PROGRAM, *OPTIONS, f"--user-data-dir={folder}", "about:blank"]
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with aiohttp.ClientSession() as session:
                port = await _port(Path(folder) / "DevToolsActivePort")
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    [tab] = [one for one in await answer.json() if one["type"] == "page"]
                async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as wire:
                    page = Page(wire)
                    listening = asyncio.create_task(page.listen())
                    for domain in ("Network", "Log", "Runtime", "Page"):
                        await page.tell(f"{domain}.enable")
                    await page.tell("Page.navigate", url=url)
                    yield page
                    listening.cancel()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()


async def _port(file: Path) -> str:
    def read() -> str:
        return file.read_text() if file.exists() else ""

    async with asyncio.timeout(START_SECONDS):
        while "\n" not in (told := await asyncio.to_thread(read)):
            await asyncio.sleep(0.05)
    return told.partition("\n")[0]


async def _take_picture(url: str) -> bytes:
    async with opened(url) as page:
        await page.comes_to_hold("document.querySelectorAll('.opblock').length")
        return await page.picture(1100, 2060)  # to the end of the operators' endpoints


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(asyncio.run(_take_picture(sys.argv[1])))
