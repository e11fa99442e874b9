"""One door to all ways in: `fetch` brings what is new, `probe` says step by step why it does not work.

Here a `Connection` becomes the plain arguments of the rooms that talk to servers; they know no models.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from django.conf import settings
from django.utils import timezone

from connections import rest, sftp
from connections.exceptions import FetchError
from connections.launching import fit_name
from connections.models import Connection
from connections.steps import Step
from rosters import reading, syncs, validating
from rosters.explaining import counted
from rosters.frames import CheckOptions, Delivered
from rosters.models import Delivery, District, Sync
from rosters.oneroster.products import PRODUCTS
from rosters.sealing import SealBroken

#: A delta pull asks for what changed since this long before the last pull: clocks differ, and long exports overlap.
OVERLAP: Final = timedelta(days=1)
#: So often everything is fetched, whatever deltas say: they do not show every removal.
FULL_EVERY: Final = timedelta(days=7)
#: What servers answer that know no filter, name the total without it, or search for ever: then everything is fetched.
_CANNOT_FILTER: Final = ("API-REFUSED", "API-DRIFT", "CONN-BUDGET")
#: So that there is time for everything after it, in seconds.
_CHANGES_WITHIN: Final = 400.0
#: The doctor's: a district may test as often as it likes, and each test occupies a worker.
_TRIED: Final = sftp.Limits(budget=240)


class Teller(Protocol):
    """Told how far a fetch is. Raises FetchError where it must stop."""

    def __call__(self, phase: str, *, rows: int = 0, done: int = 0, in_all: int = 0) -> None: ...


def _nothing() -> None:
    """What is done afterwards where nothing was agreed."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A delivery on our disk. `taken`: how to know it again without fetching it; `full`: it is a whole roster.
    `afterwards` does with the original what was agreed, and raises FetchError where it cannot: to be called when the
    delivery is safe, not before, for what was put aside is not found again."""

    path: Path
    name: str
    origin: Delivery.Origin
    words: str
    taken: dict[str, Any]
    full: bool
    afterwards: Callable[[], None] = field(default=_nothing)


@dataclass(frozen=True, slots=True)
class NothingNew:
    """There is nothing that was not taken before; `words` say why."""

    words: str


def fetch(connection: Connection, folder: Path, tell: Teller) -> Fetched | NothingNew:
    """What the connection has for us, in `folder`, which must outlive the use of the result. Raises FetchError; then
    nothing is left there."""
    try:
        if connection.kind == Connection.Kind.REST:
            return _pull(connection, folder, tell)
        return _download(connection, folder, tell)
    except SealBroken:
        raise FetchError("CONN-SEALED") from None


def incoming() -> Path:
    """Where deliveries lie until they are kept; emptied after each, and swept after workers that were killed."""
    folder: Path = settings.PORTAL_DATA_DIR / "incoming"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def missing(connection: Connection) -> str:
    """What has to be set before anything can be fetched, in a sentence; "" if nothing."""
    if connection.kind == Connection.Kind.REST:
        needed = ("secret",) if connection.auth == Connection.Auth.BEARER else ("key", "secret")
        if any(not connection.has_secret(name) for name in needed):
            return "Enter the credentials in its settings first."
        return ""
    if connection.side == Connection.Side.OURS:
        return ""
    if connection.login == Connection.Login.KEY and not connection.has_secret("private_key"):
        return "Have a key pair made first, and send its public half to the district."
    if connection.login == Connection.Login.PASSWORD and not connection.has_secret("password"):
        return "Enter the password in its settings first."
    if not connection.host_key:
        return "Test the connection, then confirm the server’s key: before that nothing is sent to the server."
    return ""


def make_key_pair(connection: Connection) -> None:
    """A new key pair for this connection; its private half is sealed at once."""
    private, public = sftp.new_key_pair(f"roster-portal {connection.district.site_code}")
    connection.keep_secret("private_key", private)
    connection.public_key = public
    connection.save(update_fields=["sealed", "public_key"])


# ----------------------------------------------------------------------------------------------------------------- SFTP


def _server(connection: Connection) -> sftp.Server:
    by_key = connection.login == Connection.Login.KEY
    return sftp.Server(
        host=connection.host,
        port=connection.port,
        user=connection.username,
        host_key=connection.host_key,
        password="" if by_key else connection.secret("password"),
        private_key=connection.secret("private_key") if by_key else "",
        allowed=_allowed(connection),
    )


def _allowed(connection: Connection) -> Any:
    return connection.allowed_networks(connection.district.local_date(timezone.now()))


def _formats(connection: Connection) -> tuple[Literal["zip", "csv"], ...]:
    if connection.formats == Connection.Formats.ANY:
        return ("zip", "csv")
    return ("zip",) if connection.formats == Connection.Formats.ZIP else ("csv",)


def _pattern(connection: Connection) -> str:
    products = connection.district.products
    return sftp.filled(
        connection.path,
        site_code=connection.district.site_code,
        name=connection.district.name,
        product=products[0] if products else "",
    )


@contextmanager
def _session(connection: Connection, limits: sftp.Limits | None = None) -> Iterator[sftp.Session]:
    """Where the district's files lie: on its server, or in its folder on ours."""
    if connection.side == Connection.Side.OURS:
        yield sftp.open_folder(drop_folder(connection.district))
    else:
        with sftp.open_session(_server(connection), limits=limits) as session:
            yield session


