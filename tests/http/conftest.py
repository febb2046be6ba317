"""The hosts that the suites of this folder run on."""

from collections.abc import Iterator

import pytest

from tests.support.serving import HOST, Host


@pytest.fixture(params=["hypercorn", "h11"], scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """What `serving` starts. With `pytestmark = pytest.mark.usefixtures("host")` a module's tests run on each host."""
    token = HOST.set(request.param)
    yield request.param
    HOST.reset(token)
