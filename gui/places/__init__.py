"""The places of the window: what stands in the working area."""

LINE, TEST, SETUP = "Line", "Test", "Setup"
PLACES = (LINE, TEST, SETUP)
PLACE_OF_STEP = {"place": TEST, "test": TEST, "report": TEST}
