"""What every circulator promises, whoever made it."""

from collections.abc import Generator
from dataclasses import dataclass

import pytest

from drivers.circulator import Circulator
from drivers.errors import (
    InstrumentError,
    InstrumentTimeout,
    OrdersLost,
    SetpointRefused,
    WrongInstrument,
)
from drivers.faults import FaultKind
from drivers.huber import Huber, HuberSimulator
from drivers.julabo import Julabo, JulaboSimulator
from drivers.simulated_circulator import SimulatedCirculator
from tests.drivers.hand_clock import HandClock

ROOM_C = 22.0


@dataclass
class Bench:
    """A simulated circulator, its driver, and the words of its maker.

    Attributes:
        unseen_k: a misread answer can be wrong by this much and pass.
        off: how it tells that it is off.
        other: the name of another circulator of the maker.
    """

    simulator: SimulatedCirculator
    chiller: Circulator
    unseen_k: float
    off: str
    other: str


def julabo() -> Bench:
    simulator = JulaboSimulator(HandClock())
    simulator.start()
    chiller = Julabo.open(
        simulator.path, lowest_c=-10.0, highest_c=30.0, pause_s=0.0, deadline_s=1.0
    )
    return Bench(simulator, chiller, 0.4, "says 02 REMOTE STOP", "JULABO HIGHTECH FL2814")


def huber() -> Bench:
    simulator = HuberSimulator(HandClock())
    simulator.start()
    chiller = Huber.open(simulator.path, lowest_c=-10.0, highest_c=30.0, deadline_s=1.0)
    return Bench(simulator, chiller, 0.0, "is off", "UNISTAT516W")


@pytest.fixture(params=[julabo, huber], ids=["julabo", "huber"])
def bench(request: pytest.FixtureRequest) -> Generator[Bench]:
    bench: Bench = request.param()
    yield bench
    bench.chiller.close()
    bench.simulator.stop()


def recovered_bath_c(chiller: Circulator) -> float:
    """The temperature after a fault, whose last bytes may still spoil one question."""
    try:
        return chiller.bath_c()
    except InstrumentError:
        return chiller.bath_c()


@pytest.mark.parametrize("temperature_c", [-10.1, 30.1, float("nan"), float("inf")])
def test_a_set_point_beyond_the_site_s_limits_is_never_sent(
    bench: Bench, temperature_c: float
) -> None:
    with pytest.raises(SetpointRefused, match=r"^\w+ chiller: the site allows -10 to 30"):
        bench.chiller.set_temperature(temperature_c)
    assert bench.chiller.setpoint_c() == 20.0


@pytest.mark.parametrize("limits", [(5.0, 5.0), (10.0, 0.0), (float("nan"), 5.0)])
def test_impossible_limits_are_refused(bench: Bench, limits: tuple[float, float]) -> None:
    bench.chiller.close()
    maker = Julabo if isinstance(bench.chiller, Julabo) else Huber
    with pytest.raises(ValueError, match="limits"):
        maker.open(bench.simulator.path, lowest_c=limits[0], highest_c=limits[1])
    maker.open(bench.simulator.path, lowest_c=0.0, highest_c=5.0).close()


def test_after_a_power_loss_it_says_that_its_orders_are_lost_and_takes_them_again(
    bench: Bench,
) -> None:
    chiller, simulator = bench.chiller, bench.simulator
    chiller.set_temperature(3.0)
    chiller.start()
    simulator.lose_power()
    chiller._deadline_s = 0.1
    with pytest.raises(InstrumentTimeout):
        chiller.bath_c()
    chiller._deadline_s = 1.0
    simulator.return_power()
    with pytest.raises(
        OrdersLost, match=rf"chiller: .*was started and now {bench.off}.*send its settings"
    ):
        chiller.running()
    with pytest.raises(OrdersLost, match=r"chiller: .*is 20 C, ordered were 3 C"):
        chiller.setpoint_c()
    assert chiller.bath_c() == pytest.approx(simulator.bath_c, abs=0.3)
    chiller.resend()
    assert chiller.running()
    assert chiller.setpoint_c() == 3.0
    assert simulator.circulating


@pytest.mark.parametrize("kind", ["late", "lost", "garbled", "truncated", "duplicated", "misread"])
def test_a_spoilt_reply_gives_an_error_or_the_truth_and_never_a_wrong_number(
    bench: Bench, kind: FaultKind
) -> None:
    chiller, simulator = bench.chiller, bench.simulator
    for where in (0.05, 0.5, 0.95):
        chiller._deadline_s = 0.1
        simulator.faults.plan(kind, delay_s=0.12, where=where)
        try:
            value_c = chiller.bath_c()
        except InstrumentError:
            pass
        else:
            assert abs(value_c - ROOM_C) <= bench.unseen_k
        chiller._deadline_s = 1.0
        simulator.faults.clear()
        assert abs(recovered_bath_c(chiller) - ROOM_C) <= bench.unseen_k


def test_another_circulator_on_the_port_is_refused(bench: Bench) -> None:
    chiller = bench.chiller
    bench.simulator.faults.plan("lost")
    chiller._deadline_s = 0.1
    with pytest.raises(InstrumentTimeout):
        chiller.bath_c()
    chiller._deadline_s = 1.0
    bench.simulator.faults.plan("wrong_identity")
    with pytest.raises(WrongInstrument, match=f"now '{bench.other}"):
        chiller.bath_c()
    assert chiller.bath_c() == ROOM_C


def test_the_port_that_goes_away_and_comes_back_is_found_again(bench: Bench) -> None:
    bench.simulator.faults.plan("disconnect", delay_s=0.05)
    with pytest.raises(InstrumentError):
        bench.chiller.bath_c()
    assert bench.chiller.bath_c() == ROOM_C
