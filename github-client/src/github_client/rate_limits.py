"""GitHub's limits around each call: whom to ask with, what an answer teaches, and who is told of a limit."""

from collections.abc import Iterator, Mapping

import msgspec
import structlog
from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from github_client.clock import Clock
from github_client.credentials import Credential, OperatorCredentials
from github_client.protocol import Limit, date_of, recognise_limit
from github_client.quota import REFUSED_REST_SECONDS, RESERVED_SHARE, Purpose, QuotaKeeper
from service_kit.alerts import Alerts
from service_kit.errors import UpstreamLimited, UpstreamStatus
from service_kit.metrics import Metrics

log = structlog.get_logger()


class RateLimits(Collector):
    """Chooses credentials, and keeps the books of the operator's and of the callers' apart."""

    def __init__(
        self, operator: OperatorCredentials, keeper: QuotaKeeper, clock: Clock, metrics: Metrics, alerts: Alerts
    ) -> None:
        """`keeper` keeps the operator's; what is known of callers' tokens stays in here."""
        self._operator = operator
        self._operators = keeper
        self._callers = QuotaKeeper()
        self._clock = clock
        self._alerts = alerts
        self._rests = Counter(
            "github_credential_rests_total",
            "How often a credential of the operator's was put to rest here.",
            ("credential", "reason"),
            registry=metrics.registry,
        )
        metrics.registry.register(self)

    def _keeper(self, credential: Credential) -> QuotaKeeper:
        return self._callers if credential.kind == "caller" else self._operators

    def choose(self, caller: Credential | None, bucket: str, resource: str, purpose: Purpose) -> Credential:
        """The caller's credential, else one of the operator's, charged. Raises UpstreamLimited when none may be."""
        now = self._clock.seconds()
        if caller is not None:
            return self._callers.choose((caller,), bucket, resource, purpose, now)
        credentials = self._operator.all()
        try:
            return self._operators.choose(credentials, bucket, resource, purpose, now)
        except UpstreamLimited:
            if bucket == "core" and all(self._operators.is_low(one, bucket, now) for one in credentials):
                self._tell_low(len(credentials))
            raise

    def give_back(self, credential: Credential, bucket: str) -> None:
        """Take back the charge for a request that cost nothing."""
        self._keeper(credential).give_back(credential, bucket)

    def note_headers(self, credential: Credential, bucket: str, headers: Mapping[str, str]) -> None:
        """Take in what an answer tells of the budget, by GitHub's own clock where it is told: ours may be wrong."""
        now = date_of(headers) or self._clock.utc()
        self._keeper(credential).note_headers(credential, bucket, headers, self._clock.seconds(), now.timestamp())

    def note_limit(self, credential: Credential, bucket: str, error: UpstreamStatus) -> Limit | None:
        """Put a limited credential to rest, tell of it, and return the limit with the whole rest; None for no limit."""
        if credential.kind == "operator" and error.upstream_status == 401:
            limit: Limit | None = Limit("refused", int(REFUSED_REST_SECONDS))
        else:
            now = date_of(error.headers) or self._clock.utc()
            limit = recognise_limit(error.upstream_status, error.headers, error.body, now)
        if limit is None:
            return None
        seconds = round(self._keeper(credential).note_limit(credential, bucket, limit, self._clock.seconds()))
        if credential.kind != "caller":
            self._tell(credential, bucket, limit, seconds)
        return msgspec.structs.replace(limit, retry_after_seconds=seconds)

    def _tell(self, credential: Credential, bucket: str, limit: Limit, seconds: int) -> None:
        self._rests.labels(credential.name, limit.kind).inc()
        log.warning("credential.rested", credential=credential.name, bucket=bucket, reason=limit.kind, seconds=seconds)
        if limit.kind == "refused":
            self._alerts.report_incident(
                f"credential refused {credential.identity}",
                kind="CredentialRefused",
                where=credential.name,
                message=f"GitHub does not accept {credential.name}: replace it. It is not used until then.",
            )

    def _tell_low(self, credentials: int) -> None:
        """Once a day. Not of the search's 30 a minute: those are used up by any busy minute."""
        self._alerts.report_incident(
            f"quota low {self._clock.utc().date().isoformat()}",
            kind="QuotaLow",
            where="GitHub",
            message=f"Less than {RESERVED_SHARE:.0%} of GitHub's quota is left for each of {credentials} credentials:"
            " copies are not renewed and releases not watched until it resets. Another credential in GITHUB_TOKENS"
            " would help.",
        )

    def to_check(self, checked: set[str]) -> list[Credential]:
        """The operator's credentials that are not in `checked`, or were refused almost an hour ago."""
        now = self._clock.seconds()
        return [
            credential
            for credential in self._operator.all()
            if credential.kind == "operator"
            and (credential.identity not in checked or self._operators.is_recheck_due(credential, now))
        ]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What is known of the operator's credentials at the moment, for `/metrics`."""
        labels = ("credential", "bucket")
        remaining = GaugeMetricFamily("github_quota_remaining", "What is left of a window.", labels=labels)
        resting = GaugeMetricFamily(
            "github_credential_resting_seconds",
            "How long a credential is not used; bucket *: for nothing.",
            labels=labels,
        )
        now = self._clock.seconds()
        for credential in self._operator.all():
            for bucket, budget in self._operators.known(credential).items():
                if budget.limit:
                    left = budget.remaining if budget.reset > now else budget.limit
                    remaining.add_metric((credential.name, bucket), left)
                resting.add_metric((credential.name, bucket), max(budget.rests_until - now, 0.0))
        yield from (remaining, resting)
