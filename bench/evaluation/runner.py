"""Runs one step: a program in a session of its own, whose end by whatever means leaves nothing behind."""

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

UNAVAILABLE = 77
SIGNAL_PATIENCE_S = 30  # a program takes its machines down meanwhile
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def last_line(path, limit=100):
    """The last line of a log that is being written."""
    try:
        with open(path, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 4096))
            lines = log.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip()[:limit] if lines else ""


def namespaces_of(pid):
    """Network namespaces that a program has named after its process id, as the benchmarks do."""
    directory = Path("/run/netns")
    return sorted(path.name for path in directory.glob(f"us-{pid}-*")) if directory.exists() else []


def sweep(pid):
    """Ends what a program that was killed has left in its namespaces, and deletes them and its machines' files."""
    for name in namespaces_of(pid):
        listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
        for word in listed.stdout.split():
            try:
                os.kill(int(word), signal.SIGKILL)
            except ProcessLookupError:
                pass
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    for directory in Path(tempfile.gettempdir()).glob(f"understudy-us-{pid}-*"):
        shutil.rmtree(directory, ignore_errors=True)


class Runner:
    """`on_tick(seconds)` is called a few times a second while a program runs."""

    def __init__(self, on_tick=lambda seconds: None):
        self.on_tick = on_tick
        self.stopping = 0  # how often it was asked to stop
        self._child = None

    def stop(self):
        """From a signal handler: the program is asked to end; the second time it is killed."""
        self.stopping += 1
        if self._child is not None:
            self._send(signal.SIGINT if self.stopping == 1 else signal.SIGKILL)

    def _send(self, number):
        try:
            os.kill(self._child.pid, number)
        except ProcessLookupError:
            pass

    def run(self, command, log_path, limit):
        """Returns (exit status, seconds); the status is negative after a signal and None past the limit."""
        begin = time.monotonic()
        with open(log_path, "wb") as log:
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           start_new_session=True, preexec_fn=_die_with_parent)
        late = self._wait(begin, limit)
        pid, status = self._child.pid, self._child.returncode
        self._child = None
        sweep(pid)
        return (None if late else status), time.monotonic() - begin

    def _wait(self, begin, limit):
        late, stop_begin = False, None
        while self._child.poll() is None:
            time.sleep(0.2)
            now = time.monotonic()
            self.on_tick(now - begin)
            if now - begin > limit and not late:
                late = True
                self._send(signal.SIGINT)
            if stop_begin is None and (late or self.stopping):
                stop_begin = now
            if stop_begin is not None and now - stop_begin > SIGNAL_PATIENCE_S:
                self._send(signal.SIGKILL)
        return late
