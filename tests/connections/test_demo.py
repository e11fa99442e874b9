"""The demo's own servers, asked by the portal's own clients: what they serve, whom they refuse, and how days pass."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import paramiko
import polars as pl
import pytest
import requests
from django.conf import settings
from django.contrib.auth.models import User as Staff
from django.core.management import CommandError, call_command
from django.db import connection as database
from requests_oauthlib import OAuth1

from connections.demo import DELIVERY_FOLDER
from connections.demo.api_server import COLLECTIONS, ApiServer, base_url
from connections.demo.days import Days, lay_out, today
from connections.demo.doors import HOST, Accounts
from connections.demo.sftp_server import SftpServer, host_key
from connections.exceptions import FetchError
from connections.management.commands.demo_servers import lead_to
from connections.models import Connection
from connections.rest import Api, pull
from connections.sftp import Server, filled, open_session
from connections.sftp import host_key as shown_key
from rosters import making, reading
from rosters.models import AuditEvent, District
from rosters.normalising import normalise, taken_as_read

LOOPBACK = (ip_network("127.0.0.1/32"),)
PATTERN = filled("imagine/<site code>-*/literacy/*.zip", site_code="1001")
USER, PASSWORD = "cedar", "correct horse"
KEY, SECRET = "demoKey1", "battery/staple+1"
EPOCH = date(2026, 11, 2)


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small district's zip."""
    path = tmp_path_factory.mktemp("delivery") / "1003-good.zip"
    making.write_zip(path, making.make_roster(users=120, seed=3, today=EPOCH, name="Mesa Valley"))
    return path


class TestSftp:
    @pytest.fixture
    def served(self, tmp_path: Path, delivery: Path) -> Iterator[tuple[Server, Path]]:
        """The server as a client knows it, and the folder that it shows."""
        root = tmp_path / "sftp"
        lay_out(Days(delivery, EPOCH).on(EPOCH), root / DELIVERY_FOLDER)
        with SftpServer(0, root, key_folder=tmp_path, user=USER, password=PASSWORD).open() as running:
            yield (
                Server(HOST, running.port, USER, str(host_key(tmp_path)), PASSWORD, allowed=LOOPBACK),
                root,
            )

    def test_a_delivery_is_found_fetched_whole_and_renamed(
        self, served: tuple[Server, Path], delivery: Path, tmp_path: Path
    ) -> None:
        server, root = served
        with open_session(server) as session:
            found = session.settled(session.newest(PATTERN), wait=0.01)
            fetched = session.download(found, tmp_path)
            assert session.after(found, "rename") is None
        assert found.folder == DELIVERY_FOLDER
        assert fetched.read_bytes() == delivery.read_bytes()
        names = [path.name for path in (root / DELIVERY_FOLDER).iterdir()]
        assert len(names) == 1
        assert names[0].startswith("roster-20261102.zip.")
        assert names[0].endswith(".taken")

    def test_it_is_known_again_by_one_host_key(self, served: tuple[Server, Path], tmp_path: Path) -> None:
        server, _ = served
        assert shown_key(server) == host_key(tmp_path)
        assert server.host_key.startswith("ssh-ed25519 SHA256:")
        assert (tmp_path / "sftp-host-key").stat().st_mode & 0o077 == 0

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"password": "wrong"}, "SFTP-LOGIN"),
            ({"user": "mesa"}, "SFTP-LOGIN"),
            ({"host_key": "ssh-ed25519 SHA256:" + "A" * 43}, "SFTP-HOSTKEY-CHANGED"),
            ({"allowed": ()}, "CONN-ADDRESS"),
        ],
    )
    def test_nobody_else_comes_in(self, served: tuple[Server, Path], changes: dict[str, Any], code: str) -> None:
        server, _ = served
        known = {name: getattr(server, name) for name in server.__slots__}
        with pytest.raises(FetchError) as refused, open_session(Server(**known | changes)):
            pass
        assert refused.value.code == code

    def test_a_guest_sees_the_folder_only_and_writes_nothing(self, served: tuple[Server, Path], tmp_path: Path) -> None:
        server, root = served
        (tmp_path / "outside.txt").write_text("not for guests")
        (root / "link").symlink_to(tmp_path / "outside.txt")
        with guest(server) as client:
            assert sorted(client.listdir("/")) == ["imagine", "link"]
            with pytest.raises(PermissionError):
                client.open("link")
            with pytest.raises(FileNotFoundError):
                client.open("../outside.txt")
            with pytest.raises(PermissionError):
                client.open("new.txt", "w")
            zipped = f"{DELIVERY_FOLDER}/roster-20261102.zip"
            with pytest.raises(PermissionError):
                client.open(zipped, "a")
            with pytest.raises(OSError, match="Operation unsupported"):
                client.remove(zipped)
            with pytest.raises(OSError, match="Failure"):
                client.rename("imagine", DELIVERY_FOLDER)
            assert client.stat(zipped).st_size == (root / zipped).stat().st_size
        assert (tmp_path / "outside.txt").read_text() == "not for guests"


