"""Asking an AMQP server whether it serves."""

from __future__ import annotations

import socket
import struct
from typing import TypeVar

from pamqp import base, commands, frame, header

_FRAME_HEADER = struct.Struct(">BHI")

MethodT = TypeVar("MethodT", bound=base.Frame)


def listens(port: int) -> bool:
    """Whether something accepts TCP connections on this port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def accepts_clients(port: int) -> bool:
    """Whether a client can connect to 127.0.0.1, log in as guest and open the virtual host "/".

    RabbitMQ opens its listener last, and a virtual host only once its queues are recovered.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(header.ProtocolHeader(0, 9, 1).marshal())
            _receive(connection, commands.Connection.Start)
            _send(connection, commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US"))
            tune = _receive(connection, commands.Connection.Tune)
            _send(connection, commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
            _send(connection, commands.Connection.Open("/"))
            _receive(connection, commands.Connection.OpenOk)
            _send(connection, commands.Connection.Close(200, "it serves", 0, 0))
            _receive(connection, commands.Connection.CloseOk)
    except OSError:
        return False
    return True


def _send(connection: socket.socket, method: base.Frame) -> None:
    connection.sendall(frame.marshal(method, 0))


def _receive(connection: socket.socket, expected: type[MethodT]) -> MethodT:
    """The next frame.

    Raises:
        ConnectionError: the server ended the connection or sent something else.
    """
    head = _read(connection, _FRAME_HEADER.size)
    size = _FRAME_HEADER.unpack(head)[2]
    _, _, method = frame.unmarshal(head + _read(connection, size + 1))
    if not isinstance(method, expected):
        raise ConnectionError(f"expected {expected.__name__}, got {method!r}")
    return method


def _read(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError("the server closed the connection")
        data += part
    return bytes(data)
