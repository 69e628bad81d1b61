"""The notifier's application: takes alerts, and delivers what the queue holds while it runs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from aiohttp import web

from notifier_service.alerts import post_alert
from notifier_service.api.notifications import notification_routes
from notifier_service.api.subscriptions import SUBSCRIPTIONS, subscription_routes
from notifier_service.channels import REGISTRY, Means
from notifier_service.dead_letter_watch import DeadLetterWatch
from notifier_service.deliveries import Deliveries
from notifier_service.digest import Digests
from notifier_service.metrics import QueueMetrics
from notifier_service.operator_key import add_operator_routes
from notifier_service.settings import NotifierSettings
from notifier_service.settings_endpoints import SettingsEndpoints
from notifier_service.subscriptions import ENCRYPTION_PURPOSE, open_subscriptions
from notifier_service.wechat.push import add_wechat_push
from service_kit.alerts import ALERTS, alerts
from service_kit.app import create_app
from service_kit.database import DATABASE, add_database
from service_kit.encryption import Encryption
from service_kit.health import CHECKS
from service_kit.metrics import METRICS
from service_kit.notifications import enqueue_alerts
from service_kit.tasks import running

SERVICE = "notifier-service"


def make_app(settings: NotifierSettings) -> web.Application:
    """The application, not yet running. Without Postgres it starts, is not ready, and recovers by itself."""
    app = create_app()
    add_database(app, settings.database_url, SERVICE, essential=True)
    app.router.add_post("/internal/alerts", post_alert)
    add_wechat_push(app, settings)
    app.cleanup_ctx.append(alerts(SERVICE, enqueue_alerts))
    add_operator_routes(app, settings.operator_key, [*subscription_routes(), *notification_routes()])

    async def deliveries(app: web.Application) -> AsyncIterator[None]:
        means = Means(settings, app[DATABASE], app[METRICS])
        queue_metrics = QueueMetrics(app[METRICS].registry)
        async with AsyncExitStack() as stack:
            channels = [await stack.enter_async_context(kind.open(means)) for kind in REGISTRY.values()]
            encryption = Encryption(settings.secret_key, ENCRYPTION_PURPOSE)
            deliveries = Deliveries(app[DATABASE], channels, encryption, queue_metrics, app[ALERTS].report)
            checks.update(deliveries.checks)
            async with deliveries.running():
                yield

    async def subscriptions(app: web.Application) -> AsyncIterator[None]:
        async with open_subscriptions(Means(settings, app[DATABASE], app[METRICS])) as opened:
            app[SUBSCRIPTIONS] = opened
            yield

    async def settings_endpoints(app: web.Application) -> AsyncIterator[None]:
        async with running("settings endpoints", SettingsEndpoints(app[DATABASE], REGISTRY, settings).run):
            yield

    async def digests(app: web.Application) -> AsyncIterator[None]:
        async with running("digests", Digests(app[DATABASE]).run):
            yield

    async def dead_letters(app: web.Application) -> AsyncIterator[None]:
        async with running("dead letters", DeadLetterWatch(app[DATABASE], app[ALERTS]).run):
            yield

    checks = app[CHECKS]
    app.cleanup_ctx.extend([settings_endpoints, deliveries, subscriptions, digests, dead_letters])
    return app
