"""OneRoster's rostering service over the live roster: `/d/<site code>/ims/oneroster/v1p1/` and `rostering/v1p2/`.

Everything is answered from `rosters.serving`: the version that is live, or the one that was (`as_of`). A reader who
goes from page to page stays in the version in which it began, so nothing is lost or seen twice when a sync is applied
meanwhile.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode

import msgspec
import polars as pl
from django.core.cache import cache
from django.http import Http404, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import URLPattern, path, register_converter
from django.urls.converters import StringConverter
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from rosters import serving, syncs
from rosters.api.describing import answer_of, of_the_standard, parameters_of
from rosters.api.filtering import Path, compiled
from rosters.api.manners import InvalidQuery, OneRosterView, grant_of, status_payload
from rosters.api.operations import OPERATIONS, STANDARDS, Ids, Operation, everything, exists, parents_of
from rosters.api.shapes import Writer, names_of, paths
from rosters.models import District, Snapshot, Sync
from rosters.serving import Edition, ServedRoster

LIMIT: Final = 100
MOST: Final = 10_000
#: How long a reader stays in the version in which it began, in seconds from one page to the next.
STAYS: Final = 1_800
#: Records that are in memory at once where a whole table is streamed.
_AT_ONCE: Final = 5_000
#: Rows of a page that lie no further apart are read in one piece.
_TOGETHER: Final = 16_384
#: Rows that the remembered choices of filters and orders may name together, four bytes each.
_REMEMBERED: Final = 16_000_000


class LinesRenderer(BaseRenderer):
    """Stands for `application/x-ndjson` where the form of an answer is agreed upon; the answer writes itself."""

    media_type = "application/x-ndjson"
    format = "ndjson"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> Any:
        return JSONRenderer().render(data, accepted_media_type, renderer_context)


class OperationView(OneRosterView):
    """One of the 41 operations, in one version of the standard."""

    operation: ClassVar[Operation]
    standard: ClassVar[str] = "1.1"
    http_method_names = ["get", "head", "options"]  # Django's own

    def needs(self, request: Request) -> tuple[tuple[str, ...], str]:
        return self.operation.scopes(self.standard), self.permission

    def get(self, request: Request, site_code: str, **ids: str) -> HttpResponseBase:
        asked = _Asked(request)
        edition = self._edition(asked, ids)
        tag = f'"v{edition}"'
        if tag in [each.strip().removeprefix("W/") for each in request.headers.get("If-None-Match", "").split(",")]:
            self._stay(asked, edition, more=True)  # the reader may go on from the page that it has
            return _tagged(HttpResponse(status=304), tag)
        try:
            roster = serving.roster(syncs.store(), self.district, edition)
        except serving.NotKept:
            raise InvalidQuery(_too_early(self.district)) from None
        for table, sourced_id in parents_of(self.operation, ids) if self.operation.many else ():
            if not exists(roster, table, sourced_id):
                raise Http404
        only, warnings = self._only(asked)
        writer = Writer(roster, self.standard, self.operation.entity, self._base(request), only)
        if not self.operation.many:
            return _tagged(self._one(roster, writer, ids, warnings), tag)
        chosen, unsorted = self._chosen(roster, asked, ids)
        warnings += unsorted
        if isinstance(request.accepted_renderer, LinesRenderer):
            return _tagged(self._streamed(roster, writer, chosen, asked), tag)
        return _tagged(self._page(request, roster, writer, chosen, asked, warnings), tag)

    # -- which version

    def _edition(self, asked: _Asked, ids: Ids) -> Edition:
        if asked.as_of:
            return serving.edition_of(self.district, self._version_of(asked.as_of))
        live = serving.edition_of(self.district, self.district.version)
        if not self.operation.many:
            return live
        began = cache.get(self._reading(asked)) if asked.offset else None
        return live if began is None else Edition.of(str(began))

    def _reading(self, asked: _Asked) -> str:
        """What is remembered of this reader and this question, whatever the page."""
        grant = grant_of(self.request)
        about = f"{grant.client.pk if grant else 0} {self.request.path} {asked.beside_the_page}"
        return f"api-reads-{hashlib.sha256(about.encode()).hexdigest()}"

    def _stay(self, asked: _Asked, edition: Edition, *, more: bool) -> None:
        """Remember in which version the reader is, if there are `more` pages to go."""
        if self.operation.many and not asked.as_of:
            live = serving.edition_of(self.district, self.district.version)
            if more and (asked.offset == 0 or edition != live):
                cache.set(self._reading(asked), str(edition), STAYS)
            elif not asked.offset:
                cache.delete(self._reading(asked))

    def _version_of(self, text: str) -> int:
        """What was live at a time, or what a sync made live."""
        if text.isdecimal():
            found = Sync.objects.filter(district=self.district, pk=int(text)).values_list("result__version").first()
            if found is None or found[0] is None:
                raise InvalidQuery("as_of names a sync of this district that was applied, or a time.")
            return int(found[0])
        try:
            moment = parse_datetime(text.replace(" ", "+"))
        except ValueError:
            moment = None
        if moment is None:
            raise InvalidQuery("as_of is the number of a sync or a time such as 2026-08-01T06:00:00Z.")
        return serving.version_at(self.district, moment if moment.tzinfo else moment.replace(tzinfo=UTC))

    # -- what is answered

    def _base(self, request: Request) -> str:
        place = f"/d/{quote(self.district.site_code)}/ims/oneroster/{STANDARDS[self.standard]}"
        return request.build_absolute_uri(place)

    def _only(self, asked: _Asked) -> tuple[frozenset[str], list[dict[str, Any]]]:
        """The fields that are wanted, none for all; and the standard's warning where one is not known."""
        if asked.fields is None:
            return frozenset(), []
        names = frozenset(name.strip() for name in asked.fields.split(","))
        if "" in names:
            raise InvalidQuery("fields is a list of names.", "invalid_blank_selection_field")
        unknown = sorted(names - names_of(self.standard, self.operation.entity.table))
        if unknown:
            said = f"There is no field {unknown[0][:60]}: all fields are here."
            return frozenset(), [_warning("invalid_selection_field", said)]
        return names, []

    def _one(self, roster: ServedRoster, writer: Writer, ids: Ids, warnings: list[dict[str, Any]]) -> HttpResponse:
        which = self.operation.which(roster, self.standard, {})
        rows = roster.scan(self.operation.entity.table).filter(pl.col("sourcedId") == ids["sourcedId"]).collect()
        found = writer.records(rows.filter(which))
        if not found:
            raise Http404
        return _json({self.operation.entity.one: found[0]}, warnings)

    def _chosen(self, roster: ServedRoster, asked: _Asked, ids: Ids) -> tuple[pl.Series | None, list[dict[str, Any]]]:
        """The rows that are meant, by their numbers and in their order; None for all as they lie."""
        where = paths(self.standard, self.operation.entity.table)
        warnings = []
        by = where(asked.sort) if asked.sort else None
        if asked.sort and (by is None or by.several or by.through):
            by = None
            warnings = [_warning("invalid_sort_field", "There is no such field to sort by: sorted by sourcedId.")]
        if self.operation.which is everything and not asked.filter and by is None:
            return None, warnings
        made = roster.made(self.operation.entity.table)
        of = (self.district.pk, roster.edition, made, self.standard, self.operation.name, *ids.values())
        key = (*of, asked.filter, asked.sort, asked.falls)
        found = _remembered.get(key)
        if found is None:
            found = self._choose(roster, asked, ids, by, where)
            _remembered.keep(key, found)
        return found, warnings

    def _choose(self, roster: ServedRoster, asked: _Asked, ids: Ids, by: Path | None, where: Any) -> pl.Series:
        fits = self.operation.which(roster, self.standard, ids)
        if asked.filter:
            fits &= compiled(asked.filter, where, roster)
        rows = roster.scan(self.operation.entity.table).with_row_index("number").filter(fits)
        if by is not None:
            rows = rows.select("number", by=by.cell).sort("by", descending=asked.falls, maintain_order=True)
        return rows.select("number").collect().to_series()

    def _page(
        self,
        request: Request,
        roster: ServedRoster,
        writer: Writer,
        chosen: pl.Series | None,
        asked: _Asked,
        warnings: list[dict[str, Any]],
    ) -> HttpResponse:
        table = self.operation.entity.table
        total = _count(roster, table) if chosen is None else len(chosen)
        rows = _rows(roster, table, chosen, asked.offset, asked.limit)
        self._stay(asked, roster.edition, more=asked.offset + asked.limit < total)
        answer = _json({self.operation.entity.many: writer.records(rows)}, warnings)
        answer.headers["X-Total-Count"] = str(total)
        answer.headers["Link"] = _links(request, asked, total)
        return answer

    def _streamed(
        self, roster: ServedRoster, writer: Writer, chosen: pl.Series | None, asked: _Asked
    ) -> StreamingHttpResponse:
        """One record a line, all that fit, in constant memory; `limit` and `offset` count where they are said."""
        table = self.operation.entity.table
        total = _count(roster, table) if chosen is None else len(chosen)
        end = min(total, asked.offset + asked.limit) if asked.says_limit else total
        encoder = msgspec.json.Encoder()

        def lines() -> Iterator[bytes]:
            for start in range(asked.offset, end, _AT_ONCE):
                rows = _rows(roster, table, chosen, start, min(_AT_ONCE, end - start))
                yield encoder.encode_lines(writer.records(rows))

        answer = StreamingHttpResponse(lines(), content_type=LinesRenderer.media_type)
        answer.headers["X-Total-Count"] = str(total)
        return answer


