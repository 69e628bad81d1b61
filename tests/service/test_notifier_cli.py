"""The command line `notifier` as operators run it: real processes, a real Postgres, exit statuses."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.webhook import SECRET, FakeWebhook, fake_webhook
from tests.fakes.wechat import APP_ID, APP_SECRET, TEMPLATE, fake_wechat
from tests.queue_database import QueueDatabase

NOTIFIER = str(Path(sys.executable).with_name("notifier"))
KEY = "a secret key that is long enough to be one"


class Cli:
    """Runs commands against a database."""

    def __init__(self, url: str) -> None:
        self._environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": url,
            "SECRET_KEY": KEY,
            "WEBHOOK_PRIVATE_ADDRESSES": "true",
        }

    def run(self, *arguments: str, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [NOTIFIER, *arguments],
            env={**self._environment, **environment},
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """What a command that succeeds writes."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def tables(database_url: str) -> QueueDatabase:
    tables = QueueDatabase(database_url)
    tables.rows("delete from endpoint")
    return tables


@pytest.fixture
def cli(tables: QueueDatabase) -> Cli:
    return Cli(tables.url)


def endpoint(tables: QueueDatabase, state: str = "active") -> int:
    [(id_,)] = tables.rows(
        "insert into endpoint (channel, state, address_hint) values ('webhook', %s, 'https://a.example/…') returning id",
        (state,),
    )
    assert isinstance(id_, int)
    return id_


def waiting(tables: QueueDatabase, endpoint_id: int) -> int:
    """A notification that waits for an hour; its id."""
    [(id_,)] = tables.rows(
        """with new as (insert into message (topic, body) values ('release.published', '{"tag": "v1"}') returning id)
        insert into delivery (message_id, endpoint_id, channel, run_at)
        select id, %s, 'webhook', now() + interval '1 h' from new returning id""",
        (endpoint_id,),
    )
    assert isinstance(id_, int)
    return id_


def dead(tables: QueueDatabase, endpoint_id: int, count: int = 1) -> list[int]:
    """Dead letters; their ids."""
    rows = tables.rows(
        """with message as (
            insert into message (topic, body) select 'release.published', '{}' from generate_series(1, %s) returning id
        )
        insert into dead_letter (delivery_id, message_id, endpoint_id, channel, attempt, created_at, reason)
        select nextval(pg_get_serial_sequence('delivery', 'id')), id, %s, 'webhook', 3, now(), 'it said no' from message
        returning delivery_id""",
        (count, endpoint_id),
    )
    return [row[0] for row in rows]


def test_help_names_every_command(cli: Cli) -> None:
    done = cli.run("--help")
    assert done.returncode == 0
    for command in (
        "stats", "ls", "show", "retry", "cancel", "pause", "resume", "dead", "workers", "subscriptions", "send-test",
        "schedules", "doctor",
    ):  # fmt: skip
        assert f"\n  {command} " in done.stdout