def drop_folder(district: District) -> Path:
    """The district's folder on our own SFTP server; docs/sftp-server.md says how it is set up."""
    root: Path = settings.PORTAL_DROP_DIR
    if not district.site_code.strip("."):
        raise FetchError("SFTP-DROP", "Its site code is no name of a folder.")
    return root / district.site_code


def _download(connection: Connection, folder: Path, tell: Teller) -> Fetched | NothingNew:
    tell("Looking for the newest file")
    with _session(connection) as session:
        try:
            candidate = session.newest(_pattern(connection), formats=_formats(connection))
        except FetchError as fault:
            if fault.code != "SFTP-NOTHING" or not connection.last_taken:
                raise
            # Where what was taken is put aside, that is how it looks on every day without a delivery. Whether one is
            # late is judged elsewhere.
            trouble = _tidied(session, connection, connection.last_taken.get("folder", ""))
            words = "Nothing lies there since the last one was taken."
            return NothingNew(f"{words} {trouble.message}" if trouble else words)
        last = connection.last_taken
        if _files(candidate) == last.get("files") and candidate.folder == last.get("folder"):
            # It lies there still: a worker may have died after the delivery was safe, and before this.
            trouble = _put_aside(session, connection, candidate)
            words = "The newest file is the one that was taken last time."
            return NothingNew(f"{words} {trouble.message}" if trouble else words)
        if candidate.mtime < last.get("mtime", 0):
            return NothingNew("The newest file is older than the one that was taken last; it was left alone.")
        tell("Looking whether it is still being written")
        candidate = session.settled(candidate, wait=settings.PORTAL_SFTP_WAIT, marker=connection.marker)
        path = session.download(candidate, folder, lambda done, in_all: tell("Downloading", done=done, in_all=in_all))

    def afterwards() -> None:
        if connection.when_done == Connection.WhenDone.LEAVE:
            return
        with _session(connection) as session:
            trouble = _put_aside(session, connection, candidate)
        if trouble is not None:
            raise trouble

    return Fetched(
        path,
        candidate.name,
        Delivery.Origin.SFTP,
        f"Took {candidate.name}.",
        _looks(candidate),
        full=True,
        afterwards=afterwards,
    )


def _put_aside(session: sftp.Session, connection: Connection, candidate: sftp.Candidate) -> FetchError | None:
    """What was agreed for a delivery that was taken, and for those before it."""
    trouble = session.after(candidate, connection.when_done, connection.done_folder)  # type: ignore[arg-type]
    return trouble or _tidied(session, connection, candidate.folder)


def _tidied(session: sftp.Session, connection: Connection, lay: str) -> FetchError | None:
    """Delete what was put aside from the folder `lay` so long ago that it was agreed."""
    if connection.done_days is None:
        return None
    before = timezone.now() - timedelta(days=connection.done_days)
    return session.tidy(lay, connection.when_done, connection.done_folder, before)  # type: ignore[arg-type]


def _looks(candidate: sftp.Candidate) -> dict[str, Any]:
    """How a delivery looks from outside: enough to know it again, and what is older. A time in the future, by a clock
    that was wrong, must not make everything that comes look old: then the delivery is as old as this moment."""
    mtime = min(candidate.mtime, int(time.time()))
    return {"folder": candidate.folder, "files": _files(candidate), "mtime": mtime}


def _files(candidate: sftp.Candidate) -> list[list[Any]]:
    return [[file.name, file.size, file.mtime] for file in candidate.files]


