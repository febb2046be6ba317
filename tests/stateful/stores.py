"""The stores that a state machine runs over: the one that forgets, and the one that lasts."""

import shutil
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from postroom.core.ports import Store
from postroom.storage.lmdb import LmdbStore
from postroom.storage.memory import MemoryStore

from ..support.machine import Machine

SHM = Path("/dev/shm")
"""Where an fsync costs nothing, if there is such a place: thousands of runs are no test of the disk."""


class StoreMachine(RuleBasedStateMachine):
    """A machine whose store may be opened again. Put one of the two below before it."""

    def open(self) -> Store:
        """The store, opened (again)."""
        raise NotImplementedError


class BatchMachine(StoreMachine):
    """One whose commands may share a batch that fails, with all that the model made of them."""

    machine: Machine
    model: Any

    @rule(fails=st.booleans())
    def turn_batch(self, fails: bool) -> None:
        """Begin one, or end the open one."""
        if not self.machine.in_batch:
            clock = self.machine.clock
            self.before = deepcopy(self.model, {id(clock): clock})
            self.machine.begin()
        elif fails:
            self.abort()
        else:
            self.machine.commit()

    def abort(self) -> None:
        """A fault of somebody else in the batch: nothing of it happened."""
        self.machine.abort()
        self.before.rules = self.machine.rules
        self.model = self.before


class OnMemory:
    """On the store that forgets, which a restart finds as it was."""

    def open(self) -> Store:
        """The same each time."""
        if not hasattr(self, "store"):
            self.store = MemoryStore()
        return self.store


class OnLmdb:
    """On the one that lasts; a restart opens the directory again."""

    def open(self) -> Store:
        """What the directory holds."""
        if hasattr(self, "store"):
            self.store.close()
        else:
            self.home = tempfile.mkdtemp(prefix="postroom-", dir=SHM if SHM.is_dir() else None)
        self.store = LmdbStore(Path(self.home))
        return self.store

    def teardown(self) -> None:
        """The machine's own end first."""
        try:
            super().teardown()  # type: ignore[misc]  # the machine's
        finally:
            if hasattr(self, "home"):
                try:
                    self.store.close()
                finally:
                    shutil.rmtree(self.home)
