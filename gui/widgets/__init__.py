"""The parts of the window; each one shows a part of `gui.state.ShiftState`."""