# -------------------------------------------------------------------------------------------------------- OneRoster API


def _api(connection: Connection) -> rest.Api:
    return rest.Api(
        base_url=connection.base_url,
        version=connection.version,  # type: ignore[arg-type]
        auth=connection.auth,  # type: ignore[arg-type]
        key=connection.secret("key"),
        secret=connection.secret("secret"),
        token_url=connection.token_url,
        scope=connection.scope,
        signature=connection.signature,  # type: ignore[arg-type]
        credentials_in=connection.credentials_in,  # type: ignore[arg-type]
        page_size=connection.page_size,
        allowed=_allowed(connection),
    )


def _pull(connection: Connection, folder: Path, tell: Teller) -> Fetched:
    started = timezone.now()
    since = _since(connection, started)

    def progress(collection: str, rows: int, total: int | None) -> None:
        of = f" of {total:,}" if total else ""
        tell(f"{collection}: {rows:,}{of}", rows=rows)

    try:
        limits = rest.Limits(seconds=_CHANGES_WITHIN) if since else rest.Limits()
        pulled = rest.pull(_api(connection), folder, progress=progress, since=since, limits=limits)
    except FetchError as fault:
        if since is None or fault.code not in _CANNOT_FILTER:
            raise
        since = None
        pulled = rest.pull(_api(connection), folder, progress=progress)
    rows = sum(collected.rows for collected in pulled.collections.values())
    what = "what changed" if since else "everything"
    return Fetched(
        pulled.path,
        f"oneroster-api-{started:%Y%m%d-%H%M}.zip",
        Delivery.Origin.REST,
        f"Asked for {what}: {rows:,} records in {len(pulled.collections)} collections.",
        {"started": started.isoformat(), "revision": pulled.revision},
        full=since is None,
    )


#: So many syncs are looked through for one that is about the same schools.
_LOOKED_BACK: Final = 50


def _since(connection: Connection, now: datetime) -> datetime | None:
    """From when on changes are asked for; None: everything is. Changes are worth something only upon what came before
    them: so everything is asked for too where the last pull did not become live (it waits, was refused, or gave way),
    or something else did since: an upload, an undo. What is about other schools does not count."""
    last = connection.last_taken.get("started")
    full = connection.last_full_at
    if not connection.deltas or not last or full is None or now - full >= FULL_EVERY or not connection.district.version:
        return None
    recent = Sync.objects.filter(district=connection.district_id).order_by("-received_at", "-pk")[:_LOOKED_BACK]
    latest = next((sync for sync in recent if syncs.speak_for_the_same(sync, [connection.speaks_for])), None)
    live = latest is not None and latest.status in (Sync.Status.APPLIED, Sync.Status.UNCHANGED)
    if not live or not connection.attempts.filter(sync=latest).exists():
        return None
    return datetime.fromisoformat(last) - OVERLAP


# ----------------------------------------------------------------------------------------------------------- the doctor


def probe(connection: Connection) -> Iterator[Step]:
    """What works and what does not, a step at a time. Nothing of the roster is kept; no record is shown."""
    try:
        if connection.kind == Connection.Kind.REST:
            yield from rest.steps(_api(connection))
        else:
            yield from _probe_sftp(connection)
    except SealBroken:
        yield failed("Credentials", FetchError("CONN-SEALED"), 0.0)


def failed(name: str, fault: FetchError, seconds: float) -> Step:
    return Step(name, "failed", round(seconds, 3), fault.message, fault.code, fault.next_step, fault.inside)


def as_json(step: Step) -> dict[str, Any]:
    return asdict(step)


def _probe_sftp(connection: Connection) -> Iterator[Step]:
    started = time.perf_counter()
    try:
        pattern = _pattern(connection)
        if connection.side == Connection.Side.OURS:
            server, folder = None, drop_folder(connection.district)
        else:
            server, folder = _server(connection), Path()
    except FetchError as fault:
        yield failed("Path", fault, time.perf_counter() - started)
        return
    well = True
    for step in (
        _probe_folder(connection, folder, pattern) if server is None else _probe_server(connection, server, pattern)
    ):
        well = well and step.outcome == "ok"
        yield step
    if well:
        yield from _probe_sample(connection, pattern)


def _steps(connection: Connection, server: sftp.Server, pattern: str) -> Iterator[Step]:
    return sftp.steps(
        server,
        pattern,
        formats=_formats(connection),
        wait=settings.PORTAL_SFTP_WAIT,
        marker=connection.marker,
        limits=_TRIED,
    )