@contextmanager
def guest(server: Server) -> Iterator[Any]:
    """paramiko's own client, which asks what ours never would."""
    with paramiko.Transport((server.host, server.port)) as transport:
        transport.connect(username=server.user, password=server.password)
        with paramiko.SFTPClient.from_transport(transport) as client:
            yield client


@pytest.fixture(scope="module")
def running(delivery: Path) -> Iterator[ApiServer]:
    with ApiServer(0, lambda _: Days(delivery, EPOCH).on(EPOCH), key=KEY, secret=SECRET).open() as server:
        yield server


class TestApi:
    def api(self, running: ApiServer, **changes: Any) -> Api:
        known = {"base_url": base_url(running.port), "key": KEY, "secret": SECRET, "allowed": LOOPBACK}
        return Api(**known | changes)

    def ask(self, running: ApiServer, question: str, *, auth: OAuth1 | None = None) -> requests.Response:
        signed = auth or OAuth1(KEY, SECRET, signature_method="HMAC-SHA256")
        return requests.get(f"{base_url(running.port)}/{question}", auth=signed, timeout=10)

    def test_a_pull_brings_everything_page_by_page(self, running: ApiServer, delivery: Path, tmp_path: Path) -> None:
        pulled = pull(self.api(running, page_size=100), tmp_path)
        tables = Days(delivery, EPOCH).on(EPOCH).tables
        assert {name: one.rows for name, one in pulled.collections.items()} == {
            name: len(tables[name]) for name in COLLECTIONS
        }
        assert all(one.rows == one.total for one in pulled.collections.values())
        assert pulled.collections["enrollments"].pages > 3

    def test_what_is_pulled_says_the_same_as_the_districts_csv(
        self, running: ApiServer, delivery: Path, tmp_path: Path
    ) -> None:
        by_api = reading.read(pull(self.api(running), tmp_path).path)
        by_csv = reading.read(delivery)
        assert [finding.code for finding in by_api.findings] == []
        theirs, ours = (normalise(taken_as_read(delivered)) for delivered in (by_api, by_csv))
        for name, frame in ours.items():
            columns = [column for column in frame.columns if column in theirs[name].columns]
            assert {"sourcedId"} < set(columns)
            assert theirs[name].select(columns).sort("sourcedId").equals(frame.select(columns).sort("sourcedId")), name

    def test_records_have_the_form_of_the_standard(self, running: ApiServer, delivery: Path) -> None:
        with zipfile.ZipFile(delivery) as archive:
            users = pl.read_csv(archive.read("users.csv"), infer_schema=False)
        row = users.filter(pl.col("agentSourcedIds").is_not_null()).row(0, named=True)
        answer = self.ask(running, "users?limit=500")
        user = next(user for user in answer.json()["users"] if user["sourcedId"] == row["sourcedId"])
        school, base = row["orgSourcedIds"], base_url(running.port)
        assert user["status"] == "active"
        assert user["dateLastModified"] == "2026-11-02T00:00:00.000Z"
        assert user["enabledUser"] == "true"
        assert user["orgs"] == [{"href": f"{base}/orgs/{school}", "sourcedId": school, "type": "org"}]
        assert [agent["type"] for agent in user["agents"]] == ["user"] * (row["agentSourcedIds"].count(",") + 1)
        assert user["grades"] == [row["grades"]]
        assert user["userIds"] == [{"type": "LDAP", "identifier": row["username"]}]
        assert user["sms"] == ""
        assert not {"metadata", "password"} & set(user)
        lesson = self.ask(running, "classes?limit=1").json()["classes"][0]
        assert {lesson["course"]["type"], lesson["school"]["type"], lesson["terms"][0]["type"]} == {
            "course", "org", "academicSession",
        }  # fmt: skip
        enrolled = self.ask(running, "enrollments?limit=1").json()["enrollments"][0]
        assert enrolled["class"]["href"] == f"{base}/classes/{enrolled['class']['sourcedId']}"

    @pytest.mark.parametrize("collection", COLLECTIONS)
    def test_nothing_is_null_and_no_list_is_empty(self, running: ApiServer, collection: str) -> None:
        """Strict clients refuse null, and the standard has no word for it."""
        records = self.ask(running, f"{collection}?limit=500").json()[collection]
        assert records
        assert all(value or value == "" for record in records for value in record.values())

    def test_pages_are_cut_and_sorted_as_asked(self, running: ApiServer) -> None:
        first = self.ask(running, "users?limit=5&sort=sourcedId&orderBy=desc")
        second = self.ask(running, "users?limit=5&offset=5&sort=sourcedId&orderBy=desc")
        ids = [user["sourcedId"] for answer in (first, second) for user in answer.json()["users"]]
        assert len(set(ids)) == 10
        assert ids == sorted(ids, reverse=True)
        assert first.headers["X-Total-Count"] == "120"
        assert len(self.ask(running, "users").json()["users"]) == 100
        assert self.ask(running, "users?offset=500").json() == {"users": []}

    @pytest.mark.parametrize(
        ("question", "status", "minor"),
        [
            ("users?limit=0", 400, "invaliddata"),
            ("users?offset=-1", 400, "invaliddata"),
            ("users?filter=status%3D%27active%27", 400, "invalid_filter_field"),
            ("users?filter=dateLastModified%3E%27yesterday%27", 400, "invalid_filter_field"),
            ("people", 404, "unknownobject"),
        ],
    )
    def test_questions_that_it_cannot_answer_are_refused(
        self, running: ApiServer, question: str, status: int, minor: str
    ) -> None:
        answer = self.ask(running, question)
        assert answer.status_code == status
        assert answer.json()["statusInfoSet"][0]["imsx_codeMinor"] == minor

    def test_a_wrong_signature_is_refused(self, running: ApiServer, tmp_path: Path) -> None:
        for changes in ({"secret": "wrong"}, {"key": "somebodyElse"}, {"signature": "HMAC-SHA1"}):
            with pytest.raises(FetchError) as refused:
                pull(self.api(running, **changes), tmp_path)
            assert refused.value.code == "API-AUTH"
        assert requests.get(f"{base_url(running.port)}/users", timeout=10).status_code == 401

    def test_a_question_that_was_overheard_cannot_be_asked_again(self, running: ApiServer) -> None:
        signed = OAuth1(KEY, SECRET, signature_method="HMAC-SHA256")
        question = requests.Request("GET", f"{base_url(running.port)}/orgs", auth=signed).prepare()
        with requests.Session() as session:
            assert session.send(question, timeout=10).status_code == 200
            assert session.send(question, timeout=10).status_code == 401
            question.url = f"{base_url(running.port)}/users"
            assert session.send(question, timeout=10).status_code == 401


