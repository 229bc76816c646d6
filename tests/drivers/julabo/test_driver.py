import threading

import pytest

from drivers.errors import (
    BrokenReply,
    InstrumentError,
    InstrumentRefused,
    InstrumentTimeout,
    MachineAlarm,
    OrdersLost,
    SetpointRefused,
    WrongInstrument,
)
from drivers.faults import FaultKind, FaultPlan
from drivers.julabo import Julabo, JulaboSimulator
from drivers.roles import Chiller
from tests.drivers.hand_clock import HandClock


def test_it_is_a_chiller(chiller: Julabo) -> None:
    role: Chiller = chiller
    assert role.identity.maker == "Julabo"
    assert role.identity.port


def test_the_bath_follows_the_set_point_with_inertia(
    chiller: Julabo, simulator: JulaboSimulator, clock: HandClock
) -> None:
    assert chiller.bath_c() == pytest.approx(22.0, abs=0.1)
    chiller.set_temperature(5.0)
    chiller.start()
    assert simulator.circulating
    clock.sleep(200)
    assert 5.5 < simulator.bath_c < 21.0
    clock.sleep(4000)
    assert chiller.bath_c() == pytest.approx(5.0, abs=0.1)
    chiller.stop()
    clock.sleep(8000)
    assert simulator.bath_c > 10.0


@pytest.mark.parametrize("temperature_c", [-10.1, 30.1, float("nan"), float("inf")])
def test_a_set_point_beyond_the_site_s_limits_is_never_sent(
    chiller: Julabo, temperature_c: float
) -> None:
    with pytest.raises(SetpointRefused, match="-10 to 30"):
        chiller.set_temperature(temperature_c)
    assert chiller.setpoint_c() == 20.0


def test_a_set_point_beyond_the_circulator_s_limits_is_refused(simulator: JulaboSimulator) -> None:
    chiller = Julabo.open(simulator.path, lowest_c=-50.0, highest_c=90.0, pause_s=0.0)
    with pytest.raises(SetpointRefused, match="VALUE TOO SMALL"):
        chiller.set_temperature(-40.0)
    chiller.set_temperature(1.0)
    assert chiller.setpoint_c() == 1.0
    chiller.close()


def test_after_a_power_loss_it_says_that_its_orders_are_lost_and_takes_them_again(
    chiller: Julabo, simulator: JulaboSimulator
) -> None:
    chiller.set_temperature(3.0)
    chiller.start()
    simulator.lose_power()
    with pytest.raises(InstrumentTimeout):
        chiller.bath_c()
    simulator.return_power()
    with pytest.raises(OrdersLost, match=r"started and now says 02 REMOTE STOP.*send its settings"):
        chiller.running()
    with pytest.raises(OrdersLost, match="is 20 C, ordered were 3 C"):
        chiller.setpoint_c()
    assert chiller.bath_c() == pytest.approx(simulator.bath_c, abs=0.3)
    chiller.resend()
    assert chiller.running()
    assert chiller.setpoint_c() == 3.0
    assert simulator.circulating


def test_a_low_level_is_an_alarm_with_a_remedy(chiller: Julabo, simulator: JulaboSimulator) -> None:
    chiller.start()
    simulator.drain()
    with pytest.raises(MachineAlarm, match=r"-01 LOW LEVEL ALARM.*level"):
        chiller.running()
    with pytest.raises(MachineAlarm):
        chiller.start()
    assert not simulator.circulating
    assert chiller.bath_c() < 30
    simulator.drain(is_low=False)
    with pytest.raises(OrdersLost):
        chiller.running()
    chiller.resend()
    assert chiller.running()


def test_an_over_temperature_is_an_alarm(chiller: Julabo, simulator: JulaboSimulator) -> None:
    simulator.bath.temperature_c = 60.0
    with pytest.raises(MachineAlarm, match="EXCESS TEMPERATURE"):
        chiller.running()


def test_the_panel_can_take_control(chiller: Julabo, simulator: JulaboSimulator) -> None:
    simulator.take_to_panel()
    with pytest.raises(InstrumentRefused, match=r"panel.*00 MANUAL STOP"):
        chiller.set_temperature(10.0)


def test_no_external_sensor_gives_no_number(chiller: Julabo) -> None:
    with pytest.raises(BrokenReply, match="no sensor"):
        chiller.external_c()


