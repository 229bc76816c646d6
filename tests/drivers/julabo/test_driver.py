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
)
from drivers.faults import FaultPlan
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


def test_a_set_point_beyond_the_circulator_s_limits_is_refused(simulator: JulaboSimulator) -> None:
    chiller = Julabo.open(simulator.path, lowest_c=-50.0, highest_c=90.0, pause_s=0.0)
    with pytest.raises(SetpointRefused, match="VALUE TOO SMALL"):
        chiller.set_temperature(-40.0)
    chiller.set_temperature(1.0)
    assert chiller.setpoint_c() == 1.0
    chiller.close()


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


def test_a_second_program_can_open_the_port_after_the_first(simulator: JulaboSimulator) -> None:
    for _ in range(3):
        chiller = Julabo.open(simulator.path, lowest_c=-10, highest_c=30, pause_s=0.0)
        assert chiller.setpoint_c() == 20.0
        chiller.close()


def test_an_unknown_framing_is_refused(simulator: JulaboSimulator) -> None:
    with pytest.raises(ValueError, match="7E1, 8N1"):
        Julabo.open(simulator.path, lowest_c=-10, highest_c=30, framing="9X9")
