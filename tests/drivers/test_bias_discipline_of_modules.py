"""The bias discipline on supplies without a bench of their own: CAEN modules and crates, iseg."""

import contextlib
from typing import Any

import pytest

from drivers.caen_a7585 import CaenA7585, CaenA7585Simulator
from drivers.caen_a7585.protocol import Register
from drivers.caen_hv import BoardSetup, CaenHv, CaenHvSimulator
from drivers.errors import InstrumentError, SetpointRefused
from drivers.faults import FaultPlan
from drivers.iseg import Iseg, IsegSimulator

from .test_bias_discipline import FAULT_RATES, Bench, Session

ECHOES_PER_REPLY = 10
DEADLINE_S = 0.5


def _module_limits(simulator: CaenA7585Simulator) -> bool:
    return simulator.register(Register.MAX_V) <= 50 and simulator.register(
        Register.MAX_MA
    ) <= 0.1 * (1 + 1e-6)


def _channel_limits(simulator: CaenHvSimulator) -> bool:
    channel = simulator.channel()
    return (
        channel.setting("MAXV") <= 50
        and channel.setting("ISET") <= 100
        and channel.power_down == "KILL"
    )


def _unit_limits(simulator: IsegSimulator) -> bool:
    channel = simulator.channel()
    return 0 < channel.trip_a <= 1e-4 * (1 + 1e-6) and channel.ask("A") == "000"


def _caen(sign: str) -> Bench:
    return Bench(
        lambda load, clock, faults: CaenHvSimulator(
            (BoardSetup(loads=(load,), polarity=sign),), clock, faults=faults
        ),
        lambda address, clock, polarity: CaenHv.open(
            address, board=0, clock=clock, polarity=polarity, deadline_s=DEADLINE_S
        ),
        _channel_limits,
        polarities=(1 if sign == "+" else -1,),
    )


BENCHES = {
    "caen_a7585": Bench(
        lambda load, clock, faults: CaenA7585Simulator(load, clock=clock, faults=faults),
        lambda address, clock, polarity: CaenA7585.open(
            address, clock=clock, polarity=polarity, deadline_s=DEADLINE_S
        ),
        _module_limits,
        polarities=(1,),
    ),
    "caen_hv": _caen("+"),
    "caen_hv of the other polarity": _caen("-"),
    "iseg": Bench(
        lambda load, clock, faults: IsegSimulator((load,), clock, faults=faults),
        lambda address, clock, polarity: Iseg.open(
            address, clock=clock, polarity=polarity, deadline_s=2.0
        ),
        _unit_limits,
        polarities=(1,),
    ),
}


class EchoSession(Session):
    """A unit that echoes: every character is a reply, and what is armed at 0 V counts as on."""

    def __init__(self, bench: Bench, seed: int) -> None:
        super().__init__(bench, seed)
        self.faults.clear()
        rates = {kind: rate / ECHOES_PER_REPLY for kind, rate in FAULT_RATES.items()}
        plan = FaultPlan.from_seed(
            seed, replies=100_000, rates=rates, late_s=(0.0, 0.4), away_s=(0.0, 0.2)
        )
        self.faults.plan_all(plan.faults)

    def open(self) -> None:
        super().open()
        simulator: Any = self.simulator

        def output_is_on() -> bool:
            armed = self.supply._armed and not self.supply._shut_off_by
            return (armed and simulator.channel().switched_on) or type(simulator).output_is_on(
                simulator
            )

        simulator.output_is_on = output_is_on


def run(name: str, seed: int) -> None:
    kind = EchoSession if name == "iseg" else Session
    session = kind(BENCHES[name], seed)
    for action in ["limits", "on", "ramp", *[""] * 12]:
        with contextlib.suppress(InstrumentError, SetpointRefused):
            session.act(action)
        session.look()
    session.end()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", BENCHES)
def test_whatever_happens_the_terminals_keep_the_rules(name, seed):
    run(name, seed)


@pytest.mark.study
@pytest.mark.parametrize("seed", range(2, 102))
@pytest.mark.parametrize("name", BENCHES)
def test_whatever_happens_the_terminals_keep_the_rules_for_a_long_time(name, seed):
    run(name, seed)