def test_module_is_the_same_command(cli: Cli, tables: QueueDatabase) -> None:
    command = [sys.executable, "-m", "notifier_service.cli", "ls"]
    environment = {**os.environ, "DATABASE_URL": tables.url, "SECRET_KEY": KEY}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "There are none.\n"), done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["show"],
        ["ls", "--state", "lost"],
        ["pause", "endpoint", "x"],
        ["dead", "replay"],
        ["subscriptions", "add", "alert", "webhook", "nowhere"],
        ["subscriptions", "add", "alert", "webhook", "https://a.example", "--config", "{"],
        ["schedules", "add", "x", "0 9 * *", "subscription.test", "{}"],
        ["schedules", "add", "x", "0 9 * * *", "subscription.test", "{}", "--time-zone", "Asia/Atlantis"],
        ["schedules", "add", "x", "0 9 * * *", "subscription.test", "[]"],
        ["schedules", "add", "x", "0 9 * * *", "alert", "{}"],
        ["schedules", "add", "", "0 9 * * *", "subscription.test", "{}"],
        ["schedules", "add", "x", "0 9 * * *", "subscription.test", '{"n": "\\u0000"}'],
    ],
)
def test_wrong_usage_is_status_2_and_says_why(cli: Cli, arguments: list[str]) -> None:
    done = cli.run(*arguments)
    assert (done.returncode, done.stdout, bool(done.stderr)) == (2, "", True)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "1"],
        ["retry", "1"],
        ["pause", "schedule", "x"],
        ["schedules", "rm", "x"],
    ],
)
def test_what_there_is_not_is_status_1(cli: Cli, arguments: list[str]) -> None:
    done = cli.run(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("notifier: ")


def test_without_a_database_one_line_says_so(cli: Cli) -> None:
    done = cli.run("stats", DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")
    assert (done.returncode, done.stderr) == (1, "notifier: The database cannot be reached.\n")


def test_stats_count_what_waits_and_what_is_dead(cli: Cli, tables: QueueDatabase) -> None:
    id_ = endpoint(tables)
    waiting(tables, id_)
    dead(tables, id_, 3)
    tables.rows(
        "insert into delivery_record (delivery_id, message_id, endpoint_id, channel, attempt, outcome, duration_ms)"
        " values (1, 1, %s, 'webhook', 1, 'delivered', 12)",
        (id_,),
    )
    stats = cli.json("stats")

    [channel] = [one for one in stats["channels"] if one["name"] == "webhook"]
    assert (channel["due"], channel["later"], channel["dead"]) == (0, 1, 3)
    assert stats["newest_tries"] == [{"channel": "webhook", "outcome": "delivered", "count": 1, "median_ms": 12}]
    assert stats["endpoints_active"] == 1
    assert "webhook" in cli.run("stats").stdout


def test_notification_is_listed_shown_hurried_and_cancelled(cli: Cli, tables: QueueDatabase) -> None:
    id_ = waiting(tables, endpoint(tables))
    assert [one["id"] for one in cli.json("ls", "--state", "waiting")] == [id_]
    assert "https://a.example/…" in cli.run("ls").stdout
    assert cli.json("show", str(id_))["body"] == {"tag": "v1"}
    assert "Not tried yet." in cli.run("show", str(id_)).stdout
    cli.json("retry", str(id_))
    assert tables.rows("select run_at <= now() from delivery") == [(True,)]
    assert cli.json("cancel", str(id_))["notification"]["state"] == "cancelled"
    assert tables.rows("select outcome, error from delivery_record") == [("cancelled", "by an operator")]


def test_dead_letters_are_replayed_in_chunks_each_once(cli: Cli, tables: QueueDatabase) -> None:
    id_ = endpoint(tables)
    dead(tables, id_, 1203)
    tables.rows("insert into channel values ('webhook', true) on conflict (name) do update set paused = true")
    assert len(cli.json("dead", "ls")) == 30
    assert cli.json("dead", "replay", "--all") == {"replayed": 1203, "left": 0}
    assert cli.json("dead", "replay", "--all") == {"replayed": 0, "left": 0}

    assert tables.rows("select count(*), count(distinct message_id), min(attempt) from delivery") == [(1203, 1203, 3)]
    assert tables.rows("select count(*) from dead_letter where replayed_as is null") == [(0,)]


def test_what_has_nowhere_to_go_is_not_replayed(cli: Cli, tables: QueueDatabase) -> None:
    dead(tables, endpoint(tables, "disabled"), 2)
    done = cli.run("dead", "replay", "--all")
    assert (done.returncode, done.stdout) == (0, "replayed 0; 2 left: their endpoints take no messages\n")


def test_only_what_is_named_is_replayed(cli: Cli, tables: QueueDatabase) -> None:
    first, second = endpoint(tables), endpoint(tables)
    one, *_ = dead(tables, first, 2)
    dead(tables, second, 2)
    assert cli.json("dead", "replay", str(one))["replayed"] == 1
    assert cli.json("dead", "replay", "--endpoint", str(second), "--topic", "alert")["replayed"] == 0
    assert cli.json("dead", "replay", "--endpoint", str(second), "--channel", "webhook")["replayed"] == 2


def test_purge_asks_first(cli: Cli, tables: QueueDatabase) -> None:
    dead(tables, endpoint(tables), 2)
    refused = cli.run("dead", "purge", "--all", typed="n\n")
    assert (refused.returncode, tables.rows("select count(*) from dead_letter")) == (1, [(2,)])
    assert cli.json("dead", "purge", "--all", "--yes") == {"purged": 2}
    assert tables.rows("select count(*) from dead_letter") == [(0,)]


def test_pause_and_resume(cli: Cli, tables: QueueDatabase) -> None:
    id_ = endpoint(tables)
    tables.rows("insert into schedule (name, cron, topic, next_at) values ('nightly', '0 3 * * *', 'x', now())")
    tables.rows("insert into endpoint (channel, config) values ('wechat', '{\"template_id\": \"T-1\"}')")
    for kind, name in (("channel", "webhook"), ("endpoint", str(id_)), ("schedule", "nightly"), ("template", "T-1")):
        assert cli.json("pause", kind, name) == {"kind": kind, "name": name, "paused": True}
    paused = "select (select paused from channel where name = 'webhook'), (select bool_and(paused) from endpoint), (select paused from schedule where name = 'nightly')"
    assert tables.rows(paused) == [(True, True, True)]
    assert {one["name"]: one["paused"] for one in cli.json("schedules", "ls")}["nightly"] is True
    for kind, name in (("channel", "webhook"), ("endpoint", str(id_)), ("schedule", "nightly"), ("template", "T-1")):
        cli.json("resume", kind, name)
    assert tables.rows(paused) == [(False, False, False)]


def test_schedule_is_added_once_listed_and_removed(cli: Cli, tables: QueueDatabase) -> None:
    alert = {"service": "us", "error": "Reminder", "where": "-", "message": "Look.", "traceback": "", "minute": "-"}
    arguments = (
        "schedules",
        "add",
        "monday",
        "0 9 * * mon",
        "alert",
        json.dumps(alert),
        "--time-zone",
        "Asia/Shanghai",
    )
    [made] = cli.json(*arguments)
    assert made["cron"] == "0 9 * * mon"
    assert made["next_at"].endswith("T01:00:00Z")
    assert cli.run(*arguments).stderr == "notifier: There is a schedule monday already.\n"
    assert tables.rows("select name, topic, body from schedule") == [("monday", "alert", alert)]
    assert cli.json("schedules", "ls") == [made]
    cli.json("schedules", "rm", "monday")
    assert cli.run("schedules", "ls").stdout == "There is no schedule.\n"


def test_workers_are_listed(cli: Cli, tables: QueueDatabase) -> None:
    assert cli.run("workers").stdout == "No worker runs.\n"
    tables.rows("insert into worker (host, pid, version) values ('here', 7, '0.1.0')")
    [worker] = cli.json("workers")
    assert (worker["host"], worker["pid"], worker["sending"], worker["draining"]) == ("here", 7, 0, False)


async def subscribed(cli: Cli, webhook: FakeWebhook, *options: str) -> subprocess.CompletedProcess[str]:
    """`subscriptions add` while the webhook answers in this loop."""
    return await asyncio.to_thread(
        cli.run,
        *("subscriptions", "add", "trending.entered", "webhook", "-", "--secret", "-", *options),
        typed=f"{webhook.url}\n{SECRET}\n",
    )


async def test_webhook_is_subscribed_confirmed_paused_and_removed(cli: Cli, tables: QueueDatabase) -> None:
    async with fake_webhook() as webhook:
        done = await subscribed(cli, webhook, "--language", "rust", "--minimum-period-stars", "10", "--json")
        assert done.returncode == 0, done.stderr
        added = json.loads(done.stdout)
        assert added["secret"] == SECRET
        assert (added["languages"], added["minimum_period_stars"]) == (["rust"], 10)
        assert added["endpoint"]["state"] == "active"
        again = await subscribed(cli, webhook, "--language", "rust", "--minimum-period-stars", "10")
        assert (again.returncode, again.stderr, "whsec_" in again.stdout) == (0, "there already:\n", False)
        confirmed = await asyncio.to_thread(cli.json, "subscriptions", "confirm", str(added["id"]))
        assert confirmed["endpoint"]["state"] == "active"
    id_ = str(added["id"])
    assert cli.json("subscriptions", "pause", id_)["paused"] is True
    assert [one["paused"] for one in cli.json("subscriptions", "ls")] == [True]
    assert cli.json("subscriptions", "resume", id_)["paused"] is False
    table = cli.run("subscriptions", "ls").stdout
    assert "rust (daily) ≥ 10 ★" in table
    assert "secretsecret" not in table
    assert cli.json("subscriptions", "rotate-secret", id_)["secret"] != added["secret"]
    assert cli.run("subscriptions", "rm", id_).stdout == f"deleted {id_}\n"
    assert cli.json("subscriptions", "ls") == []


async def test_webhook_that_does_not_confirm_is_kept_and_status_1(cli: Cli, tables: QueueDatabase) -> None:
    async with fake_webhook(FakeWebhook(answers_challenges=False)) as webhook:
        done = await subscribed(cli, webhook)
    assert done.returncode == 1
    assert "kept, but not confirmed" in done.stderr
    assert [one["endpoint"]["state"] for one in cli.json("subscriptions", "ls")] == ["unconfirmed"]


def test_doctor_finds_a_queue_that_is_well_but_for_its_workers(cli: Cli, tables: QueueDatabase) -> None:
    done = cli.run("doctor", "--json")
    findings = {one["check"]: one for one in json.loads(done.stdout)}
    assert (done.returncode, findings.pop("workers")["status"]) == (1, "failed")
    assert {one["status"] for one in findings.values()} == {"ok"}, findings
    tables.rows("insert into worker (host, pid, version) values ('here', 7, '0.1.0')")
    assert cli.run("doctor").returncode == 0


def test_doctor_finds_what_ails(cli: Cli, tables: QueueDatabase) -> None:
    tables.rows("insert into worker (host, pid, version) values ('here', 7, '0.1.0')")
    id_ = endpoint(tables)
    dead(tables, id_, 2)
    tables.rows("update delivery set run_at = now() - interval '5 min' where id = %s", (waiting(tables, id_),))
    tables.rows("update endpoint set address_encrypted = 'stored under another key'")
    tables.rows("insert into subscription (endpoint_id, topic, time_zone) values (%s, 'news', 'Asia/Atlantis')", (id_,))
    [(partition,)] = tables.rows("select 'delivery_record_' || to_char(now() at time zone 'UTC', 'YYYYMMDD')")
    tables.rows(f"drop table {partition}")
    done = cli.run("doctor", "--json", SLACK_WEBHOOK_URL="http://127.0.0.1:1/secret")
    findings = {one["check"]: one["status"] for one in json.loads(done.stdout)}

    assert done.returncode == 1
    assert findings["dead letters"] == findings["oldest due"] == findings["time zones"] == "warning"
    assert findings["endpoints"] == findings["partitions"] == findings["reach slack"] == "failed"
    assert "secret" not in done.stdout.replace("SECRET_KEY", "")


async def test_doctor_asks_wechat_for_the_templates_that_endpoints_name(cli: Cli, tables: QueueDatabase) -> None:
    tables.rows("insert into worker (host, pid, version) values ('here', 7, '0.1.0')")
    found = []
    async with fake_wechat() as wechat:
        settings = {"WECHAT_API_URL": wechat.url, "WECHAT_APP_ID": APP_ID, "WECHAT_APP_SECRET": APP_SECRET}
        for template in (TEMPLATE, "no-such-template"):
            tables.rows(
                "insert into endpoint (channel, config) values ('wechat', jsonb_build_object('template_id', %s::text))",
                (template,),
            )
            done = await asyncio.to_thread(cli.run, "doctor", "--json", **settings)
            findings = {one["check"]: one for one in json.loads(done.stdout)}
            assert findings["reach wechat"]["status"] == "ok"
            found.append((findings["wechat templates"]["status"], done.returncode))

    assert found == [("ok", 0), ("failed", 1)]
    assert "no-such-template" in findings["wechat templates"]["detail"]


def test_doctor_of_a_database_without_the_tables_says_so(cli: Cli, tables: QueueDatabase) -> None:
    tables.rows("drop schema public cascade")
    done = cli.run("doctor")
    assert done.returncode == 1
    assert "were all migrations applied?" in done.stdout
    assert "Traceback" not in done.stderr
