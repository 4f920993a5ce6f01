"""run.json: the record of a run (docs/evaluation-data.md), and what may be taken over from it."""

import datetime
import hashlib
import json
import os
import platform
import subprocess
import time
from pathlib import Path

FORMAT = 1
FINISHED = ("done", "unavailable")


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def output_of(*command, cwd=None):
    """What a program prints, or nothing if it cannot be run."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").strip()


def source_state(source):
    """The commit of the sources and a digest of what differs from it; both empty outside git."""
    commit = output_of("git", "rev-parse", "HEAD", cwd=source)
    changes = output_of("git", "diff", "HEAD", cwd=source)
    digest = hashlib.sha256(changes.encode()).hexdigest()[:16] if changes else ""
    return {"commit": commit, "dirty": bool(changes), "changes": digest}


def first_line_with(path, word):
    try:
        for line in Path(path).read_text(errors="replace").splitlines():
            if line.startswith(word):
                return line.split(":", 1)[-1].strip()
    except OSError:
        pass
    return ""


def machine():
    memory = first_line_with("/proc/meminfo", "MemTotal").split()
    offered = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
    return {
        "cpu": first_line_with("/proc/cpuinfo", "model name"),
        "cpus": os.cpu_count(),
        "memory_mb": int(memory[0]) // 1024 if memory else 0,
        "kernel": f"{platform.system()} {platform.release()}",
        "qemu": output_of("qemu-system-x86_64", "--version").split("\n")[0],
        "congestion_controls": offered.read_text().split() if offered.exists() else [],
    }


def processor_times():
    """(busy, all) jiffies of all processors; proc(5), /proc/stat."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, idle, iowait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    busy = user + nice + system + irq + softirq + steal
    return busy, busy + idle + iowait


def busy_percent(seconds=0.3):
    """What share of the processors others use now.  (The load average would still hold the step before.)"""
    busy, whole = processor_times()
    time.sleep(seconds)
    busy_then, whole_then = processor_times()
    return 100 * (busy_then - busy) / max(1, whole_then - whole)


class Record:
    """Written after every change, so that a run that is killed can be resumed."""

    def __init__(self, directory, options, source):
        self.path = Path(directory) / "run.json"
        self.source = source
        self.data = {
            "format": FORMAT,
            "options": options,
            "machine": machine(),
            "commit": source["commit"],
            "dirty": source["dirty"],
            "started": now(),
            "ended": None,
            "complete": False,
            "steps": [],
        }
        self.found = False

    def load(self):
        """Takes over what an earlier run has left.  Raises ValueError if that is not understood."""
        if not self.path.exists():
            return
        try:
            old = json.loads(self.path.read_text())
        except ValueError as error:
            raise ValueError(f"{self.path} is not readable ({error}); remove it or use --fresh") from error
        if not isinstance(old, dict) or old.get("format") != FORMAT:
            raise ValueError(f"{self.path} has another format; use --fresh")
        self.found = True
        self.data["started"] = old["started"]
        self.data["steps"] = old["steps"]

    def step(self, name):
        return next((step for step in self.data["steps"] if step["name"] == name), None)

    def is_finished(self, name):
        step = self.step(name)
        return step is not None and step["status"] in FINISHED

    def foreign(self, commands):
        """The finished steps among `commands` (name to command) that were measured with other sources or options."""
        names = []
        for name, command in commands.items():
            step = self.step(name)
            if step is None or step["status"] not in FINISHED:
                continue
            same = all(step[key] == self.source[key] for key in ("commit", "changes")) and step["command"] == command
            if not same:
                names.append(name)
        return names

    def begin(self, name, scenario, command, planned):
        entry = {
            "name": name,
            "scenario": scenario,
            "command": command,
            "status": "interrupted",  # until something else is known
            **self.source,
            "started": now(),
            "ended": None,
            "seconds": 0,
            "planned_seconds": round(planned, 1),
            "busy_before": round(busy_percent(), 1),
            "exit": None,
            "note": "",
        }
        steps = self.data["steps"]
        self.data["steps"] = [step for step in steps if step["name"] != name] + [entry]
        self.write()
        return entry

    def end(self, entry, status, seconds, exit_status, note):
        entry.update(status=status, ended=now(), seconds=round(seconds, 1), exit=exit_status, note=note)
        self.write()

    def finish(self, complete):
        self.data.update(ended=now(), complete=complete)
        self.write()

    def write(self):
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.data, indent=1) + "\n")
        new.replace(self.path)
