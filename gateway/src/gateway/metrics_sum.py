"""Several processes' metrics as one page: what counts is summed, what is a state is shown for each. Pure."""

from collections.abc import Iterable, Mapping

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry


def sum_metrics(pages: Mapping[str, str]) -> bytes:
    """One page in Prometheus' text format from pages by process; gauges get the label `worker`, its name."""
    registry = CollectorRegistry()
    registry.register(_Summed(pages))
    return generate_latest(registry)


class _Summed(Collector):
    def __init__(self, pages: Mapping[str, str]) -> None:
        self._pages = pages

    def collect(self) -> Iterable[Metric]:
        summed: dict[str, Metric] = {}
        totals: dict[tuple[str, str, tuple[tuple[str, str], ...]], float] = {}
        for worker, page in self._pages.items():
            for family in text_string_to_metric_families(page):
                if family.name.endswith("_created"):
                    continue
                metric = summed.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    if family.type == "gauge":
                        metric.add_sample(sample.name, {**sample.labels, "worker": worker}, sample.value)
                        continue
                    key = family.name, sample.name, tuple(sorted(sample.labels.items()))
                    totals[key] = totals.get(key, 0.0) + sample.value
        for (family_name, name, labels), value in totals.items():
            summed[family_name].add_sample(name, dict(labels), value)
        return summed.values()
