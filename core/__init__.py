"""Postroom's core: what an embedding service imports."""

from .commands import DeleteMessage, EditMessage, RecallMessage, SendMessage
from .errors import InvalidCommand, Kicked, Refusal, StorageFailure, UnknownId
from .model import Conversation, Joined, Message, Receipt, Rules, group, peer, room, service
from .open import open_broker
from .runtime.broker import Broker
from .runtime.delivery import Delivery
from .runtime.options import Options
from .runtime.session import Session, Sink
from .runtime.thread import BrokerThread

__all__ = [
    "Broker",
    "BrokerThread",
    "Conversation",
    "DeleteMessage",
    "Delivery",
    "EditMessage",
    "InvalidCommand",
    "Joined",
    "Kicked",
    "Message",
    "Options",
    "RecallMessage",
    "Receipt",
    "Refusal",
    "Rules",
    "SendMessage",
    "Session",
    "Sink",
    "StorageFailure",
    "UnknownId",
    "group",
    "open_broker",
    "peer",
    "room",
    "service",
]
