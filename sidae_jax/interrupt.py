"""To be imported first by every program: a Ctrl-C from here on, also during its slow imports, ends it in one line."""

import sys
from types import TracebackType

_before = sys.excepthook


def _hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        _before(kind, error, traceback)


sys.excepthook = _hook
