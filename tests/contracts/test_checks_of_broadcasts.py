"""What `verify` says of broadcasts that are not as they were written."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from postroom.core.commands import CreateConversation, EditBroadcast, SendBroadcast
from postroom.core.ids import MessageId
from postroom.core.model import Receipt, service
from postroom.core.rows import BroadcastRow
from postroom.storage import keys
from postroom.storage.checking.rows import readable
from postroom.storage.engine import Engine
from postroom.storage.memory import MemoryStore
from tests.contracts.test_checks import problems_of
from tests.support.machine import Machine
from tests.support.rows import engine_of

NEWS = service("news")


def told(tmp_path: Path, damage: Callable[[Engine, bytes, BroadcastRow], None]) -> str:
    """Two broadcasts, the second edited; what the checks say of them after a damage to that one's rows."""
    machine = Machine(MemoryStore())
    machine.run(CreateConversation(app="demo", conversation=NEWS))
    for _ in range(2):
        receipt = machine.run(SendBroadcast(app="demo", sender="desk", conversation=NEWS, body=b"hi")).result
        assert isinstance(receipt, Receipt)
    machine.run(EditBroadcast(app="demo", id=receipt.id, by="desk", body=b"ho"))
    assert list(problems_of(machine, tmp_path / "sound")) == []
    with machine.store.transaction() as transaction:
        row = transaction.views.broadcast("demo", receipt.id)
        assert row is not None
        damage(engine_of(transaction), keys.broadcast_key("demo", receipt.id), row)
    return "\n".join(
        problem for problem in problems_of(machine, tmp_path / "damaged") if "broadcast" in problem or "bod" in problem
    )


def test_its_body_is_gone(tmp_path: Path) -> None:
    says = told(tmp_path, lambda engine, _, row: engine.delete("bodies", keys.U64.pack(row.body)))
    assert says.startswith("broadcasts: broadcast row 'G'")
    assert "has no body at" in says


def test_it_is_gone_and_its_body_is_not(tmp_path: Path) -> None:
    says = told(tmp_path, lambda engine, key, _: engine.delete("live", key))
    assert "has no owner" in says


def test_it_leads_to_the_body_of_another(tmp_path: Path) -> None:
    def damage(engine: Engine, key: bytes, row: BroadcastRow) -> None:
        first = next(keys.U64.unpack(place)[0] for place, _ in engine.scan("bodies", b""))
        engine.put("live", key, msgspec.msgpack.encode(msgspec.structs.replace(row, body=first)))

    says = told(tmp_path, damage)
    assert "and not of it" in says
    assert "whose body does not lie here" in says
    assert "has no owner" in says


def test_it_is_of_another_service(tmp_path: Path) -> None:
    def damage(engine: Engine, key: bytes, row: BroadcastRow) -> None:
        engine.put("live", key, msgspec.msgpack.encode(msgspec.structs.replace(row, conversation=service("x"))))

    assert "and not of it" in told(tmp_path, damage)


def test_it_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot be read" in told(tmp_path, lambda engine, key, _: engine.put("live", key, b"\xc1"))


@pytest.mark.parametrize(("letter", "size"), [(keys.BROADCASTS_FROM, 8), (keys.QUOTA, 12)])
def test_the_form_of_the_rest(letter: bytes, size: int) -> None:
    assert readable(letter + bytes(16), bytes(size))
    assert not readable(letter + bytes(16), bytes(size - 1))


def test_the_form_of_a_broadcast() -> None:
    key = keys.broadcast_key("demo", MessageId(7))
    assert readable(key, msgspec.msgpack.encode([["service", "s", 0], 1, 2, None, 3]))
    assert not readable(key, msgspec.msgpack.encode([["service", "s", 0], 1, 2, None]))
