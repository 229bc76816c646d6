"""TCP connections."""

import errno
import os
import select
import socket

from drivers.errors import InstrumentLost
from drivers.transport.stream import Stream
from drivers.transport.turn import Turn, Turnstile


def open_tcp(host: str, port: int, turn: Turn, turnstile: Turnstile) -> Stream:
    """Connect to a TCP port.

    Raises:
        InstrumentLost: nobody answers at the address before the turn's deadline.
        InstrumentInterrupted: another thread broke the transaction off.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise InstrumentLost(f"can't find {host!r}: {error}", port=turn.port) from error
    reason = "nobody answers"
    for family, kind, protocol, _, address in found:
        client = socket.socket(family, kind, protocol)
        try:
            refused = _refusal(client, address, turn, turnstile)
        except BaseException:
            client.close()
            raise
        if not refused:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return Stream(
                client.fileno(),
                read=client.recv,
                write=client.send,
                close=client.close,
                turnstile=turnstile,
            )
        client.close()
        reason = os.strerror(refused)
    raise InstrumentLost(f"can't connect: {reason}", port=turn.port)


def _refusal(
    client: socket.socket, address: tuple[object, ...], turn: Turn, turnstile: Turnstile
) -> int:
    """The error number of the connection, 0 for none."""
    client.setblocking(False)
    refused = client.connect_ex(address)
    if refused != errno.EINPROGRESS:
        return refused
    poll = select.poll()
    poll.register(client, select.POLLOUT)
    poll.register(turnstile.wake_fd, select.POLLIN)
    while events := poll.poll(max(0.0, turn.left_s()) * 1000):
        if any(fd == client.fileno() for fd, _ in events):
            return client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        turnstile.take_wake_ups()
        turn.check()
    return errno.ETIMEDOUT
