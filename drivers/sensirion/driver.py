"""SHT31 and SHT85 as humidity sensors."""

from drivers.clock import Clock
from drivers.errors import (
    BrokenReply,
    InstrumentError,
    InstrumentRefused,
    OrdersLost,
    WrongInstrument,
    names_its_errors,
)
from drivers.roles import Humidity, Identity
from drivers.sensirion import protocol
from drivers.sensirion.protocol import ProtocolError, Status
from drivers.transport import I2cTransport, open_i2c

ATTEMPTS = 2


@names_its_errors("climate sensor")
class Sensirion:
    """An SHT31 or SHT85 on an I2C bus; fulfils the role ``HumiditySensor``.

    Opening reads the serial number and the status and changes nothing. Every word has a checksum:
    a reading whose checksum is wrong is taken once more, and then is an error, never a number.

    Args:
        bus: the bus; all its sensors share it. The driver closes it when it opened it.
        i2c_address: 0x44 or 0x45.
        clock: taken like by every driver; conversions take real time.
        deadline_s: real seconds for one exchange.

    Raises:
        WrongInstrument: what answers has no serial number as these sensors have.
        InstrumentRefused: nobody acknowledges at this address.
        InstrumentLost, InstrumentTimeout: the bus is not there.
    """

    def __init__(
        self,
        bus: I2cTransport,
        *,
        i2c_address: int = protocol.ADDRESSES[0],
        clock: Clock | None = None,
        deadline_s: float = 1.0,
        close_bus: bool = False,
    ) -> None:
        del clock
        if i2c_address not in protocol.ADDRESSES:
            allowed = " or ".join(f"0x{address:02X}" for address in protocol.ADDRESSES)
            raise ValueError(f"these sensors have the address {allowed}, not 0x{i2c_address:02X}")
        self._bus = bus
        bus.instrument = "climate sensor"
        self._address = i2c_address
        self._deadline_s = deadline_s
        self._close_bus = close_bus
        self._closed = False
        self._port = f"{bus.port} address 0x{i2c_address:02X}"
        self._identity = Identity(
            maker=protocol.MAKER,
            model="SHT3x/SHT85",
            serial=f"{self._read_serial():08X}",
            firmware="",
            port=self._port,
        )
        self.status()

    @classmethod
    def open(
        cls,
        address: str,
        *,
        clock: Clock | None = None,
        i2c_address: int = protocol.ADDRESSES[0],
        deadline_s: float = 1.0,
    ) -> "Sensirion":
        """The sensor on the bus ``/dev/i2c-N``, or on the one behind a bridge at a serial port."""
        bus = open_i2c(address)
        try:
            return cls(
                bus, clock=clock, i2c_address=i2c_address, deadline_s=deadline_s, close_bus=True
            )
        except BaseException:
            bus.close()
            raise

    @property
    def identity(self) -> Identity:
        return self._identity

    def read(self) -> Humidity:
        """Temperature and relative humidity now.

        Raises:
            InstrumentRefused: the heater is on, so that the air around the sensor is not the
                station's; or nobody acknowledges.
            BrokenReply: the checksum was wrong twice.
        """
        words = self._ask(protocol.MEASURE, 2, protocol.MEASURE_S)
        if self.status().heater_on:
            raise InstrumentRefused(
                "the sensor's heater is on",
                port=self._port,
                advice="Switch the heater off and wait a few minutes.",
            )
        return Humidity(
            temperature_c=protocol.temperature_c(words[0]),
            humidity_percent=protocol.humidity_percent(words[1]),
        )

    def status(self) -> Status:
        """The status register."""
        (bits,) = self._ask(protocol.READ_STATUS, 1, protocol.COMMAND_S)
        return Status(bits)

    def heat(self) -> None:
        """Switch the heater on, to dry a wetted sensor, and read that back.

        Raises:
            InstrumentError: the heater stays off.
        """
        self._switch_heater(protocol.HEATER_ON)

    def stop_heating(self) -> None:
        """Switch the heater off and read that back; raises InstrumentError when it stays on."""
        self._switch_heater(protocol.HEATER_OFF)

    def reset(self) -> None:
        """Bring the sensor to its state after power-up and clear its status.

        Raises:
            InstrumentError: the heater is on afterwards.
        """
        self._command(protocol.SOFT_RESET, protocol.RESET_S)
        self._command(protocol.CLEAR_STATUS, protocol.COMMAND_S)
        if self.status().heater_on:
            raise InstrumentError("the heater is on after a reset", port=self._port)

    def check_identity(self) -> None:
        """Read the serial number again, after the sensor was unplugged.

        Raises:
            WrongInstrument: it is another sensor.
        """
        found = f"{self._read_serial():08X}"
        if found != self._identity.serial:
            raise WrongInstrument(
                f"expected the sensor {self._identity.serial}, found {found}",
                port=self._port,
                advice="Plug the station's sensor in, or correct the site profile.",
            )

    def close(self) -> None:
        """Give the bus back if it is this sensor's; closing twice does nothing."""
        if self._close_bus and not self._closed:
            self._bus.close()
        self._closed = True

    def _switch_heater(self, code: int) -> None:
        self._command(code, protocol.COMMAND_S)
        if self.status().heater_on != (code == protocol.HEATER_ON):
            raise OrdersLost(
                f"the heater is not as ordered by 0x{code:04X}", port=self._port, sent=f"{code:04X}"
            )

    def _read_serial(self) -> int:
        try:
            high, low = self._ask(protocol.READ_SERIAL, 2, protocol.COMMAND_S)
        except InstrumentRefused:
            high, low = self._ask(protocol.READ_SERIAL_STRETCHING, 2, protocol.COMMAND_S)
        except BrokenReply as error:
            raise WrongInstrument(
                f"what answers is no SHT3x or SHT85: {error.what}", port=self._port, sent=error.sent
            ) from error
        return high << 16 | low

    def _ask(self, code: int, n_words: int, wait_s: float) -> tuple[int, ...]:
        for attempt in range(1, ATTEMPTS + 1):
            data = self._bus.exchange(
                self._address,
                protocol.command(code),
                3 * n_words,
                wait_s=wait_s,
                deadline_s=self._deadline_s,
            )
            try:
                return protocol.parse_words(data, n_words)
            except ProtocolError as error:
                if attempt == ATTEMPTS:
                    raise BrokenReply(str(error), port=self._port, sent=f"{code:04X}") from error
        raise AssertionError("unreachable")

    def _command(self, code: int, wait_s: float) -> None:
        self._bus.exchange(
            self._address, protocol.command(code), 0, wait_s=wait_s, deadline_s=self._deadline_s
        )
