"""Which uploads are laid on the disk at all: Django would spool whatever comes, of any size, before a view looks at it.

Only the pages that ask for files get any, from somebody who is let in there, and only so many bytes for all files of a
form together. Django tells before the first byte how large a request is, and never reads more than that of it.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.core.exceptions import BadRequest
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile, StopFutureHandlers, StopUpload
from django.http import HttpRequest

from connections.onboarding.entering import person_of
from rosters.syncs import LARGEST_LIST

#: What the fields of a form and the lines between the files take at most (DATA_UPLOAD_MAX_MEMORY_SIZE, and some).
_BESIDE: Final = 2 * 1024 * 1024


def _is_staff(request: HttpRequest) -> bool:
    return request.user.is_active and request.user.is_staff


def _is_person(request: HttpRequest) -> bool:
    return person_of(request) is not None


def _was_let_in(request: HttpRequest) -> bool:
    """The API looks who asks before it looks at what came."""
    return True


def _roster() -> int:
    limit: int = settings.UPLOAD_LIMIT
    return limit


def _list() -> int:
    return LARGEST_LIST


class _Place(NamedTuple):
    """An address where files are expected: who may bring some, and how many bytes they may have."""

    welcomes: Callable[[HttpRequest], bool]
    limit: Callable[[], int]


#: By the names of the addresses. The limits are those of their views, which say so in their own words.
_PLACES: Final = {
    "admin:rosters_district_upload": _Place(_is_staff, _roster),
    "admin:rosters_district_ids": _Place(_is_staff, _list),
    "onboarding:check": _Place(_is_person, _roster),
    "onboarding:send": _Place(_is_person, _roster),
    "v1:deliveries": _Place(_was_let_in, _roster),
}


class Gate(FileUploadHandler):
    """The first of the upload handlers; what it lets pass goes to the next.

    - Where no file is expected, the request is refused unread.
    - Who is not let in there is answered by the page, as without a file; none is kept.
    - Of what is too large the page gets names and sizes, and says so.
    """

    def handle_raw_input(
        self,
        input_data: Any,
        META: Any,  # noqa: N803  (Django's name)
        content_length: int,
        boundary: Any,
        encoding: str | None = None,
    ) -> None:
        self.in_all = content_length

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        request = self.request
        assert request is not None
        place = _PLACES.get(request.resolver_match.view_name) if request.resolver_match else None
        if place is None:
            raise BadRequest("This address takes no files.")
        self.limit = place.limit()
        self.is_too_large = self.in_all > self.limit + _BESIDE
        if not place.welcomes(request):
            raise StopUpload(connection_reset=True) if self.is_too_large else SkipFile
        if self.is_too_large:
            raise StopFutureHandlers

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        return None if self.is_too_large else raw_data

    def file_complete(self, file_size: int) -> UploadedFile[Any] | None:
        """In place of a file that is too large: a name, and a size that its view calls too large."""
        if not self.is_too_large:
            return None
        size = max(file_size, self.limit + 1)
        return UploadedFile(BytesIO(), self.file_name, self.content_type, size, self.charset, self.content_type_extra)
