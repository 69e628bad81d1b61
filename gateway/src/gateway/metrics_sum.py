"""Several processes' metrics as one page: what counts is summed, what is a state is shown for each."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

ENDED_LIMIT = 4096
"""Sums that no process adds to any more, as those of replicas that have gone; beyond, the oldest are forgotten."""


class _Key(NamedTuple):
    """What a sum or a state is of."""

    family: str
    sample: str
    labels: tuple[tuple[str, str], ...]


class MetricsSum(Collector):
    """Sums that stay when a process ends and the next one in its place begins from zero: no counter goes backwards.

    What a process counted after it had been asked for the last time ends with it.
    """

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}
        self._started: dict[str, float] = {}
        self._counted: dict[str, dict[_Key, float]] = {}
        """By worker, what the process in its place had counted when it last answered."""
        self._ended: dict[_Key, float] = {}
        """What was counted by processes that have ended, or is told no longer."""
        self._states: list[tuple[_Key, float]] = []
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def page(self, pages: Mapping[str, str]) -> bytes:
        """One page in Prometheus' text format from pages by worker; gauges get the label `worker`, its name.

        The sums are also of workers that do not answer just now.
        """
        self._states = []
        for worker, page in pages.items():
            self._read(worker, page)
        self._forget()
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """The families with their sums and states."""
        totals: dict[_Key, float] = {}
        for counted in (*self._counted.values(), self._ended):
            for key, value in counted.items():
                totals[key] = totals.get(key, 0.0) + value
        metrics = {name: Metric(name, one.documentation, one.type) for name, one in self._families.items()}
        for key, value in (*totals.items(), *self._states):
            metrics[key.family].add_sample(key.sample, dict(key.labels), value)
        return metrics.values()

    def _read(self, worker: str, page: str) -> None:
        counted: dict[_Key, float] = {}
        started = 0.0
        for family in text_string_to_metric_families(page):
            if family.name.endswith("_created"):
                continue
            self._families.setdefault(family.name, family)
            for sample in family.samples:
                if family.type == "gauge":
                    labels = (*sample.labels.items(), ("worker", worker))
                    self._states.append((_Key(family.name, sample.name, labels), sample.value))
                else:
                    counted[_Key(family.name, sample.name, tuple(sorted(sample.labels.items())))] = sample.value
                if sample.name == "process_start_time_seconds":
                    started = sample.value
        is_another = started != self._started.get(worker, started)
        for key, value in self._counted.get(worker, {}).items():
            if is_another or counted.get(key, 0.0) < value:
                self._ended[key] = self._ended.get(key, 0.0) + value
        self._started[worker] = started
        self._counted[worker] = counted

    def _forget(self) -> None:
        told = {key for counted in self._counted.values() for key in counted}
        idle = [key for key in self._ended if key not in told]
        for key in idle[: max(0, len(self._ended) - ENDED_LIMIT)]:
            del self._ended[key]
