import itertools
import threading

import pytest

from drivers.clock import RealClock, ScaledClock
from drivers.errors import (
    BrokenReply,
    InstrumentError,
    InstrumentLost,
    InstrumentRefused,
    InstrumentTimeout,
    SetpointRefused,
)
from drivers.grbl import GrblController, GrblSimulator
from drivers.keithley import Keithley2450, Keithley2450Simulator
from drivers.loopback import LineFaults, PtyEnd, SocketEnd
from drivers.transport import SerialTransport, VisaTransport, ZmqTransport

QUERIES = 300


class Echo:
    """A machine on a pseudo-terminal that says every line back."""

    def __init__(self) -> None:
        self.faults = LineFaults()
        self.end = PtyEnd(self, name="echo", faults=self.faults)
        self._unread = b""

    def receive(self, data: bytes) -> None:
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self.end.send(line + b"\n")

    def advance(self) -> None:
        return None


@pytest.fixture
def serial_echo():
    echo = Echo()
    echo.end.start()
    transport = SerialTransport(echo.end.path)
    tokens = itertools.count()

    def skip_to_a_fresh_token(exchange):
        token = f"token{next(tokens)}"
        exchange.send(token)
        while exchange.receive() != token:
            pass

    transport.verify = skip_to_a_fresh_token
    yield transport, echo.faults
    transport.close()
    echo.end.stop()


@pytest.fixture
def visa_echo():
    end = SocketEnd(lambda line: line + b"\n", name="echo")
    end.start()
    transport = VisaTransport(f"TCPIP::127.0.0.1::{end.port}::SOCKET")
    yield transport, end.faults
    transport.close()
    end.stop()


@pytest.fixture(params=["serial", "visa"])
def echo(request):
    return request.getfixturevalue(f"{request.param}_echo")


