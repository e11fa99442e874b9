"""The words, signs and owners of every status: the same for staff and district, on every page."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from rosters.models import District, Sync
from rosters.oneroster.normal import is_wholly_left_out

S = Sync.Status


@dataclass(frozen=True, slots=True)
class Words:
    """How a status is shown. `sign` is a class of the stylesheet and the name of its symbol; the word stands beside
    it, so
    that colour is never alone. `owner` is whose move it is: "nobody", "staff", "district"."""

    sign: str
    word: str
    next_step: str
    owner: str


#: The next step where there is none.
NOTHING_STEP = "Nothing to do."

#: The same where the delivery was checked again, or goes live in two steps.
ANOTHER_STEP = "The same file goes on in another sync."

_WAIT = Words("running", "On its way", "Nothing to do: this page follows it to its end.", "nobody")

SYNC_WORDS: dict[str, Words] = {
    S.RECEIVED: _WAIT,
    S.PREPARING: _WAIT,
    S.APPROVED: _WAIT,
    S.APPLYING: _WAIT,
    S.READY: Words("review", "Ready to apply", "Look it over and approve it.", "staff"),
    S.AWAITING_REVIEW: Words("review", "Needs review", "Look it over, then approve or decline.", "staff"),
    S.REJECTED: Words(
        "refused", "Needs a corrected file", "Ask the district to correct the first cause and send again.", "district"
    ),
    S.UNCHANGED: Words("good", "Nothing changed", "Nothing to do.", "nobody"),
    S.APPLIED: Words("good", "Applied", f"{NOTHING_STEP} It can be undone from its page.", "nobody"),
    S.DECLINED: Words("ended", "Declined", "The roster stays as it was; wait for a better delivery.", "district"),
    S.SUPERSEDED: Words("ended", "Replaced", "A newer delivery took its place.", "nobody"),
    S.PLANNED: Words(
        "ended", "Dry run", "Nothing to do: it only says what would change, and never goes live.", "nobody"
    ),
    S.FAILED: Words("refused", "Failed", "Nothing was written. Read what happened and try again.", "staff"),
}

#: Approved, to go live later.
FOR_LATER = Words("running", "Goes live at its hour", "Nothing to do: it goes live by itself.", "nobody")


#: Applied once, and undone since.
TAKEN_BACK = Words("ended", "Taken back", "Nothing to do: it was live, and what it changed was taken back.", "nobody")


#: What is said otherwise of an undo: the district has no part in it, and it is never checked again.
UNDO_WORDS: dict[str, Words] = {
    S.DECLINED: Words("ended", "Declined", "Nothing to do: what it would have taken back stays.", "nobody"),
    S.FAILED: Words(
        "refused", "Failed", "Nothing was written. Read what happened, and undo that sync once more.", "staff"
    ),
}

#: What a newer delivery of the same schools settles.
SETTLED = (S.REJECTED, S.DECLINED, S.FAILED)
_SETTLED_STEP = "Nothing to do: a newer delivery has come since."


def sync_words(sync: Sync, *, newer_came: bool = False) -> Words:
    """Where a sync stands. `newer_came`: a newer delivery of the same schools (`admin.districts.settled`)."""
    if sync.undone_at:
        return TAKEN_BACK
    if sync.waits_for_its_hour:
        return FOR_LATER
    is_undo = sync.delivery_id is None
    words = UNDO_WORDS.get(sync.status, SYNC_WORDS[sync.status]) if is_undo else SYNC_WORDS[sync.status]
    if newer_came and sync.status in SETTLED:
        return replace(words, next_step=NOTHING_STEP if is_undo else _SETTLED_STEP, owner="nobody")
    return words


#: The next step where rules hold a sync that waits.
HELD_STEP = "Read what held it, then approve or decline."
#: The same where one of them is not for anybody to overrule; of an undo no file can be asked for.
DECLINE_STEP = "It cannot be approved: decline it, and ask the district for the right file."
DECLINE_UNDO_STEP = "It cannot be approved: decline it, and the roster stays as it is."
#: The same where an older file is to be decided about before.
BEHIND_STEP = "An older file waits that says what this one does not: decide about that one first."

#: The same where what one of our staff uploaded was refused.
OURS_STEP = "Upload the right file; if this is what the district has, ask it to correct the first cause."

DISTRICT_UP_TO_DATE = Words("good", "Up to date", "Nothing to do.", "nobody")
DISTRICT_DECLINED = Words(
    "refused",
    "Needs a corrected file",
    "What is live stays. See that the district knows why, and sends a better one.",
    "district",
)
_NOTHING_LIVE_STEP = "See that the district knows why, and sends a better one."
DISTRICT_LEAVES = Words(
    "ended",
    "Leaves",
    "Nothing comes in, and no tool reads it. What it sent is deleted when its time is over.",
    "nobody",
)
DISTRICT_LEFT = Words("ended", "Left", "Nothing to do: everything that it sent is deleted.", "nobody")
DISTRICT_SETTING_UP = Words("setup", "Setting up", "Upload the first roster.", "staff")


def district_words(version: int, latest: Sync | None) -> Words:
    """The status of a district, from its live version and the sync by which it stands: one that needs somebody, else
    its latest delivery that was not replaced."""
    if latest is None:
        return DISTRICT_SETTING_UP
    if latest.status in (S.APPLIED, S.UNCHANGED):
        return DISTRICT_UP_TO_DATE
    if latest.status == S.DECLINED:
        return DISTRICT_DECLINED if version else replace(DISTRICT_DECLINED, next_step=_NOTHING_LIVE_STEP)
    return sync_words(latest)


def words_of(district: District, latest: Sync | None) -> Words:
    """The status of a district, also of one that leaves or has left."""
    if district.leaving_since:
        return DISTRICT_LEFT if district.left_at else DISTRICT_LEAVES
    return district_words(district.version, latest)


def not_kept_words(not_kept: Collection[str]) -> list[str]:
    """`District.not_kept` in words: "email", "birthDate of demographics", "all demographics"."""
    told, whole = [], is_wholly_left_out("demographics", not_kept)
    for key in not_kept:
        table, _, column = key.partition(".")
        if not (whole and table == "demographics"):
            told.append(column if table == "users" else f"{column} of {table}")
    return [*told, "all demographics"] if whole else told


#: What a person calls the tables of OneRoster.
TABLE_WORDS: dict[str, str] = {
    "orgs": "Schools and other orgs",
    "academicSessions": "Terms and years",
    "courses": "Courses",
    "classes": "Classes",
    "users": "People",
    "userProfiles": "Login profiles",
    "roles": "Roles",
    "demographics": "Demographics",
    "enrollments": "Enrollments",
}

PHASE_WORDS: dict[str, str] = {
    "": "Waiting for a worker",
    "reading": "Reading the file",
    "checking": "Checking every cell and reference",
    "comparing": "Comparing with the live roster",
    "judging": "Looking for anything unusual",
    "storing": "Storing the difference",
    "applying": "Writing the changes",
    "finishing": "Finishing",
}

#: What an audit row says happened; with "the" and "a" in front it happened by itself, as somebody had decided.
ACTION_WORDS: dict[str, str] = {
    "delivery.received": "received a file",
    "sync.approved": "approved the plan",
    "sync.first_approved": "approved the plan, as the first of two",
    "sync.applied": "the changes went live",
    "sync.declined": "declined the plan",
    "sync.rejected": "the file was refused",
    "sync.superseded": "a newer delivery took its place",
    "sync.approval_taken_back": "took the approval back; it waits for a decision again",
    "sync.hurried": "let it go live at once",
    "sync.stale": "the roster had moved; the plan is made anew",
    "sync.undo_requested": "asked for an undo",
    "sync.only_about": "took a file as one about some schools or terms only",
    "sync.additions_first": "let what comes and changes go first; the removals wait",
    "sync.removals_next": "the removals that waited are to be decided",
    "sync.went_without": "let the rest go ahead; what one hold is about waits",
    "sync.rest_next": "what waited is to be decided",
    "sync.retried": "had the file checked again",
    "sync.for_real": "had the file of a dry run checked to go live",
    "roster.exported": "took the roster out as files",
    "delivery.taken_out": "took out a file as it came",
    "delivery.looked_into": "looked for somebody in a file",
    "findings.taken_out": "took out every place of the findings",
    "changes.taken_out": "took out changes as a file",
    "roster.differs": "the live roster was found not to be what was accepted",
    "roster.as_accepted": "the live roster was found to be what was accepted again",
    "roster.rebuilt": "built the live roster anew",
    "district.forgot": "files and records past their time were deleted",
    "district.added": "added the district",
    "district.leaves": "said that the district leaves",
    "district.stays": "said that the district stays after all",
    "district.left": "everything that the district had sent was deleted",
    "district.changed": "changed settings",
    "district.ids_kept": "kept the ids of records that the SIS gave others",
    "district.ids_let_go": "gave up the kept ids",
    "connection.added": "added a connection",
    "connection.changed": "changed a connection",
    "connection.speaks_for": "said which schools and terms a connection speaks for",
    "connection.tested": "the district had a connection tested",
    "connection.host_key": "confirmed the server's key",
    "connection.key_pair": "made a new key pair",
    "connection.allowance_entered": "asked for a private network to be allowed",
    "connection.allowance_confirmed": "confirmed a private network",
    "connection.started": "put a connection into service",
    "connection.resumed": "the pause of a connection ended",
    "connection.paused": "paused a connection",
    "connection.scheduled": "changed when a connection runs",
    "connection.asked": "had a connection fetch at once",
    "connection.gave_up": "a connection failed three times and is paused",
    "connection.late": "an expected delivery did not come",
    "person.invited": "sent a person of the district a link",
    "person.entered": "a person of the district came in",
    "person.sent": "a person of the district sent a file",
    "person.took_file": "a person of the district took out a file as it was sent",
    "person.looked_into": "a person of the district looked for somebody in one of its files",
    "person.took_findings": "a person of the district took out every place of the findings",
    "person.took_rows": "a person of the district took out the rows with errors",
    "person.took_changes": "a person of the district took out what a delivery changes as a file",
    "person.mails": "a person of the district said which mails to have",
    "person.withdrawn": "withdrew the access of a person of the district",
    "standing.made": "a person of the district made a link that shows how its rosters stand",
    "standing.withdrawn": "ended the district's link that shows how its rosters stand",
    "standing.ended": "a person of the district ended the link that shows how its rosters stand",
    "question.asked": "asked the district whether it is right",
    "question.taken_back": "took the question to the district back",
    "question.answered": "a person of the district answered our question",
    "call.booked": "a person of the district booked a call",
    "call.moved": "a person of the district moved a call",
    "call.cancelled": "a person of the district cancelled a call",
    "call.moved_for": "moved the call with the district",
    "call.cancelled_for": "cancelled the call with the district",
    "call.recorded": "wrote down what came of a call",
    "client.made": "added an API client",
    "client.changed": "changed an API client",
    "client.secret_made": "gave an API client a new secret",
    "client.secret_revoked": "revoked a secret of an API client",
    "client.ended": "ended an API client",
    "client.acted": "a tool did it",
    "mailing.changed": "changed what they are mailed",
    "webhook.made": "added a webhook",
    "webhook.changed": "changed a webhook",
    "webhook.secret_made": "gave a webhook a new secret",
    "webhook.on": "switched a webhook on",
    "webhook.off": "switched a webhook off",
    "webhook.replayed": "had a webhook told again",
    "staff.permissions": "changed what a member of staff may do",
    "staff.password_set": "set the password of a member of staff",
    "staff.second_factor": "set up a second factor",
    "staff.second_factor_removed": "removed the second factor of a member of staff",
    "staff.sessions_ended": "ended all sessions of a member of staff",
    "group.permissions": "changed what a group may do",
}


def happened(action: str, by: str, subject: str = "") -> str:
    """An audit row in words: "maria approved the plan", "the changes went live, decided by maria"; where nobody of
    staff did it, it was somebody at the district, whom `subject` names, or the portal itself."""
    words = ACTION_WORDS.get(action, action)
    if words.startswith(("the ", "a ", "an ", "files ", "everything ")):
        return f"{words}, decided by {by}" if by else words
    if by:
        return f"{by} {words}"
    if action in _BY_ITSELF:
        return _BY_ITSELF[action]
    return f"{'a person of the district' if subject.startswith('person ') else 'the portal'} {words}"


#: What is told in words of its own where nobody of staff did it.
_BY_ITSELF: dict[str, str] = {
    "delivery.received": "a file was received",
    "sync.approved": "the portal approved the plan: nothing in it was unusual",
}


#: What a person calls a column of OneRoster, where its name taken apart would not do.
_COLUMN_WORDS: dict[str, str] = {
    "sourcedId": "id",
    "enabledUser": "enabled",
    "userSourcedId": "person",
    "primaryOrgSourcedId": "primary school or org",
    "orgSourcedId": "school or org",
    "parentSourcedId": "belongs to",
    "agentSourcedIds": "parents and guardians",
    "sms": "text messages",
}


def column_words(column: str) -> str:
    """ "givenName" as "given name", "termSourcedIds" as "terms"."""
    if column in _COLUMN_WORDS:
        return _COLUMN_WORDS[column]
    name = column.removesuffix("SourcedId")
    if name.endswith("SourcedIds"):
        name = f"{name.removesuffix('SourcedIds')}s"
    return "".join(f" {sign.lower()}" if sign.isupper() else sign for sign in name).strip()


#: What a person calls a status of a sync that waits for somebody to see what went wrong.
STUCK_WORDS = "needs a corrected file, or failed"
