#!/usr/bin/python3
"""`./do bench`: runs the evaluation step by step; docs/benchmarks.md.

Each step is a program that writes raw data (docs/evaluation-data.md) into one directory.  A step that has finished is
not run again, so a run that was interrupted goes on where it was.
"""

import argparse
import datetime
import signal
import subprocess
import sys
from pathlib import Path

import plan
import progress
import record
import runner

SOURCE = Path(__file__).resolve().parents[2]
LIMIT_FACTOR = 3  # a step that takes longer than this times its estimate does not end
LIMIT_LEAST_S = 300
BUSY_PERCENT = 15  # of the processors, used by others before a step, from which a person is warned
EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def parse(arguments):
    parser = argparse.ArgumentParser(prog="./do bench", description="The evaluation: raw data, plots and a report. "
                                     "`./do bench micro` has the micro-benchmarks.")
    parser.add_argument("scenario", nargs="*", help="only these scenarios or steps; see --list")
    parser.add_argument("--quick", action="store_true", help="a short run of the most telling part, below 5 minutes")
    parser.add_argument("--list", action="store_true", help="show the steps, how long they take and which are done")
    parser.add_argument("--dir", help="where the data goes (default bench-results, or bench-results-quick)")
    parser.add_argument("--fresh", action="store_true", help="put an earlier run aside and begin anew")
    parser.add_argument("--keep-old", action="store_true",
                        help="go on although what is there was measured with other sources or options")
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.dir is None:
        options.dir = "bench-results-quick" if options.quick else "bench-results"
    return options