def ask_from_two_threads(*questions):
    """How many of 300 answers were wrong for each of two threads asking different things."""
    wrong = [0, 0]
    failures = []
    together = threading.Barrier(2)

    def ask(index, question):
        try:
            together.wait(5)
            for k in range(QUERIES):
                wrong[index] += not question(k)
        except (InstrumentError, ValueError) as error:
            failures.append(error)

    threads = [
        threading.Thread(target=ask, args=(index, question))
        for index, question in enumerate(questions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    return wrong


def test_two_threads_on_one_port_never_get_each_others_answers(echo):
    transport, _ = echo
    assert ask_from_two_threads(
        lambda k: transport.query(f"a{k}", deadline_s=10) == f"a{k}",
        lambda k: transport.query(f"b{k}", deadline_s=10) == f"b{k}",
    ) == [0, 0]


def test_two_threads_on_one_keithley_never_get_each_others_answers():
    simulator = Keithley2450Simulator(lambda v: 0.0, clock=ScaledClock(1000))
    simulator.start()
    source = Keithley2450.open(simulator.address, deadline_s=10)
    source.program_limits(max_voltage_v=50, compliance_a=1e-4)
    port = source._transport
    assert ask_from_two_threads(
        lambda _: port.query(":SOUR:VOLT:PROT?", deadline_s=10) == "PROT60",
        lambda _: port.query(":SOUR:VOLT:ILIM?", deadline_s=10) == "1.000000E-04",
    ) == [0, 0]
    source.close()
    simulator.stop()


def test_two_threads_on_one_grbl_never_get_each_others_answers():
    simulator = GrblSimulator(ScaledClock(1000))
    simulator.start()
    controller = GrblController.open(simulator.path, deadline_s=10)
    assert ask_from_two_threads(
        lambda _: "G54" in controller.modes(),
        lambda _: controller.command("$I")[0].startswith("[VER:1.1h"),
    ) == [0, 0]
    assert ask_from_two_threads(
        lambda _: controller.status().mode == "Alarm",
        lambda _: len(controller.offsets()) == 11,
    ) == [0, 0]
    controller.close()
    simulator.stop()


def test_the_time_spent_waiting_for_the_port_counts(echo):
    transport, _ = echo
    outcome = []

    def ask():
        try:
            transport.query("x", deadline_s=0.05)
        except InstrumentTimeout as error:
            outcome.append(str(error))

    with transport.transaction(deadline_s=10):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(10)
    assert len(outcome) == 1
    assert "busy for 0.05 s" in outcome[0]


@pytest.mark.parametrize("deadline_s", [0, -1, float("nan"), float("inf")])
def test_a_transaction_without_a_finite_deadline_is_refused(echo, deadline_s):
    transport, _ = echo
    with pytest.raises(ValueError, match="deadline"):
        transport.query("x", deadline_s=deadline_s)


def test_a_late_answer_never_reaches_the_next_question(echo):
    transport, faults = echo
    for k in range(3):
        faults.plan("late", delay_s=0.15)
        with pytest.raises(InstrumentTimeout):
            transport.query(f"slow{k}", deadline_s=0.05)
        answers = []
        while not answers:
            try:
                answers.append(transport.query(f"next{k}", deadline_s=0.3))
            except InstrumentTimeout:
                continue
        assert answers == [f"next{k}"]


def test_an_answer_that_nobody_asked_for_is_dropped_before_the_next_question(visa_echo):
    transport, _ = visa_echo
    with transport.transaction(deadline_s=5) as exchange:
        exchange.send("one\ntwo")
        assert exchange.receive() == "one"
    while not transport._input_is_waiting():
        pass
    assert transport.query("three", deadline_s=5) == "three"


def test_a_lost_answer_times_out_and_the_next_question_is_answered(echo):
    transport, faults = echo
    faults.plan("lost")
    with pytest.raises(InstrumentTimeout):
        transport.query("one", deadline_s=0.1)
    assert transport.query("two", deadline_s=5) == "two"


def test_a_truncated_answer_is_never_returned_nor_glued_to_the_next(echo):
    transport, faults = echo
    faults.plan("truncated")
    with pytest.raises(InstrumentTimeout):
        transport.query("abcdefgh", deadline_s=0.1)
    assert transport.query("two", deadline_s=5) == "two"


def test_bytes_that_are_no_text_are_a_broken_reply():
    end = SocketEnd(lambda _: b"\xff\xfe\n", name="binary")
    end.start()
    transport = VisaTransport(f"TCPIP::127.0.0.1::{end.port}::SOCKET")
    with pytest.raises(BrokenReply, match="no text"):
        transport.query("x", deadline_s=5)
    transport.close()
    end.stop()


def test_a_closed_connection_is_told_from_silence_and_made_again(visa_echo):
    transport, faults = visa_echo
    faults.plan("disconnect")
    with pytest.raises(InstrumentLost, match="closed the connection"):
        transport.query("one", deadline_s=5)
    assert transport.query("two", deadline_s=5) == "two"


def test_without_a_check_a_serial_port_with_an_answer_missing_answers_nothing_more(serial_echo):
    transport, faults = serial_echo
    transport.verify = None
    faults.plan("late", delay_s=0.1)
    with pytest.raises(InstrumentTimeout):
        transport.query("one", deadline_s=0.05)
    with pytest.raises(InstrumentLost, match="late answers"):
        transport.query("two", deadline_s=5)


def test_the_driver_checks_who_answers_after_every_resynchronisation(echo):
    transport, faults = echo
    checks = []

    def verify(exchange):
        exchange.send("who?")
        checks.append(exchange.receive())

    transport.verify = verify
    transport.query("one", deadline_s=5)
    assert checks == []
    faults.plan("lost")
    with pytest.raises(InstrumentTimeout):
        transport.query("two", deadline_s=0.1)
    assert transport.query("three", deadline_s=5) == "three"
    assert checks == ["who?"]


def test_a_check_that_fails_keeps_the_port_out_of_step(echo):
    transport, faults = echo
    answers = itertools.chain([InstrumentRefused("wrong box", port="x")] * 2, [None])

    def verify(_):
        if error := next(answers):
            raise error

    transport.verify = verify
    faults.plan("lost")
    with pytest.raises(InstrumentTimeout):
        transport.query("one", deadline_s=0.1)
    for _ in range(2):
        with pytest.raises(InstrumentRefused):
            transport.query("two", deadline_s=5)
    assert transport.query("three", deadline_s=5) == "three"


def test_an_exception_of_the_caller_inside_a_transaction_leaves_no_answer_behind(echo):
    transport, _ = echo

    def ask_and_break_off():
        with transport.transaction(deadline_s=5) as exchange:
            exchange.send("left over")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask_and_break_off()
    assert transport.query("next", deadline_s=5) == "next"


def test_a_closed_port_says_that_it_is_closed(echo):
    transport, _ = echo
    transport.close()
    with pytest.raises(InstrumentLost, match="closed"):
        transport.query("x", deadline_s=1)


def test_only_ascii_is_sent(echo):
    transport, _ = echo
    with pytest.raises(ValueError, match="ASCII"):
        transport.query("µ", deadline_s=1)


def test_a_serial_port_that_does_not_exist_says_what_to_do():
    with pytest.raises(InstrumentLost, match=r"/dev/no-such-port.*cable"):
        SerialTransport("/dev/no-such-port")


def test_a_serial_port_in_use_is_refused(serial_echo):
    transport, _ = serial_echo
    with pytest.raises(InstrumentLost, match="no other program"):
        SerialTransport(transport.port)


def test_realtime_bytes_pass_a_transaction_that_waits(serial_echo):
    transport, _ = serial_echo
    with transport.transaction(deadline_s=5) as exchange:
        thread = threading.Thread(target=transport.send_realtime, args=(b"!\n",))
        thread.start()
        assert exchange.receive() == "!"
        thread.join(5)


def test_a_zmq_answer_comes_back_in_parts(zmq_server):
    endpoint, _ = zmq_server
    transport = ZmqTransport(endpoint)
    assert transport.request(["configure", b"a: 1"], deadline_s=5) == [b"configure", b"a: 1"]
    transport.close()


def test_a_stale_zmq_answer_never_reaches_the_next_question(zmq_server):
    endpoint, hold = zmq_server
    transport = ZmqTransport(endpoint)
    for k in range(5):
        hold.set()
        with pytest.raises(InstrumentTimeout, match="slow"):
            transport.request([f"slow{k}"], deadline_s=0.05)
        hold.clear()
        assert transport.request([f"next{k}"], deadline_s=5) == [f"next{k}".encode()]
    transport.close()


def test_two_threads_on_one_zmq_port_never_get_each_others_answers(zmq_server):
    endpoint, _ = zmq_server
    transport = ZmqTransport(endpoint)
    assert ask_from_two_threads(
        lambda k: transport.request([f"a{k}"], deadline_s=10) == [f"a{k}".encode()],
        lambda k: transport.request([f"b{k}"], deadline_s=10) == [f"b{k}".encode()],
    ) == [0, 0]
    transport.close()


def test_a_closed_zmq_port_says_that_it_is_closed(zmq_server):
    transport = ZmqTransport(zmq_server[0])
    transport.request(["x"], deadline_s=5)
    transport.close()
    with pytest.raises(InstrumentLost, match="closed"):
        transport.request(["x"], deadline_s=1)


@pytest.fixture
def zmq_server():
    """A server that echoes; while ``hold`` is set it keeps its answers back."""
    import zmq

    context = zmq.Context()
    hold, stopping = threading.Event(), threading.Event()
    socket = context.socket(zmq.ROUTER)
    port = socket.bind_to_random_port("tcp://127.0.0.1")

    def serve():
        held = []
        while not stopping.is_set():
            if socket.poll(20):
                held.append(socket.recv_multipart())
            while held and not hold.is_set():
                socket.send_multipart(held.pop(0))
        socket.close(linger=0)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"tcp://127.0.0.1:{port}", hold
    stopping.set()
    thread.join(5)
    context.destroy(linger=0)


def test_an_error_says_what_where_after_what_and_what_to_do():
    error = InstrumentRefused("it says no", port="/dev/x", sent="M8", advice="Ask again.")
    assert str(error) == "it says no (port /dev/x after sending 'M8'). Ask again."


def test_every_error_has_advice_of_its_own():
    assert "cable" in str(InstrumentLost("gone", port="p"))
    assert isinstance(SetpointRefused("no", port="p"), ValueError)


def test_errors_survive_pickling():
    import pickle

    error = pickle.loads(pickle.dumps(InstrumentRefused("a", port="b", sent="c", advice="d")))
    assert (error.what, error.port, error.sent, error.advice) == ("a", "b", "c", "d")


def test_a_scaled_clock_runs_faster_and_never_back():
    fast, real = ScaledClock(1e6), RealClock()
    before_fast, before_real = fast.now_s(), real.now_s()
    fast.sleep(1000)
    assert fast.now_s() - before_fast >= 1000
    assert real.now_s() - before_real < 1000
    fast.sleep(-1)
    real.sleep(0)


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_a_clock_without_a_positive_finite_speed_is_refused(speed):
    with pytest.raises(ValueError, match="speed"):
        ScaledClock(speed)
