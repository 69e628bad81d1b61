"""The gateway's processes: what a stop, a death and a bad start do to callers. Real processes, signals and sockets."""

import asyncio
import os
import re
import signal
from pathlib import Path

import pytest
from aiohttp import web

from gateway.routes import Service
from tests.fakes.gateway_process import GatewayProcess, gateway_process
from tests.fakes.waiting import until

REQUEST = b"GET /v1/developers/x HTTP/1.1\r\nHost: x\r\n\r\n"


async def answer_slowly(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(0.02)
    return web.Response(body=b"y" * 1000, headers={"Cache-Control": "no-store"})


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[bytes, bytes]:
    """One request on a connection; the answer's head and body. Raises when the answer is not whole."""
    writer.write(REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    assert length
    return head, await reader.readexactly(int(length[1]))


class Load:
    """Callers that go on asking until nobody takes their connections; every request of theirs has to be answered."""

    def __init__(self, gateway: GatewayProcess, callers: int = 20) -> None:
        self.answered = 0
        self.bodies: set[bytes] = set()
        """What came with a 200."""
        self.failed: list[str] = []
        self._port = gateway.port
        self._tasks = [asyncio.create_task(self._call()) for _ in range(callers)]

    async def _call(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except ConnectionRefusedError:
                return
            try:
                stays = True
                while stays:
                    head, body = await exchange(reader, writer)
                    assert head.startswith(b"HTTP/1.1 200 "), head.partition(b"\r\n")[0]
                    self.bodies.add(body)
                    self.answered += 1
                    stays = b"Connection: close" not in head
            except Exception as error:  # noqa: BLE001 - each is a request without its answer
                self.failed.append(repr(error))
            finally:
                writer.close()

    async def end(self) -> None:
        """Wait until every caller has gone."""
        async with asyncio.timeout(30):
            await asyncio.gather(*self._tasks)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_stop_under_load_fails_no_request(workers: int) -> None:
    async with gateway_process(GATEWAY_WORKERS=str(workers)) as gateway:
        gateway.services[Service.DEVELOPER].answer = answer_slowly
        await gateway.wait_until("/health/ready", 200)
        load = Load(gateway)
        await until(lambda: load.answered > 200 or load.failed != [])
        gateway.process.send_signal(signal.SIGTERM)
        await gateway.wait_until("/health/ready", 503)
        answered_when_not_ready = load.answered
        await load.end()
        assert await gateway.process.wait() == 0
        assert load.failed == []
        assert load.answered > answered_when_not_ready
        assert "service.stopped" in gateway.lines[-1]


async def test_a_request_under_way_at_a_stop_is_answered() -> None:
    started = asyncio.Event()
    may_answer = asyncio.Event()

    async def answer_at_last(_request: web.Request) -> web.StreamResponse:
        started.set()
        await may_answer.wait()
        return web.Response(body=b"at last")

    async with gateway_process() as gateway:
        gateway.services[Service.DEVELOPER].answer = answer_at_last
        await gateway.wait_until("/health/ready", 200)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        answer = asyncio.create_task(exchange(reader, writer))
        await started.wait()
        gateway.process.send_signal(signal.SIGTERM)
        await until(lambda: "connections.left" in gateway.log)
        may_answer.set()
        assert b"Connection: close" in (await answer)[0]
        assert await gateway.process.wait() == 0
        writer.close()


async def test_a_worker_that_dies_is_started_again_while_the_others_serve() -> None:
    async with gateway_process(GATEWAY_WORKERS="2") as gateway:
        await gateway.wait_until("/health/ready", 200)
        first, second = gateway.worker_pids
        os.kill(first, signal.SIGKILL)
        await until(lambda: '"worker.died"' in gateway.log)
        await gateway.wait_until("/health/ready", 200, '"worker-1"')
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        assert (await exchange(reader, writer))[0].startswith(b"HTTP/1.1 200 ")
        writer.close()
        await gateway.wait_until("/health/ready", 200, '"degraded": []')
        assert len(gateway.worker_pids) == 3
        os.kill(second, 0)


async def answered_so_far(gateway: GatewayProcess) -> float:
    """What the metrics count of answers to REQUEST, over all workers."""
    _, page = await gateway.internal("/metrics")
    counts = r'(?m)^(?:http_request_duration_seconds_count|gateway_hits_total)\{.*route="/v1/developers/.* (\S+)$'
    return sum(map(float, re.findall(counts, page)))


async def test_what_a_dead_worker_counted_stays_counted() -> None:
    async with gateway_process(GATEWAY_WORKERS="2") as gateway:
        await gateway.wait_until("/health/ready", 200)
        for _ in range(40):  # of which each worker gets some
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            await exchange(reader, writer)
            writer.close()
        assert await answered_so_far(gateway) == 40
        os.kill(gateway.worker_pids[0], signal.SIGKILL)
        await until(lambda: '"worker.died"' in gateway.log)
        assert await answered_so_far(gateway) == 40
        await until(lambda: len(gateway.worker_pids) == 3)
        await gateway.wait_until("/health/ready", 200, '"degraded": []')
        assert await answered_so_far(gateway) == 40


async def test_workers_do_not_outlive_their_parent() -> None:
    async with gateway_process(GATEWAY_WORKERS="2") as gateway:
        await gateway.wait_until("/health/ready", 200)
        pids = gateway.worker_pids
        gateway.process.kill()
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


async def test_a_worker_that_cannot_start_ends_it_all_with_one_line(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)  # a socket's path may have 107 characters
    folder.mkdir()
    async with gateway_process(GATEWAY_WORKERS="2", TMPDIR=str(folder)) as gateway:
        assert await gateway.process.wait() == 1
        await until(lambda: bool(gateway.lines) and gateway.lines[-1].startswith("worker "))
        assert gateway.lines[-1].endswith("ended with status 1 at its start")
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_taken_port_is_one_line(workers: str) -> None:
    async with gateway_process() as first:
        await first.wait_until("/health/ready", 200)
        async with gateway_process(GATEWAY_WORKERS=workers, GATEWAY_PORT=str(first.port)) as second:
            assert await second.process.wait() == 1
            await until(lambda: f"cannot listen on 127.0.0.1:{first.port}: Address already in use" in second.log)


async def test_workers_share_limits_and_their_metrics_are_one_sum() -> None:
    async with gateway_process(GATEWAY_WORKERS="2", RATE_LIMIT_PER_MINUTE="10") as gateway:
        await gateway.wait_until("/health/ready", 200)
        statuses = []
        for _ in range(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            statuses.append((await exchange(reader, writer))[0].split()[1])
            writer.close()
        allowed = statuses.count(b"200")
        assert allowed in (10, 11)  # one may come back meanwhile
        assert statuses.count(b"429") == 30 - allowed
        _, page = await gateway.internal("/metrics")
        labels = r'route="/v1/developers/\{login\}",status="(\d+)"\} (\S+)'
        asked = dict(re.findall(r'http_request_duration_seconds_count\{method="GET",' + labels, page))
        hits = dict(re.findall(r"gateway_hits_total\{" + labels, page))
        assert float(asked["200"]) >= 1
        assert float(asked["200"]) + float(hits["200"]) == allowed
        assert float(asked["429"]) == 30 - allowed
        assert len(re.findall(r'process_resident_memory_bytes\{worker="[12]"\}', page)) == 2
