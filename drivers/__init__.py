"""One folder per instrument: protocol, driver, simulator."""
