"""Events per second of the simulator: charges and waveforms, from quiet to heavily irradiated."""

from typing import Any

import numpy as np
import pytest

from analysis.sipm.simulate import (
    SiPMTruth,
    photon_detection,
    simulate_charges,
    simulate_waveforms,
)

AT = {"bias_v": 40.778, "temperature_c": 25.0}


def setting(mean_pe: float, n_events: int) -> dict[str, Any]:
    pde = photon_detection(SiPMTruth(), AT["bias_v"], AT["temperature_c"])
    return {**AT, "mean_photons": mean_pe / pde, "n_events": n_events}


@pytest.mark.parametrize(
    ("dcr_hz", "mean_pe", "n_events"),
    [(3e5, 3.0, 20_000), (3e5, 100.0, 2000), (1e8, 3.0, 10_000), (1e10, 3.0, 100)],
)
def test_simulated_charges(benchmark: Any, dcr_hz: float, mean_pe: float, n_events: int) -> None:
    truth = SiPMTruth(dcr_hz=dcr_hz)
    found = benchmark(
        lambda: simulate_charges(np.random.default_rng(1), truth, **setting(mean_pe, n_events))
    )
    assert found.shape == (n_events,)
    benchmark.extra_info["microseconds per event"] = benchmark.stats["mean"] / n_events * 1e6


def test_simulated_waveforms(benchmark: Any) -> None:
    found = benchmark(
        lambda: simulate_waveforms(
            np.random.default_rng(1), SiPMTruth(), n_samples=500, dt_ns=1.0, **setting(3.0, 2000)
        )
    )
    assert found.shape == (2000, 500)
    benchmark.extra_info["microseconds per event"] = benchmark.stats["mean"] / 2000 * 1e6
