"""What a person sees while the evaluation runs."""

import sys


def minutes(seconds):
    """Short for a person: 40 s, 12 min, 1 h 05 min."""
    seconds = max(0, seconds)
    if seconds < 60:
        return f"{seconds:.0f} s"
    whole = round(seconds / 60)
    return f"{whole} min" if whole < 60 else f"{whole // 60} h {whole % 60:02d} min"


class Clock:
    """Time used and time left: the plan's estimates, corrected by how long the steps so far have really taken."""

    def __init__(self, planned):
        self.planned = dict(planned)  # of the steps that are to run
        self.left = dict(planned)
        self.measured = {}

    def pace(self):
        expected = sum(self.planned[name] for name in self.measured)
        return sum(self.measured.values()) / expected if expected > 0 else 1.0

    def done(self, name, seconds):
        self.left.pop(name, None)
        self.measured[name] = seconds

    def used(self, running=0.0):
        return sum(self.measured.values()) + running

    def remaining(self, name=None, running=0.0):
        """With step `name` having run for so long."""
        total = sum(seconds for other, seconds in self.left.items() if other != name) * self.pace()
        if name in self.left:
            total += max(self.left[name] * self.pace() - running, 5)
        return total


class Display:
    """One line that is written again and again on a terminal; elsewhere a line now and then."""

    EVERY_S = 60

    def __init__(self, out=sys.stderr):
        self.out = out
        self.live = out.isatty()
        self.last = 0.0

    def line(self, text):
        self.out.write(("\r\033[K" if self.live else "") + text + "\n")
        self.out.flush()

    def status(self, seconds, text):
        if self.live:
            self.out.write("\r\033[K" + text[:150])
            self.out.flush()
        elif seconds - self.last >= self.EVERY_S:
            self.last = seconds
            self.line(text)

    def begin_step(self):
        self.last = 0.0
