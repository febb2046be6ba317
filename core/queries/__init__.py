"""Questions to the broker about what it keeps, answered from what is on disk. `core.search` looks the answers up."""

from .base import Query
from .broadcasts import FindBroadcasts
from .conversations import CountConversations, FindConversations, GetConversation
from .lists import FindBlocked, FindListed, FindRoles
from .messages import (
    Bound,
    CollectMessages,
    CountMessages,
    FindAlias,
    FindMessages,
    GetMessage,
    MessageQuery,
    ReserveMessages,
)
from .subscriptions import CountMembers, FindSubscribers, FindSubscriptions
from .unread import CountUnread
from .users import AppUsers, FindMembers, FindOnline, TakePresence

__all__ = [
    "AppUsers",
    "Bound",
    "CollectMessages",
    "CountConversations",
    "CountMembers",
    "CountMessages",
    "CountUnread",
    "FindAlias",
    "FindBlocked",
    "FindBroadcasts",
    "FindConversations",
    "FindListed",
    "FindMembers",
    "FindMessages",
    "FindOnline",
    "FindRoles",
    "FindSubscribers",
    "FindSubscriptions",
    "GetConversation",
    "GetMessage",
    "MessageQuery",
    "Query",
    "ReserveMessages",
    "TakePresence",
]
