"""Tests of the model: formulas against simulations of their own assumptions, and against cases done by hand."""

import random
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import model
from report_test import Directory, line


class Waiting(unittest.TestCase):
    def test_an_output_at_any_time_waits_as_the_formula_says(self):
        """Against the process itself: run 25, stand 2, commit 1.5 after the pause."""
        epoch, pause, commit = 25.0, 2.0, 1.5
        rng, waits = random.Random(7), []
        for _ in range(20000):
            arrival = rng.uniform(0, epoch + pause)  # since the guest ran on
            # A guest that stands says it when it runs on, in the next epoch.
            cut = epoch if arrival < epoch else 2 * epoch + pause
            waits.append(cut + pause + commit - arrival)
        low, mean, high = model.open_wait(epoch, pause, commit)
        self.assertAlmostEqual(sum(waits) / len(waits), mean, delta=0.2)
        self.assertAlmostEqual(min(waits), low, delta=0.1)
        self.assertAlmostEqual(max(waits), high, delta=0.1)

    def test_request_after_request_takes_a_cycle(self):
        self.assertEqual(model.closed_round_trip(25, 2, 1, 0.6), 27)
        # A network that takes longer than an epoch: two cycles.
        self.assertEqual(model.closed_round_trip(25, 2, 1, 30), 54)

    def test_a_cut_on_output_costs_quiet_pause_and_commit(self):
        self.assertAlmostEqual(model.cut_round_trip(2, 0.5, 0.6), 3.4)


class SlowStart(unittest.TestCase):
    def test_rounds_double_from_ten_segments(self):
        segments = [(1, 1), (10, 1), (11, 2), (30, 2), (31, 3), (70, 3), (71, 4)]
        self.assertEqual([model.slow_start_rounds(n * model.MSS) for n, _ in segments], [r for _, r in segments])

    def test_the_line_bounds_a_round(self):
        self.assertEqual(model.slow_start_rounds(100 * model.MSS, per_round_max=10 * model.MSS), 10)

    def test_a_fetch_takes_a_cycle_more_than_its_rounds(self):
        self.assertEqual(model.buffered_fetch(10_000, 25, 2), 2 * 27)
        self.assertEqual(model.buffered_fetch(100_000, 100, 2), 4 * 102)


class Throughput(unittest.TestCase):
    def test_is_bounded_by_the_queue_only_when_epochs_are_long(self):
        self.assertEqual(model.buffered_throughput(25, 2, 143.5), 143.5)
        self.assertAlmostEqual(model.buffered_throughput(100, 2, 143.5), 0.85 * 1000 * 1448 * 8 / 1e6 / 0.102, places=6)

    def test_the_relays_buffer_bounds_fast_lines(self):
        self.assertEqual(model.relayed_throughput(25, 2, 1, 0, 143.5), 143.5)
        self.assertAlmostEqual(model.relayed_throughput(25, 2, 1, 0, 10_000), (8 << 20) * 8 / 1e6 / 0.028)

    def test_under_losses_it_goes_with_the_round_trip(self):
        self.assertAlmostEqual(model.lossy_throughput(25, 2, 1, 20, 100), 100 * 20 / 27)
        self.assertAlmostEqual(model.lossy_throughput(25, 2, 1, 80, 100), 100 * 80 / (4 * 27))


class Predictions(unittest.TestCase):
    common = {"scenario": "request-1", "direction": "", "unit": "ms"}

    def test_use_the_costs_of_the_same_measurement(self):
        with Directory() as d:
            d.put([line(metric="latency-p50", mode="unprotected", epoch="", value="0.6", **self.common),
                   line(metric="latency-p50", value="3.5", **self.common),
                   line(metric="pause", value="2", **self.common), line(metric="commit", value="0.5", **self.common),
                   line(metric="pause", value="9", epoch="100", **self.common)])
            found = model.predictions(d.run())
            self.assertEqual(len(found), 1)
            self.assertEqual(found[0].measured, 3.5)
            self.assertAlmostEqual(found[0].predicted, 3.4)

    def test_there_is_none_without_costs_or_without_unprotected(self):
        with Directory() as d:
            d.put([line(metric="latency-p50", value="3.5", **self.common)])
            self.assertEqual(model.predictions(d.run()), [])
            d.put([line(metric="latency-p50", mode="unprotected", epoch="", value="0.6", **self.common),
                   line(metric="latency-p50", value="3.5", **self.common)])
            self.assertEqual(model.predictions(d.run()), [])

    def test_there_is_none_for_an_adaptive_epoch(self):
        with Directory() as d:
            d.put([line(mode="unprotected", epoch=""), line(epoch="adaptive")])
            self.assertEqual(model.predictions(d.run()), [])


if __name__ == "__main__":
    unittest.main()
