"""The process's edge: bytes that are no request, the log's last redaction, the start and the stop. Real sockets."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import unused_port

from service_kit.app import create_app
from service_kit.server import make_runner

TOKEN = "S3cretS3cretS3cretS3cretS3cretS3cretS3cr"


async def answer(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    app = create_app()
    app.router.add_get("/developers", answer)
    runner = make_runner(app)
    await runner.setup()
    chosen = unused_port()
    await web.TCPSite(runner, "127.0.0.1", chosen).start()
    yield chosen
    await runner.cleanup()


async def exchange(port: int, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(5):
        received = await reader.read()
    writer.close()
    return received


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(f"GET /developers?token={TOKEN}\0 HTTP/1.1", id="NUL"),
        pytest.param(f"GET /developers?token={TOKEN} HTTP/9", id="version"),
        pytest.param(f"G@T /developers?token={TOKEN} HTTP/1.1", id="method"),
        pytest.param(f"GET /developers?token={TOKEN}{'x' * 9000} HTTP/1.1", id="too long"),
        pytest.param(f"GET /developers?token={TOKEN} x HTTP/1.1", id="space"),
        pytest.param(f"GET /developers HTTP/1.1\r\nAuthorization : {TOKEN}", id="header"),
        pytest.param(
            f"GET /developers HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\nX: token={TOKEN}", id="lengths"
        ),
    ],
)
async def test_what_is_no_request_is_answered_and_leaves_no_trace(
    port: int, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    with structlog.testing.capture_logs() as events:
        received = await exchange(port, f"{line}\r\nHost: x\r\n\r\n".encode())
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"Access-Control-Allow-Origin: *" in head
    assert b"Content-Type: application/problem+json" in head
    problem = json.loads(body)
    assert problem["code"] == "malformed_request"
    assert f"X-Request-Id: {problem['request_id']}".encode() in head
    assert [event["event"] for event in events] == ["request.refused"]
    assert TOKEN[:6] not in received.decode() + str(events) + caplog.text


async def test_the_connection_of_a_refused_request_is_closed(port: int) -> None:
    two = b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\nGET /developers HTTP/1.1\r\nHost: x\r\n\r\n"
    assert (await exchange(port, two)).count(b"HTTP/1.") == 1


PROGRAM = """
import asyncio, logging, sys, warnings
from aiohttp import web
from service_kit.app import create_app
from service_kit.server import run
from service_kit.settings import Port, ServiceSettings

class Settings(ServiceSettings):
    port: Port

async def fail(request):
    logging.getLogger("aiopg").warning("connecting to postgresql://u:%s@db", request.query["token"])
    asyncio.get_running_loop().call_exception_handler({"message": f"Authorization: Bearer {request.query['token']}"})
    warnings.warn(f"access_token={request.query['token']}")
    raise RuntimeError(f"no luck with {request.rel_url}")

async def wait(request):
    await asyncio.sleep(0.5)
    return web.Response(text="finished")

def make_app(settings):
    app = create_app()
    app.router.add_get("/fail", fail)
    app.router.add_get("/wait", wait)
    return app

run("example", Settings, make_app)
"""


class Process:
    """A service as it runs in production: an interpreter of its own, its output kept."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port
        self.lines: list[str] = []

    async def wait_for(self, event: str) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(15):
            while True:
                line = (await self.process.stdout.readline()).decode()
                assert line, f"ended before {event}: {self.lines}"
                self.lines.append(line)
                if event in line:
                    return

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stdout is not None
        self.lines += (await self.process.stdout.read()).decode().splitlines()
        return await self.process.wait()


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    chosen = unused_port()
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        env={**os.environ, "PORT": str(chosen), "LOG_FORMAT": "json"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    running = Process(started, chosen)
    await running.wait_for("service.started")
    yield running
    if started.returncode is None:
        started.kill()
        await started.wait()


async def test_no_secret_reaches_the_log_by_any_logger(process: Process) -> None:
    request = f"GET /fail?token={TOKEN} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    received = await exchange(process.port, request.encode())
    assert b" 500 " in received
    assert await process.stop() == 0
    log = "\n".join(process.lines)
    assert TOKEN not in log
    assert log.count("[redacted]") >= 4
    events = [json.loads(line) for line in process.lines if line]
    assert {"aiopg", "asyncio", "py.warnings"} <= {event.get("logger") for event in events}
    failed = [event for event in events if event["event"] == "request.failed"]
    assert "RuntimeError: no luck with /fail?token=[redacted]" in failed[0]["exception"]
    assert failed[0]["request_id"]


async def test_a_request_under_way_is_finished_before_the_stop(process: Process) -> None:
    request = asyncio.create_task(exchange(process.port, b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"))
    await asyncio.sleep(0.1)  # the request has to be on its way when the signal comes
    assert await process.stop() == 0
    assert (await request).endswith(b"finished")
    assert any("service.stopped" in line for line in process.lines)


async def test_a_taken_port_is_one_line(process: Process) -> None:
    second = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        env={**os.environ, "PORT": str(process.port)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await second.communicate()
    assert second.returncode == 1
    assert complaint.decode().splitlines()[-1].startswith(f"cannot listen on 127.0.0.1:{process.port}: ")


async def test_the_slower_parser_is_not_run_with() -> None:
    refused = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        env={**os.environ, "PORT": "1", "AIOHTTP_NO_EXTENSIONS": "1"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await refused.communicate()
    assert (refused.returncode, complaint) == (1, b"aiohttp was installed without its parser in C\n")
