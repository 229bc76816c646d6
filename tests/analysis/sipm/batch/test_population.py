"""Outliers, one verdict per channel, and the page that shows all of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.sipm.batch.channels import channels_of, grouped
from analysis.sipm.batch.page import draw_population, save_page
from analysis.sipm.batch.population import judge_population, robust_distance
from analysis.sipm.batch.summary import table_of

VBD_V = 38.0


def estimate(value: float | None, sigma: float | None, *reasons: str) -> dict[str, object]:
    return {"value": value, "sigma": sigma, "unit": "u", "method": "m", "reasons": reasons}


def record(
    channel: int,
    bias_v: float | None,
    gain: float | None,
    *,
    noise: float = 3.0,
    temperature_c: float | None = None,
    place: str | None = None,
    device: str = "",
    reason: str = "no peak stands out",
) -> dict[str, object]:
    sigma = None if gain is None else 0.002 * gain
    return {
        "key": f"{device}{place}{channel}{bias_v}{temperature_c}{gain}",
        "again": False,
        "source": f"ch{channel}_{bias_v}.csv",
        "off_source": "",
        "device": device or f"ch{channel}",
        "place": f"ch{channel}" if place is None else place,
        "channel": channel,
        "bias_v": bias_v,
        "temperature_c": temperature_c,
        "n_entries": 1000.0,
        "gain": estimate(gain, sigma, *([] if gain is not None else [reason])),
        "verdict": "unknown" if gain is None else "pass",
        "candidates": {},
        "agreement": {},
        "quantities": {"noise": estimate(noise, 0.05), "crosstalk": estimate(0.05, 0.01)},
        "seconds": 0.01,
        "failure": "",
    }


def scan(n_channels: int = 40) -> list[dict[str, object]]:
    rng = np.random.default_rng(3)
    return [
        record(c, bias, gain_per_v * (bias - VBD_V), noise=noise)
        for c, gain_per_v, noise in zip(
            range(n_channels),
            rng.normal(9.0, 0.1, n_channels),
            rng.normal(3.0, 0.05, n_channels),
            strict=True,
        )
        for bias in (40.0, 40.5, 41.0, 41.5)
    ]


def tables(records: list[dict[str, object]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    keys = [str(r["key"]) for r in records]
    spectra = judge_population(grouped(table_of(records, keys)))
    return spectra, channels_of(spectra)


def test_a_like_population_has_no_outliers() -> None:
    spectra, channels = tables(scan())
    assert (spectra["verdict"] == "pass").all()
    assert (channels["verdict"] == "pass").all()
    assert ((channels["vbd_gain"] - VBD_V).abs() < 5 * channels["vbd_gain_sigma"]).all()


def test_false_outliers_of_a_gaussian_population_are_as_rare_as_five_sigma() -> None:
    rng = np.random.default_rng(5)
    far = sum(
        np.count_nonzero(np.abs(robust_distance(rng.normal(10, 1, 2000), np.zeros(2000))) > 5)
        for _ in range(50)
    )
    assert far <= 3


def test_an_unlike_gain_is_named_at_every_bias_and_flags_its_channel_alone() -> None:
    records = scan()
    records[4:8] = [record(1, bias, 11.0 * (bias - VBD_V)) for bias in (40.0, 40.5, 41.0, 41.5)]
    spectra, channels = tables(records)
    assert set(spectra.loc[spectra["outlier"] != "", "channel"]) == {1}
    assert (spectra.loc[spectra["channel"] == 1, "verdict"] == "flag").all()
    flagged = channels[channels["verdict"] != "pass"]
    assert flagged["channel"].tolist() == [1]
    assert "slope" in flagged["reasons"].iloc[0]
    assert "gain unlike the others" in flagged["reasons"].iloc[0]


def test_a_large_error_of_its_own_makes_no_outlier() -> None:
    values = np.append(np.random.default_rng(1).normal(10, 0.1, 50), 13.0)
    sure, unsure = np.full(51, 0.01), np.append(np.full(50, 0.01), 1.0)
    assert robust_distance(values, sure)[-1] > 5
    assert robust_distance(values, unsure)[-1] < 5


def test_a_few_channels_are_no_population() -> None:
    assert np.isnan(robust_distance(np.arange(7.0), np.zeros(7))).all()


def test_equal_values_are_not_unlike_each_other() -> None:
    assert (robust_distance(np.full(20, 3.0), np.zeros(20)) == 0).all()


def test_a_channel_without_any_gain_is_unknown_and_one_that_lacks_some_is_flagged() -> None:
    records = scan()
    for row in (0, 1, 2, 3, 4):
        old = records[row]
        records[row] = record(int(str(old["channel"])), float(str(old["bias_v"])), None)
    _, channels = tables(records)
    rows = channels.set_index("channel")
    assert rows.loc[0, "verdict"] == "unknown"
    assert "no peak stands out" in rows.loc[0, "reasons"]
    assert rows.loc[1, "verdict"] == "flag"
    assert "no gain at 40 V" in rows.loc[1, "reasons"]
    assert rows.loc[1, "n_known"] == 3
    assert rows.loc[1, "vbd_gain"] == pytest.approx(VBD_V, abs=0.2)


def test_temperatures_are_scans_of_their_own() -> None:
    records = [
        record(0, bias, 9.0 * (bias - VBD_V - 0.034 * (t - 25)), temperature_c=t)
        for t in (-30.0, 25.0)
        for bias in (40.0, 40.5, 41.0)
    ]
    _, channels = tables(records)
    assert channels["temperature_c"].tolist() == [-30.0, 25.0]
    assert channels["vbd_gain"].diff().iloc[1] == pytest.approx(0.034 * 55, abs=1e-3)


def test_runs_of_one_channel_belong_together_unless_they_repeat_a_bias() -> None:
    once = [record(1, b, 20.0, place="lab/ch1", device=f"run{b}/ch1") for b in (40.0, 41.0)]
    assert tables(once)[0]["device"].unique().tolist() == ["lab/ch1"]
    twice = [*once, record(1, 41.0, 20.0, place="lab/ch1", device="again/ch1")]
    assert set(tables(twice)[0]["device"]) == {"run40.0/ch1", "run41.0/ch1", "again/ch1"}


def test_two_gains_of_one_channel_at_one_bias_flag_it() -> None:
    same_name = [record(1, None, gain, device="ch1", place="") for gain in (28.1, 37.4)]
    _, channels = tables(same_name)
    assert channels["verdict"].tolist() == ["flag"]
    assert "one channel" in channels["reasons"].iloc[0]
    _, channels = tables([record(1, None, gain, device="ch1", place="") for gain in (28.1, 28.2)])
    assert channels["verdict"].tolist() == ["pass"]


def test_the_page_names_outliers_and_counts_verdicts(tmp_path: Path) -> None:
    records = scan()
    records[4:8] = [record(1, bias, 14.0 * (bias - VBD_V)) for bias in (40.0, 40.5, 41.0, 41.5)]
    records[8] = record(2, 40.0, None, reason="/data/x.csv, line 3, count: 'many' is not a number")
    figure = draw_population(*tables(records))
    texts = " | ".join(
        [text.get_text() for axes in figure.axes for text in axes.texts]
        + [axes.get_title(loc="left") for axes in figure.axes]
    )
    for wanted in ("ch 1:", "unlike the others: ch 1", "1 × … is not a number", "vbd_gain 38.0"):
        assert wanted in texts
    for title in ("Gain at", "Noise at", "Crosstalk at", "Breakdown voltage", "Verdicts"):
        assert title in texts
    for file in save_page(figure, tmp_path):
        assert file.stat().st_size > 5000


@pytest.mark.parametrize(
    "records",
    [
        [],
        [record(0, None, None)],
        [record(0, None, 20.0)],
        [record(c, 41.0, 20.0, noise=3.0) for c in range(30)],
        [record(c, b, None) for c in range(9) for b in (40.0, 41.0)],
        [record(7, b, 9.0 * (b - VBD_V)) for b in (40.0, 41.0, 42.0)],
    ],
    ids=["none", "unknown", "one", "equal", "all unknown", "one channel"],
)
def test_the_page_can_be_drawn_of_anything(records: list[dict[str, object]]) -> None:
    spectra, channels = tables(records)
    figure = draw_population(spectra, channels)
    figure.draw_without_rendering()
    assert len(channels) == len({r["channel"] for r in records})
