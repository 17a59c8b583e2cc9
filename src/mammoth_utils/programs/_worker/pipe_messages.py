"""Messages between the caller and its workers over pipes: a length and then JSON, never a pickle."""

from __future__ import annotations

import json
import os
import struct
from typing import Any

LENGTH = struct.Struct(">I")
MAX_BYTES = 64 * 2**20  # a greater length is refused before anything is allocated


class MessageError(RuntimeError):
    """The bytes of a pipe are no message."""


def pack(message: dict[str, Any]) -> bytes:
    """Return a message as bytes: four of length, then JSON in ASCII."""
    body = json.dumps(message).encode("ascii")
    if len(body) > MAX_BYTES:
        raise MessageError(f"a message holds at most {MAX_BYTES} bytes, this one has {len(body)}")
    return LENGTH.pack(len(body)) + body


def write(descriptor: int, message: dict[str, Any]) -> None:
    """Send a whole message."""
    rest = memoryview(pack(message))
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def read(descriptor: int) -> dict[str, Any] | None:
    """Wait for the next message and return it, or None if the other side has closed the pipe.

    No byte beyond the message is read, so that another process may read the next one. A pipe that ends inside a message
    raises MessageError.
    """
    head = _exactly(descriptor, LENGTH.size)
    if not head:
        return None
    (length,) = LENGTH.unpack(head)
    if length > MAX_BYTES:
        raise MessageError(f"a message holds at most {MAX_BYTES} bytes, this one claims {length}")
    return json.loads(_exactly(descriptor, length, started=True))


def _exactly(descriptor: int, count: int, started: bool = False) -> bytes:
    parts, missing = [], count
    while missing:
        part = os.read(descriptor, missing)
        if not part:
            if parts or started:
                raise MessageError(f"the pipe ended {missing} bytes before the end of a message")
            return b""
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


class MessageReader:
    """Puts messages together from the pieces that a pipe delivers."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, piece: bytes) -> list[dict[str, Any]]:
        """Return the messages that this piece completes; raise MessageError if a length is impossible."""
        self._bytes += piece
        messages = []
        while len(self._bytes) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._bytes)
            if length > MAX_BYTES:
                raise MessageError(f"a message holds at most {MAX_BYTES} bytes, this one claims {length}")
            end = LENGTH.size + length
            if len(self._bytes) < end:
                break
            messages.append(json.loads(self._bytes[LENGTH.size : end]))
            del self._bytes[:end]
        return messages
