"""Which addresses are on the public internet, however they are written."""

import pytest

from notifier_service.guarded_connector import is_public


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "140.82.121.3",
        "1.1.1.1",
        "2606:4700:4700::1111",
        "2400:3200::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ],
)
def test_public_address_is_allowed(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.1.1",
        "192.0.0.8",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "192.88.99.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700:4700::1111%eth0",
        "fec0::1",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "2001:db8::1",
        "3fff::1",
        "100::1",
        "2001::1",
        "2001:10::1",
    ],
)
def test_address_of_our_own_or_of_nobody_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "169.254.170.2"],
    ids=["aws-azure-google", "aws-6", "alibaba", "azure", "oracle", "aws-containers"],
)
def test_metadata_service_of_a_cloud_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("carried", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.0.1", "168.63.129.16"])
@pytest.mark.parametrize(
    "form", ["::ffff:{}", "::ffff:0:{}", "::{}", "64:ff9b::{}", "64:ff9b:1::{}", "2002:{hex}::1", "2001::{}"]
)
def test_address_that_carries_a_private_one_is_refused(form: str, carried: str) -> None:
    first, second, third, fourth = (int(part) for part in carried.split("."))
    address = form.format(carried, hex=f"{first:02x}{second:02x}:{third:02x}{fourth:02x}")

    assert not is_public(address)


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f.0.0.1", "2130706433", "[::1]", "1.2.3.4.5"])
def test_what_is_no_address_is_refused(text: str) -> None:
    assert not is_public(text)
