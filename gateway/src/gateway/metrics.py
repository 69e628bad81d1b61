"""What the gateway's parts count, as Prometheus reads it: gathered when it is asked for, so counting costs little."""

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.admission import Admission
from gateway.cache.shared_cache import SharedCache
from gateway.connections import Connections
from gateway.hop.hop import Hop
from gateway.rate_limits import RateLimits
from gateway.routes import Service


class GatewayCollector(Collector):
    """Connections, limits, admission, cache and replicas; requests and their times are `service_kit.metrics`'."""

    def __init__(
        self,
        connections: Connections,
        limits: RateLimits,
        admission: Admission,
        cache: SharedCache,
        hops: Mapping[Service, Hop],
    ) -> None:
        self._connections = connections
        self._limits = limits
        self._admission = admission
        self._cache = cache
        self._hops = hops

    def collect(self) -> Iterable[Metric]:
        yield from self._of_connections()
        yield from self._of_limits()
        yield from self._of_cache()
        yield from self._of_replicas()

    def _of_connections(self) -> Iterable[Metric]:
        connections = self._connections
        yield GaugeMetricFamily("gateway_connections", "Callers' connections.", value=len(connections))
        yield GaugeMetricFamily(
            "gateway_connections_limit", "How many there may be; more are refused.", value=connections.limit
        )
        ended = CounterMetricFamily(
            "gateway_connections_ended",
            "Connections that were refused for their number, or ended for being slow.",
            labels=("reason",),
        )
        ended.add_metric(("refused",), connections.refused)
        ended.add_metric(("slow_head",), connections.cut_heads)
        ended.add_metric(("slow_reader",), connections.cut_readers)
        yield ended
        yield GaugeMetricFamily(
            "gateway_event_loop_lag_seconds", "How late the process is with everything.", value=connections.lag_seconds
        )

    def _of_limits(self) -> Iterable[Metric]:
        limited = CounterMetricFamily(
            "gateway_rate_limited", "Requests refused by a rate limit, by its name.", labels=("limit",)
        )
        for name, count in self._limits.refused.items():
            limited.add_metric((name,), count)
        yield limited
        under_way = GaugeMetricFamily(
            "gateway_admission_under_way", "Requests that are with a service.", labels=("service",)
        )
        waiting = GaugeMetricFamily(
            "gateway_admission_waiting", "Requests that wait for a place with a service.", labels=("service",)
        )
        refused = CounterMetricFamily(
            "gateway_admission_refused", "Requests turned away before a service.", labels=("service",)
        )
        for service, gate in self._admission.gates.items():
            under_way.add_metric((service,), gate.under_way)
            waiting.add_metric((service,), gate.waiting)
            refused.add_metric((service,), gate.refused)
        yield from (under_way, waiting, refused)

    def _of_cache(self) -> Iterable[Metric]:
        store = self._cache.store
        answered = CounterMetricFamily(
            "gateway_cache_answers",
            "Answers by where they came from: hit, stale, miss, collapsed (another's fetch) or bypass.",
            labels=("status",),
        )
        for status, count in self._cache.answered.items():
            answered.add_metric((status,), count)
        yield answered
        yield GaugeMetricFamily("gateway_cache_bytes", "Memory that kept answers take.", value=store.size_bytes)
        yield GaugeMetricFamily("gateway_cache_entries", "Answers that are kept.", value=len(store))
        yield CounterMetricFamily(
            "gateway_cache_evicted", "Answers that made room for others before their time.", value=store.evicted
        )

    def _of_replicas(self) -> Iterable[Metric]:
        labels = ("service", "replica")
        state = GaugeMetricFamily(
            "gateway_replica_state",
            "1 for the state that a replica is in: active, ejected, on_trial or leaving.",
            labels=(*labels, "state"),
        )
        in_flight = GaugeMetricFamily("gateway_replica_in_flight", "Requests that a replica works on.", labels=labels)
        latency = GaugeMetricFamily(
            "gateway_replica_latency_seconds", "Until an answer's head comes, as a moving mean.", labels=labels
        )
        requests = CounterMetricFamily(
            "gateway_replica_requests", "Tries that went to a replica, retries among them.", labels=labels
        )
        failures = CounterMetricFamily(
            "gateway_replica_failures", "Tries that brought no answer, or a broken one.", labels=labels
        )
        budget = GaugeMetricFamily("gateway_retry_budget", "Retries that may be made now.", labels=("service",))
        retries = CounterMetricFamily(
            "gateway_retries", "Tries beyond each request's first, on another replica.", labels=("service",)
        )
        for service, hop in self._hops.items():
            retries.add_metric((service,), hop.retries)
            budget.add_metric((service,), hop.retries_left)
            for replica in hop.replicas():
                named = (service, replica.address)
                state.add_metric((*named, replica.state), 1)
                in_flight.add_metric(named, replica.in_flight)
                latency.add_metric(named, replica.latency_seconds)
                requests.add_metric(named, replica.requests)
                failures.add_metric(named, replica.failures)
        yield from (state, in_flight, latency, requests, failures, retries, budget)
