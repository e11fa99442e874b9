"""The conductor: a delivery's way from bytes to a live roster, and back.

receive -> prepare -> (ready | awaiting review | rejected | unchanged) -> approve -> apply; undo is a sync like any
other whose target is worked out from an earlier one. Every step claims its row, may be run twice, and leaves a state
that somebody can see. Roster values are never logged nor put into errors.
"""

from __future__ import annotations

from rosters.syncs.asking import export
from rosters.syncs.deciding import (
    AT_MOST_LATER,
    approve,
    decline,
    dry_run_again,
    go_live_now,
    keyboard,
    retry,
    settings_changed,
    take_back,
)
from rosters.syncs.forgetting import Forgotten, districts_with_something_to_forget, forget, least_days, to_forget
from rosters.syncs.going_live import apply
from rosters.syncs.in_parts import (
    additions_first,
    go_without,
    may_add_first,
    may_be_only_about,
    may_go_without,
    only_about,
    rest_next,
)
from rosters.syncs.judging import judged
from rosters.syncs.keeping import StillWrong, little_room, rebuild, recover, tidy, to_verify, verify
from rosters.syncs.minimising import Cells, cells_kept, keep_without
from rosters.syncs.ordering import (
    may_check_again,
    newer_has_come,
    overtaken,
    speak_for_the_same,
    stands_behind,
    withdraw_outdated,
)
from rosters.syncs.parting import certificate, leave, overwriting, purge, stay, to_purge
from rosters.syncs.preparing import Outlook, look, look_at_rows, look_at_rows_again, outlook, prepare
from rosters.syncs.receiving import AT_MOST_AHEAD, NoRoom, not_such_a_day, receive
from rosters.syncs.rekeying import (
    LARGEST_LIST,
    Again,
    BadList,
    counted,
    in_words,
    keep_ids,
    keep_listed,
    known_again,
    let_ids_go,
    may_look,
    read_list,
)
from rosters.syncs.replaying import Replay, replay
from rosters.syncs.standing import Age, ages, last_judged, mended, standing
from rosters.syncs.tracing import look_for, newest_files, trace
from rosters.syncs.undoing import Conflict, undo, undo_conflicts
from rosters.syncs.working import (
    ClaimLost,
    DecisionRefused,
    Leaves,
    NotApprovable,
    StalePlan,
    ids_of,
    scan_ids,
    store,
)

__all__ = [
    "AT_MOST_AHEAD",
    "AT_MOST_LATER",
    "LARGEST_LIST",
    "Again",
    "Age",
    "BadList",
    "Cells",
    "ClaimLost",
    "Conflict",
    "DecisionRefused",
    "Forgotten",
    "Leaves",
    "NoRoom",
    "NotApprovable",
    "Outlook",
    "Replay",
    "StalePlan",
    "StillWrong",
    "additions_first",
    "ages",
    "apply",
    "approve",
    "cells_kept",
    "certificate",
    "counted",
    "decline",
    "districts_with_something_to_forget",
    "dry_run_again",
    "export",
    "forget",
    "go_live_now",
    "go_without",
    "ids_of",
    "in_words",
    "judged",
    "keep_ids",
    "keep_listed",
    "keep_without",
    "keyboard",
    "known_again",
    "last_judged",
    "least_days",
    "leave",
    "let_ids_go",
    "little_room",
    "look",
    "look_at_rows",
    "look_at_rows_again",
    "look_for",
    "may_add_first",
    "may_be_only_about",
    "may_check_again",
    "may_go_without",
    "may_look",
    "mended",
    "newer_has_come",
    "newest_files",
    "not_such_a_day",
    "only_about",
    "outlook",
    "overtaken",
    "overwriting",
    "prepare",
    "purge",
    "read_list",
    "rebuild",
    "receive",
    "recover",
    "replay",
    "rest_next",
    "retry",
    "scan_ids",
    "settings_changed",
    "speak_for_the_same",
    "standing",
    "stands_behind",
    "stay",
    "store",
    "take_back",
    "tidy",
    "to_forget",
    "to_purge",
    "to_verify",
    "trace",
    "undo",
    "undo_conflicts",
    "verify",
    "withdraw_outdated",
]
