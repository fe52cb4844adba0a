"""A limit to the memory that a sender of video can make FFmpeg allocate.

A part of an MJPEG stream may say that it is 4 GB long, and a session description 1 GiB; FFmpeg believes both.
"""

from __future__ import annotations

import ctypes
import functools
import logging
from pathlib import Path

LARGEST_BLOCK = 128 << 20  # bytes in one piece; a plane of 8K video with 16 bits takes half of it

log = logging.getLogger("flowedge.camera")


@functools.cache
def limit_blocks() -> bool:
    """Limit each allocation of FFmpeg in this process to `LARGEST_BLOCK`; returns whether that was possible.

    PyAV does not expose `av_max_alloc`, so it is called in the library that PyAV has loaded.
    """
    import av

    folders = (Path(av.__file__).parent.parent / "av.libs", Path(av.__file__).parent / ".dylibs")
    for folder in folders:
        for path in folder.glob("libavutil*"):
            ctypes.CDLL(str(path)).av_max_alloc(ctypes.c_size_t(LARGEST_BLOCK))
            return True
    log.warning("FFmpeg's memory is not limited: PyAV comes without its own libavutil")
    return False
