"""What a subscription may say: defaults, forms, what goes together, and errors that name the field."""

from typing import Any

import msgspec
import pytest

from notifier_service.api.body import decode_body
from notifier_service.channels import REGISTRY
from notifier_service.subscription import Language, Wish, complete, slug_of
from notifier_service.target import Target, complete_target, shown
from service_kit.errors import InvalidParameter, InvalidRequest, ServiceError, UnprocessableParameter

MENU = (Language("C#", "c%23"), Language("Rust", "rust"), Language("Common Lisp", "common-lisp"))


def wish(**members: Any) -> Wish:
    return complete(Wish(**{"topic": "trending.entered", **members}))


def refused(**members: Any) -> tuple[str, str]:
    with pytest.raises((InvalidParameter, UnprocessableParameter)) as caught:
        wish(**members)
    return caught.value.code, caught.value.members["parameter"]


def test_little_needs_to_be_said() -> None:
    assert msgspec.structs.asdict(wish()) == {
        "topic": "trending.entered",
        "languages": ("all",),
        "since": "daily",
        "minimum_period_stars": None,
        "repository": None,
        "owner": None,
        "mode": "at_once",
        "digest_hour": None,
        "digest_weekday": None,
        "time_zone": "UTC",
        "quiet_from": None,
        "quiet_until": None,
        "paused": False,
    }


@pytest.mark.parametrize(
    ("members", "completed"),
    [
        ({"topic": "trending.digest"}, {"mode": "daily", "digest_hour": 8, "digest_weekday": None}),
        ({"topic": "trending.digest", "digest_hour": 0}, {"digest_hour": 0}),
        ({"topic": "trending.digest", "mode": "weekly"}, {"digest_hour": 8, "digest_weekday": "monday"}),
        ({"topic": "trending.digest", "mode": "weekly", "digest_weekday": "friday"}, {"digest_weekday": "friday"}),
        ({"languages": ("Rust", "go", "rust")}, {"languages": ("go", "rust")}),
        ({"repository": "Rust-Lang/Cargo", "owner": "Rust-Lang"}, {"repository": "rust-lang/cargo", "owner": "rust-lang"}),
        ({"topic": "release.published", "repository": "a/b"}, {"languages": (), "mode": "at_once"}),
        ({"topic": "alert"}, {"languages": ()}),
        ({"quiet_from": "22:00", "quiet_until": "07:30"}, {"quiet_from": "22:00", "quiet_until": "07:30"}),
    ],
)  # fmt: skip
def test_what_is_left_out_has_a_default_and_what_is_said_one_form(members: Any, completed: dict[str, Any]) -> None:
    told = msgspec.structs.asdict(wish(**members))
    assert {name: told[name] for name in completed} == completed


def test_what_is_complete_stays_as_it_is() -> None:
    for topic in ("trending.entered", "trending.digest", "alert"):
        once = wish(topic=topic)
        assert complete(once) == once


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"topic": "trending"}, "topic"),
        ({"since": "hourly"}, "since"),
        ({"mode": "daily"}, "mode"),
        ({"topic": "trending.digest", "mode": "at_once"}, "mode"),
        ({"digest_hour": 8}, "digest_hour"),
        ({"topic": "trending.digest", "digest_weekday": "monday"}, "digest_weekday"),
        ({"topic": "trending.digest", "mode": "weekly", "digest_weekday": "Mon"}, "digest_weekday"),
        ({"topic": "trending.digest", "quiet_from": "22:00", "quiet_until": "07:00"}, "quiet_from"),
        ({"topic": "trending.digest", "owner": "a"}, "owner"),
        ({"topic": "release.published", "repository": "a/b", "languages": ("rust",)}, "languages"),
        ({"topic": "release.published", "repository": "a/b", "since": "weekly"}, "since"),
        ({"topic": "alert", "repository": "a/b"}, "repository"),
        ({"quiet_from": "22:00", "quiet_until": "22:00"}, "quiet_until"),
    ],
)
def test_what_does_not_go_together_or_does_not_exist_is_unprocessable(members: dict[str, Any], field: str) -> None:
    assert refused(**members) == ("unprocessable_parameter", field)


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"topic": "release.published"}, "repository"),
        ({"repository": "cargo"}, "repository"),
        ({"repository": "a/b/c"}, "repository"),
        ({"repository": "a /b"}, "repository"),
        ({"owner": "-a"}, "owner"),
        ({"owner": "a/b"}, "owner"),
        ({"quiet_from": "22:00"}, "quiet_until"),
        ({"quiet_until": "22:00"}, "quiet_from"),
        ({"quiet_from": "24:00", "quiet_until": "07:00"}, "quiet_from"),
        ({"quiet_from": "7:00", "quiet_until": "07:00"}, "quiet_from"),
        ({"quiet_from": "22:00\n", "quiet_until": "07:00"}, "quiet_from"),
        ({"time_zone": "Asia/Shanghai'"}, "time_zone"),
        ({"time_zone": "../etc/passwd"}, "time_zone"),
        ({"time_zone": ""}, "time_zone"),
    ],
)
def test_what_has_no_such_form_is_invalid(members: dict[str, Any], field: str) -> None:
    assert refused(**members) == ("invalid_parameter", field)


