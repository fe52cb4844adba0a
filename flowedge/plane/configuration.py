"""The settings that all Zenoh sessions of FlowEdge have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import zenoh


def configuration(
    mode: str,
    *,
    listen: Sequence[str] = (),
    connect: Sequence[str] = (),
    timeout: float = 10.0,
    settings: Mapping[str, Any] | None = None,
) -> zenoh.Config:
    """A session that finds nobody by itself: it knows the endpoints that it was given, and no others.

    Zenoh's shared memory is off: pixels do not travel here, and a kill would leave its segments behind.
    `timeout` is how many seconds a link may take to open; `settings` has further ones by their path.
    """
    import zenoh

    config = zenoh.Config()
    common: dict[str, Any] = {
        "mode": mode,
        "listen/endpoints": list(listen),
        "connect/endpoints": list(connect),
        "transport/unicast/open_timeout": int(1000 * timeout),
        "scouting/multicast/enabled": False,
        "scouting/gossip/enabled": False,
        "scouting/delay": 0,  # there is nobody to wait for: half a second otherwise
        "transport/shared_memory/enabled": False,
    }
    for key, value in {**common, **(settings or {})}.items():
        config.insert_json5(key, json.dumps(value))
    return config
