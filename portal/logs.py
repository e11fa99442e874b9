"""What is kept out of the logs: the ids of people that stand in the standard's addresses."""

from __future__ import annotations

import logging
import re
from typing import Final

_OF_THE_STANDARD: Final = re.compile(r"^(/d/[^/]+/ims/oneroster/).+", re.DOTALL)


class WithoutIds(logging.Filter):
    """Of an address below a district's OneRoster base, Django's record of a refusal keeps the base."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                _OF_THE_STANDARD.sub(r"\1…", each) if isinstance(each, str) else each for each in record.args
            )
        return True
