"""What every endpoint shares: who may ask, for which district, how often, and how a refusal is worded.

`OneRosterView` answers as the standard does (its status payload), `PortalView` with problem details (RFC 9457). Neither
ever answers with a page, and a district that a client may not see is answered like one that does not exist.
"""

from __future__ import annotations

import logging
import math
from typing import Any, ClassVar, Final

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions, status
from rest_framework.authentication import SessionAuthentication
from rest_framework.parsers import JSONParser
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from rosters.api.access import ClientAuthentication, Grant
from rosters.askers import address_of
from rosters.models import District

logger = logging.getLogger(__name__)


# ------------------------------------------------------------------------------------------------------ who may do what


def grant_of(request: Request) -> Grant | None:
    """What the client may that asks; None where it is a member of staff who is logged in, or nobody."""
    grant: Any = request.auth
    return grant if isinstance(grant, Grant) else None


class MayAsk(BasePermission):
    """A client needs one of the view's scopes; where it acts, its member of staff needs the permission as well. Staff
    who are logged in need the permission alone."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        scopes, permission = view.needs(request)  # type: ignore[attr-defined]
        if request.auth is None:
            return _is_allowed(request.user, permission)
        grant = grant_of(request)
        assert grant is not None
        if not grant.allows(*scopes):
            raise MissingScope(scopes)
        method = request.method or ""
        # a method that is not served is a 405 to everybody
        acts = view.acts or (method not in SAFE_METHODS and hasattr(view, method.lower()))  # type: ignore[attr-defined]
        if acts and not _is_allowed(request.user, permission):
            raise MissingPermission
        return True


def _is_allowed(user: Any, permission: str) -> bool:
    return bool(user.is_authenticated and user.is_active and user.is_staff and user.has_perm(permission))


class MissingScope(exceptions.PermissionDenied):
    default_code = "scope-missing"

    def __init__(self, scopes: tuple[str, ...]) -> None:
        super().__init__(f"The token does not open this: it needs the scope {' or '.join(scopes)}.")


class MissingPermission(exceptions.PermissionDenied):
    default_code = "permission-missing"
    default_detail = "The member of staff in whose name this client acts may not do this."


class ClientThrottle(SimpleRateThrottle):
    """Requests of a client in a minute; of who is not let in, by address. Counted in the shared cache: two requests at
    the same moment may count as one there."""

    scope = "client"
    rate = "600/min"

    def allow_request(self, request: Request, view: APIView) -> bool:
        grant = grant_of(request)
        if grant is not None:
            self.num_requests, self.duration = grant.client.per_minute, 60
        allowed: bool = super().allow_request(request, view)
        left = self.num_requests - len(self.history) if allowed else 0
        request._request.api_rate = (self.num_requests, max(left, 0))  # type: ignore[attr-defined]
        return allowed

    def get_cache_key(self, request: Request, view: APIView) -> str:
        grant = grant_of(request)
        who = f"client-{grant.client.pk}" if grant else f"address-{address_of(request._request)}"
        return f"api-rate-{who}"


class ApiView(APIView):
    """The common part. `scopes`: any of these opens the view; `permission`: what a member of staff needs for it."""

    authentication_classes: Any = (ClientAuthentication,)
    permission_classes = (MayAsk,)
    throttle_classes = (ClientThrottle,)
    renderer_classes = (JSONRenderer,)
    parser_classes: Any = (JSONParser,)
    scopes: ClassVar[tuple[str, ...]] = ()
    permission: ClassVar[str] = "rosters.view_sync"
    #: Whether also to read here is something that a client does in somebody's name.
    acts: ClassVar[bool] = False

    def needs(self, request: Request) -> tuple[tuple[str, ...], str]:
        """Scopes and permission for this request; views that do several things tell by its method."""
        return self.scopes, self.permission

    def districts(self) -> QuerySet[District]:
        """Those that whoever asks may see."""
        grant = grant_of(self.request)
        return District.objects.filter(clients=grant.client) if grant else District.objects.all()

    @property
    def district(self) -> District:
        """The one of the address. Raises Http404, also where it is another's."""
        if not hasattr(self, "_district"):
            found = self.districts().select_related("snapshot").filter(site_code=self.kwargs["site_code"]).first()
            if found is None:
                raise Http404
            self._district = found
        return self._district

    @property
    def acted_by(self) -> dict[str, str]:
        """What an audit row says beside the name: the client that acted, if one did."""
        grant = grant_of(self.request)
        return {"client": str(grant.client.uid)} if grant else {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if "site_code" in self.kwargs:
            _ = self.district  # before anything else is looked at: an unknown district is a 404 whatever is asked of it

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        answer = super().finalize_response(request, response, *args, **kwargs)
        limit, left = getattr(request._request, "api_rate", (None, None))
        if limit is not None:
            answer.headers["X-RateLimit-Limit"], answer.headers["X-RateLimit-Remaining"] = str(limit), str(left)
        answer.headers.setdefault("Cache-Control", "private, no-cache")
        return answer

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
            exc.auth_header = self.get_authenticate_header(self.request)  # type: ignore[union-attr]
        fault = _fault(exc)
        if fault is None:
            logger.error("%s: %s", type(self).__name__, type(exc).__name__, exc_info=settings.DEBUG)
            if settings.RAISE_FAULTS:
                raise exc
            fault = exceptions.APIException()
        answer = self.refusal(fault)
        if header := getattr(fault, "auth_header", None):
            answer.headers["WWW-Authenticate"] = header
        if wait := getattr(fault, "wait", None):
            answer.headers["Retry-After"] = str(math.ceil(wait))
        answer.exception = True
        return answer

    def refusal(self, fault: exceptions.APIException) -> Response:
        raise NotImplementedError


class TooLarge(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "More was sent than is read here."


def _fault(exc: Exception) -> exceptions.APIException | None:
    """What was wrong with the request; None where the fault is ours."""
    if isinstance(exc, Http404):
        return exceptions.NotFound()
    if isinstance(exc, PermissionDenied):
        return exceptions.PermissionDenied()
    if isinstance(exc, RequestDataTooBig | TooManyFieldsSent | TooManyFilesSent):
        return TooLarge()
    return exc if isinstance(exc, exceptions.APIException) else None


# --------------------------------------------------------------------------------------------------------- as OneRoster


#: The standard's minor code of each status (1.1 section 3.2.4, 1.2 rostering binding table 3.x).
MINORS: Final = {
    400: "invaliddata",
    401: "unauthorisedrequest",
    403: "forbidden",
    404: "unknownobject",
    405: "unsupported",
    406: "unsupported",
    413: "invaliddata",
    429: "server_busy",
    500: "internal_server_error",
}
_WORDS: Final = {
    400: "The request cannot be understood.",
    401: "Ask for a token at /oauth2/token, or sign the request.",
    403: "The token does not open this.",
    404: "There is no such object.",
    405: "This address is only read.",
    406: "This address answers with JSON.",
    413: "More was sent than is read here.",
    429: "Too many requests: wait as long as Retry-After says.",
    500: "The portal could not answer. Try again; if it stays so, tell the developers when it was.",
}


class InvalidQuery(exceptions.APIException):
    """A parameter that cannot be used; `minor` is the standard's word for it."""

    status_code = status.HTTP_400_BAD_REQUEST

    def __init__(self, detail: str, minor: str = "invaliddata") -> None:
        super().__init__(detail, code=minor)
        self.minor = minor


def status_payload(major: str, severity: str, minor: str, description: str) -> dict[str, Any]:
    """The standard's status information, in the form of 1.2, whose names 1.1 has as well."""
    field = {"imsx_codeMinorFieldName": "TargetEndSystem", "imsx_codeMinorFieldValue": minor}
    return {
        "imsx_codeMajor": major,
        "imsx_severity": severity,
        "imsx_description": description,
        "imsx_CodeMinor": {"imsx_codeMinorField": [field]},
    }


class OneRosterView(ApiView):
    """An endpoint of the standard."""

    def refusal(self, fault: exceptions.APIException) -> Response:
        code = fault.status_code
        minor = getattr(fault, "minor", MINORS.get(code, "invaliddata"))
        said = str(fault.detail) if code in (400, 403) and isinstance(fault.detail, str) else _WORDS.get(code, "")
        payload = status_payload("failure", "error", minor, said)
        return Response(payload, status=code, content_type=JSONRenderer.media_type)


@csrf_exempt
def unknown_address(request: HttpRequest, **kwargs: Any) -> JsonResponse:
    """Below the base of the standard nothing is answered with a page, not even what does not exist."""
    return JsonResponse(status_payload("failure", "error", "unknownobject", _WORDS[404]), status=404)


# --------------------------------------------------------------------------------------------------- as problem details


class ProblemRenderer(JSONRenderer):
    media_type = "application/problem+json"


class Problem(exceptions.APIException):
    """A refusal with a stable code, what happened, and what to do next."""

    def __init__(self, status_code: int, code: str, detail: str, next_step: str = "", **more: Any) -> None:
        super().__init__(detail, code=code)
        self.status_code = status_code
        self.code, self.next_step, self.more = code, next_step, more


_TITLES: Final = {
    400: ("bad-request", "The request cannot be understood", "Look at the fields named in `errors`."),
    401: ("not-authenticated", "Nobody is let in without a token", "Ask for a token at /oauth2/token."),
    403: ("forbidden", "This is not allowed", "Ask who manages API clients for the scope or the permission."),
    404: ("not-found", "There is no such object", "Look at the address; a client sees only its own districts."),
    405: ("method-not-allowed", "This method is not for this address", "See /api/docs/."),
    406: ("not-acceptable", "This form is not served", "Ask for application/json."),
    413: ("too-large", "More was sent than is read here", "Send it in parts; a file belongs into a delivery."),
    415: ("unsupported-media-type", "This form is not read", "See /api/docs/ for what may be sent."),
    429: ("too-many-requests", "Too many requests", "Wait as long as Retry-After says."),
    500: ("portal-fault", "The portal could not answer", "Try again; if it stays so, tell the developers when it was."),
}


class StaffSession(SessionAuthentication):
    """Staff who are logged in, from a browser, with Django's CSRF check."""


class PortalView(ApiView):
    """An endpoint of /api/v1."""

    authentication_classes: Any = (ClientAuthentication, StaffSession)

    def refusal(self, fault: exceptions.APIException) -> Response:
        code = fault.status_code
        name, title, next_step = _TITLES.get(code, ("refused", "Refused", ""))
        name = getattr(fault, "code", None) or (
            fault.default_code if isinstance(fault, MissingScope | MissingPermission) else name
        )
        problem: dict[str, Any] = {
            "type": f"{settings.PORTAL_URL}/api/docs/#{name}",
            "title": title,
            "status": code,
            "detail": str(fault.detail) if isinstance(fault.detail, str) else title + ".",
            "code": name,
            "next_step": getattr(fault, "next_step", "") or next_step,
            **getattr(fault, "more", {}),
        }
        if isinstance(fault, exceptions.ValidationError):
            problem["errors"] = fault.detail if isinstance(fault.detail, dict) else {"": fault.detail}
        return Response(problem, status=code, content_type=ProblemRenderer.media_type)


@csrf_exempt
def unknown_place(request: HttpRequest, **kwargs: Any) -> JsonResponse:
    name, title, next_step = _TITLES[404]
    problem = {"type": f"{settings.PORTAL_URL}/api/docs/#{name}", "title": title, "status": 404, "detail": title + "."}
    return JsonResponse(
        {**problem, "code": name, "next_step": next_step}, status=404, content_type=ProblemRenderer.media_type
    )
