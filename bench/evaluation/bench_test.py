"""The orchestrator with steps that are tiny shell scripts."""

import contextlib
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

import bench
import plan
import progress
import record
import runner


class PlanTest(unittest.TestCase):
    def test_no_two_steps_have_the_same_name(self):
        for steps in (plan.FULL + plan.EXTRA, plan.QUICK):
            names = [step.name for step in steps]
            self.assertEqual(len(names), len(set(names)))

    def test_a_scenario_or_a_step_can_be_named(self):
        self.assertEqual([step.name for step in plan.steps(False, ["bulk"])], ["bulk-from-guest", "bulk-to-guest"])
        self.assertEqual([step.name for step in plan.steps(False, ["bulk-to-guest"])], ["bulk-to-guest"])
        self.assertEqual(plan.steps(False), plan.FULL)

    def test_what_is_no_part_of_the_whole_run_can_be_named(self):
        self.assertEqual([step.name for step in plan.steps(False, ["disk"])], ["disk"])
        self.assertNotIn("disk", [step.name for step in plan.steps(False)])

    def test_an_unknown_name_is_refused_with_those_that_exist(self):
        with self.assertRaisesRegex(ValueError, "nonsense; there are: wire, bulk"):
            plan.steps(False, ["nonsense"])

    def test_every_name_of_a_step_can_be_a_file(self):
        for step in plan.FULL + plan.EXTRA + plan.QUICK:
            self.assertRegex(step.name, r"^[A-Za-z0-9_-]+$")


class ClockTest(unittest.TestCase):
    def test_the_time_left_follows_the_pace_so_far(self):
        clock = progress.Clock({"a": 100, "b": 100, "c": 50})
        self.assertEqual(clock.remaining(), 250)
        clock.done("a", 200)
        self.assertEqual(clock.remaining(), 300)
        self.assertEqual(clock.used(), 200)

    def test_a_running_step_counts_down(self):
        clock = progress.Clock({"a": 100, "b": 100})
        self.assertEqual(clock.remaining("a", 40), 160)
        self.assertEqual(clock.remaining("a", 1000), 105)

    def test_times_for_a_person(self):
        self.assertEqual(progress.minutes(42), "42 s")
        self.assertEqual(progress.minutes(610), "10 min")
        self.assertEqual(progress.minutes(3900), "1 h 05 min")


