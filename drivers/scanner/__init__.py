"""Barcode scanners: with a serial port, and as a keyboard."""

from drivers.scanner.driver import SerialScanner
from drivers.scanner.key_burst import Heard, KeyBurst
from drivers.scanner.simulator import SerialScannerSimulator

__all__ = ["Heard", "KeyBurst", "SerialScanner", "SerialScannerSimulator"]