class Discovery(OneRosterView):
    """What is served of 1.2, as OpenAPI, under the names at which clients look for it (1.2, service discovery)."""

    scopes = tuple(sorted({scope for operation in OPERATIONS for scope in operation.scopes("1.2")}))

    @extend_schema(exclude=True)
    def get(self, request: Request, site_code: str) -> HttpResponse:
        base = request.build_absolute_uri().partition("/discovery/")[0]
        return _json({**of_the_standard(), "servers": [{"url": base}]}, [])


class _Asked:
    """The parameters of a question. Raises InvalidQuery for what cannot be meant."""

    def __init__(self, request: Request) -> None:
        said = request.query_params
        self.as_of = said.get("as_of", "")
        self.fields = said.get("fields")
        self.says_limit = "limit" in said
        self.limit = _number(said.get("limit", str(LIMIT)), "limit", 1, MOST)
        self.offset = _number(said.get("offset", "0"), "offset", 0, 1 << 40)
        self.filter = said.get("filter", "").strip()
        self.sort = said.get("sort", "").strip()
        self.falls = said.get("orderBy", "").lower() == "desc"
        beside = [(name, value) for name, values in sorted(said.lists()) for value in values if name != "offset"]
        self.beside_the_page = urlencode([each for each in beside if not each[0].startswith("oauth_")])


