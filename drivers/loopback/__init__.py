"""The far ends of simulated instruments: TCP socket, pseudo-terminal, ZMQ socket, with faults.

Each runs one thread, keeps the order of what it sends, outlives any number of clients, and stops
within a moment. Each can go away and come back at the same place.
"""

from drivers.faults import FaultKind, LineFaults, garbled
from drivers.loopback.pty_end import PtyEnd, SerialMachine
from drivers.loopback.socket_end import SocketEnd
from drivers.loopback.zmq_end import ZmqReplyEnd

__all__ = [
    "FaultKind",
    "LineFaults",
    "PtyEnd",
    "SerialMachine",
    "SocketEnd",
    "ZmqReplyEnd",
    "garbled",
]
