"""What the API's description (OpenAPI 3.1) says of all addresses alike: how one comes in, and how a refusal looks.

drf-spectacular reads the views; here stands what it cannot see. The descriptions of the standard's operations are made
from the same data as their answers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import OpenApiParameter

from rosters.api.operations import Operation
from rosters.api.scopes import ALL
from rosters.api.shapes import ADDED, FIELDS

_TEXT: Final = {"type": "string"}
_PROBLEM: Final = {
    "type": "object",
    "description": "RFC 9457. `code` is stable; `next_step` says what to do.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"}, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT, "code": _TEXT,
        "next_step": _TEXT, "errors": {"type": "object"}, "cursor": _TEXT,
    },
}  # fmt: skip
_STATUS_INFO: Final = {
    "type": "object",
    "description": "The standard's status information.",
    "required": ["imsx_codeMajor", "imsx_severity", "imsx_CodeMinor"],
    "properties": {
        "imsx_codeMajor": {"type": "string", "enum": ["success", "processing", "failure", "unsupported"]},
        "imsx_severity": {"type": "string", "enum": ["status", "warning", "error"]},
        "imsx_description": _TEXT,
        "imsx_CodeMinor": {
            "type": "object",
            "required": ["imsx_codeMinorField"],
            "properties": {
                "imsx_codeMinorField": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"imsx_codeMinorFieldName": _TEXT, "imsx_codeMinorFieldValue": _TEXT},
                    },
                }
            },
        },
    },
}


class ClientScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "rosters.api.access.ClientAuthentication"
    name = "client"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        flow = {"tokenUrl": "/oauth2/token", "scopes": dict(ALL)}
        return {
            "type": "oauth2",
            "description": "A token for an hour. Clients of 1.1 may sign with OAuth 1.0a instead.",
            "flows": {"clientCredentials": flow},
        }


class StaffScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "rosters.api.manners.StaffSession"
    name = "staff"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "Staff who are logged in."}


def with_refusals(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Every operation may refuse: as the standard does below /d/, with problem details elsewhere."""
    schemas = result["components"].setdefault("schemas", {})
    schemas["Problem"], schemas["StatusInfo"] = _PROBLEM, _STATUS_INFO
    for address, operations in result["paths"].items():
        name, kind = ("StatusInfo", "json") if address.startswith("/d/") else ("Problem", "problem+json")
        content = {f"application/{kind}": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
        for operation in operations.values():
            operation["responses"]["default"] = {
                "description": "It was refused; the answer says why.",
                "content": content,
            }
    return result


@lru_cache(maxsize=1)
def of_the_standard() -> dict[str, Any]:
    """The description of the 41 operations of 1.2 alone, relative to the base of the service."""
    whole: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    base = "/d/{site_code}/ims/oneroster/rostering/v1p2"
    paths = {
        address.removeprefix(base): {
            method: {**told, "parameters": [each for each in told["parameters"] if each["name"] != "site_code"]}
            for method, told in operations.items()
        }
        for address, operations in whole["paths"].items()
        if address.startswith(base + "/")
    }
    components = {
        "schemas": {"StatusInfo": whole["components"]["schemas"]["StatusInfo"]},
        "securitySchemes": {"client": whole["components"]["securitySchemes"]["client"]},
    }
    info = {"title": "OneRoster Rostering Service", "version": "1.2"}
    return {"openapi": whole["openapi"], "info": info, "paths": paths, "components": components}


# ------------------------------------------------------------------------------------------------- the standard's own


_REFERENCE: Final = {
    "type": "object",
    "required": ["href", "sourcedId", "type"],
    "properties": {"href": _TEXT, "sourcedId": _TEXT, "type": _TEXT},
}
_ROLE: Final = {
    "type": "object",
    "required": ["roleType", "role", "org"],
    "properties": {
        "roleType": _TEXT, "role": _TEXT, "org": _REFERENCE, "userProfile": _TEXT, "beginDate": _TEXT, "endDate": _TEXT,
    },
}  # fmt: skip
_ADDED: Final[dict[str, dict[str, Any]]] = {
    "children": {"type": "array", "items": _REFERENCE},
    "orgs": {"type": "array", "items": _REFERENCE},
    "role": _TEXT,
    "roles": {"type": "array", "items": _ROLE},
    "userProfiles": {"type": "array", "items": {"type": "object"}},
    "userIds": {"type": "array", "items": {"type": "object", "properties": {"type": _TEXT, "identifier": _TEXT}}},
}
_KINDS: Final[dict[str, dict[str, Any]]] = {
    "always": _TEXT,
    "if any": _TEXT,
    "list": {"type": "array", "items": _TEXT},
    "ref": _REFERENCE,
    "refs": {"type": "array", "items": _REFERENCE},
}


def answer_of(operation: Operation, standard: str) -> dict[str, Any]:
    """The JSON schema of what an operation answers. Nothing is required: `fields` may leave anything out."""
    table = operation.entity.table
    properties: dict[str, Any] = {"sourcedId": _TEXT, "status": {"type": "string", "enum": ["active", "tobedeleted"]}}
    properties |= {"dateLastModified": {"type": "string", "format": "date-time"}, "metadata": {"type": "object"}}
    properties |= {field.name: _KINDS[field.kind] for field in FIELDS[standard][table]}
    properties |= {name: _ADDED[name] for name in ADDED[standard].get(table, ())}
    record = {"type": "object", "properties": properties, "additionalProperties": False}
    name = operation.entity.many if operation.many else operation.entity.one
    told = {name: {"type": "array", "items": record} if operation.many else record}
    warnings = {"statusInfoSet": {"type": "array", "items": {"$ref": "#/components/schemas/StatusInfo"}}}
    return {"type": "object", "required": [name], "properties": told | warnings}


def parameters_of(operation: Operation) -> list[OpenApiParameter]:
    """The parameters of an operation; `as_of` is our own."""
    ids = [
        OpenApiParameter(name, str, OpenApiParameter.PATH)
        for name in [part.partition(">")[0] for part in operation.path.split("<id:")[1:]]
    ]
    of_all = [
        OpenApiParameter("fields", str, description="Names of fields, separated by commas."),
        OpenApiParameter("as_of", str, description="The roster as it was: the number of a sync, or a time."),
    ]
    if not operation.many:
        return [*ids, *of_all]
    return [
        *ids,
        OpenApiParameter("limit", int, description="100 unless said, up to 10,000; above that 400."),
        OpenApiParameter("offset", int),
        OpenApiParameter("sort", str, description="One field; without it by sourcedId."),
        OpenApiParameter("orderBy", str, enum=["asc", "desc"]),
        OpenApiParameter("filter", str, description="status='active' AND role='student'"),
        *of_all,
    ]