@pytest.mark.parametrize(
    ("text", "slug"),
    [("rust", "rust"), ("Rust", "rust"), ("c#", "c%23"), ("c%23", "c%23"), ("common lisp", "common-lisp"), ("all", "")],
)
def test_language_may_be_a_slug_or_a_name(text: str, slug: str) -> None:
    assert slug_of(text, MENU) == slug


def test_unknown_language_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnprocessableParameter) as caught:
        slug_of("rest", MENU)
    assert caught.value.members == {"parameter": "languages", "nearest": ("rust",)}


def test_before_the_first_menu_a_slug_is_believed_and_nothing_else() -> None:
    assert slug_of("zig", ()) == "zig"
    with pytest.raises(UnprocessableParameter):
        slug_of("'; drop table", ())


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        (b"{}", "topic", "is missing."),
        (b'{"topic": "alert", "nonsense": 1}', "nonsense", "is not known here."),
        (b'{"topic": 1}', "topic", "Expected str, got int."),
        (b'{"topic": "alert", "languages": ["rust", 1]}', "languages[1]", "Expected str, got int."),
        (b'{"topic": "alert", "languages": "rust"}', "languages", "Expected array, got str."),
        (b'{"topic": "alert", "minimum_period_stars": -1}', "minimum_period_stars", "Expected int >= 0."),
        (b'{"topic": "alert", "digest_hour": 24}', "digest_hour", "Expected int <= 23."),
        (b'{"topic": "alert", "paused": "yes"}', "paused", "Expected bool, got str."),
    ],
)
def test_wrong_body_is_refused_naming_the_field(body: bytes, field: str, detail: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        decode_body(body, Wish)
    assert (caught.value.members["parameter"], caught.value.detail) == (field, detail)


def test_missing_member_of_a_member_is_named_with_its_path() -> None:
    class Outer(msgspec.Struct, forbid_unknown_fields=True):
        endpoint: Target

    with pytest.raises(InvalidParameter) as caught:
        decode_body(b'{"endpoint": {"channel": "webhook"}}', Outer)
    assert caught.value.members["parameter"] == "endpoint.address"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"topic": "\xff"}', b"[]", b"null"])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_body(body, Wish)


def test_webhook_without_a_secret_gets_one() -> None:
    first, second = (
        complete_target(Target(channel="webhook", address="https://a.example/h#f"), REGISTRY) for _ in range(2)
    )
    assert first.address == "https://a.example/h"
    assert first.secret is not None
    assert first.secret.startswith("whsec_")
    assert first.secret != second.secret


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"channel": "pigeon"}, "endpoint.channel"),
        ({"language": "fr"}, "endpoint.language"),
        ({"address": "ftp://a.example"}, "endpoint.address"),
        ({"address": "https://user:swordfish@a.example"}, "endpoint.address"),
        ({"secret": "swordfish"}, "endpoint.secret"),
        ({"channel": "slack", "address": "https://a.example/h", "secret": "whsec_swordfish"}, "endpoint.secret"),
    ],
)
def test_wrong_target_is_refused_naming_the_field_and_quoting_no_secret(members: dict[str, Any], field: str) -> None:
    with pytest.raises(ServiceError) as caught:
        complete_target(Target(**{"channel": "webhook", "address": "https://a.example/h", **members}), REGISTRY)
    assert caught.value.members["parameter"] == field
    assert "swordfish" not in caught.value.detail


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("https://hooks.example:8443/services/T00/secret?token=x", "https://hooks.example/…"),
        ("http://[::1]:8/secret", "http://[::1]/…"),
        ("oAbCdEfGhIjKlMnOpQrStUvWx", "…UvWx"),
        ("short", "…"),
    ],
)
def test_of_an_address_little_is_shown(address: str, hint: str) -> None:
    assert shown(address) == hint
