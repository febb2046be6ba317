"""Queries on their way: what each has found so far, and where it goes on in the next slice.

A query goes through what is kept in slices, each in one short snapshot: whoever asks for a million messages holds up nobody.
"""

from . import lists, subscriptions
from .conversations import ConversationSearch, info
from .messages import Search, places

__all__ = ["ConversationSearch", "Search", "info", "lists", "places", "subscriptions"]
