"""The connection doctor's way to an SFTP server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from connections.sftp import Limits, Server, steps
from connections.steps import Step
from tests.connections.sshd import LOOPBACK, Sshd, free_port
from tests.connections.stranger import Stranger, entry, saying, serving

NAMES = ["name", "address", "port", "host key", "login", "folder", "list", "newest file", "stable"]


def examined(server: Server, pattern: str, **options: Any) -> list[Step]:
    """All steps: those before the first that is not well are well, those after it are skipped."""
    found = list(steps(server, pattern, wait=0.05, limits=Limits(opening=20, stall=20), **options))
    assert [step.name for step in found] == NAMES
    outcomes = [step.outcome for step in found]
    ok = outcomes.count("ok")
    assert outcomes[:ok] == ["ok"] * ok
    assert outcomes[ok + 1 :] == ["skipped"] * (len(NAMES) - ok - 1)
    assert all(bool(step.code) == bool(step.next_step) == (step.outcome in ("failed", "warning")) for step in found)
    assert all(step.words and step.seconds >= 0 for step in found)
    return found


def stop(found: list[Step]) -> tuple[str, str, str]:
    """Where it stopped: name, outcome and code."""
    return next((step.name, step.outcome, step.code) for step in found if step.outcome != "ok")


def test_a_sound_connection_is_well_in_every_step(district: Sshd, mailbox: Path) -> None:
    (mailbox / "roster.zip").write_bytes(b"zip")
    (mailbox / "older.zip").write_bytes(b"zip")
    (mailbox / "link.zip").symlink_to("roster.zip")
    found = examined(district.server(), f"{mailbox.name}/*.zip")
    assert [step.outcome for step in found] == ["ok"] * len(NAMES)
    words = {step.name: step.words for step in found}
    assert district.host_key in words["host key"]
    assert words["folder"] == f"{mailbox.name} is there."
    assert words["newest file"].startswith("roster.zip, 3 bytes. 1 other")
    assert "1 entries were passed over" in words["newest file"]


def test_each_step_stops_the_way_with_its_own_code(district: Sshd, mailbox: Path) -> None:
    good = district.server
    box = mailbox.name
    assert stop(examined(good(host="no-such-host.invalid"), box)) == ("name", "failed", "CONN-NAME")
    assert stop(examined(good(allowed=()), box)) == ("address", "failed", "CONN-ADDRESS")
    assert stop(examined(good(port=free_port()), box)) == ("port", "failed", "CONN-REFUSED")
    assert stop(examined(good(host_key=""), box)) == ("host key", "failed", "SFTP-HOSTKEY-NEW")
    assert stop(examined(good(host_key="SHA256:other"), box)) == ("host key", "failed", "SFTP-HOSTKEY-CHANGED")
    assert stop(examined(good(user="nobody-here"), box)) == ("login", "failed", "SFTP-LOGIN")
    assert stop(examined(good(private_key="x"), box)) == ("login", "failed", "SFTP-KEY")
    assert stop(examined(good(), f"{box}/none")) == ("folder", "failed", "SFTP-FOLDER")
    assert stop(examined(good(), f"{box}/none/a.zip")) == ("folder", "failed", "SFTP-FOLDER")
    assert stop(examined(good(), f"{box}/1*/a.zip")) == ("list", "failed", "SFTP-FOLDER")
    assert stop(examined(good(), box)) == ("newest file", "warning", "SFTP-NOTHING")
    (mailbox / "roster.zip").write_bytes(b"zip")
    assert stop(examined(good(), box, marker="done.txt")) == ("stable", "warning", "SFTP-STILL-WRITING")
    assert stop(examined(good(), box, formats=("csv",))) == ("newest file", "warning", "SFTP-NOTHING")


def test_where_a_name_leads_in_our_network_is_told_to_staff_alone(district: Sshd, mailbox: Path) -> None:
    for server in (district.server(host="localhost", allowed=()), district.server(host="localhost")):
        found = {step.name: step for step in examined(server, mailbox.name)}
        assert (found["name"].outcome, found["name"].words) == ("ok", "localhost is known.")
        assert "localhost is at " in found["name"].inside
        for step in found.values():
            told = f"{step.words} {step.next_step}"
            assert "127.0.0.1" not in told and "::1" not in told, step.name
    refused = {step.name: step for step in examined(district.server(host="localhost", allowed=()), "")}["address"]
    assert (refused.words, refused.code) == (
        "The server's name leads to an address that is not public.",
        "CONN-ADDRESS",
    )
    assert "internet" in refused.next_step and "localhost is at " in refused.inside


def test_a_port_that_is_no_sftp_server_stops_at_the_host_key() -> None:
    with saying(b"HTTP/1.1 400 Bad Request\r\n\r\n", hang_up=True) as port:
        found = examined(Server("127.0.0.1", port, "district", allowed=LOOPBACK), "")
    assert stop(found) == ("host key", "failed", "SFTP-NOT-SFTP")


def test_no_secret_is_in_any_words() -> None:
    with serving(Stranger(listing=[entry("roster.zip")])) as stranger:
        found = examined(stranger.server(password="hunter2"), "")
    assert stop(found) == ("login", "failed", "SFTP-LOGIN")
    assert "hunter2" not in repr(found)
