"""The parent of several gateway processes: starts them, starts again what died, and answers on the internal port."""

import asyncio
import mmap
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, Self

import aiohttp
import msgspec
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.app import NOTICE_SECONDS, Settings
from gateway.connections import LEAVE_SECONDS
from gateway.listener import bind
from gateway.metrics_sum import MetricsSum
from gateway.shared_table import SIZE_BYTES, prepare
from service_kit.server import SHUTDOWN_GRACE_SECONDS, listen, make_runner

START_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""After having run for so long a death counts as the first again."""
STOP_SECONDS = NOTICE_SECONDS + LEAVE_SECONDS + SHUTDOWN_GRACE_SECONDS + 1
ASK_SECONDS = 2.0
_PROBE_SECONDS = 0.05
log = structlog.get_logger()


class Worker:
    """One process, and the next one in its place."""

    def __init__(self, number: int, folder: str, table_file: int) -> None:
        self.name = str(number)
        self._path = f"{folder}/{number}.socket"
        self._table_file = table_file
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()

    async def keep(self) -> None:
        """Run it, again after each death, until it is told to stop. Raises SystemExit when its first start fails."""
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            started = time.monotonic()
            status = await self._run()
            if self._stopping.is_set():
                return
            if not self.ready.is_set():
                raise SystemExit(f"worker {self.name} ended with status {status} at its start")
            if time.monotonic() - started > STEADY_SECONDS:
                pause_seconds = FIRST_PAUSE_SECONDS
            log.error("worker.died", worker=self.name, status=status, restart_in_seconds=pause_seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._stopping.wait()
                return
            pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)

    async def _run(self) -> int:
        # Its standard input stays open for as long as we live: that is how it knows.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.worker",
            self._path,
            str(self._table_file),
            stdin=asyncio.subprocess.PIPE,
            pass_fds=(self._table_file,),
        )
        log.info("worker.started", worker=self.name, pid=self._process.pid)
        if self._stopping.is_set():  # told so while it was being started
            self._tell_to_stop()
        try:
            return await self._process.wait()
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                self._process.kill()
            raise

    def stop(self) -> None:
        """Have it finish what is under way, and end."""
        self._stopping.set()
        self._tell_to_stop()

    def _tell_to_stop(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    async def wait_until_ready(self) -> None:
        """Return when it answers."""
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                await self.ask("/health/live")
                self.ready.set()
                return
            await asyncio.sleep(_PROBE_SECONDS)

    async def ask(self, path: str) -> tuple[int, bytes]:
        """Its own internal answer. Raises aiohttp.ClientError or TimeoutError."""
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(self._path), timeout=aiohttp.ClientTimeout(total=ASK_SECONDS)
            ) as session,
            session.get(f"http://worker{path}") as answer,
        ):
            return answer.status, await answer.read()


@asynccontextmanager
async def serving_by_workers(settings: Settings) -> AsyncIterator[None]:
    """Have GATEWAY_WORKERS processes answer while the context is open; then they finish what is under way, and end.

    Raises SystemExit with one line when one of them cannot start or a port is taken.
    """
    await _check_is_free(settings)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="wegit-gateway-"))
        table_file = stack.enter_context(_table_file())
        workers = [Worker(number, folder, table_file) for number in range(1, settings.gateway_workers + 1)]
        keeping = await stack.enter_async_context(_kept(workers))
        await _wait_until_ready(workers, keeping)
        runner = make_runner(make_parent_app(workers))
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await listen(runner, settings.gateway_internal_host, settings.gateway_internal_port)
        yield
        for worker in workers:
            worker.stop()
        await asyncio.wait(keeping, timeout=STOP_SECONDS)


@contextmanager
def _table_file() -> Iterator[int]:
    """A file without a name that holds a SharedTable; its number, which workers inherit."""
    with TemporaryFile() as file:
        file.truncate(SIZE_BYTES)
        with mmap.mmap(file.fileno(), SIZE_BYTES) as memory:
            prepare(memory)
        yield file.fileno()


async def _check_is_free(settings: Settings) -> None:
    """A shared port can be had while another gateway listens there: callers would get now one, now the other."""
    try:
        for opened in await bind(settings.host, settings.port, is_shared=False):
            opened.close()
    except OSError as error:
        raise SystemExit(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from None


@asynccontextmanager
async def _kept(workers: list[Worker]) -> AsyncIterator[set[asyncio.Task[None]]]:
    """The tasks that keep each worker; at the end what still runs is killed."""
    keeping = {asyncio.create_task(worker.keep(), name=f"worker-{worker.name}") for worker in workers}
    try:
        yield keeping
    finally:
        for task in keeping:
            task.cancel()
        await asyncio.wait(keeping)


async def _wait_until_ready(workers: list[Worker], keeping: set[asyncio.Task[None]]) -> None:
    async def wait_for_all() -> None:
        await asyncio.gather(*(worker.wait_until_ready() for worker in workers))

    ready = asyncio.create_task(wait_for_all())
    done, _ = await asyncio.wait({ready, *keeping}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    for task in done - {ready}:
        task.result()
    if not done:
        raise SystemExit(f"the workers were not ready after {START_SECONDS:g} s")


def make_parent_app(workers: list[Worker]) -> web.Application:
    """Metrics and health over all workers."""
    metrics = MetricsSum()

    async def ask_all(path: str) -> dict[str, tuple[int, bytes]]:
        answers = await asyncio.gather(*(worker.ask(path) for worker in workers), return_exceptions=True)
        return {
            worker.name: answer
            for worker, answer in zip(workers, answers, strict=True)
            if not isinstance(answer, BaseException)
        }

    async def get_live(_request: web.Request) -> web.Response:
        return web.json_response({"status": "live"})

    async def get_ready(_request: web.Request) -> web.Response:
        answers = await ask_all("/health/ready")
        told = {name: (status, Readiness.read(body)) for name, (status, body) in answers.items()}
        status, ready = aggregate_readiness([worker.name for worker in workers], told)
        return web.json_response(ready, status=status, headers={"Cache-Control": "no-store"})

    async def get_metrics(_request: web.Request) -> web.Response:
        answers = await ask_all("/metrics")
        pages = {name: body.decode() for name, (status, body) in answers.items() if status == 200}
        return web.Response(body=metrics.page(pages), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/health/live", get_live)
    app.router.add_get("/health/ready", get_ready)
    app.router.add_get("/metrics", get_metrics)
    return app


class Readiness(msgspec.Struct, frozen=True):
    """What a worker's `/health/ready` says beside its status."""

    degraded: list[str] = []
    details: dict[str, Any] = {}

    @classmethod
    def read(cls, body: bytes) -> Self:
        """From an answer's body; one that is something else says nothing."""
        try:
            return msgspec.json.decode(body, type=cls)
        except msgspec.DecodeError:
            return cls()


def aggregate_readiness(workers: list[str], told: Mapping[str, tuple[int, Readiness]]) -> tuple[int, dict[str, Any]]:
    """Ready as long as one worker is; degraded by what any of them says, and by each that says nothing. Pure.

    Each sees services and replicas for itself, so details are by what they are about and then by worker.
    """
    degraded = dict.fromkeys(f"worker-{name}" for name in workers if name not in told or told[name][0] != 200)
    details: dict[str, dict[str, Any]] = {}
    for worker, (_, said) in told.items():
        degraded |= dict.fromkeys(said.degraded)
        for name, one in said.details.items():
            details.setdefault(name, {})[f"worker-{worker}"] = one
    is_ready = any(status == 200 for status, _ in told.values())
    ready = {"status": "ready" if is_ready else "not_ready", "degraded": list(degraded)}
    return 200 if is_ready else 503, {**ready, **({"details": details} if details else {})}
