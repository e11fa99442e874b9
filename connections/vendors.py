"""What is known of each vendor's OneRoster API, as data: words for the form, patterns, habits.

From the vendors' own public pages and from code that talks to their servers, read in 2026. What nobody publishes is
unknown and stays so: "" or None, never a guess. Vendors of whom nothing technical is public are not here; the form's
general fields serve them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Auth = Literal["oauth1", "oauth2", "bearer"]


@dataclass(frozen=True, slots=True)
class Vendor:
    """`key_words` and `secret_words`: what the SIS calls the two credentials, "" where it has none or is unknown.

    `auth`: the kinds that it knows, the usual one first; empty where unknown. In `url` and `token_url` <words> stand
    for what differs between districts; the `example`s are invented. `page_size`: how many records to ask for at a time.
    `help`: where the district finds what the form asks for. `quirks`: what staff should know; `columns`: what of it
    explains findings in the district's files, by column ("users.email") or table ("users"). `marks`: beginnings of
    columns that only its files have, in lower case.
    """

    name: str
    key_words: str = ""
    secret_words: str = ""
    auth: tuple[Auth, ...] = ()
    versions: tuple[Literal["1.1", "1.2"], ...] = ()
    url: str = ""
    example: str = ""
    token_url: str = ""
    token_example: str = ""
    signature: Literal["HMAC-SHA256", "HMAC-SHA1"] | None = None
    credentials_in: Literal["header", "body"] | None = None
    page_size: int | None = None
    help: str = ""
    quirks: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    marks: tuple[str, ...] = ()


_CLASSLINK_HABITS: Final = (
    "Records that were purged are missing from what changed: read the whole roster at least once a week.",
    "In summer, blackout dates may freeze the data.",
    "Identifiers are made by the district's own rules; merged users get a new one when they are renamed.",
    "Applications that are labelled 1.2 still answer under v1p1.",
    "Status 502 means that the page was too heavy.",
)

VENDORS: Final[dict[str, Vendor]] = {
    "classlink": Vendor(
        "ClassLink Roster Server",
        "Key",
        "Secret",
        auth=("oauth1",),
        versions=("1.1",),
        url="https://<tenant>.rosterserver.com/ims/oneroster/v1p1",
        example="https://springfield-roster.rosterserver.com/ims/oneroster/v1p1",
        signature="HMAC-SHA256",
        page_size=1000,
        help="Endpoint URL, key and secret stand in the Partner Portal under Clients, behind the key icon.",
        quirks=_CLASSLINK_HABITS,
    ),
    "classlink_proxy": Vendor(
        "ClassLink OneRoster proxy",
        "Application ID",
        "Bearer token",
        auth=("bearer",),
        versions=("1.1",),
        url="https://oneroster-proxy.classlink.io/<application id>/ims/oneroster/v1p1",
        example="https://oneroster-proxy.classlink.io/0000000000/ims/oneroster/v1p1",
        page_size=1000,
        help="Each district is an application of its own, with its own ID (a part of the URL) and bearer token.",
        quirks=(
            "The bearer does not expire and opens the whole district; a refusal means that it was withdrawn.",
            "There is no token server, whatever the name says.",
            "Newer addresses begin with https://oneroster-proxy.apis.classlink.com.",
            *_CLASSLINK_HABITS,
        ),
    ),
    "powerschool_sis": Vendor(
        "PowerSchool SIS",
        "Client ID",
        "Client Secret",
        auth=("oauth2",),
        token_url="https://<district host>/oauth/access_token",
        token_example="https://ps.springfield.example/oauth/access_token",
        credentials_in="header",
        help="The district installs a plugin in PowerSchool, which makes client ID and client secret.",
        quirks=(
            "The district sets the maximum page size; other publishers ask it for 1,000.",
            "A school year's data appear on the first day of the school calendar.",
        ),
    ),
    "powerschool_unified": Vendor(
        "PowerSchool Unified Classroom",
        "API Key",
        "API Secret",
        auth=("oauth2",),
        token_url="https://accounts.powerschool.com/as/token.oauth2",
        token_example="https://accounts.powerschool.com/as/token.oauth2",
        credentials_in="body",
        help="Key and secret are shown once, when the integration is made.",
    ),
    "eschoolplus": Vendor(
        "eSchoolPLUS",
        "Consumer Key",
        "Consumer Secret",
        auth=("oauth1", "oauth2"),
        versions=("1.1", "1.2"),
        url="https://<host>/plus360api/v1/<abbreviation>/<rest of the address>",
        signature="HMAC-SHA1",
        help="The kind of authentication is chosen in the API profile; OAuth 1.0 with HMAC-SHA1 is its default.",
        quirks=(
            "Only the collections that the API profile subscribes to answer.",
            "1.2 is there from release 21.4 on.",
        ),
    ),
    "infinite_campus": Vendor(
        "Infinite Campus",
        "Client ID",
        "Client Secret",
        auth=("oauth2",),
        versions=("1.2", "1.1"),
        url="https://<host>/campus/api/oneroster/v1p2/<application>/ims/oneroster/rostering/v1p2",
        example="https://springfield.infinitecampus.example/campus/api/oneroster/v1p2/app/ims/oneroster/rostering/v1p2",
        token_url="https://<host>/campus/oauth2/token?appName=<application>",
        token_example="https://springfield.infinitecampus.example/campus/oauth2/token?appName=app",
        help="The token URL needs appName, or Campus knows no application. OAuth 1.0 is closed for new connections.",
        quirks=(
            "Not more than five questions at once, and only in the quiet hours.",
            "Answers come from a cache that is renewed hourly from 6:00 to 18:00 and at 22:10: read after that.",
            "A page may have up to 50,000 records.",
            "In 1.1 a person with two roles is two users, and demographics have identifiers of their own.",
            "Going from 1.1 to 1.2 changes the identifiers of all users.",
            "Older credentials expire after up to 13 months.",
            "The vendor wants one whole pull a week, and what changed every night.",
        ),
        columns={"users.role": "In OneRoster 1.1, a person with two roles is two users."},
        marks=("metadata.ic.",),
    ),
    "skyward_sms": Vendor(
        "Skyward SMS 2.0",
        "Key",
        "Secret",
        url="https://<host>/api",
        example="https://skyward.springfield.example/api",
        help="The district must have installed Skyward's API server; key and secret are behind the API button of a "
        "secured user.",
    ),
    "skyward_qmlativ": Vendor(
        "Skyward Qmlativ",
        "Client ID",
        "Client Secret",
        auth=("oauth2",),
        versions=("1.2",),
        url="https://<tenant>/ims/oneroster/v1p2",
        example="https://springfield.skyward.example/ims/oneroster/v1p2",
        help="ID and secret belong to an Integration and its Integration Access; ask the district for the token URL.",
        quirks=("The path has no /rostering, unlike the standard's.",),
    ),
    "aeries": Vendor(
        "Aeries",
        "Consumer ID",
        "Consumer Secret Key",
        auth=("oauth2",),
        versions=("1.1",),
        url="https://<district>.aeries.net/aeries/ims/oneroster/v1p1",
        example="https://springfield.aeries.net/aeries/ims/oneroster/v1p1",
        token_url="https://<district>.aeries.net/aeries/token",
        token_example="https://springfield.aeries.net/aeries/token",
        credentials_in="header",
        quirks=(
            "Identifiers of classes and terms carry no year: they come back next year for something else.",
            "Elementary classes have no title; students without a class are left out.",
            "Tokens end after six hours.",
            "The vendor asks for few whole pulls, in the quiet hours, and for what changed in between.",
        ),
        columns={
            "classes.title": "Elementary classes have no title.",
            "classes.sourcedId": "Identifiers of classes carry no year.",
            "academicSessions.sourcedId": "Identifiers of terms carry no year.",
        },
    ),
    "synergy": Vendor(
        "Synergy (Edupoint)",
        "Client ID",
        "Client Secret",
        auth=("oauth2", "oauth1"),
        help="The district gives the server's URL and the token URL separately.",
        quirks=("OAuth 1.0 is on its way out.", "The district may need a licence for the API."),
    ),
    "q": Vendor(
        "Q by Aequitas",
        "Client key",
        "Client secret",
        help="The district gives the API's URL.",
    ),
    "genesis": Vendor(
        "Genesis",
        "Client ID",
        "Client secret",
        auth=("oauth2",),
        versions=("1.1",),
        url="https://<host>/genesis/ims/oneroster/v1p1/",
        example="https://genesis.springfield.example/genesis/ims/oneroster/v1p1/",
        token_url="https://<host>/genesis/token",
        token_example="https://genesis.springfield.example/genesis/token",
        quirks=("Staff may have no e-mail address.",),
        columns={"users.email": "Staff may have no e-mail address."},
    ),
    "focus": Vendor(
        "Focus School Software",
        "Client ID",
        "Client Secret",
        versions=("1.1",),
        help="The district gives the Service URL; the API is described at its /api/docs.",
        quirks=("Administrators only come where their profiles were selected, and with their highest profile.",),
        columns={"users.role": "Administrators only come where their profiles were selected."},
    ),
    "aspen": Vendor(
        "Aspen (Follett)",
        "Client identifier",
        "Client secret key",
        auth=("oauth2",),
        token_url="https://<host>/oauth/rest/v2.0/auth",
        token_example="https://aspen.springfield.example/oauth/rest/v2.0/auth",
        quirks=("Certificates that are not good have been met.",),
    ),
    "blackbaud": Vendor(
        "Blackbaud Education Management",
        "Key",
        "Secret",
        auth=("oauth2",),
        versions=("1.1",),
        url="https://api.sky.blackbaud.com/afe-rostr/ims/oneroster/v1p1/",
        example="https://api.sky.blackbaud.com/afe-rostr/ims/oneroster/v1p1/",
        token_url="https://oauth2.sky.blackbaud.com/token",
        token_example="https://oauth2.sky.blackbaud.com/token",
        credentials_in="header",
        quirks=(
            "Older schools have https://<school>.myschoolapp.com/ims/oneroster/v1p1, and say Consumer Key and Secret.",
            "The token server wants scopes.",
        ),
    ),
    "facts": Vendor(
        "FACTS SIS (RenWeb)",
        "Client ID",
        "Client Secret",
        url="https://cfapi.renweb.com",
        example="https://cfapi.renweb.com",
        help="FACTS calls the address Service URL; the school pays a yearly fee for the API.",
    ),
    "schooltool": Vendor(
        "SchoolTool (CNYRIC)",
        "Client ID",
        "Client secret",
        auth=("oauth2",),
        versions=("1.1",),
        url="https://<district>.schooltool.cnyric.org/STAPIService/ims/oneroster/v1p1",
        example="https://springfield.schooltool.cnyric.org/STAPIService/ims/oneroster/v1p1",
        token_url="https://<district>.schooltool.cnyric.org/STAPIService/ims/oneroster/v1p1/Token",
        token_example="https://springfield.schooltool.cnyric.org/STAPIService/ims/oneroster/v1p1/Token",
        credentials_in="header",
    ),
    "eschooldata": Vendor(
        "eSchoolData",
        "Client ID",
        "Client Secret",
        help="The district gets the URL from its eSchoolData representative.",
    ),
    "edfi": Vendor(
        "Ed-Fi OneRoster",
        auth=("oauth2",),
        versions=("1.2",),
        url="https://<host>/ims/oneroster/rostering/v1p2",
        example="https://edfi.springfield.example/ims/oneroster/rostering/v1p2",
        page_size=500,
        help="Credentials and token URL are those of the Ed-Fi ODS/API, which stands at an address of its own.",
        quirks=(
            "No total is named: an empty page is the end.",
            "More than 500 records at a time are cut off without a word, unless the district raised that.",
            "Required fields that are empty are left out.",
        ),
    ),
    "gg4l": Vendor(
        "GG4L School Passport",
        versions=("1.1",),
        url="https://datasync-api.gg4l.com/datahub/services/ims/oneroster/v1p1",
        example="https://datasync-api.gg4l.com/datahub/services/ims/oneroster/v1p1",
        quirks=("Its links to the next page are malformed; they are not used.",),
    ),
}