def _too_early(district: District) -> str:
    oldest = Snapshot.objects.filter(district=district, forgotten_at=None).earliest("version")
    since = oldest.made_at + timedelta(seconds=1, microseconds=-1)  # the first whole second in which it was live
    return f"What was live then is not kept any more: as_of reaches back to {since:%Y-%m-%dT%H:%M:%SZ}."


def _number(text: str, name: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,13}", text) or not least <= int(text) <= most:
        raise InvalidQuery(f"{name} is a number from {least} to {most}.")
    return int(text)


def _warning(minor: str, description: str) -> dict[str, Any]:
    return status_payload("success", "warning", minor, description)


def _json(payload: dict[str, Any], warnings: list[dict[str, Any]]) -> HttpResponse:
    """The list or record first: there are clients who take the first key of the object."""
    if warnings:
        payload["statusInfoSet"] = warnings
    return HttpResponse(msgspec.json.encode(payload), content_type="application/json")


def _tagged(answer: HttpResponseBase, tag: str) -> HttpResponseBase:
    answer.headers["ETag"] = tag
    answer.headers["Vary"] = "Accept, Authorization"
    return answer


def _links(request: Request, asked: _Asked, total: int) -> str:
    """RFC 8288. No comma stands in an address: there are clients who split at commas."""
    last = max(total - 1, 0) // asked.limit * asked.limit
    places = {"first": 0, "last": last}
    if asked.offset > 0:
        places["prev"] = max(min(asked.offset, last + asked.limit) - asked.limit, 0)
    if asked.offset + asked.limit < total:
        places["next"] = asked.offset + asked.limit
    beside = [
        (name, value)
        for name, values in request.query_params.lists()
        for value in values
        if name not in ("limit", "offset") and not name.startswith("oauth_")
    ]
    base = request.build_absolute_uri(request.path)

    def link(rel: str, offset: int) -> str:
        query = urlencode([*beside, ("limit", asked.limit), ("offset", offset)], quote_via=quote, safe="")
        return f'<{base.replace(",", "%2C")}?{query}>; rel="{rel}"'

    return ", ".join(link(rel, places[rel]) for rel in ("next", "prev", "first", "last") if rel in places)


