"""Python's audit hooks as a sandbox: what a program must never do with a hostile file is noted, and stopped."""

import os
import sys
import threading
from collections.abc import Iterable
from typing import Any

_NETWORK = (
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.sendto",
    "urllib.Request",
)
_RUN = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.forkpty",
    "pty.spawn",
    "os.startfile",
)
_PICKLE = ("pickle.find_class", "webbrowser.open")
# events, and their arguments that are paths which are changed, each with that of the folder it is relative to
_CHANGES: dict[str, tuple[tuple[int, int | None], ...]] = {
    **dict.fromkeys(("os.remove", "os.rmdir", "shutil.rmtree"), ((0, 1),)),
    **dict.fromkeys(("os.mkdir", "os.chmod"), ((0, 2),)),
    **dict.fromkeys(("os.truncate", "os.utime", "os.chown"), ((0, None),)),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
}
_NOWHERE = ("/dev/null", f"/proc/{os.getpid()}/clear_refs")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Forbidden(BaseException):
    """No program catches it by chance."""


class Sandbox:
    """Watches this process from `start` on; it cannot be taken off.

    Attributes:
      seen: what was forbidden, in words.
    """

    def __init__(self, roots: Iterable[str | os.PathLike]):
        """Allows writing below these folders alone."""
        self._roots = [os.path.realpath(root) for root in roots]
        self.seen: list[str] = []
        self._busy = threading.local()

    def start(self) -> None:
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if getattr(self._busy, "on", False):  # of what follows here
            return
        self._busy.on = True
        try:
            problem = self._problem(event, arguments)
        finally:
            self._busy.on = False
        if problem:
            self.seen.append(problem)
            raise Forbidden(problem)

    def _problem(self, event: str, arguments: tuple[Any, ...]) -> str | None:
        if event in _NETWORK or event in _PICKLE:
            return f"{event} {arguments!r:.200}"
        if event in _RUN and not (event == "subprocess.Popen" and list(arguments[1])[:1] == ["git"]):
            return f"{event} {arguments!r:.200}"
        if event == "open":
            path, mode, flags = arguments
            writes = flags & _WRITING if isinstance(flags, int) else set(str(mode)) & set("wax+")
            return self._outside(path) if writes else None
        for position, of_folder in _CHANGES.get(event, ()):
            folder = arguments[of_folder] if of_folder is not None and of_folder < len(arguments) else None
            if problem := self._outside(arguments[position], folder, follow=event in ("os.truncate", "os.chmod")):
                return f"{event}: {problem}"
        return None

    def _outside(self, path: Any, folder: int | None = None, *, follow: bool = True) -> str | None:
        if isinstance(path, int) or path is None:  # opened before
            return None
        path = os.fsdecode(path)
        if isinstance(folder, int) and folder >= 0:
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
        parent, name = os.path.split(os.path.abspath(path))
        real = os.path.realpath(path) if follow else os.path.join(os.path.realpath(parent), name)
        if real in _NOWHERE or any(os.path.commonpath([real, root]) == root for root in self._roots):
            return None
        return f"{real} is written"
