"""The gateway's application: its settings, its routes, and what watches over it."""

from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from typing import Annotated

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.typedefs import Handler
from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from gateway.cors import answer_preflight, open_to_all_origins
from gateway.headers import Network
from gateway.own_calls import check_live, own_session, post_alerts_to
from gateway.passing import TRUSTED_PROXIES, UPSTREAMS, Upstream, pass_on_to
from gateway.routes import ORIGINAL_PREFIX, ROUTES, Service
from gateway.target import check_target
from service_kit.alerts import alerts
from service_kit.app import create_app
from service_kit.errors import InvalidRequest
from service_kit.health import CHECKS
from service_kit.metrics import METRICS
from service_kit.settings import HttpUrl, Port, ServiceSettings

SERVICE = "gateway"


def _networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return tuple(ip_network(one.strip()) for one in value.split(",") if one.strip())
    except ValueError:
        raise ValueError("should be IP addresses or networks (CIDR), separated by commas") from None


class Settings(ServiceSettings):
    """What the gateway reads."""

    port: Port = Field(default=8080, validation_alias="GATEWAY_PORT")
    repo_service_url: HttpUrl
    developer_service_url: HttpUrl
    search_service_url: HttpUrl
    notifier_service_url: HttpUrl
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = ()
    """Whose `X-Forwarded-For` is believed."""

    def url_of(self, service: Service) -> str:
        """A service's base URL."""
        return {
            Service.REPO: self.repo_service_url,
            Service.DEVELOPER: self.developer_service_url,
            Service.SEARCH: self.search_service_url,
            Service.NOTIFIER: self.notifier_service_url,
        }[service]


def make_app(settings: Settings) -> web.Application:
    """The application, ready to run."""
    app = create_app()
    app.middlewares.append(refuse_ambiguous)
    app.on_response_prepare.append(open_to_all_origins)
    app[TRUSTED_PROXIES] = settings.trusted_proxies
    app.cleanup_ctx.append(_upstreams(settings))
    app.cleanup_ctx.append(own_session)
    app.cleanup_ctx.append(alerts(SERVICE, post_alerts_to(settings.notifier_service_url)))
    app[CHECKS].update((service.value, check_live(app, settings.url_of(service))) for service in Service)
    for path in ("/health-check", f"{ORIGINAL_PREFIX}/health-check"):
        _add(app, path, ("GET", "HEAD"), get_health_check)
    for route in ROUTES:
        for prefix in route.prefixes:
            _add(app, prefix + route.path, route.methods, pass_on_to(route.service, prefixed=prefix != ""))
    return app


def _add(app: web.Application, path: str, methods: tuple[str, ...], handler: Handler) -> None:
    resource = app.router.add_resource(path)
    for method in methods:
        resource.add_route(method, handler)
    resource.add_route("OPTIONS", answer_preflight)


@web.middleware
async def refuse_ambiguous(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Before the routes decide: what has two readings is refused even where one of them leads nowhere."""
    check_target(request.raw_path)
    if request.version < HttpVersion10 or (request.version < HttpVersion11 and "Transfer-Encoding" in request.headers):
        raise InvalidRequest("HTTP before 1.0, or 1.0 with Transfer-Encoding, is not spoken here.")
    return await handler(request)


async def get_health_check(_request: web.Request) -> web.Response:
    """What the first client's back end said."""
    return web.json_response("ok")


def _upstreams(settings: Settings) -> Callable[[web.Application], AsyncIterator[None]]:
    async def context(app: web.Application) -> AsyncIterator[None]:
        app[UPSTREAMS] = {service: Upstream(service, settings.url_of(service), app[METRICS]) for service in Service}
        yield
        for upstream in app[UPSTREAMS].values():
            await upstream.close()

    return context
