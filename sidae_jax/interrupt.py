"""Makes a Ctrl-C end a program with one line. Every program imports it first, before its slow imports."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

_before = sys.excepthook


def _hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        _before(kind, error, traceback)


sys.excepthook = _hook


@contextlib.contextmanager
def heard(numbers: Sequence[signal.Signals], react: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Calls react(signal) at once, in a thread of its own, for each of these signals.

    A handler of Python's may wait for minutes until the main thread is back from XLA. If it raises KeyboardInterrupt
    while XLA compiles, the interpreter's end frees what the compiler's threads still use: a segmentation fault.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)  # as signal.set_wakeup_fd wants it
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    writer_before = signal.set_wakeup_fd(writer)

    def listen() -> None:
        while number := os.read(reader, 1):
            if number[0] in numbers:
                react(signal.Signals(number[0]))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(writer_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writer)
        thread.join()
        os.close(reader)


def end_at_once(number: signal.Signals, message: str = "interrupted") -> None:
    """Ends the process from any thread, whatever the others do; files are written atomically, so none is cut short."""
    os.write(2, f"{message}\n".encode())
    for stream in (1, 2):
        if os.isatty(stream):
            os.write(stream, b"\x1b[?25h")  # shows the cursor, which a progress bar hides
    os._exit(128 + number)
