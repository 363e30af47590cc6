"""The sandbox catches what it is there for."""

import os
import pathlib
import subprocess
import sys

import pytest

from reliability.commands import ROOT

FORBIDDEN = {
    "a write": "open(outside / 'a', 'w')",
    "a write by number": "os.open(outside / 'a', os.O_WRONLY | os.O_CREAT)",
    "a write through a link": "os.symlink(outside / 'there', inside / 'link'); open(inside / 'link', 'a')",
    "a deletion": "os.remove(outside / 'there')",
    "a move": "os.rename(inside / 'b', outside / 'b')",
    "a connection": "import socket; socket.create_connection(('127.0.0.1', 9))",
    "a name looked up": "import socket; socket.getaddrinfo('localhost', 80)",
    "a program": "import subprocess; subprocess.run(['true'])",
    "a shell": "os.system('true')",
    "a pickle": "import pickle; pickle.loads(b'cposix\\nsystem\\n.')",
}
ALLOWED = "open(inside / 'a', 'w').close(); os.rename(inside / 'a', inside / 'c'); open(outside / 'there').read()"
PROGRAM = """
import os, pathlib, sys
from reliability.sandbox import Forbidden, Sandbox
inside, outside = map(pathlib.Path, sys.argv[1:])
(outside / 'there').write_text('x')
sandbox = Sandbox([inside])
sandbox.start()
try:
    {}
except Forbidden as error:
    print('forbidden', error)
os._exit(len(sandbox.seen))
"""


def run(code: str, folder: pathlib.Path) -> subprocess.CompletedProcess:
    for name in ("inside", "outside"):
        (folder / name).mkdir()
    command = [sys.executable, "-u", "-c", PROGRAM.format(code), str(folder / "inside"), str(folder / "outside")]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_is_forbidden_is_stopped_and_noted(tmp_path, name):
    done = run(FORBIDDEN[name], tmp_path)
    assert done.stdout.startswith("forbidden "), done.stderr
    assert done.returncode == 1
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["there"]


def test_what_is_allowed_is_done(tmp_path):
    done = run(ALLOWED, tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
