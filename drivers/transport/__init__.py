"""Ports: how bytes reach an instrument and its answers come back to the one who asked.

One transaction is lock, write, read and error check under one deadline; the time spent waiting for
the lock counts. After a timeout, a broken reply or a lost connection a port is *out of step*: an
answer may still be on its way. The next transaction then first reopens the connection or drains
the line, and lets the driver check who answers, so that a late answer is never taken for the next
one.
"""

from drivers.transport.i2c import I2cTransport, open_i2c
from drivers.transport.i2c_bridge import BridgeI2cTransport
from drivers.transport.i2c_linux import LinuxI2cTransport
from drivers.transport.line import QUIET_S, Exchange, LineTransport, Transport
from drivers.transport.owned_port import PortStatistics
from drivers.transport.serial_port import SerialTransport
from drivers.transport.stream import MAX_LINE_BYTES
from drivers.transport.visa import VisaTransport
from drivers.transport.zmq_request import ZmqTransport

__all__ = [
    "MAX_LINE_BYTES",
    "QUIET_S",
    "BridgeI2cTransport",
    "Exchange",
    "I2cTransport",
    "LineTransport",
    "LinuxI2cTransport",
    "PortStatistics",
    "SerialTransport",
    "Transport",
    "VisaTransport",
    "ZmqTransport",
    "open_i2c",
]
