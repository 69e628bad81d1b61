"""The release watch as a part of the service."""

from collections.abc import AsyncIterator

from aiohttp import web

from github_client.service import GITHUB_CLIENT
from repo_service.release_watch.store import WatchStore
from repo_service.release_watch.watcher import ReleaseWatcher
from service_kit.database import DATABASE
from service_kit.metrics import METRICS
from service_kit.tasks import running


async def release_watch(app: web.Application) -> AsyncIterator[None]:
    """A cleanup context: releases are watched while it is open."""
    watcher = ReleaseWatcher(WatchStore(app[DATABASE]), app[GITHUB_CLIENT], app[METRICS])
    async with running("release watch", watcher.run):
        yield
