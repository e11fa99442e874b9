"""Where we may be led: public servers, what two people let in, and never a cloud's own secrets."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from datetime import date
from ipaddress import ip_address, ip_network

import pytest
from django.core.exceptions import ValidationError

from connections.addresses import connect, may_be_contacted
from connections.exceptions import FetchError
from connections.models import Allowance

EVERYWHERE = (ip_network("0.0.0.0/0"), ip_network("::/0"))


@pytest.mark.parametrize("text", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_a_public_server_may_be_contacted(text: str) -> None:
    assert may_be_contacted(ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.1.2.3", "255.255.255.255", "224.0.0.1",
        "169.254.169.254", "168.63.129.16", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2002:7f00:1::",
        "2001::1", "::7f00:1", "::ffff:0:a00:1", "2001:db8::1", "198.18.0.1", "203.0.113.1", "240.0.0.1",
    ],
)  # fmt: skip
def test_what_is_private_special_or_another_spelling_of_it_may_not(text: str) -> None:
    assert not may_be_contacted(ip_address(text))


@pytest.mark.parametrize(
    "network",
    [
        "fec0::/10", "192.0.0.0/24", "192.88.99.0/24", "3fff::/20", "5f00::/16", "2001::/23", "2002::/16",
        "64:ff9b::/96", "100:0:0:1::/64", "::ffff:c000:0/120",
    ],
)  # fmt: skip
def test_what_only_some_pythons_know_to_be_special_may_not_either(network: str) -> None:
    """Those of 3.11 and 3.12 call the first five global, those of 3.13 parts of 2001::/23."""
    whole = ip_network(network)
    for number in (0, 1, 9, 10, 170, whole.num_addresses // 2, whole.num_addresses - 1):
        assert not may_be_contacted(whole[number]), whole[number]


@pytest.mark.parametrize("text", ["192.0.1.1", "192.88.98.1", "2001:200::1", "2003::1", "3fff:1000::1"])
def test_what_lies_beside_it_is_as_public_as_it_was(text: str) -> None:
    assert may_be_contacted(ip_address(text))


@pytest.mark.parametrize(
    "text",
    ["169.254.169.254", "::ffff:169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254"],
)
def test_no_allow_list_leads_to_what_a_cloud_tells_its_machines(text: str) -> None:
    assert may_be_contacted(ip_address("10.1.2.3"), EVERYWHERE)
    assert not may_be_contacted(ip_address(text), EVERYWHERE)


@pytest.mark.parametrize("network", ["169.254.169.254/32", "168.63.129.0/24", "fe80::/120", "0.0.0.0/32"])
def test_such_a_network_cannot_even_be_entered(network: str) -> None:
    with pytest.raises(ValidationError, match="No server of a district"):
        Allowance(network=network, reason="Their SIS", expires_on=date(2027, 1, 1)).clean()


@pytest.mark.parametrize("name", ["localhost", "127.1", "2130706433", "0x7f000001"])
def test_a_name_that_leads_to_this_machine_is_refused_however_it_is_spelt(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(FetchError) as stopped:
            connect(name, server.getsockname()[1], timeout=1)
        assert stopped.value.code in ("CONN-ADDRESS", "CONN-NAME")


def test_all_addresses_of_a_name_together_take_no_longer_than_one_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full backlog is a server that drops what comes; a stranger's name can lead to any number of them."""
    with ExitStack() as stack:
        first = stack.enter_context(socket.create_server(("127.0.0.2", 0), backlog=0))
        port = first.getsockname()[1]
        hosts = [f"127.0.0.{number}" for number in range(2, 8)]
        for host in hosts[1:]:
            stack.enter_context(socket.create_server((host, port), backlog=0))
        for host in hosts:
            stack.enter_context(socket.create_connection((host, port)))
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        begun = time.monotonic()
        with pytest.raises(FetchError) as stopped:
            connect("sis.example", port, timeout=1.2, allowed=EVERYWHERE)
        assert time.monotonic() - begun < 3
    assert stopped.value.code == "CONN-TIMEOUT"
