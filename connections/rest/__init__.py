"""Rosters from OneRoster REST APIs, 1.1 and 1.2.

`pull` brings a whole roster, or what changed, as one zip of the pages as they came; `steps` tries a connection out, one
small question at a time. Both take plain arguments and know no database. Everything that goes wrong is a FetchError,
and nothing is left behind then: a pull that exists is complete.
"""

from connections.rest.api import SCOPES, Api, Limits
from connections.rest.probing import steps
from connections.rest.pulling import COLLECTIONS, Collected, Pulled, pull

__all__ = ["COLLECTIONS", "SCOPES", "Api", "Collected", "Limits", "Pulled", "pull", "steps"]
