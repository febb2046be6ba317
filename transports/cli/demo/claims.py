"""What the demo claims, held against what came. Nothing here prints, waits or knows a broker."""

import json
from typing import Any, Final

import msgspec

_SHOWN_LENGTH_MAX: Final = 300
"""Of a value in a line for a person."""
_ENDS: Final = 2
"""How many items of a long list are shown at either end."""


class Broken(Exception):
    """The story cannot go on: something that was waited for did not come, or was of another kind."""

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(f"expected {expected}, came {came}")
        self.expected = expected
        self.came = came


class Claim(msgspec.Struct, frozen=True):
    """One thing that a step shows, and whether it held."""

    what: str
    expected: str
    came: str
    held: bool


class Step:
    """A request, what answered it, and the claims made about the answer."""

    def __init__(self, name: str, request: str) -> None:
        self.name = name
        self.request = request
        self.answers: list[tuple[str, Any]] = []
        """What came back and whose it is; "" if there is but one."""
        self.claims: list[Claim] = []

    @property
    def held(self) -> bool:
        """Whether every claim held, of which there must be one: a step that checked nothing shows nothing."""
        return bool(self.claims) and all(claim.held for claim in self.claims)

    def got(self, value: Any, label: str = "") -> None:
        """Note something that came back; `label` says what it is, if there are several."""
        self.answers.append((label, value))

    def claim(self, what: str, expected: object, came: object) -> None:
        """Note that `came` should equal `expected`, and be of its type; `what` says in words what that means."""
        self.claims.append(compare(what, expected, came))

    def fail(self, what: str, broken: Broken) -> None:
        """Note that the step did not come to its end."""
        self.claims.append(Claim(what, broken.expected, broken.came, held=False))

    def plain(self) -> dict[str, Any]:
        """The step for a program. The claims that did not hold are there only if there are such."""
        told = {"step": self.name, "request": self.request, "answer": self._answer(), "held": self.held}
        failed = [
            {"claim": claim.what, "expected": claim.expected, "came": claim.came}
            for claim in self.claims
            if not claim.held
        ]
        return told | {"failed": failed} if failed else told

    def _answer(self) -> Any:
        if len(self.answers) == 1 and not self.answers[0][0]:
            return msgspec.to_builtins(self.answers[0][1])
        return {label: msgspec.to_builtins(value) for label, value in self.answers} or None


def compare(what: str, expected: object, came: object) -> Claim:
    """The claim that two values are equal and of one type, so that neither `1` nor "1" passes for `true`."""
    held = type(expected) is type(came) and expected == came
    place = ""
    if not held and isinstance(expected, list) and isinstance(came, list):
        place = _first_difference(expected, came)
    return Claim(what, shown(expected), shown(came) + place, held)


def shown(value: object) -> str:
    """A value for a person: as JSON, a long list by its ends and its length, anything else cut if it is long."""
    if isinstance(value, list) and len(value) > 2 * _ENDS + 1:
        ends = (shown(item) for item in (*value[:_ENDS], *value[-_ENDS:]))
        first = ", ".join(next(ends) for _ in range(_ENDS))
        return f"[{first}, … {', '.join(ends)}] ({len(value)} in all)"
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _SHOWN_LENGTH_MAX else text[:_SHOWN_LENGTH_MAX] + "…"


def _first_difference(expected: list[object], came: list[object]) -> str:
    """Where two lists part, if it is not plain from looking at them."""
    for index, (one, other) in enumerate(zip(expected, came, strict=False)):
        if one != other:
            return f"; number {index + 1} should be {shown(one)} and is {shown(other)}"
    return f"; {len(came)} where {len(expected)} were expected"
