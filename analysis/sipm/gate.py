"""The gate and the decay time of the pulses in it, as a user gives them."""


def check_gate(gate_ns: float | None, pulse_tau_ns: float | None) -> None:
    """Raises ValueError on one without the other, and on either that is not positive."""
    if (gate_ns is None) != (pulse_tau_ns is None):
        raise ValueError("gate_ns and pulse_tau_ns belong together: give both or none")
    for name, time_ns in (("gate_ns", gate_ns), ("pulse_tau_ns", pulse_tau_ns)):
        if time_ns is not None and not time_ns > 0:
            raise ValueError(f"{name} must be positive, not {time_ns}")
