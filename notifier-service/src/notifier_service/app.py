"""The notifier's application: takes alerts, and delivers what the queue holds while it runs."""

from collections.abc import AsyncIterator

from aiohttp import web

from notifier_service.alerts import post_alert
from notifier_service.api.notifications import notification_routes
from notifier_service.api.subscriptions import SUBSCRIPTIONS, subscription_routes
from notifier_service.channels import REGISTRY, Means
from notifier_service.dead_letter_watch import DeadLetterWatch
from notifier_service.digest import Digests
from notifier_service.listener import Listener
from notifier_service.operator_key import add_operator_routes
from notifier_service.queue import Queue
from notifier_service.settings import NotifierSettings
from notifier_service.settings_endpoints import SettingsEndpoints
from notifier_service.subscriptions import open_subscriptions
from notifier_service.upkeep import Upkeep
from notifier_service.wechat.push import add_wechat_push
from notifier_service.worker import Worker
from service_kit.alerts import ALERTS, alerts
from service_kit.app import create_app
from service_kit.database import DATABASE, add_database
from service_kit.health import CHECKS, Check
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
        async with REGISTRY["slack"].open(Means(settings, app[DATABASE], app[METRICS])) as channel:
            queue = Queue(app[DATABASE])
            worker = Worker(queue, channel, app[ALERTS].report)
            upkeep = Upkeep(queue, worker.wake)
            listener = Listener(app[DATABASE], worker.wake)
            checks["deliveries"] = Check(worker.is_well, essential=True)
            checks["upkeep"] = Check(upkeep.is_well, essential=True)
            async with running("listen", listener.run), running("upkeep", upkeep.run), worker.working():
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
