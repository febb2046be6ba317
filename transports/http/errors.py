"""Refusals that only HTTP knows; with those of the core they are what a dialect's table of errors must answer."""

from typing import ClassVar

from postroom.core.errors import Refusal


class HttpRefusal(Refusal):
    """A request was refused before it became a command."""


class NotFound(HttpRefusal):
    """No route has this path."""

    code: ClassVar[str] = "not_found"

    def __init__(self) -> None:
        super().__init__("no route")


class MethodNotAllowed(HttpRefusal):
    """The path is known, but not with this method."""

    code: ClassVar[str] = "method_not_allowed"

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__("method not allowed")
        self.allowed = allowed


class RequestTimeout(HttpRefusal):
    """The request was not complete in time; nothing of it was carried out."""

    code: ClassVar[str] = "request_timeout"

    def __init__(self) -> None:
        super().__init__("the request took too long to arrive")


class Unauthorized(HttpRefusal):
    """No credentials, wrong ones, or not those of whom the caller speaks for."""

    code: ClassVar[str] = "unauthorized"


class Forbidden(HttpRefusal):
    """The credentials are good, and not for this."""

    code: ClassVar[str] = "forbidden"
