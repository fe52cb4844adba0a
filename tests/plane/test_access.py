"""Access rules: what a node may be called; what the rules do is tried with real sessions in test_remote."""

from __future__ import annotations

import pytest

from flowedge.errors import ConfigError
from flowedge.plane.access import access_control


@pytest.mark.parametrize("name", ["", "*", "**", "gate/yard", "@", "$*", "gate yard", ".gate"])
def test_a_name_that_would_widen_a_rule_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="give it a name of letters"):
        access_control(["gate", name])


def test_no_node_is_called_like_who_gives_orders() -> None:
    with pytest.raises(ConfigError, match='called "home": this is who gives orders'):
        access_control(["home"])


def test_what_no_rule_allows_is_denied() -> None:
    rules = access_control(["gate"])
    assert rules["default_permission"] == "deny"
    assert {rule["permission"] for rule in rules["rules"]} == {"allow"}


def test_a_node_named_twice_is_one() -> None:
    assert access_control(["gate", "gate"]) == access_control(["gate"])