def _probe_server(connection: Connection, server: sftp.Server, pattern: str) -> Iterator[Step]:
    for step in _steps(connection, server, pattern):
        if step.code in ("SFTP-HOSTKEY-NEW", "SFTP-HOSTKEY-CHANGED"):
            _remember_host_key(connection, server)
        yield step


def _probe_folder(connection: Connection, folder: Path, pattern: str) -> Iterator[Step]:
    """The district's folder on our own server: is it there, what is newest, is it whole."""
    started = time.perf_counter()
    if not folder.is_dir():
        yield failed("Folder", FetchError("SFTP-DROP", f"{folder} is not there."), _since_then(started))
        return
    yield _ok("Folder", started, f"{folder} is there.")
    session = sftp.open_folder(folder)
    for name in ("Newest file", "Whole"):
        started = time.perf_counter()
        try:
            if name == "Newest file":
                candidate = session.newest(pattern, formats=_formats(connection))
            else:
                candidate = session.settled(candidate, wait=settings.PORTAL_SFTP_WAIT, marker=connection.marker)
        except FetchError as fault:
            later = fault.code in ("SFTP-NOTHING", "SFTP-STILL-WRITING")
            outcome: Literal["warning", "failed"] = "warning" if later else "failed"
            yield Step(name, outcome, _since_then(started), fault.message, fault.code, fault.next_step)
            return
        yield _ok(name, started, f"{candidate.name}, {candidate.size:,} bytes.")


def _remember_host_key(connection: Connection, server: sftp.Server) -> None:
    """What the server shows, for a person to compare and confirm. No credential is sent for it. Of a server that is no
    longer the connection's nothing is remembered."""
    try:
        shown = str(sftp.host_key(server))
    except FetchError:
        return  # it took the first contact, and not this one: the next test asks again
    Connection.objects.filter(pk=connection.pk, host=server.host, port=server.port).update(host_key_seen=shown)


def _probe_sample(connection: Connection, pattern: str) -> Iterator[Step]:
    """The newest delivery is fetched, read and checked as a sync would, and thrown away."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=incoming(), prefix="probe-") as folder:
        try:
            with _session(connection, _TRIED) as session:
                candidate = session.newest(pattern, formats=_formats(connection))
                path = session.download(candidate, Path(folder))
        except FetchError as fault:
            step = failed("Download", fault, time.perf_counter() - started)
            # a fetch has more time than a test
            yield replace(step, outcome="warning") if fault.code == "CONN-BUDGET" else step
            return
        yield _ok("Download", started, f"{candidate.size:,} bytes.")
        yield from _probe_content(connection.district, path)


def _probe_content(district: District, path: Path) -> Iterator[Step]:
    started = time.perf_counter()
    delivered = reading.read(
        path, encoding=district.encoding, overrides=district.rule_overrides, column_names=district.column_names
    )
    if not delivered.readable:
        first = next(iter(delivered.findings))
        yield Step("Readable", "failed", _since_then(started), first.message, first.code, first.next_step)
        return
    rows = ", ".join(f"{len(table.frame):,} {name}" for name, table in delivered.tables.items() if len(table.frame))
    yield _ok("Readable", started, f"OneRoster {delivered.version}: {rows}.")
    for product in [key for key in district.products if key in PRODUCTS] or [""]:
        yield _fit(district, delivered, product)


def _fit(district: District, delivered: Delivered, product: str) -> Step:
    """Whether a delivery can be imported as it is, and has what one product needs."""
    started = time.perf_counter()
    options = CheckOptions(
        today=district.local_date(timezone.now()),
        products=(product,) if product else (),
        mappings=district.mappings,
        overrides=district.rule_overrides,
    )
    name = fit_name(product) if product else "Fit for import"
    checked = validating.check(delivered, options=options)
    if checked.rejections:
        code, reason = checked.rejections[0]
        next_step = "Ask the district to correct this and to export again."
        return Step(name, "failed", _since_then(started), reason, code, next_step)
    errors, warnings = checked.findings.count("fatal", "error"), checked.findings.count("warning")
    words = f"{counted(errors, 'error')} and {counted(warnings, 'warning')}."
    return Step(name, "warning" if errors else "ok", _since_then(started), words)


def _ok(name: str, started: float, words: str) -> Step:
    return Step(name, "ok", _since_then(started), words)


def _since_then(started: float) -> float:
    return round(time.perf_counter() - started, 3)
