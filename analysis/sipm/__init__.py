"""SiPM parameters from spectra and currents."""
