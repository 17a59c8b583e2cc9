"""Frames: messages between the caller and its warm parents, a length and then JSON, never a pickle."""

from __future__ import annotations

import json
import os
import struct
from typing import Any

LENGTH = struct.Struct(">I")
MAX_BYTES = 64 * 2**20  # a length above this is no frame of ours, and is refused before anything is allocated


class FrameError(RuntimeError):
    """What came over a pipe is no frame."""


def pack(message: dict[str, Any]) -> bytes:
    """A message as bytes: four of length, then JSON in ASCII."""
    body = json.dumps(message).encode("ascii")
    if len(body) > MAX_BYTES:
        raise FrameError(f"a frame holds at most {MAX_BYTES} bytes, this message has {len(body)}")
    return LENGTH.pack(len(body)) + body


def write(descriptor: int, message: dict[str, Any]) -> None:
    """Send one message, all of it."""
    rest = memoryview(pack(message))
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def read(descriptor: int) -> dict[str, Any] | None:
    """The next message, waited for, or None where the other side has closed the pipe.

    Not one byte beyond the message is taken, so that another process may read the next one.

    Raises:
        FrameError: If the pipe ends inside a message.
    """
    head = _exactly(descriptor, LENGTH.size)
    if not head:
        return None
    (length,) = LENGTH.unpack(head)
    if length > MAX_BYTES:
        raise FrameError(f"a frame holds at most {MAX_BYTES} bytes, this one claims {length}")
    return json.loads(_exactly(descriptor, length, started=True))


def _exactly(descriptor: int, count: int, started: bool = False) -> bytes:
    parts, missing = [], count
    while missing:
        part = os.read(descriptor, missing)
        if not part:
            if parts or started:
                raise FrameError(f"the pipe ended {missing} bytes before the end of a frame")
            return b""
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


class Inbox:
    """Frames put together from whatever pieces a pipe delivers."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, piece: bytes) -> list[dict[str, Any]]:
        """The messages that this piece completes.

        Raises:
            FrameError: If a length is impossible, so that what follows cannot be trusted.
        """
        self._bytes += piece
        messages = []
        while len(self._bytes) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._bytes)
            if length > MAX_BYTES:
                raise FrameError(f"a frame holds at most {MAX_BYTES} bytes, this one claims {length}")
            end = LENGTH.size + length
            if len(self._bytes) < end:
                break
            messages.append(json.loads(self._bytes[LENGTH.size : end]))
            del self._bytes[:end]
        return messages
