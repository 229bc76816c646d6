"""The example of the physics note runs and finds what it simulates."""

import re
from pathlib import Path

NOTE = Path(__file__).parents[2] / "docs" / "sipm-physics.md"
TRUE_GAIN = 9.3 * (40.8 - 37.778)


def test_the_notebook_example_finds_the_gain_and_the_breakdown_that_it_simulates() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", NOTE.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    answer, alone, loud, scan = (names[name] for name in ("answer", "alone", "loud", "scan"))
    assert answer.verdict == "pass"
    for found in (answer.gain, alone, loud.gain):
        assert abs(found.value - TRUE_GAIN) < 4 * found.sigma
        assert found.sigma < 0.05 * TRUE_GAIN
    assert abs(scan.vbd_gain.value - 37.778) < 4 * scan.vbd_gain.sigma
