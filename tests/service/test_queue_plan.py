"""How Postgres means to run claims and endings: by an index, however many rows there are and in whatever state."""

import json
from typing import Any

import psycopg2
import pytest

from notifier_service import completion
from notifier_service.inspection import QUERIES as INSPECTION
from notifier_service.own_connection import array_text
from notifier_service.queue import PLANNER, QUERIES
from tests.queue_database import QueueDatabase

FILLED = {
    "emptied": """
        insert into delivery (message_id, endpoint_id, channel) select n, 1, 'slack' from generate_series(1, 50000) n;
        delete from delivery where id > 50
    """,
    "ready": "insert into delivery (message_id, endpoint_id, channel) select n, 1, 'slack' from generate_series(1, 50000) n",
    "held": """
        insert into delivery (message_id, endpoint_id, channel, state)
        select n, 1, 'slack', case when n % 100 = 0 then 'ready' else 'held' end from generate_series(1, 50000) n
    """,
    "running": """
        insert into delivery (message_id, endpoint_id, channel, state, lease_until, worker)
        select n, 1, 'slack', case when n % 2 = 0 then 'ready' else 'running' end, now() + interval '1 hour', 1
        from generate_series(1, 50000) n
    """,
}


@pytest.mark.parametrize("plan_cache_mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("filled", FILLED)
def test_claim_reads_the_ready_index_and_single_rows(database_url: str, filled: str, plan_cache_mode: str) -> None:
    tables = QueueDatabase(database_url)
    tables.rows(FILLED[filled])
    tables.rows("insert into message (topic, body) select 'alert', '{}' from generate_series(1, 50000)")
    tables.rows("insert into endpoint (channel) select 'slack' from generate_series(1, 5000)")
    tables.rows("analyze")
    claim = QUERIES["claim"]
    for number, name in enumerate(("channel", "floor", "limit", "worker", "lease_seconds"), 1):
        claim = claim.replace(f"%({name})s", f"${number}")
    connection = psycopg2.connect(tables.url)
    cursor = connection.cursor()
    cursor.execute(PLANNER)
    cursor.execute(
        f"set plan_cache_mode = {plan_cache_mode}; prepare claim (text, float8, int, int, float8) as {claim}"
    )
    cursor.execute("explain (format json) execute claim ('slack', 0, 500, 1, 10)")
    nodes = _nodes(cursor.fetchone()[0][0]["Plan"])
    connection.close()

    scans = [node for node in nodes if node.get("Relation Name") == "delivery" and "Scan" in node["Node Type"]]
    used = {(node["Node Type"], node.get("Index Name")) for node in scans}
    assert used == {("Index Scan", "delivery_ready"), ("Tid Scan", None)}, json.dumps(scans, indent=1)


@pytest.mark.parametrize(("asked", "most_rows"), [({"limit": 31}, 31), ({"id": 100}, 1)], ids=["all", "one"])
def test_list_of_notifications_reads_a_page_by_index(database_url: str, asked: dict[str, int], most_rows: int) -> None:
    tables = QueueDatabase(database_url)
    tables.rows(FILLED["held"])
    tables.rows("""
        insert into delivery_record (delivery_id, message_id, endpoint_id, attempt, outcome, channel)
        select n, n, 1, 1, 'delivered', 'slack' from generate_series(1, 50000) n;
        insert into dead_letter (delivery_id, message_id, endpoint_id, channel, attempt, created_at, reason)
        select n, n, 1, 'slack', 1, now(), 'x' from generate_series(1, 50000) n
    """)
    tables.rows("analyze")
    nothing = {"id": None, "state": None, "topic": None, "endpoint": None, "skip": 0, "limit": 1}
    [(plans,)] = tables.rows(f"explain (analyze, format json) {INSPECTION['notifications']}", {**nothing, **asked})
    scans = [
        node
        for node in _nodes(plans[0]["Plan"])
        if "Scan" in node["Node Type"]
        and node.get("Relation Name", "").startswith(("delivery", "dead_letter"))
        and node["Actual Rows"]
    ]
    assert len(scans) == 3
    assert all("Index" in node["Node Type"] and node["Actual Rows"] <= most_rows for node in scans), scans


@pytest.mark.parametrize("plan_cache_mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("filled", FILLED)
def test_endings_read_single_rows_and_not_all_that_run(database_url: str, filled: str, plan_cache_mode: str) -> None:
    tables = QueueDatabase(database_url)
    tables.rows(FILLED[filled])
    tables.rows("analyze")
    numbers = array_text(range(1, 501))
    connection = psycopg2.connect(tables.url)
    cursor = connection.cursor()
    cursor.execute(completion.PLANNER)
    deliver = completion.QUERIES["deliver"]
    for number, name in enumerate(("ids", "attempts", "durations", "statuses"), 1):
        deliver = deliver.replace(f"%({name})s", f"${number}")
    cursor.execute(f"set plan_cache_mode = {plan_cache_mode}; prepare deliver as {deliver}")
    cursor.execute("explain (format json) execute deliver (%s, %s, %s, %s)", [numbers] * 4)
    nodes = _nodes(cursor.fetchone()[0][0]["Plan"])
    connection.close()

    scans = [node for node in nodes if node.get("Relation Name") == "delivery" and "Scan" in node["Node Type"]]
    used = {(node["Node Type"], node.get("Index Name")) for node in scans}
    assert used == {("Index Scan", "delivery_pkey")}, json.dumps(scans, indent=1)
    assert not any(node["Node Type"] == "Nested Loop" for node in nodes)


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(inner for child in plan.get("Plans", []) for inner in _nodes(child))]
