"""A gateway as a process, or several, in front of four fake services: what a signal does to it can only be seen so."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import aiohttp

from gateway.routes import Service
from local.stack import free_ports
from tests.fakes.service import FakeService


class GatewayProcess:
    """Its ports, the services behind it, and what it has said."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        port: int,
        internal_port: int,
        services: Mapping[Service, FakeService],
    ) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.internal_url = f"http://127.0.0.1:{internal_port}"
        self.services = services
        self.lines: list[str] = []

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    @property
    def worker_pids(self) -> list[int]:
        """Of every worker started so far."""
        events = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [event["pid"] for event in events if event["event"] == "worker.started"]

    async def internal(self, path: str) -> tuple[int, str]:
        """Status and body of an answer on the internal port; status 0 where nobody answers."""
        try:
            async with aiohttp.ClientSession() as session, session.get(self.internal_url + path) as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientError:
            return 0, ""

    async def ready(self) -> dict[str, Any]:
        """What readiness says."""
        answered: dict[str, Any] = json.loads((await self.internal("/health/ready"))[1])
        return answered

    async def wait_until(self, path: str, status: int, contains: str = "", seconds: float = 30) -> None:
        """Raises TimeoutError when the internal port does not come to answer so in time."""
        async with asyncio.timeout(seconds):
            while True:
                answered, text = await self.internal(path)
                if answered == status and contains in text:
                    return
                await asyncio.sleep(0.05)

    async def read_log(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode().rstrip())


@asynccontextmanager
async def gateway_process(module: str = "gateway", **environment: str) -> AsyncIterator[GatewayProcess]:
    """Start one; on leaving, nothing of it is left. `environment` adds to its settings, or replaces them."""
    services = {service: FakeService(service) for service in Service}
    port, internal_port = free_ports(2)
    async with AsyncExitStack() as stack:
        for service in services.values():
            await service.server.start_server()
            stack.push_async_callback(service.server.close)
        settings = {
            **os.environ,
            "GATEWAY_PORT": str(port),
            "GATEWAY_INTERNAL_PORT": str(internal_port),
            "RATE_LIMIT_PER_MINUTE": "1000000",
            "LOG_FORMAT": "json",
            **{f"{service.name}_SERVICE_URL": fake.url for service, fake in services.items()},
            **environment,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            env=settings,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        running = GatewayProcess(process, port, internal_port, services)
        reading = asyncio.create_task(running.read_log())
        try:
            yield running
        finally:
            for pid in (process.pid, *running.worker_pids):
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
            await process.wait()
            await asyncio.wait({reading}, timeout=5)
            reading.cancel()