class BenchTest(unittest.TestCase):
    """Runs steps that are scripts: each appends its name to a file, then does what the test wants."""

    def setUp(self):
        space = tempfile.TemporaryDirectory()
        self.addCleanup(space.cleanup)
        self.space = Path(space.name)
        self.build = self.space / "build"
        self.results = self.space / "results"
        self.build.mkdir()
        self.steps = []
        self.state = {"commit": "c1", "dirty": False, "changes": ""}

    def step(self, name, body="exit 0", arguments=()):
        program = self.build / name
        program.write_text(textwrap.dedent(f"""\
            #!/bin/sh
            [ "$1" = --estimate ] && echo 2 && exit 0
            echo {name} >>{self.space}/ran
            {body}
            """))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.steps.append(plan.Step(name, "scenario", name, arguments))

    def ran(self):
        path = self.space / "ran"
        return path.read_text().split() if path.exists() else []

    def bench(self, *arguments):
        """Exit status and everything printed."""
        printed = io.StringIO()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        with mock.patch.object(plan, "FULL", self.steps), \
                mock.patch.object(record, "source_state", lambda source: dict(self.state)), \
                mock.patch.object(bench, "SOURCE", self.space), \
                mock.patch.object(sys, "stderr", printed), contextlib.redirect_stdout(printed), \
                mock.patch.object(progress.Display.__init__, "__defaults__", (printed,)):
            status = bench.main(["--dir", str(self.results), "--build", str(self.build), *arguments])
        for number, handler in handlers.items():
            signal.signal(number, handler)
        return status, printed.getvalue()

    def run_json(self):
        return json.loads((self.results / "run.json").read_text())

    def statuses(self):
        return {step["name"]: step["status"] for step in self.run_json()["steps"]}

    def test_every_step_runs_once_and_is_recorded(self):
        self.step("one")
        self.step("two", "echo said; exit 0")
        status, _ = self.bench()
        self.assertEqual(status, 0)
        self.assertEqual(self.ran(), ["one", "two"])
        self.assertEqual(self.statuses(), {"one": "done", "two": "done"})
        self.assertTrue(self.run_json()["complete"])
        self.assertEqual((self.results / "logs/two.log").read_text(), "said\n")
        self.assertEqual(self.run_json()["steps"][0]["planned_seconds"], 2)

    def test_a_step_is_told_where_its_data_goes(self):
        self.step("one", 'echo "$@"; exit 0', ("--rounds", "5"))
        self.bench()
        self.assertEqual((self.results / "logs/one.log").read_text(),
                         f"--rounds 5 --results {self.results} --step one\n")

    def test_a_finished_step_is_not_run_again(self):
        self.step("one")
        self.step("two", f"[ -e {self.space}/again ]")
        self.assertEqual(self.bench()[0], 1)
        (self.space / "again").touch()
        status, printed = self.bench()
        self.assertEqual(status, 0)
        self.assertEqual(self.ran(), ["one", "two", "two"])
        self.assertIn("1 steps are finished already", printed)

    def test_a_failing_step_does_not_stop_the_rest(self):
        self.step("one", "echo no such luck >&2; exit 1")
        self.step("two")
        status, printed = self.bench()
        self.assertEqual(status, 1)
        self.assertEqual(self.statuses(), {"one": "failed", "two": "done"})
        self.assertIn("no such luck", printed)
        self.assertEqual(self.run_json()["steps"][0]["note"], "no such luck")
        self.assertFalse(self.run_json()["complete"])

    def test_a_step_that_cannot_run_here_is_a_result(self):
        self.step("one", "echo this QEMU has no COLO; exit 77")
        self.assertEqual(self.bench()[0], 0)
        self.assertEqual(self.statuses(), {"one": "unavailable"})
        self.assertEqual(self.run_json()["steps"][0]["note"], "this QEMU has no COLO")
        self.bench()
        self.assertEqual(self.ran(), ["one"])

    def test_other_sources_are_not_mixed_in_silently(self):
        self.step("one")
        self.bench()
        self.state["commit"] = "c2"
        status, printed = self.bench()
        self.assertEqual(status, 2)
        self.assertIn("--fresh", printed)
        self.assertEqual(self.ran(), ["one"])
        self.assertEqual(self.bench("--keep-old")[0], 0)
        self.assertEqual(self.ran(), ["one"])
        self.assertEqual(self.run_json()["steps"][0]["commit"], "c1")

    def test_other_options_are_not_mixed_in_silently(self):
        self.step("one")
        self.bench()
        self.steps = [plan.Step("one", "scenario", "one", ("--rounds", "9"))]
        self.assertEqual(self.bench()[0], 2)

    def test_fresh_puts_the_old_run_aside(self):
        self.step("one")
        self.bench()
        self.state["commit"] = "c2"
        self.assertEqual(self.bench("--fresh")[0], 0)
        self.assertEqual(self.ran(), ["one", "one"])
        self.assertEqual(len(list(self.space.glob("results-*/run.json"))), 1)

    def test_a_program_that_is_not_built_is_left_out_with_a_word(self):
        self.step("one")
        self.steps.append(plan.Step("two", "scenario", "two"))
        status, printed = self.bench()
        self.assertEqual(status, 0)
        self.assertIn("two: left out", printed)
        self.assertFalse(self.run_json()["complete"])

    def test_an_interrupt_ends_the_step_and_the_run_can_go_on(self):
        self.step("one")
        self.step("two", f"[ -e {self.space}/again ] && exit 0; trap 'exit 130' INT; "
                         "while true; do sleep 0.05; done")
        self.step("three")

        def interrupt():
            while "two" not in self.ran():
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGINT)

        helper = threading.Thread(target=interrupt)
        helper.start()
        status, printed = self.bench()
        helper.join()
        self.assertEqual(status, 130)
        self.assertIn("interrupted", printed)
        self.assertEqual(self.statuses(), {"one": "done", "two": "interrupted"})
        (self.space / "again").touch()
        self.assertEqual(self.bench()[0], 0)
        self.assertEqual(self.ran(), ["one", "two", "two", "three"])

    def test_a_step_that_does_not_end_is_ended(self):
        self.step("one", "trap 'exit 1' INT; while true; do sleep 0.05; done")
        with mock.patch.object(bench, "LIMIT_LEAST_S", 1), mock.patch.object(bench, "LIMIT_FACTOR", 0.5):
            self.assertEqual(self.bench()[0], 1)
        self.assertIn("did not end in time", self.run_json()["steps"][0]["note"])

    def test_a_program_that_ignores_the_signal_is_killed(self):
        self.step("one", "trap '' INT TERM; while true; do sleep 0.05; done")
        with mock.patch.object(bench, "LIMIT_LEAST_S", 1), mock.patch.object(bench, "LIMIT_FACTOR", 0.5), \
                mock.patch.object(runner, "SIGNAL_PATIENCE_S", 0.5):
            self.assertEqual(self.bench()[0], 1)
        self.assertEqual(self.statuses(), {"one": "failed"})

    def test_a_broken_record_is_refused(self):
        self.step("one")
        self.results.mkdir()
        (self.results / "run.json").write_text("{")
        status, printed = self.bench()
        self.assertEqual(status, 2)
        self.assertIn("--fresh", printed)

    def test_the_list_shows_what_is_done(self):
        self.step("one")
        self.step("two", "exit 1")
        self.bench()
        status, printed = self.bench("--list")
        self.assertEqual(status, 0)
        self.assertRegex(printed, r"one +scenario +2 s  done")
        self.assertRegex(printed, r"two +scenario +2 s  failed")
        self.assertIn("in all 4 s", printed)


@unittest.skipUnless(os.geteuid() == 0 and Path("/run/netns").exists(), "needs root and network namespaces")
class SweepTest(unittest.TestCase):
    def test_namespaces_of_a_program_that_was_killed_are_deleted(self):
        child = subprocess.Popen(["true"])
        child.wait()
        name = f"us-{child.pid}-test"
        if subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode != 0:
            self.skipTest("cannot make a network namespace")
        self.assertEqual(runner.namespaces_of(child.pid), [name])
        inside = subprocess.Popen(["ip", "netns", "exec", name, "sleep", "600"])
        while str(inside.pid) not in subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True,
                                                    check=False).stdout.split():
            time.sleep(0.02)
        files = Path(tempfile.gettempdir()) / f"understudy-us-{child.pid}-test"
        files.mkdir()
        runner.sweep(child.pid)
        self.assertEqual(runner.namespaces_of(child.pid), [])
        self.assertEqual(inside.wait(10), -signal.SIGKILL)
        self.assertFalse(files.exists())


if __name__ == "__main__":
    unittest.main()
