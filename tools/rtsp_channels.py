"""The two ways RTP packets take to an RTSP client: inside the connection, or by UDP beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from tools.rtsp_messages import RtspError

MAX_BACKLOG = 4 << 20  # bytes a TCP client may leave unread before it gets no more
PATIENCE = 2.0  # seconds that it may leave them unread before it is disconnected
UDP_BURST = 8  # packets sent in a millisecond: about what a camera's 100 Mbit/s would let through


class SlowClientError(Exception):
    """A TCP client has not read what was sent to it for too long."""


class Channel(Protocol):
    """The way RTP and RTCP packets take to one client."""

    header: str  # its description in RTSP's Transport header

    async def send(self, packets: Sequence[bytes]) -> None:
        """Send RTP packets."""

    def report(self, packet: bytes) -> None:
        """Send an RTCP packet."""

    def close(self) -> None:
        """Release the channel's sockets."""


class TcpChannel:
    """Packets interleaved with the RTSP messages of the connection, each with a channel number."""

    def __init__(self, transport: asyncio.WriteTransport, rtp: int, rtcp: int) -> None:
        """Interleave with the channel numbers that the client asked for."""
        self.header = f"RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp}"
        self._transport, self._rtp, self._rtcp = transport, rtp, rtcp

    async def send(self, packets: Sequence[bytes]) -> None:
        """Queue the packets as soon as the client has read enough of what was sent before."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + PATIENCE
        while self._transport.get_write_buffer_size() > MAX_BACKLOG:
            if clock() > deadline:
                raise SlowClientError
            await asyncio.sleep(0.005)
        self._transport.write(b"".join(_framed(self._rtp, packet) for packet in packets))

    def report(self, packet: bytes) -> None:
        """Queue an RTCP packet."""
        self._transport.write(_framed(self._rtcp, packet))

    def close(self) -> None:
        """Do nothing: the transport belongs to the connection."""


def _framed(channel: int, packet: bytes) -> bytes:
    return b"$" + bytes((channel,)) + len(packet).to_bytes(2, "big") + packet


class UdpChannel:
    """Packets from a pair of server ports to a pair of client ports."""

    def __init__(self, rtp: asyncio.DatagramTransport, rtcp: asyncio.DatagramTransport) -> None:
        """Send through two connected sockets."""
        self._rtp, self._rtcp = rtp, rtcp
        client, server = (
            f"{rtp.get_extra_info(end)[1]}-{rtcp.get_extra_info(end)[1]}" for end in ("peername", "sockname")
        )
        self.header = f"RTP/AVP;unicast;client_port={client};server_port={server}"

    @classmethod
    async def open(cls, server: str, client: str, rtp: int, rtcp: int) -> UdpChannel:
        """Bind an even server port and the odd one above it, as RTP prescribes."""
        connect = asyncio.get_running_loop().create_datagram_endpoint
        for _ in range(100):
            first, _ = await connect(asyncio.DatagramProtocol, (server, 0), (client, rtp))
            port = first.get_extra_info("sockname")[1]
            if port % 2 == 0:
                with suppress(OSError):  # the port above is taken: try another pair
                    second, _ = await connect(asyncio.DatagramProtocol, (server, port + 1), (client, rtcp))
                    return cls(first, second)
            first.close()
        raise OSError("no pair of UDP ports is free")

    async def send(self, packets: Sequence[bytes]) -> None:
        """Send at the pace of a real wire: a whole key frame at once would overflow a receive buffer."""
        for at in range(0, len(packets), UDP_BURST):
            if at:
                await asyncio.sleep(0.001)
            for packet in packets[at : at + UDP_BURST]:
                self._rtp.sendto(packet)

    def report(self, packet: bytes) -> None:
        """Send an RTCP packet."""
        self._rtcp.sendto(packet)

    def close(self) -> None:
        """Close both sockets."""
        self._rtp.close()
        self._rtcp.close()


async def open_channel(header: str, transport: asyncio.WriteTransport) -> Channel:
    """Open the first transport of a SETUP request's Transport header that this server has."""
    for offer in header.split(","):
        protocol, *options = (part.strip() for part in offer.split(";"))
        given = dict(option.partition("=")[::2] for option in options)
        if "multicast" in given or given.get("mode", "play").strip('"').lower() != "play":
            continue
        if protocol == "RTP/AVP/TCP":
            return TcpChannel(transport, *_pair(given.get("interleaved", "0-1"), 0, 255))
        if protocol in ("RTP/AVP", "RTP/AVP/UDP") and "client_port" in given:
            server, client = (transport.get_extra_info(end)[0] for end in ("sockname", "peername"))
            return await UdpChannel.open(server, client, *_pair(given["client_port"], 1, 65535))
    raise RtspError(461)


def _pair(text: str, least: int, most: int) -> tuple[int, int]:
    """Read the numbers for RTP and RTCP; the second is the next one where it is left out."""
    first, _, second = text.partition("-")
    try:
        rtp = int(first)
        rtcp = int(second) if second else rtp + 1
    except ValueError:
        raise RtspError(400) from None
    if not (least <= rtp <= most and least <= rtcp <= most):
        raise RtspError(400)
    return rtp, rtcp
