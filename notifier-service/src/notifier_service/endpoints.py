"""Endpoints as a worker knows them: decrypted once for each version, kept for a bounded number."""

from collections import OrderedDict
from collections.abc import Mapping

import structlog
from pydantic import SecretStr

from notifier_service.models import Endpoint
from notifier_service.own_connection import OwnConnection
from service_kit.database import Row
from service_kit.encryption import Encryption, Undecipherable
from service_kit.queries import read_queries

KEPT_LIMIT = 20_000
QUERIES = read_queries(__file__)
log = structlog.get_logger()


class Endpoints:
    """A cache of one loop's own. What cannot be decrypted is not known."""

    def __init__(self, connection: OwnConnection, encryption: Encryption) -> None:
        self._connection = connection
        self._encryption = encryption
        self._kept: OrderedDict[int, tuple[int, Endpoint | None]] = OrderedDict()

    def known(self, endpoint_id: int) -> Endpoint | None:
        """As of the last refresh; None: gone, or not to be decrypted with this SECRET_KEY."""
        return self._kept.get(endpoint_id, (0, None))[1]

    async def refresh(self, versions: Mapping[int, int]) -> None:
        """Read those that are not kept in these versions. Raises DatabaseUnavailable, StatementTimeout."""
        kept = self._kept
        missing = [one for one, version in versions.items() if one not in kept or kept[one][0] < version]
        if missing:
            for row in await self._connection.rows(QUERIES["endpoints"], {"ids": missing}):
                kept[row[0]] = (row[1], self._read(row))
        if len(kept) > KEPT_LIMIT:
            for one in versions:
                kept.move_to_end(one)
            while len(kept) > KEPT_LIMIT:
                kept.popitem(last=False)

    def _read(self, row: Row) -> Endpoint | None:
        id_, _version, channel, address, secret, config, language, name = row
        try:
            return Endpoint(id_, channel, self._decrypted(address), self._decrypted(secret), config, language, name)
        except Undecipherable as error:
            log.error("endpoint.unreadable", endpoint_id=id_, error=str(error))
            return None

    def _decrypted(self, encrypted: bytes | memoryview | None) -> SecretStr | None:
        if encrypted is None:
            return None
        return SecretStr(self._encryption.decrypt(encrypted))
