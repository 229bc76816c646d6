"""What the tester's converter readings mean: volts, amperes, degrees."""

from drivers import pt1000
from drivers.tileboard_tester import protocol
from drivers.tileboard_tester.protocol import ProtocolError


def _check_count(counts: int) -> None:
    if not 0 <= counts <= protocol.CONVERTER_MAX:
        raise ProtocolError(f"converter reading {counts} is outside 0..{protocol.CONVERTER_MAX}")


def converter_volts(counts: int) -> float:
    """Voltage (V) at a converter channel from its 12-bit reading."""
    _check_count(counts)
    return counts * protocol.CONVERTER_FULL_SCALE_V / protocol.CONVERTER_MAX


def converter_counts(volts: float) -> int:
    """12-bit reading of a voltage (V) at a converter channel; ends of the range saturate."""
    counts = round(volts * protocol.CONVERTER_MAX / protocol.CONVERTER_FULL_SCALE_V)
    return min(max(counts, 0), protocol.CONVERTER_MAX)


def divided_volts(counts: int, divider: float) -> float:
    """Voltage (V) in front of a resistive divider.

    Raises ProtocolError at the end of the range, where the true voltage may be anything.
    """
    if counts >= protocol.CONVERTER_MAX:
        raise ProtocolError(
            f"converter reading {counts} is at its end: the voltage is at least "
            f"{protocol.CONVERTER_FULL_SCALE_V * divider:.2f} V"
        )
    return converter_volts(counts) * divider


def sensed_current_a(
    counts: int, sense_ohm: float = protocol.CURRENT_SENSE_OHM, gain: float = protocol.CURRENT_GAIN
) -> float:
    """Bias current (A) from its current mirror: U / sense_ohm * gain.

    Raises ProtocolError at the end of the range, where the true current may be anything.
    """
    return divided_volts(counts, gain / sense_ohm)


def pt1000_ohm(counts: int) -> float:
    """Resistance (ohm) of a PT1000 below 1800 ohm on 2.5 V, seen by a 1 V converter."""
    _check_count(counts)
    if counts == 0:
        return 0.0
    ratio = protocol.PT1000_SUPPLY_V * protocol.CONVERTER_MAX / counts - 1.0
    return protocol.PT1000_SERIES_OHM / ratio


def pt1000_temperature_c(counts: int) -> float:
    """Temperature (C) of a PT1000; raises ProtocolError for an open, shorted or saturated one."""
    resistance_ohm = pt1000_ohm(counts)
    low_c, high_c = protocol.PT1000_RANGE_C
    low_ohm, high_ohm = pt1000.resistance_ohm(low_c), pt1000.resistance_ohm(high_c)
    if counts >= protocol.CONVERTER_MAX or not low_ohm <= resistance_ohm <= high_ohm:
        raise ProtocolError(
            f"converter reading {counts} is {resistance_ohm:.0f} ohm: no PT1000 between "
            f"{low_c:g} and {high_c:g} C (sensor open, shorted or too warm for the converter)"
        )
    return pt1000.temperature_c(resistance_ohm)


def pt1000_counts(temperature_c: float) -> int:
    """Converter reading of a PT1000 at a temperature (C)."""
    resistance_ohm = pt1000.resistance_ohm(temperature_c)
    divided = resistance_ohm / (resistance_ohm + protocol.PT1000_SERIES_OHM)
    return converter_counts(protocol.PT1000_SUPPLY_V * divided)
