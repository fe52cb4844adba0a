"""What the bytes of a transport stream are: their codec may change in the midst, and no demuxer says so."""

from __future__ import annotations

CHANGING = frozenset(("h264", "hevc", "mpeg2video"))
"""The codecs that are told apart."""

_HEAD = 64  # bytes in which an access unit delimiter and what follows it begin
_START = b"\0\0\1"
_H264_SPS = 7  # nal_unit_type (ITU-T H.264, table 7-1)
_H264 = (0x09, 0x27, 0x47, 0x67)  # the bytes by which an access unit delimiter and a parameter set begin
_HEVC_SETS = (0x40, 0x42)  # of a video and a sequence parameter set (ITU-T H.265, table 7-1)
_HEVC = (*_HEVC_SETS, 0x46)  # and of an access unit delimiter
_MPEG2_SEQUENCE = 0xB3  # (ITU-T H.262, table 6-1)


def codec_of(data: memoryview) -> tuple[str, bool] | None:
    """The codec of an access unit and whether parameter sets begin it; None where its first bytes do not tell.

    >>> codec_of(memoryview(bytes.fromhex("00000001 460150 00000001 40010c")))
    ('hevc', True)
    >>> codec_of(memoryview(bytes.fromhex("00000001 09f0 000001 419a")))
    ('h264', False)
    >>> codec_of(memoryview(b"\\xff\\xd8\\xff\\xe0"))
    """
    before, *units = bytes(data[:_HEAD]).split(_START)
    if before not in (b"", b"\0") or not units or len(units[0]) < 2:
        return None
    first, second = units[0][:2]
    if first in _HEVC and second == 1:
        return "hevc", any(unit[:1] and unit[0] in _HEVC_SETS for unit in units)
    if first in _H264:
        return "h264", any(unit[:1] and unit[0] & 0x9F == _H264_SPS for unit in units)
    return ("mpeg2video", True) if first == _MPEG2_SEQUENCE else None
