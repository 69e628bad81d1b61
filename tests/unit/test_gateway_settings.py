"""What the gateway reads from its environment."""

from ipaddress import ip_network

import pytest

from gateway.app import Settings
from gateway.routes import Service
from service_kit.settings import load_settings

URLS = {
    "REPO_SERVICE_URL": "http://repo-service:8081/",
    "DEVELOPER_SERVICE_URL": "http://developer-service:8082",
    "SEARCH_SERVICE_URL": "http://search-service:8083",
    "NOTIFIER_SERVICE_URL": "http://notifier-service:8084",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GATEWAY_PORT", "PORT", "HOST", "TRUSTED_PROXIES"):
        monkeypatch.delenv(name, raising=False)
    for name, url in URLS.items():
        monkeypatch.setenv(name, url)


def test_the_services_addresses_are_enough() -> None:
    settings = load_settings(Settings)
    assert (settings.host, settings.port, settings.trusted_proxies) == ("127.0.0.1", 8080, ())
    assert settings.url_of(Service.REPO) == "http://repo-service:8081"
    assert {settings.url_of(service) for service in Service} == {url.rstrip("/") for url in URLS.values()}


def test_the_port_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("GATEWAY_PORT", "9000")
    assert load_settings(Settings).port == 9000


def test_trusted_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1,fd00::/8,")
    expected = (ip_network("10.0.0.0/8"), ip_network("192.0.2.1/32"), ip_network("fd00::/8"))
    assert load_settings(Settings).trusted_proxies == expected


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("SEARCH_SERVICE_URL", "", "SEARCH_SERVICE_URL: missing"),
        ("REPO_SERVICE_URL", "repo-service:8081", "REPO_SERVICE_URL: should be an http:// or https:// URL"),
        ("GATEWAY_PORT", "0", "GATEWAY_PORT: "),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "TRUSTED_PROXIES: should be IP addresses or networks"),
        ("TRUSTED_PROXIES", "nginx", "TRUSTED_PROXIES: should be IP addresses or networks"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, complaint: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=f"^settings: {complaint}") as raised:
        load_settings(Settings)
    assert "\n" not in str(raised.value)
