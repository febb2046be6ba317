"""The store that lasts: one LMDB environment a broker."""

from .store import LmdbStore

__all__ = ["LmdbStore"]
