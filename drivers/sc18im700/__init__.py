"""A bridge from a serial port to an I2C bus; ``drivers.transport.BridgeI2cTransport`` drives it."""
