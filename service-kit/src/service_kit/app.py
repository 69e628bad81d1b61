"""App assembly: what every service's application has before its own routes are added."""

import time

import structlog
from aiohttp import HttpVersion10, web
from aiohttp.typedefs import Handler

from service_kit.alerts import ALERTS
from service_kit.errors import InvalidRequest, ServiceError, problem_response
from service_kit.health import CHECKS, get_live, get_ready
from service_kit.metrics import METRICS, Metrics, get_metrics
from service_kit.patience import HEADER as TIMEOUT_HEADER
from service_kit.patience import begin_waiting
from service_kit.request_id import HEADER, begin_request

BODY_LIMIT_BYTES = 64 * 1024
SERVER = "wegit"
log = structlog.get_logger()


def create_app() -> web.Application:
    """An application with request ids, one access-log line a request, mapped errors, health and metrics."""
    app = web.Application(middlewares=[log_access, answer_errors], client_max_size=BODY_LIMIT_BYTES)
    app[METRICS] = Metrics()
    app[CHECKS] = {}
    app.router.add_get("/health/live", get_live)
    app.router.add_get("/health/ready", get_ready)
    app.router.add_get("/metrics", get_metrics)
    return app


@web.middleware
async def log_access(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id and, when it is over, its one canonical line (never its query: tokens travel there)."""
    started = time.perf_counter()
    request_id = begin_request(request.headers.get(HEADER))
    begin_waiting(request.headers.get(TIMEOUT_HEADER))
    status = 499  # nginx's number for a caller who left before the answer
    size_bytes = 0
    try:
        response = await handler(request)
        status = response.status
        size_bytes = response.body_length if response.prepared else response.content_length or 0
        if not response.prepared:
            response.headers[HEADER] = request_id
            response.headers["Server"] = SERVER  # aiohttp would name its version and Python's
        return response
    finally:
        seconds = time.perf_counter() - started
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "unmatched"
        request.app[METRICS].observe_request(request.method, route, status, seconds)
        level = "debug" if route.startswith(("/health/", "/metrics")) else "info"
        getattr(log, level)(
            "request.answered",
            method=request.method,
            path=request.rel_url.raw_path,
            route=route,
            status=status,
            bytes=size_bytes,
            duration_ms=round(seconds * 1000, 2),
            peer=request.remote,
        )


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into the answer that `errors` maps it to; report what nobody expected."""
    path = request.rel_url.raw_path
    try:
        if request.version < HttpVersion10:  # no headers, no status: nothing that speaks it has business here
            raise InvalidRequest("HTTP before 1.0 is not spoken here.")
        return await handler(request)
    except ServiceError as error:
        return problem_response(error, path)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return problem_response(error, path)
    except Exception as error:
        log.exception("request.failed")
        if ALERTS in request.app:
            request.app[ALERTS].report(error)
        if request.writer.output_size > 0:
            raise  # half an answer is out: a second one behind it would be read as its end
        return problem_response(None, path)