class TestDays:
    def test_a_district_stays_the_same_all_day_and_differs_a_little_on_the_next(self, delivery: Path) -> None:
        later = EPOCH + timedelta(days=3)
        days = Days(delivery, EPOCH)
        first, third = days.on(EPOCH), days.on(later)
        anew = Days(delivery, EPOCH).on(later)
        assert not making.differences(third.tables, anew.tables)
        assert not making.differences(first.tables, days.on(EPOCH).tables)
        changed = making.differences(first.tables, third.tables)
        assert 0 < len(changed["users"]["added"]) < 10
        assert len(third.tables["users"]) == len(first.tables["users"])

    def test_an_api_can_be_asked_for_what_changed_since(self, delivery: Path) -> None:
        yesterday, now = (Days(delivery, today() - timedelta(days=2)).on(today() - timedelta(days=n)) for n in (1, 0))
        changed = making.differences(yesterday.tables, now.tables)["users"]
        with ApiServer(0, Days(delivery, today() - timedelta(days=2)).on, key=KEY, secret=SECRET).open() as running:
            answer = requests.get(
                f"{base_url(running.port)}/users",
                params={"filter": f"dateLastModified>'{now.day - timedelta(days=1)}T12:00:00Z'"},
                auth=OAuth1(KEY, SECRET, signature_method="HMAC-SHA256"),
                timeout=10,
            )
        assert sorted(user["sourcedId"] for user in answer.json()["users"]) == sorted(
            changed["added"] + changed["updated"]
        )

    def test_each_day_has_one_delivery_even_after_it_was_taken_away(self, delivery: Path, tmp_path: Path) -> None:
        days = Days(delivery, EPOCH)
        laid = lay_out(days.on(EPOCH), tmp_path)
        before = laid.stat().st_mtime_ns
        lay_out(days.on(EPOCH), tmp_path)
        assert laid.stat().st_mtime_ns == before
        laid.rename(laid.with_name(f"{laid.name}.taken"))
        lay_out(days.on(EPOCH), tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["roster-20261102.zip.taken"]
        for number in range(9):
            lay_out(days.on(EPOCH + timedelta(days=number)), tmp_path)
        assert len(list(tmp_path.glob("*.zip"))) == 7


class TestCommands:
    @pytest.fixture
    def demo(self, db: None, data_dir: Path, delivery: Path) -> Path:
        """What make_demo leaves: districts, colleagues and zips; here with small districts."""
        folder = data_dir / "demo"
        folder.mkdir()
        for site_code, name, zone in (("1001", "Cedar Grove", "Chicago"), ("1003", "Mesa Valley", "Denver")):
            District.objects.create(site_code=site_code, name=f"{name} Schools", time_zone=f"America/{zone}")
            (folder / f"{site_code}-good.zip").write_bytes(delivery.read_bytes())
        for name in ("maria", "tom"):
            Staff.objects.create_user(name)
        return folder

    def test_two_connections_are_made_ready_to_run(self, demo: Path) -> None:
        call_command("make_demo_connections")
        sftp, api = Connection.objects.order_by("district__site_code")
        accounts = Accounts.load(demo)
        assert accounts is not None
        assert (sftp.district.site_code, api.district.site_code) == ("1001", "1003")
        assert sftp.host_key == str(host_key(demo))
        assert str(sftp.host_key_confirmed_by) == "maria"
        assert (sftp.secret("password"), api.secret("key"), api.secret("secret")) == (
            accounts.password, accounts.key, accounts.secret,
        )  # fmt: skip
        for connection in (sftp, api):
            assert connection.state == "active"
            assert connection.next_due_at is not None
            assert connection.allowed_networks(today()) == LOOPBACK
            allowance = connection.allowances.get()
            assert (str(allowance.entered_by), str(allowance.confirmed_by)) == ("maria", "tom")
        assert AuditEvent.objects.filter(action="connection.added").count() == 2
        assert (demo / "servers.json").stat().st_mode & 0o077 == 0

    def test_a_second_time_nothing_is_made(self, demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("make_demo_connections")
        kept = (demo / "servers.json").read_bytes()
        call_command("make_demo_connections")
        assert "There are connections already" in capsys.readouterr().out
        assert Connection.objects.count() == 2
        assert (demo / "servers.json").read_bytes() == kept

    def test_without_the_demo_there_is_nothing_to_connect(
        self, db: None, data_dir: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        District.objects.create(site_code="1001", name="A real one")
        call_command("make_demo_connections")
        assert "The demo was not made here" in capsys.readouterr().out
        assert not Connection.objects.exists()
        assert not (data_dir / "demo").exists()
        with pytest.raises(CommandError, match="no demo connections"):
            call_command("demo_servers")

    def test_connections_follow_the_servers_to_other_ports_but_not_what_was_pointed_elsewhere(self, demo: Path) -> None:
        call_command("make_demo_connections")
        accounts = Accounts.load(demo)
        assert accounts is not None
        lead_to(accounts, 4001, 4002)
        sftp, api = Connection.objects.order_by("district__site_code")
        assert (sftp.port, api.base_url) == (4001, "http://127.0.0.1:4002/ims/oneroster/v1p1")
        Connection.objects.update(host="sftp.example.org", port=22, base_url="https://sis.example.org")
        lead_to(accounts.at(4001, 4002), 5001, 5002)
        sftp, api = Connection.objects.order_by("district__site_code")
        assert (sftp.port, api.base_url) == (22, "https://sis.example.org")

    def test_the_servers_run_until_they_are_asked_to_stop(self, transactional_db: None, demo: Path) -> None:
        call_command("make_demo_connections")
        with socket.create_server((HOST, 0)) as taken, serving(demo.parent, api_port=taken.getsockname()[1]):
            sftp, api = Connection.objects.order_by("district__site_code")
            assert api.base_url != base_url(taken.getsockname()[1])
            server = Server(
                sftp.host, sftp.port, sftp.username, sftp.host_key, sftp.secret("password"), allowed=LOOPBACK
            )
            with open_session(server) as session:
                fetched = session.download(session.newest(PATTERN), demo)
            assert fetched.read_bytes() == (demo / "1001-good.zip").read_bytes()
            asked = Api(api.base_url, key=api.secret("key"), secret=api.secret("secret"), allowed=LOOPBACK)
            assert pull(asked, demo).collections["users"].rows == 120

    def test_a_server_whose_port_is_taken_finds_another(self, tmp_path: Path) -> None:
        with ExitStack() as open_ones:
            first = open_ones.enter_context(SftpServer(0, tmp_path, key_folder=tmp_path, user="a", password="b").open())
            second = SftpServer(first.port, tmp_path, key_folder=tmp_path, user="a", password="b")
            open_ones.enter_context(second.open())
            assert second.port not in (0, first.port)
        beyond = SftpServer(65536, tmp_path, key_folder=tmp_path, user="a", password="b")
        assert 0 < beyond.port < 65536
        beyond.server_close()


@contextmanager
def serving(data_dir: Path, *, api_port: int) -> Iterator[None]:
    """`manage.py demo_servers` on the test's own database, from its first word to its end."""
    name = database.settings_dict["NAME"]
    url = f"sqlite:///{name}"
    if database.vendor == "postgresql":
        url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
    ports = {"DEMO_SFTP_PORT": "0", "DEMO_API_PORT": str(api_port)}
    with subprocess.Popen(
        [sys.executable, settings.BASE_DIR / "manage.py", "demo_servers"],
        env={**os.environ, "DATABASE_URL": url, "PORTAL_DATA_DIR": str(data_dir), **ports},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said.startswith("The demo's servers: sftp://cedar@127.0.0.1:"), said
            yield
            process.terminate()
            assert process.wait(10) == 0
        finally:
            process.kill()