def test_commands_keep_their_pause() -> None:
    simulator = JulaboSimulator(HandClock(), pause_s=0.03)
    simulator.start()
    chiller = Julabo.open(simulator.path, lowest_c=-10, highest_c=30, pause_s=0.04)
    chiller.set_temperature(8.0)
    assert chiller.setpoint_c() == 8.0
    chiller._transport.pause_s = 0.0
    chiller._deadline_s = 0.1
    with pytest.raises(InstrumentTimeout):
        chiller.set_temperature(9.0)
    chiller.close()
    simulator.stop()


def recovered_bath_c(chiller: Julabo) -> float:
    """The temperature after a fault, whose last bytes may still spoil one question."""
    try:
        return chiller.bath_c()
    except InstrumentError:
        return chiller.bath_c()


@pytest.mark.parametrize("kind", ["late", "lost", "garbled", "truncated", "duplicated", "misread"])
def test_a_spoilt_reply_gives_an_error_or_the_truth_and_never_a_wrong_number(
    chiller: Julabo, simulator: JulaboSimulator, kind: FaultKind
) -> None:
    for where in (0.05, 0.5, 0.95):
        chiller._deadline_s = 0.1
        simulator.faults.plan(kind, delay_s=0.12, where=where)
        try:
            value_c = chiller.bath_c()
        except InstrumentError:
            pass
        else:
            assert value_c == pytest.approx(simulator.bath_c, abs=0.4)
        chiller._deadline_s = 1.0
        simulator.faults.clear()
        assert recovered_bath_c(chiller) == pytest.approx(simulator.bath_c, abs=0.4)


def test_another_circulator_on_the_port_is_refused(
    chiller: Julabo, simulator: JulaboSimulator
) -> None:
    simulator.faults.plan("lost")
    chiller._deadline_s = 0.1
    with pytest.raises(InstrumentTimeout):
        chiller.bath_c()
    chiller._deadline_s = 1.0
    simulator.faults.plan("wrong_identity")
    with pytest.raises(WrongInstrument, match="now 'JULABO HIGHTECH FL2814"):
        chiller.bath_c()
    assert chiller.bath_c() == pytest.approx(22.0, abs=0.5)


def test_a_plan_of_many_faults_never_gives_a_wrong_number(simulator: JulaboSimulator) -> None:
    plan = FaultPlan.from_seed(
        5,
        wire="julabo",
        replies=200,
        rates=dict.fromkeys(("late", "lost", "garbled", "truncated", "misread"), 0.04),
        late_s=(0.01, 0.15),
    )
    chiller = Julabo.open(simulator.path, lowest_c=-10, highest_c=30, pause_s=0.0, deadline_s=0.08)
    simulator.faults.plan_all(plan.faults)
    good = 0
    for _ in range(60):
        try:
            value_c = chiller.bath_c()
        except InstrumentError:
            continue
        good += 1
        assert value_c == pytest.approx(22.0, abs=0.4)
    assert good > 20
    chiller.close()


def test_two_threads_get_their_own_answers(chiller: Julabo) -> None:
    chiller.set_temperature(7.0)
    wrong: list[float] = []

    def ask_setpoint() -> None:
        wrong.extend(value for _ in range(100) if (value := chiller.setpoint_c()) != 7.0)

    def ask_bath() -> None:
        wrong.extend(value for _ in range(100) if abs((value := chiller.bath_c()) - 22) > 1)

    threads = [threading.Thread(target=ask) for ask in (ask_setpoint, ask_bath)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("limits", [(5.0, 5.0), (10.0, 0.0), (float("nan"), 5.0)])
def test_impossible_limits_are_refused(
    simulator: JulaboSimulator, limits: tuple[float, float]
) -> None:
    with pytest.raises(ValueError, match="limits"):
        Julabo.open(simulator.path, lowest_c=limits[0], highest_c=limits[1])


def test_a_second_program_can_open_the_port_after_the_first(simulator: JulaboSimulator) -> None:
    for _ in range(3):
        chiller = Julabo.open(simulator.path, lowest_c=-10, highest_c=30, pause_s=0.0)
        assert chiller.setpoint_c() == 20.0
        chiller.close()


def test_an_unknown_framing_is_refused(simulator: JulaboSimulator) -> None:
    with pytest.raises(ValueError, match="7E1, 8N1"):
        Julabo.open(simulator.path, lowest_c=-10, highest_c=30, framing="9X9")