def estimate(step, build):
    """Seconds; what the program says, if it is built and knows."""
    try:
        said = subprocess.run(step.estimate_command(build), capture_output=True, text=True, timeout=20, check=True)
        return float(said.stdout.split()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return step.seconds


def missing(step, build):
    return not (Path(build) / step.program).exists()


def put_aside(directory):
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    old = directory.with_name(f"{directory.name}-{stamp}")
    directory.rename(old)
    print(f"the earlier run is now in {old}")


def verdict(exit_status, stopping):
    if exit_status == 0:
        return "done"
    if exit_status == runner.UNAVAILABLE:
        return "unavailable"
    return "interrupted" if stopping else "failed"


def note_for(status, exit_status, log):
    if status == "done":
        return ""
    what = "it did not end in time; " if exit_status is None else ""
    return what + (runner.last_line(log, 400) or f"exit status {exit_status}")


class Bench:
    def __init__(self, options):
        self.options = options
        self.directory = Path(options.dir)
        self.steps = plan.steps(options.quick, options.scenario)
        self.planned = {step.name: estimate(step, options.build) for step in self.steps}
        self.commands = {step.name: step.recorded() for step in self.steps}
        self.record = record.Record(self.directory, {"quick": options.quick, "scenarios": options.scenario},
                                    record.source_state(SOURCE))
        self.display = progress.Display()
        self.runner = runner.Runner()
        self.failed = []

    def list(self):
        self.record.load()
        print(f"{'step':<18} {'scenario':<14} {'takes':>9}  state")
        for step in self.steps:
            entry = self.record.step(step.name)
            state = "not built" if missing(step, self.options.build) else entry["status"] if entry else ""
            print(f"{step.name:<18} {step.scenario:<14} {progress.minutes(self.planned[step.name]):>9}  {state}")
        print(f"in all {progress.minutes(sum(self.planned.values()))}")

    def prepare(self):
        """Raises ValueError with advice when the directory holds something else."""
        if self.options.fresh and self.directory.exists():
            put_aside(self.directory)
        for name in ("rows", "samples", "series", "captures", "logs"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self.record.load()
        foreign = self.record.foreign(self.commands)
        if foreign and not self.options.keep_old:
            raise ValueError(
                f"{self.directory} has {len(foreign)} finished steps that were measured with other sources or options "
                f"({', '.join(foreign[:5])}{', …' if len(foreign) > 5 else ''}). Either\n"
                f"  --fresh      puts that run aside and begins anew,\n"
                f"  --keep-old   keeps those steps as they are and goes on with the others, or\n"
                f"  --dir DIR    uses another directory.")

    def run(self):
        self.prepare()
        pending = [step for step in self.steps if not self.record.is_finished(step.name)]
        absent = [step for step in pending if missing(step, self.options.build)]
        pending = [step for step in pending if step not in absent]
        self.clock = progress.Clock({step.name: self.planned[step.name] for step in pending})
        say = self.display.line
        if len(pending) < len(self.steps) - len(absent):
            say(f"{len(self.steps) - len(absent) - len(pending)} steps are finished already")
        for step in absent:
            say(f"{step.name}: left out, {step.program} is not built")
        say(f"{len(pending)} steps, about {progress.minutes(self.clock.remaining())}; the data goes to {self.directory}")
        signal.signal(signal.SIGINT, lambda *_: self.interrupt())
        signal.signal(signal.SIGTERM, lambda *_: self.interrupt())
        for number, step in enumerate(pending, 1):
            if self.runner.stopping:
                break
            self.run_step(step, f"[{number:2}/{len(pending)}] {step.name}")
        return self.conclude()

    def interrupt(self):
        self.runner.stop()
        self.display.line("interrupted; ending the step (once more: at once)" if self.runner.stopping == 1
                          else "ending it at once")

    def run_step(self, step, title):
        log = self.directory / "logs" / f"{step.name}.log"
        entry = self.record.begin(step.name, step.scenario, self.commands[step.name], self.planned[step.name])
        if entry["busy_before"] > BUSY_PERCENT:
            self.display.line(f"{title}: this machine is busy (others use {entry['busy_before']:.0f} % of its processors); "
                              "the figures suffer")
        self.display.begin_step()

        def tick(seconds):
            left = progress.minutes(self.clock.remaining(step.name, seconds))
            used = progress.minutes(self.clock.used(seconds))
            self.display.status(seconds, f"{title}: {used} used, {left} left | {runner.last_line(log)}")

        self.runner.on_tick = tick
        limit = max(LIMIT_LEAST_S, LIMIT_FACTOR * self.planned[step.name])
        exit_status, seconds = self.runner.run(step.command(self.options.build, self.directory), log, limit)
        status = verdict(exit_status, self.runner.stopping)
        note = note_for(status, exit_status, log)
        self.record.end(entry, status, seconds, exit_status, note)
        self.clock.done(step.name, seconds)
        if status == "failed":
            self.failed.append(step.name)
        shown = f"{title}: {status} in {progress.minutes(seconds)}, {progress.minutes(self.clock.remaining())} left"
        self.display.line(shown + (f"\n    {note}" if note else ""))

    def conclude(self):
        complete = all(self.record.is_finished(step.name) for step in self.steps)
        self.record.finish(complete)
        if self.failed:
            print(f"{len(self.failed)} of the steps failed: {', '.join(self.failed)}; what they printed is in "
                  f"{self.directory / 'logs'}. `./do bench` again repeats only these.", file=sys.stderr)
        reported = self.report()
        if self.runner.stopping:
            print("interrupted; `./do bench` again goes on from here", file=sys.stderr)
            return EXIT_INTERRUPTED
        return EXIT_FAILED if self.failed or not reported else 0

    def report(self):
        generator = SOURCE / "bench" / "evaluation" / "report.py"
        if not generator.exists():
            print("no report: bench/evaluation/report.py is not there", file=sys.stderr)
            return True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        done = subprocess.run([sys.executable, str(generator), str(self.directory)], check=False)
        return done.returncode == 0


def main(arguments):
    options = parse(arguments)
    try:
        bench = Bench(options)
        if options.list:
            bench.list()
            return 0
        return bench.run()
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
