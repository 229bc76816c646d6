"""The places of the window: what stands in the working area."""

LINE, TEST = "Line", "Test"
PLACES = (LINE, TEST)
PLACE_OF_STEP = {"place": TEST, "test": TEST, "report": TEST}
