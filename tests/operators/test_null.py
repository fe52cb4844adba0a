import pytest

from flowedge.operators import Null
from flowedge.testing import frames


@pytest.mark.parametrize("value", [None, "anything", *frames(1, 64, 48)])
def test_it_takes_anything(value: object) -> None:
    sink = Null()
    sink.write(value)
    assert sink.written() == ()
