"""Who may do what between machines: topics of control, and Zenoh's access rules by certificate name.

The home, the process of `flowedge run`, gives orders: it may do everything. A node N may

- declare `flowedge/@/node/N/**`: a liveliness token, and a queryable that describes it;
- subscribe to `flowedge/@/to/N/**`, where the home speaks to it;
- put to `flowedge/@/from/N/**`, where it answers,

and nothing else: it can neither listen to another node nor speak for it, and nobody but the home gives orders.
What is not allowed is dropped by the router at which it arrives, without a word to the sender. Rules hold for
who connects to a router, not for the router's own process.

Nodes learn to what the home listens under `flowedge/@/from`, as publishers that see no subscriber send nothing.
A node declares its queryable before its token, so that the home, which sees the token, can ask at once. It asks
at the node's exact topic: a query with wildcards covers other nodes too and is not passed on. Key expressions
with `*` or `**` never match a chunk that begins with "@", so it is written out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from flowedge.errors import ConfigError
from flowedge.graph.contract import NAME, valid_name

HOME = "home"
"""The name in the certificate of the process that gives orders."""

_EVERYTHING = (
    "put",
    "delete",
    "declare_subscriber",
    "query",
    "reply",
    "declare_queryable",
    "liveliness_token",
    "declare_liveliness_subscriber",
    "liveliness_query",
)


def node_topic(node: str, instance: str) -> str:
    """Where one running process of a node has its liveliness token and its description ("*" for all).

    >>> node_topic("gate", "7f3a")
    'flowedge/@/node/gate/7f3a'
    """
    return f"flowedge/@/node/{node}/{instance}"


def to_node(node: str, subject: str) -> str:
    """Where the home speaks to a node.

    >>> to_node("gate", "plan")
    'flowedge/@/to/gate/plan'
    """
    return f"flowedge/@/to/{node}/{subject}"


def from_node(node: str, subject: str) -> str:
    """Where a node speaks to the home ("*" for all nodes, "**" for all subjects).

    >>> from_node("*", "**")
    'flowedge/@/from/*/**'
    """
    return f"flowedge/@/from/{node}/{subject}"


def access_control(nodes: Iterable[str]) -> dict[str, Any]:
    """Zenoh's setting `access_control` for a router to which the home and these nodes may connect.

    Nodes that are not named connect, if they have a certificate, but are neither heard nor told anything.
    Raises `ConfigError` for a name that cannot be a node's.
    """
    names = list(dict.fromkeys(nodes))
    for name in names:
        check_node_name(name)
    policies = {HOME: [_rule("home", _EVERYTHING, "both", "flowedge/**", "flowedge/@/**")]}
    policies |= {name: _rules(name) for name in names}
    return {
        "enabled": True,
        "default_permission": "deny",
        "rules": [rule for rules in policies.values() for rule in rules],
        "subjects": [{"id": name, "cert_common_names": [name]} for name in policies],
        "policies": [
            {"subjects": [name], "rules": [rule["id"] for rule in rules]} for name, rules in policies.items()
        ],
    }


def check_node_name(name: str) -> None:
    """Raise `ConfigError` for a name that cannot be a node's."""
    if not valid_name(name):
        raise ConfigError(f'a node called "{name}": give it {NAME}')
    if name == HOME:
        raise ConfigError(f'a node called "{name}": this is who gives orders to nodes; give it another name')


def _rules(node: str) -> list[dict[str, Any]]:
    presence, hears, says = node_topic(node, "**"), to_node(node, "**"), from_node(node, "**")
    return [
        _rule(f"{node}/presence", ("liveliness_token", "declare_queryable", "reply"), "ingress", presence),
        _rule(f"{node}/described", ("query",), "egress", presence),
        _rule(f"{node}/listens", ("declare_subscriber",), "ingress", hears),
        _rule(f"{node}/hears", ("put",), "egress", hears),
        _rule(f"{node}/says", ("put",), "ingress", says),
        _rule(f"{node}/has-listener", ("declare_subscriber",), "egress", "flowedge/@/from/**"),
    ]


def _rule(identifier: str, messages: Sequence[str], flow: str, *keys: str) -> dict[str, Any]:
    return {
        "id": identifier,
        "permission": "allow",
        "messages": list(messages),
        "flows": ["ingress", "egress"] if flow == "both" else [flow],
        "key_exprs": list(keys),
    }
