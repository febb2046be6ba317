"""Whatever happens to bans, silences, roles and blocks, in whatever order: who may come in and talk is what a plain model says,
and replay gives the same state."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from postroom.core.commands import (
    AddMembers,
    BanUsers,
    BlockConversation,
    Command,
    CreateConversation,
    EndStaleSessions,
    ExpireSilences,
    Join,
    Leave,
    Login,
    RemoveMembers,
    RemoveRole,
    SendMessage,
    SetRole,
    SilenceUsers,
    StartEpoch,
    Transact,
    UnbanUsers,
    UnblockConversation,
    UnsilenceUsers,
)
from postroom.core.domain import Decision, Welcome
from postroom.core.errors import Banned, OwnerNeeded, Refusal, Silenced
from postroom.core.ids import ExpiryMs, Position
from postroom.core.model import ROLES, Conversation, group, room, service
from postroom.storage.checking.conversations import ConversationCheck
from postroom.storage.checking.report import Problem, Problems
from postroom.storage.engine import LIVE
from postroom.storage.views import StoredViews
from tests.support.thorough import examples

from ..support.machine import Machine
from ..support.rows import engine_of, replayed, rows
from .stores import OnLmdb, OnMemory, StoreMachine

APP: Final = "one"
G, R, S = group("g"), room("g"), service("g")

users = st.sampled_from(["ann", "bob", "cy"])
crowds = st.lists(users, max_size=3).map(tuple)
both = st.sampled_from([G, R])
all_kinds = st.sampled_from([G, R, S])
flags = st.booleans()


@dataclass
class Place:
    """A conversation. Lists are in their order; of silences for a while, when they end."""

    inside: list[str] = field(default_factory=list)
    banned: list[str] = field(default_factory=list)
    silenced: list[str] = field(default_factory=list)
    hushed: dict[str, int] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    blocked_by: set[str] = field(default_factory=set)


def on(names: list[str], more: Iterable[str]) -> None:
    """They come onto a list."""
    names += [name for name in dict.fromkeys(more) if name not in names]


class Lists(StoreMachine):
    """A group, a room and a service of the same name, over one store."""

    @initialize()
    def begin(self) -> None:
        self.machine = Machine(self.open())
        self.places = {G: Place(), R: Place(), S: Place()}
        self.sessions: dict[str, Position] = {}
        self.do(StartEpoch())
        for conversation in self.places:
            self.do(CreateConversation(app=APP, conversation=conversation))

    def do(self, command: Command, refusal: type[Refusal] | None = None) -> Decision | None:
        """Run it; it must be refused with this, or not at all."""
        decision, met = None, None
        try:
            decision = self.machine.run(command)
        except Refusal as error:
            met = type(error)
        assert met is refusal, f"{command}: expected {refusal}"
        return decision

    @rule(of=all_kinds, who=crowds)
    def ban(self, of: Conversation, who: tuple[str, ...]) -> None:
        self.do(BanUsers(app=APP, conversation=of, users=who))
        place = self.places[of]
        on(place.banned, who)
        place.inside = [user for user in place.inside if user not in place.banned]

    @rule(of=all_kinds, who=crowds)
    def unban(self, of: Conversation, who: tuple[str, ...]) -> None:
        self.do(UnbanUsers(app=APP, conversation=of, users=who))
        place = self.places[of]
        place.banned = [user for user in place.banned if user not in who]

    @rule(of=both, who=crowds, ttl_ms=st.sampled_from([None, 1_000, 5_000, 60_000]))
    def silence(self, of: Conversation, who: tuple[str, ...], ttl_ms: int | None) -> None:
        self.do(SilenceUsers(app=APP, conversation=of, users=who, ttl_ms=ttl_ms))
        if ttl_ms is None:
            on(self.places[of].silenced, who)
        else:
            self.places[of].hushed |= dict.fromkeys(who, self.machine.clock.expiry_ms + ttl_ms)

    @rule(of=both, who=crowds, temporary=flags)
    def unsilence(self, of: Conversation, who: tuple[str, ...], temporary: bool) -> None:
        self.do(UnsilenceUsers(app=APP, conversation=of, users=who, temporary=temporary))
        place = self.places[of]
        if temporary:
            place.hushed = {user: end for user, end in place.hushed.items() if user not in who}
        else:
            place.silenced = [user for user in place.silenced if user not in who]

    @rule(of=both, user=users, role=st.sampled_from((*ROLES, None)))
    def give_role(self, of: Conversation, user: str, role: Any) -> None:
        roles = self.places[of].roles
        before = roles.get(user)
        last = before == "owner" != role and list(roles.values()).count("owner") == 1
        command: Command = RemoveRole(app=APP, conversation=of, user=user)
        if role is not None:
            command = SetRole(app=APP, conversation=of, user=user, role=role)
        decision = self.do(command, OwnerNeeded if last else None)
        if decision is None:
            return
        assert bool(decision.events) == (before != role)
        if role is None:
            roles.pop(user, None)
        else:
            roles[user] = role

    @rule(of=all_kinds, user=users, blocks=flags)
    def block(self, of: Conversation, user: str, blocks: bool) -> None:
        kind = BlockConversation if blocks else UnblockConversation
        self.do(kind(app=APP, conversation=of, user=user))
        (set.add if blocks else set.discard)(self.places[of].blocked_by, user)

    @rule(who=crowds)
    def add(self, who: tuple[str, ...]) -> None:
        place = self.places[G]
        new = set(who) - set(place.inside)
        kept_out = new & ({*place.banned} | place.blocked_by)
        if self.do(AddMembers(app=APP, conversation=G, users=who), Banned if kept_out else None):
            on(place.inside, who)

    @rule(who=crowds)
    def remove(self, who: tuple[str, ...]) -> None:
        self.do(RemoveMembers(app=APP, conversation=G, users=who))
        self.places[G].inside = [user for user in self.places[G].inside if user not in who]

    @rule(hushed=crowds, out=crowds, coming=crowds)
    def transact(self, hushed: tuple[str, ...], out: tuple[str, ...], coming: tuple[str, ...]) -> None:
        """All of it, or nothing if somebody may not come."""
        place = self.places[G]
        kept_out = ({*coming} - ({*place.inside} - {*out})) & ({*place.banned} | place.blocked_by)
        steps = (
            SilenceUsers(app=APP, conversation=G, users=hushed),
            RemoveMembers(app=APP, conversation=G, users=out),
            AddMembers(app=APP, conversation=G, users=coming),
        )
        if self.do(Transact(app=APP, conversation=G, steps=steps), Banned if kept_out else None):
            on(place.silenced, hushed)
            place.inside = [user for user in place.inside if user not in out]
            on(place.inside, coming)

    @rule(user=users)
    def join(self, user: str) -> None:
        place = self.places[R]
        if user not in self.sessions:
            decision = self.do(Login(app=APP, user=user))
            assert decision is not None
            assert isinstance(decision.result, Welcome)
            self.sessions[user] = decision.result.session
        command = Join(app=APP, user=user, session=self.sessions[user], room=R.id)
        if self.do(command, Banned if user in place.banned else None):
            on(place.inside, (user,))

    @rule(user=users)
    def leave(self, user: str) -> None:
        if user in self.sessions:
            self.do(Leave(app=APP, user=user, session=self.sessions[user], room=R.id))
            if user in self.places[R].inside:
                self.places[R].inside.remove(user)

    @rule(to=both, user=users, speaks=flags)
    def send(self, to: Conversation, user: str, speaks: bool) -> None:
        place, refusal = self.places[to], None
        if speaks and user in place.banned:
            refusal = Banned
        elif speaks and (user in place.silenced or place.hushed.get(user, 0) > self.machine.clock.expiry_ms):
            refusal = Silenced  # type: ignore[assignment]
        self.do(SendMessage(app=APP, sender=user, to=to, body=b"hi", history=True, speaks=speaks), refusal)

    @rule(spell_ms=st.sampled_from([1, 999, 1_000, 60_000]), jump_ms=st.sampled_from([0, 0, -86_400_000, 86_400_000]))
    def time_passes(self, spell_ms: int, jump_ms: int) -> None:
        self.machine.clock.run(spell_ms)
        self.machine.clock.jump(jump_ms)

    @rule(limit=st.sampled_from([1, 1_000]))
    def sweep(self, limit: int) -> None:
        self.do(ExpireSilences(limit=limit))

    @rule(share=st.sampled_from([1, 7, 1_000]))
    def trim(self, share: int) -> None:
        self.machine.trim(ExpiryMs(1 << 60), share)

    @rule(swept=flags)
    def restart(self, swept: bool) -> None:
        self.machine.store = self.open()
        self.do(StartEpoch())
        self.sessions.clear()
        self.places[R].inside.clear()
        if swept:
            self.do(EndStaleSessions())

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        if not hasattr(self, "places"):
            return
        now = self.machine.clock.expiry_ms
        with self.machine.store.snapshot() as snapshot:
            views = snapshot.views
            for conversation, place in self.places.items():
                row = views.conversation(APP, conversation)
                assert row is not None
                assert list(views.listed(row.number, "banned")) == place.banned
                assert list(views.listed(row.number, "silenced")) == place.silenced
                found = sorted(views.roles(row.number), key=lambda role: role.since)
                assert [(role.user, role.role) for role in found] == list(place.roles.items())
                owners = list(place.roles.values()).count("owner")
                counts = len(place.banned), len(place.silenced), len(place.roles), owners
                assert (row.banned, row.silenced, row.roles, row.owners) == counts
                for user in ("ann", "bob", "cy"):
                    until = views.silence(APP, row.number, user) or 0
                    assert max(until, now) == max(place.hushed.get(user, 0), now)
                    assert views.is_blocked(APP, user, row.number) == (user in place.blocked_by)
                if conversation is G:
                    assert list(views.listed(row.number, "members")) == place.inside
            assert set(views.members(APP, R.id)) == set(self.places[R].inside)

    def teardown(self) -> None:
        if not hasattr(self, "places"):
            return
        told: list[Problem] = []
        with self.machine.store.snapshot() as snapshot:
            engine = engine_of(snapshot)
            assert replayed(snapshot) == rows(engine, LIVE)
            list(ConversationCheck(engine, StoredViews(engine, LIVE), Problems(told.append)).run())
        assert told == []
        self.machine.store.close()


class MemoryLists(OnMemory, Lists):
    """On the store that forgets."""


class LmdbLists(OnLmdb, Lists):
    """On the one that lasts; a restart opens the directory again."""


TestMemoryLists = MemoryLists.TestCase
TestMemoryLists.settings = settings(max_examples=examples(30), stateful_step_count=60)
TestLmdbLists = LmdbLists.TestCase
TestLmdbLists.settings = settings(max_examples=examples(10), stateful_step_count=40)
