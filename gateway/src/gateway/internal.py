"""The internal port's application: metrics and health, for who runs this; no caller reaches it."""

from collections.abc import Mapping

from aiohttp import web

from gateway.hop.hop import Hop
from gateway.own_calls import check_ready, own_session, post_alerts_to
from gateway.routes import Service
from service_kit.alerts import alerts
from service_kit.app import create_app
from service_kit.health import CHECKS

SERVICE = "gateway"


def make_internal_app(urls: Mapping[Service, str], hops: Mapping[Service, Hop]) -> web.Application:
    """Health over all services, metrics, and the alerts that the gateway raises, for services at these base URLs."""
    app = create_app()
    app.cleanup_ctx.append(own_session)
    app.cleanup_ctx.append(alerts(SERVICE, post_alerts_to(urls[Service.NOTIFIER])))
    app[CHECKS].update((service.value, check_ready(app, url, hops[service].replicas)) for service, url in urls.items())
    return app
