"""The staff's side of onboarding: people of the districts, questions to them, calls, and hours for calls."""

from connections.onboarding.admin import calls, people, questions

__all__ = ["calls", "people", "questions"]
