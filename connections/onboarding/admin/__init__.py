"""The staff's side of onboarding: people of the districts, calls, and the hours in which staff takes them."""

from connections.onboarding.admin import calls, people

__all__ = ["calls", "people"]