# ----------------------------------------------------------------------------------------------------- rows of a table


def _count(roster: ServedRoster, table: str) -> int:
    return int(roster.scan(table).select(pl.len()).collect().item())


def _rows(roster: ServedRoster, table: str, chosen: pl.Series | None, offset: int, limit: int) -> pl.DataFrame:
    """A page of a table; only the groups of rows that it is in are read whole."""
    scan = roster.scan(table)
    if chosen is None:
        return scan.slice(offset, limit).collect()
    wanted = chosen.slice(offset, limit)
    if not len(wanted):
        return scan.head(0).collect()
    first, last = int(wanted.min()), int(wanted.max())  # type: ignore[arg-type]  # they are numbers
    if last - first < _TOGETHER:
        return scan.slice(first, last - first + 1).collect()[wanted - first]
    numbered = scan.with_row_index("number")
    rows = numbered.filter(pl.col("number").is_in(wanted.implode())).drop("number").collect()
    return rows if wanted.is_sorted() else rows[wanted.arg_sort().arg_sort()]


class _Remembered:
    """What filters and orders chose, so that a further page costs what it shows. A version never changes: nothing here
    is ever out of date, only forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[Any, pl.Series] = OrderedDict()
        self._rows = 0

    def get(self, key: Any) -> pl.Series | None:
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def keep(self, key: Any, numbers: pl.Series) -> None:
        with self._lock:
            self._rows += len(numbers) + 64 - (len(self._found.pop(key, ())))
            self._found[key] = numbers
            while self._rows > _REMEMBERED and self._found:
                _, old = self._found.popitem(last=False)
                self._rows -= len(old) + 64


_remembered: Final = _Remembered()


# -------------------------------------------------------------------------------------------------------- the addresses


class _IdConverter(StringConverter):
    """A sourcedId in an address; one with a "/" in it comes percent-encoded, and Django has decoded it by then."""

    regex = r"[^/](?:.*[^/])?"


def addresses(standard: str) -> list[URLPattern]:
    """The 41 operations below the base of one version of the standard, with or without a "/" at the end. The longest
    come first: an id may hold a "/", so that the shorter ones would take them for theirs."""
    return [
        path(
            f"{STANDARDS[standard]}{operation.path}{end}",
            _view(operation, standard, described=not end),
            name=f"{standard}-{operation.name}{end}",
        )
        for operation in sorted(OPERATIONS, key=lambda each: (-each.path.count("<"), each.path.endswith(">")))
        for end in ("", "/")
    ]


#: Both names are in use.
discovery: list[URLPattern] = [
    path(f"{STANDARDS['1.2']}discovery/{name}_openapi3_v1p0.json", Discovery.as_view(), name=f"discovery-{name}")
    for name in ("onerosterv1p2rostersservice", "imsorv1p2_rostering")
]


def _view(operation: Operation, standard: str, *, described: bool) -> Any:
    kind: Any = type(
        f"{operation.name[0].upper()}{operation.name[1:]}{standard.replace('.', 'p')}",
        (OperationView,),
        {
            "operation": operation,
            "standard": standard,
            "renderer_classes": (JSONRenderer, LinesRenderer) if operation.many else (JSONRenderer,),
            "__doc__": OperationView.__doc__,
        },
    )
    place = STANDARDS[standard].strip("/").rpartition("/")[2]
    describe = extend_schema(
        operation_id=f"{operation.name}_{place}",
        tags=[f"OneRoster {standard}"],
        description=f"{operation.name} of OneRoster {standard}.",
        parameters=parameters_of(operation),
        responses={
            (200, "application/json"): answer_of(operation, standard),
            **({(200, LinesRenderer.media_type): {"type": "string"}} if operation.many else {}),
            304: None,
        },
        exclude=not described,
    )
    return extend_schema_view(get=describe)(kind).as_view()


register_converter(_IdConverter, "id")
