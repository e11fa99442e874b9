"""What can go wrong on the way to a delivery, in words for the people who must mend it.

A fault has a stable code. What happened, whose move it is and what to do next stand here as data; the code that meets
the fault adds a detail that names no secret and no value of a roster. A fault that may pass by itself (`permanent`
False) is tried again; a permanent one waits for a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Whose = Literal["district", "staff", "nobody"]


@dataclass(frozen=True, slots=True)
class Fault:
    """`title`: what happened, one sentence. `next_step`: what to do, addressed to staff. `whose` move it is."""

    title: str
    next_step: str
    whose: Whose
    permanent: bool


def _passing(title: str, next_step: str, whose: Whose = "nobody") -> Fault:
    return Fault(title, next_step, whose, permanent=False)


def _lasting(title: str, next_step: str, whose: Whose = "district") -> Fault:
    return Fault(title, next_step, whose, permanent=True)


#: On the way to any server.
_NETWORK: Final = {
    "CONN-NAME": _passing(
        "The server's name is not known.",
        "Check the spelling of the host. If it is right, ask the district's IT whether the name is public.",
        "district",
    ),
    "CONN-ADDRESS": _lasting(
        "The server's name leads to an address that is not public.",
        "Enter the name or address by which the server is reached from the internet. If it really stands in the "
        "district's own network, our staff can add its address to the connection's allow-list; another of them has to "
        "confirm it.",
    ),
    "CONN-REFUSED": _passing(
        "The server does not answer at this port.",
        "Check the port. Ask the district's IT whether the server runs and whether its firewall lets our addresses in.",
        "district",
    ),
    "CONN-TIMEOUT": _passing(
        "The server did not answer in time.",
        "It is tried again by itself. If it stays so, ask the district's IT whether a firewall drops our packets.",
    ),
    "CONN-CUT": _passing(
        "The connection broke in the middle.",
        "It is tried again by itself; nothing half-received is used.",
    ),
    "CONN-BUDGET": _passing(
        "Fetching took longer than it may.",
        "It is tried again by itself. If it stays so, choose a quieter hour; the server is too slow now.",
    ),
    "CONN-TOO-LARGE": _lasting(
        "The server sends more than a roster can be.",
        "Nothing of it was used. Ask the district what stands there; a wrong folder or address is the usual reason.",
    ),
}

#: At a district's SFTP server.
_SFTP: Final = {
    "SFTP-HOSTKEY-NEW": _lasting(
        "Nobody has confirmed the server's host key yet; no password and no key was sent.",
        "Compare the fingerprint with the one that the district's IT gives you by another way, then confirm it.",
        "staff",
    ),
    "SFTP-HOSTKEY-CHANGED": _lasting(
        "The server shows another host key than the confirmed one; no password and no key was sent.",
        "Ask the district's IT whether the server was moved or renewed. Confirm the new fingerprint only if it is the "
        "one that they tell you; otherwise somebody may stand between us and the server.",
    ),
    "SFTP-ALGORITHMS": _lasting(
        "The server offers only obsolete SSH algorithms, which are refused.",
        "Ask the district's IT, or the vendor of the server, to enable current ones: curve25519-sha256 for the key "
        "exchange, ssh-ed25519 or rsa-sha2-256 for the host key, aes128-ctr, hmac-sha2-256.",
    ),
    "SFTP-LOGIN": _lasting(
        "The server refused the login. It is not tried again by itself, so that the account is not locked.",
        "Check the user name with the district's IT, and its password or whether our public key is entered there.",
    ),
    "SFTP-KEY": _lasting(
        "Our private key of this connection cannot be read.",
        "Make a new pair of keys for the connection and send the public half to the district.",
        "staff",
    ),
    "SFTP-PATH": _lasting(
        "The connection's path cannot be used.",
        "Correct the path in the connection.",
        "staff",
    ),
    "SFTP-FOLDER": _lasting(
        "The folder does not exist on the server.",
        "Check the path; large and small letters count. Ask the district's IT what the account sees after its login.",
    ),
    "SFTP-FORBIDDEN": _lasting(
        "The account may not read there.",
        "Ask the district's IT to give the account the right to list the folder and to read the files.",
    ),
    "SFTP-NOTHING": _passing(
        "No delivery lies there.",
        "It is looked for again by itself. If one was expected, ask the district whether its export ran.",
        "district",
    ),
    "SFTP-STILL-WRITING": _passing(
        "The delivery is still being written.",
        "It is looked at again by itself, and taken when it has come to rest.",
    ),
    "SFTP-CHANGED": _passing(
        "The delivery changed while it was fetched.",
        "It is fetched again by itself; nothing half-received is used. If it stays so, choose another hour.",
    ),
    "SFTP-STALLED": _passing(
        "The server stopped answering in the middle.",
        "It is tried again by itself; nothing half-received is used.",
    ),
    "SFTP-FAILED": _passing(
        "The server could not do what was asked, and does not say why.",
        "It is tried again by itself. If it stays so, ask the district's IT for the log of the server.",
        "district",
    ),
    "SFTP-HOSTILE": _lasting(
        "What the server shows is not a plain file or folder with a plain name.",
        "Links, pipes, devices and names with control characters are never opened. Ask the district to put the files "
        "themselves there, and give the path of the folder itself.",
    ),
    "SFTP-NOT-SFTP": _lasting(
        "What answers there is not an SFTP server.",
        "Check host and port (usually 22). If they are right, ask the district's IT to enable SFTP for the account.",
    ),
    "SFTP-AFTER": _lasting(
        "The delivery was fetched whole, but could not be renamed or moved on the server.",
        "Nothing is lost. Ask the district's IT to give the account the right to rename, or let files lie.",
    ),
    "SFTP-TIDY": _lasting(
        "What was put aside long ago could not be deleted on the server.",
        "Nothing is lost. Ask the district's IT to give the account the right to delete there, or let it lie.",
    ),
    "SFTP-DROP": _lasting(
        "The district has no folder on our own SFTP server.",
        "Make its account and folder as docs/sftp-server.md says, or correct PORTAL_DROP_DIR.",
        "staff",
    ),
}

#: At a OneRoster API.
_API: Final = {
    "API-URL": _lasting(
        "The address of the API cannot be used.",
        "Enter the whole base URL, beginning with https:// and without a user name, a query or a fragment.",
        "staff",
    ),
    "API-CREDENTIALS": _lasting(
        "The credentials are missing, or have blanks, line breaks or control characters in them.",
        "Copy both values again, without anything before or after them.",
        "staff",
    ),
    "API-TLS": _passing(
        "A safe connection could not be made: the server's certificate or encryption is not good.",
        "Ask the district's IT or the vendor to mend the server's certificate; roster data is never sent without it.",
        "district",
    ),
    "API-REDIRECT": _lasting(
        "The server sends us on to another address, which is never followed.",
        "Ask the district for the address that the API really has, and enter that.",
    ),
    "API-AUTH": _lasting(
        "The server does not accept the credentials.",
        "Compare both values with what the SIS shows. The labels of the two boxes differ between vendors: perhaps each "
        "value stands in the other's box, then swap them. Check the kind of authentication and the signature method "
        "too, and ask the district whether the key was withdrawn.",
    ),
    "API-CLOCK": _lasting(
        "The server does not accept the signature, and its clock differs from ours.",
        "Signatures carry the time. Ask the district's IT to set the server's clock; check that ours is right.",
    ),
    "API-TOKEN": _lasting(
        "The token server gives no token for the credentials.",
        "Compare both values with what the SIS shows, perhaps each stands in the other's box, then swap them. Check "
        "the token URL, and whether it wants the credentials in the header or in the body.",
    ),
    "API-SCOPE": _lasting(
        "The token server does not grant the scopes that were asked for.",
        "Ask the district to grant the OneRoster roster scopes, or change the scopes of the connection; some servers "
        "want none.",
    ),
    "API-TOKEN-SHAPE": _lasting(
        "What the token server sent is not a token.",
        "Check the token URL; it is often another address than that of the API.",
        "staff",
    ),
    "API-FORBIDDEN": _lasting(
        "The credentials are good, but may not read this.",
        "Ask the district to let this application read all roster collections. With OAuth 2, look at the scopes of the "
        "connection too: a token without the right scope is refused here.",
    ),
    "API-NOT-FOUND": _lasting(
        "The server does not know this address.",
        "Check the base URL: it usually ends in /ims/oneroster/v1p1 or /ims/oneroster/rostering/v1p2. Some vendors "
        "must switch on each collection.",
        "staff",
    ),
    "API-REFUSED": _lasting(
        "The server does not understand the question.",
        "Check version and base URL. If they are right, tell the vendor what was asked and answered.",
        "staff",
    ),
    "API-BUSY": _passing(
        "The server asks for fewer questions.",
        "It is tried again by itself. If it stays so, choose a quieter hour.",
    ),
    "API-HEAVY": _passing(
        "The server gave up on an answer, even on a small page.",
        "It is tried again by itself. If it stays so, choose a quieter hour or tell the vendor.",
    ),
    "API-SERVER": _passing(
        "The server has an error of its own.",
        "It is tried again by itself. If it stays so, tell the vendor.",
        "district",
    ),
    "API-HTML": _passing(
        "The server answers with a web page where data should be.",
        "Check the base URL. A login page, a maintenance notice or a firewall are the usual reasons.",
        "district",
    ),
    "API-JSON": _passing(
        "The server's answer is not JSON, or breaks off.",
        "It is tried again by itself; nothing of it was used. If it stays so, tell the vendor.",
        "district",
    ),
    "API-SHAPE": _lasting(
        "The server's answer has not the form that OneRoster gives it.",
        "Nothing of it was used: an answer of another form must not look like an empty roster. Tell the vendor.",
    ),
    "API-STATUS": _lasting(
        "The server reports a failure inside an answer that looks good.",
        "Nothing of it was used. Tell the vendor.",
    ),
    "API-VERSION": _lasting(
        "The users have the form of the other version of OneRoster.",
        "Change the version of the connection, and check that the base URL belongs to it.",
        "staff",
    ),
    "API-EMPTY": _lasting(
        "A collection that every roster has is empty.",
        "Nothing was changed. Ask the district whether the SIS is between two school years, or shares no schools with "
        "this application.",
    ),
    "API-PAGING": _lasting(
        "The server sends the same page again and again.",
        "Nobody can know whether the roster was whole, so nothing was used. Tell the vendor that offset is ignored.",
    ),
    "API-DRIFT": _passing(
        "The pages do not add up to the total that the server names, or repeat or skip records.",
        "Probably the SIS was changing meanwhile. It is tried again by itself; if it stays so, choose a quieter hour, "
        "and tell the vendor the numbers.",
    ),
    "API-MOVED": _passing(
        "The roster changed while it was read, each time it was tried.",
        "It is tried again by itself; choose an hour after the SIS's own nightly work.",
    ),
}

#: Our own.
_PORTAL: Final = {
    "CONN-SEALED": _lasting(
        "The stored credentials cannot be opened.",
        "Enter them again, or put the key that sealed them back into PORTAL_FORMER_ENCRYPTION_KEYS.",
        "staff",
    ),
    "WORKER-LOST": _passing("The worker on this attempt was lost.", "It is tried again by itself."),
    "PORTAL-DISK": _passing(
        "The portal's own disk or database did not take what came.",
        "It is tried again by itself. Look whether the disk of PORTAL_DATA_DIR is full.",
        "staff",
    ),
    "PORTAL-FAULT": _lasting(
        "The portal could not finish this.",
        "Nothing was received. Tell the developers the time of this attempt.",
        "staff",
    ),
}

#: Faults of ours: no server was asked too much, nobody's account is in danger.
OWN: Final = ("WORKER-LOST", "PORTAL-DISK", "PORTAL-FAULT")

FAULTS: Final[dict[str, Fault]] = {**_NETWORK, **_SFTP, **_API, **_PORTAL}


class FetchError(Exception):
    """A delivery could not be fetched. `code` is a key of `FAULTS`; `detail` says what only this occasion knows.
    `inside` is what it tells of our network, for our staff alone: it stands in no message."""

    def __init__(self, code: str, detail: str = "", *, permanent: bool | None = None, inside: str = "") -> None:
        fault = FAULTS[code]
        super().__init__(f"{fault.title} {detail}".strip())
        self.code = code
        self.detail = detail
        self.inside = inside
        self.permanent = fault.permanent if permanent is None else permanent

    @property
    def message(self) -> str:
        return str(self)

    @property
    def next_step(self) -> str:
        return FAULTS[self.code].next_step

    @property
    def whose(self) -> Whose:
        return FAULTS[self.code].whose
