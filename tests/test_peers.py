"""The watch of the processes of a run, here in threads with a made-up store; tests/reliability has real ones."""

import os
import threading
import time
import types

import pytest

from sidae_jax import peers
from sidae_jax.errors import UserError


class Ended(BaseException):
    """os._exit."""


class Store:
    def __init__(self):
        self.values = {}

    def key_value_set(self, key, value, allow_overwrite):
        assert allow_overwrite
        self.values[key] = value

    def key_value_dir_get(self, folder):
        return [(key, value) for key, value in self.values.items() if key.startswith(folder)]


class Silent(Store):
    """Of a process 0 that has gone."""

    def key_value_set(self, key, value, allow_overwrite):
        raise RuntimeError("UNAVAILABLE: Socket closed")


@pytest.fixture
def ended(monkeypatch):
    """The exit codes of processes that end at once. Their threads would go on, so their watches are over, too."""
    codes = []

    def end(code):
        codes.append(code)
        raise Ended

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    monkeypatch.setattr(peers, "_GRACE", 0.4)
    return codes


def watch(number, store, monkeypatch, timeout=2.0, count=2):
    joined = types.SimpleNamespace(client=store, process_id=number, num_processes=count)
    monkeypatch.setattr(peers.distributed, "global_state", joined)
    return peers.Watch(timeout)


def within(seconds, happened):
    deadline = time.monotonic() + seconds
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert happened()


def run(watches, bodies, until=None):
    """Runs a body in each watch at once, to their ends, or until something happens. Returns what each raised."""
    raised = [None] * len(watches)

    def one(i):
        try:
            with watches[i]:
                bodies[i]()
        except BaseException as error:
            raised[i] = error

    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(len(watches))]
    for thread in threads:
        thread.start()
    within(20, until or (lambda: not any(thread.is_alive() for thread in threads)))
    for watch in watches:
        watch._over.set()
    return raised


def fail(error):
    raise error


def test_one_that_is_done_waits_for_the_other(ended, monkeypatch):
    store, done = Store(), []
    watches = [watch(i, store, monkeypatch) for i in range(2)]
    bodies = [lambda: done.append(0), lambda: (time.sleep(3), done.append(1))]  # longer than the timeout, but alive
    start = time.monotonic()
    assert run(watches, bodies) == [None, None]
    assert (done, ended) == ([0, 1], [])
    assert 3 <= time.monotonic() - start < 6


def test_an_error_of_all_is_raised_in_all(ended, monkeypatch):
    store = Store()
    errors = [UserError("a mistake"), UserError("process 0 of this run has stopped: a mistake")]
    raised = run([watch(i, store, monkeypatch) for i in range(2)], [lambda i=i: fail(errors[i]) for i in range(2)])
    assert raised == errors
    assert ended == []


def test_an_end_of_all_leaves_each_its_time_to_clean_up(ended, monkeypatch):
    for error in UserError("the loss is nan"), SystemExit(143):
        store = Store()  # a new one, as each run has: in the old one the others have ended
        watches = [watch(i, store, monkeypatch) for i in range(2)]

        def closes_loggers(error=error, own=watches[0]):
            own.closing()
            time.sleep(5)  # longer than the grace and the timeout
            fail(error)

        assert run(watches, [closes_loggers, lambda error=error: fail(error)]) == [error, error]
    assert ended == []


def test_a_silent_process_ends_this_one_in_time(ended, monkeypatch, capfd):
    with watch(0, Store(), monkeypatch) as alone:
        start = time.monotonic()
        within(10, lambda: ended)
        assert 1.9 <= time.monotonic() - start < 6
        alone._over.set()
        alone._states[1] = ("ending", "")
    assert ended == [1]
    assert "error: process 1 of this run did not answer for config.peer_timeout=2 seconds: " in capfd.readouterr().err


def test_all_are_silent_where_process_0_does_not_answer(ended, monkeypatch, capfd):
    with watch(2, Silent(), monkeypatch, count=3) as alone:
        within(10, lambda: ended)
        alone._over.set()
        alone._states = dict.fromkeys((0, 1), ("ending", ""))
    assert "process 0 and process 1 of this run did not answer" in capfd.readouterr().err


def test_a_process_that_was_stopped_itself_does_not_blame_the_others(ended, monkeypatch):
    jump = [0.0]
    clock = types.SimpleNamespace(sleep=time.sleep, monotonic=lambda: time.monotonic() + jump[0])
    monkeypatch.setattr(peers, "time", clock)
    store = Store()

    def stopped():
        time.sleep(0.5)
        jump[0] = 3600.0
        time.sleep(0.5)

    assert run([watch(i, store, monkeypatch) for i in range(2)], [stopped, lambda: time.sleep(1)]) == [None, None]
    assert ended == []


@pytest.mark.parametrize(("error", "code"), [(UserError("the disk is full"), 2), (ValueError("a bug"), 1)])
def test_an_error_of_one_ends_the_others_with_its_reason(ended, monkeypatch, capfd, error, code):
    store = Store()
    watches = [watch(i, store, monkeypatch) for i in range(2)]
    computation = threading.Event()  # that waits for the one that has failed
    run(watches, [lambda: fail(error), computation.wait], until=lambda: len(ended) == 2)
    assert sorted(ended) == sorted([1, code])
    said = capfd.readouterr().err
    assert said.count("error: process 0 of this run has stopped: ") == 1
    assert str(error) in said


def test_a_lost_connection_is_one_sentence(ended, monkeypatch, capfd):
    gloo = RuntimeError("INTERNAL: Gloo all-reduce failed: Connection closed by peer [127.0.0.1]:40118")
    (raised,) = run([watch(0, Store(), monkeypatch)], [lambda: fail(gloo)])
    assert isinstance(raised, Ended)
    assert ended[0] == 1
    said = capfd.readouterr().err
    assert said.startswith("error: the connection to another process of this run is lost (INTERNAL: Gloo")
    assert said.count("\n") == 1
