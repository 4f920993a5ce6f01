"""Tests of the report: synthetic data whose right answers are known by construction."""

import contextlib
import io
import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import report
import report_claims
import report_data
import report_text
from report_data import KEY, TAIL, Run, quantile, spread


def line(scenario="bulk", params="", mode="accelerated", epoch="25", direction="guest-to-client", number=1,
         metric="throughput", value="100", unit="Mbit/s", rtt="0", loss="0", count=None):
    middle = [metric, value] + ([count] if count is not None else [])
    return [scenario, params, mode, epoch, direction, "1500", rtt, loss, "cubic", str(number), *middle, unit]


class Directory:
    """A run directory that is gone after the test."""

    def __init__(self):
        self.holder = tempfile.TemporaryDirectory()
        self.path = Path(self.holder.name)
        self.info({"format": 1, "machine": {"cpus": 2}, "commit": "abc", "complete": True, "steps": []})

    def info(self, value):
        (self.path / "run.json").write_text(json.dumps(value), encoding="utf-8")

    def put(self, lines, kind="rows", step="s"):
        (self.path / kind).mkdir(exist_ok=True)
        text = "\n".join(",".join(fields) for fields in [KEY + TAIL[kind], *lines]) + "\n"
        (self.path / kind / f"{step}.csv").write_text(text, encoding="utf-8")

    def run(self):
        return Run(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.holder.cleanup()


def only(figures, **wanted):
    found = [f for f in figures if all(getattr(f, k) == v for k, v in wanted.items())]
    assert len(found) == 1, found
    return found[0]


class Ratios(unittest.TestCase):
    def test_are_formed_within_a_round_and_their_median_is_taken(self):
        with Directory() as d:
            d.put([line(mode="unprotected", epoch="", number=n, value=v) for n, v in ((1, "100"), (2, "200"), (3, "400"))]
                  + [line(number=n, value=v) for n, v in ((1, "90"), (2, "100"), (3, "400"))])
            figure = only(d.run().figures(), mode="accelerated")
            self.assertEqual(figure.ratio, report_data.Spread(0.9, 0.5, 1.0, 3))
            # The ratio of the medians would be 0.5.
            self.assertEqual(figure.value, report_data.Spread(100.0, 90.0, 400.0, 3))

    def test_a_round_without_its_partner_gives_none(self):
        with Directory() as d:
            d.put([line(mode="unprotected", epoch="", number=1, value="100"), line(number=1, value="50"),
                   line(number=2, value="70")])
            figure = only(d.run().figures(), mode="accelerated")
            self.assertEqual(figure.ratio, report_data.Spread(0.5, 0.5, 0.5, 1))
            self.assertEqual(figure.value.n, 2)

    def test_are_not_formed_across_loads(self):
        for other in ({"direction": "client-to-guest"}, {"rtt": "20"}, {"loss": "0.01"}, {"params": "flows=4"},
                      {"metric": "fairness"}, {"scenario": "both-ways"}, {"unit": "Gbit/s"}):
            with Directory() as d, self.subTest(other):
                d.put([line(mode="unprotected", epoch="", **other), line()])
                self.assertIsNone(only(d.run().figures(), mode="accelerated").ratio)

    def test_are_not_formed_across_steps(self):
        with Directory() as d:
            d.put([line(mode="unprotected", epoch="")], step="one")
            d.put([line()], step="two")
            self.assertIsNone(only(d.run().figures(), mode="accelerated").ratio)

    def test_a_reference_of_zero_gives_none(self):
        with Directory() as d:
            d.put([line(mode="unprotected", epoch="", value="0"), line()])
            self.assertIsNone(only(d.run().figures(), mode="accelerated").ratio)

    def test_the_median_of_an_even_number_is_between_the_two_in_the_middle(self):
        self.assertEqual(spread([4, 1, 2, 100]), report_data.Spread(3.0, 1, 100, 4))
        self.assertIsNone(spread([]))


class Reading(unittest.TestCase):
    def test_a_damaged_line_is_left_out_and_named(self):
        damaged = [["only", "three", "fields"], line(value="fast"), line(value="nan"), line(value="inf"),
                   line(number="one"), line(metric="")]
        for fields in damaged:
            with Directory() as d, self.subTest(fields):
                d.put([line(number=1), fields, line(number=3)])
                run = d.run()
                self.assertEqual([row.round for row in run.rows], [1, 3])
                self.assertEqual(len(run.problems), 1)
                self.assertIn("rows/s.csv, line 3", run.problems[0])

    def test_a_file_with_other_columns_is_left_out_and_named(self):
        with Directory() as d:
            (d.path / "rows").mkdir()
            (d.path / "rows" / "x.csv").write_text("a,b,c\n1,2,3\n", encoding="utf-8")
            (d.path / "rows" / "empty.csv").write_text("", encoding="utf-8")
            run = d.run()
            self.assertEqual(run.rows, [])
            self.assertEqual(len(run.problems), 2)

    def test_bytes_that_are_no_text_do_not_end_the_program(self):
        with Directory() as d:
            (d.path / "rows").mkdir()
            (d.path / "rows" / "x.csv").write_bytes(b"\xff\xfe\x00" * 50)
            self.assertEqual(len(d.run().problems), 1)

    def test_many_damaged_lines_are_counted_not_listed(self):
        with Directory() as d:
            d.put([line(value="x") for _ in range(50)])
            run = d.run()
            self.assertEqual(len(run.problems), report_data.PROBLEMS_SHOWN_PER_FILE + 1)
            self.assertIn("47 more", run.problems[-1])

    def test_a_missing_or_damaged_run_json_is_said(self):
        with Directory() as d:
            (d.path / "run.json").unlink()
            self.assertIn("run.json is missing", d.run().problems[0])
            (d.path / "run.json").write_text("{", encoding="utf-8")
            self.assertIn("cannot be read", d.run().problems[0])
            d.info([1])
            self.assertIn("not an object", d.run().problems[0])
            d.info({"format": 2})
            self.assertIn("format 2", d.run().problems[0])

    def test_of_two_rows_with_one_key_the_later_counts_and_it_is_said(self):
        with Directory() as d:
            d.put([line(value="1"), line(value="2")])
            run = d.run()
            self.assertEqual([row.value for row in run.rows], [2.0])
            self.assertIn("1 rows have the same key", run.problems[0])

    def test_quoted_fields_are_read(self):
        with Directory() as d:
            d.put([line(params='"note=a,b"')])
            self.assertEqual(report_data.params_of(d.run().rows[0].load), {"note": "a,b"})


class Distributions(unittest.TestCase):
    def test_quantiles_count_bins(self):
        bins = [(1.0, 50), (2.0, 49), (9.0, 1)]
        self.assertEqual(quantile(bins, 0.5), 1.0)
        self.assertEqual(quantile(bins, 0.51), 2.0)
        self.assertEqual(quantile(bins, 0.99), 2.0)
        self.assertEqual(quantile(bins, 1.0), 9.0)
        self.assertIsNone(quantile([], 0.5))

    def test_rounds_are_put_together(self):
        with Directory() as d:
            d.put([line(metric="latency", value="2", count="3", number=1), line(metric="latency", value="1", count="1"),
                   line(metric="latency", value="2", count="4", number=2)], kind="samples")
            run = d.run()
            load = run.samples[0].load
            self.assertEqual(run.distribution(load, "accelerated", "25"), [(1.0, 1), (2.0, 7)])

    def test_a_percentile_needs_samples_above_it(self):
        with Directory() as d:
            d.put([line(metric="latency", value="2", count="499"), line(metric="latency", value="9", count="6")],
                  kind="samples")
            self.assertIn("| 2.00 | 2.00 | 9.00 | too few | 505 |", report_text.percentiles(d.run()))

    def test_a_count_below_one_is_damage(self):
        with Directory() as d:
            d.put([line(metric="latency", count="0")], kind="samples")
            run = d.run()
            self.assertEqual(run.samples, [])
            self.assertEqual(len(run.problems), 1)


def verdict(run, name):
    return next(v for v in report_claims.judge(run) if v.claim.name == name)


class Claims(unittest.TestCase):
    def test_without_data_there_is_no_verdict(self):
        with Directory() as d:
            self.assertEqual({v.word for v in report_claims.judge(d.run())}, {report_claims.NO_DATA})

    def test_bulk_holds_at_the_bound_and_fails_below_it(self):
        for value, word in (("95", report_claims.HOLDS), ("94.9", report_claims.FAILS)):
            with Directory() as d:
                d.put([line(mode="unprotected", epoch=""), line(value=value)])
                self.assertEqual(verdict(d.run(), "bulk").word, word)

    def test_one_failing_load_fails_the_claim_and_is_named(self):
        with Directory() as d:
            d.put([line(mode="unprotected", epoch=""), line(), line(epoch="100", value="60")])
            run = d.run()
            found = verdict(run, "bulk")
            self.assertEqual(report_claims.sentence(found), "**does not hold** (1 of 2 hold)")
            self.assertIn("bulk, guest to client, epoch 100 ms: 0.600", report_text.verdicts([found]))

    def test_a_ratio_without_a_partner_is_no_data(self):
        with Directory() as d:
            d.put([line()])
            self.assertEqual(verdict(d.run(), "bulk").word, report_claims.NO_DATA)

    def test_the_bound_of_a_request_comes_from_the_pause_and_commit_of_the_same_measurement(self):
        def rows(latency):
            common = {"scenario": "request-1", "direction": "", "unit": "ms"}
            return [line(metric="latency-p50", value=latency, **common), line(metric="pause", value="2", **common),
                    line(metric="commit", value="1.5", **common),
                    line(metric="pause", value="50", epoch="100", **common)]
        for latency, word in (("5.5", report_claims.HOLDS), ("5.6", report_claims.FAILS)):
            with Directory() as d:
                d.put(rows(latency))
                self.assertEqual(verdict(d.run(), "request").word, word)

    def test_a_fetch_may_cost_two_cuts_more_than_unprotected(self):
        common = {"scenario": "fetch-10K", "direction": "", "unit": "ms", "params": "line=wire;mbit=150"}
        for time, word in (("10", report_claims.HOLDS), ("10.1", report_claims.FAILS)):
            with Directory() as d:
                d.put([line(metric="latency-p50", mode="unprotected", epoch="", value="3", **common),
                       line(metric="latency-p50", value=time, **common), line(metric="pause", value="2", **common),
                       line(metric="commit", value="1.5", **common)])
                self.assertEqual(verdict(d.run(), "fetch").word, word)

    def test_a_kept_connection_is_not_judged_as_a_new_one(self):
        common = {"scenario": "fetch-10K-kept", "direction": "", "unit": "ms"}
        with Directory() as d:
            d.put([line(metric="latency-p50", mode="unprotected", epoch="", value="3", **common),
                   line(metric="latency-p50", value="100", **common), line(metric="pause", value="2", **common),
                   line(metric="commit", value="1.5", **common)])
            self.assertEqual(verdict(d.run(), "fetch").word, report_claims.NO_DATA)

    def test_a_takeover_is_judged_by_the_median_silence_beyond_detection(self):
        def kill(n, stall):
            common = {"scenario": "takeover", "direction": "", "unit": "ms", "number": n,
                      "params": "fault=kill;load=idle;client=ping"}
            return [line(metric="stall", value=str(stall), **common), line(metric="detection", value="100", **common)]
        for stalls, word in (((150, 190, 900), report_claims.HOLDS), ((150, 201, 202), report_claims.FAILS)):
            with Directory() as d:
                d.put([row for n, stall in enumerate(stalls) for row in kill(n + 1, stall)])
                self.assertEqual(verdict(d.run(), "takeover").word, word)

    def test_independence_of_the_epoch_compares_fixed_lengths_of_one_load(self):
        common = {"scenario": "request-1", "direction": "", "unit": "ms", "metric": "latency-p50"}
        with Directory() as d:
            d.put([line(value="4", epoch="25", **common), line(value="5", epoch="100", **common),
                   line(value="50", epoch="adaptive", **common)])
            self.assertEqual(verdict(d.run(), "request-epoch").word, report_claims.HOLDS)
            d.put([line(value="4", epoch="25", **common), line(value="5.1", epoch="100", **common)])
            self.assertEqual(verdict(d.run(), "request-epoch").word, report_claims.FAILS)


class Text(unittest.TestCase):
    def test_numbers_keep_what_says_something(self):
        said = [report_claims.number(v) for v in (0, 0.00123, 0.5, 9.999, 10, 143.46, 12345.6)]
        self.assertEqual(said, ["0.00", "0.0012", "0.50", "10.00", "10.0", "143.5", "12346"])

    def test_a_cell_shows_value_spread_and_ratio(self):
        with Directory() as d:
            d.put([line(mode="unprotected", epoch="", number=n) for n in (1, 2)]
                  + [line(number=1, value="50"), line(number=2, value="70")])
            self.assertEqual(report_text.cell(only(d.run().figures(), mode="accelerated")),
                             "60.0 (50.0–70.0); **0.60** (0.50–0.70)")

    def test_titles_name_what_differs_and_once_what_is_common(self):
        with Directory() as d:
            d.put([line(rtt="20", params="mbit=150;flows=4"), line(rtt="20", direction="client-to-guest", loss="0.01",
                                                                   params="mbit=150;flows=4")])
            common, own = report_data.titles([row.load for row in d.run().rows])
            self.assertEqual(common, "20 ms, MTU 1500, client cubic, flows 4")
            self.assertEqual(own, ["from the guest", "to the guest, loss 1 %"])

    def test_equal_loads_of_two_steps_are_told_apart(self):
        with Directory() as d:
            d.put([line(mode="unprotected", epoch=""), line()], step="one")
            d.put([line()], step="two")
            text = report_text.figure_table(d.run().figures())
            self.assertIn("| step one | `unprotected` |", text)
            self.assertIn("| step two | `accelerated` |", text)

    def test_an_incomplete_run_of_several_commits_says_so(self):
        with Directory() as d:
            d.info({"format": 1, "complete": False, "steps": [{"name": "a", "status": "done", "commit": "1"},
                                                              {"name": "b", "status": "done", "commit": "2"}]})
            text = report_text.machine(d.run())
            self.assertIn("not complete", text)
            self.assertIn("2 different commits", text)

    def test_a_note_cannot_break_the_table_of_steps(self):
        with Directory() as d:
            d.info({"format": 1, "steps": [{"name": "colo", "status": "failed", "note": "a | b\nc"}]})
            self.assertEqual(report_text.steps(d.run()).splitlines()[-1], "| colo | failed | - | - | a / b c |")

    def test_html_escapes_what_the_data_say(self):
        page = report.to_html("| a |\n|---|\n| <script> `x<y` |\n\ntext **bold**\n")
        self.assertIn("<td>&lt;script&gt; <code>x&lt;y</code></td>", page)
        self.assertIn("<p>text <b>bold</b></p>", page)


class Disks(unittest.TestCase):
    @staticmethod
    def rows(replicated):
        common = {"scenario": "disk-fsync", "direction": "", "params": "cache=writeback"}
        return [line(metric=metric, value=value, unit="1/s", mode=mode, epoch="25" if mode == "replicated" else "", **common)
                for metric, mode, value in (("iops", "stock", "400"), ("iops", "unprotected", "380"),
                                            ("iops", "replicated", replicated), ("iops-wall", "stock", "400"),
                                            ("iops-wall", "replicated", "300"))] + [
            line(metric="paused", value="12", unit="%", mode="replicated", **common)]

    def test_are_compared_with_stock_in_the_guests_time_and_by_the_wall(self):
        with Directory() as d:
            d.put(self.rows("360"))
            self.assertEqual(report_text.disks(d.run()).splitlines()[2:],
                             ["| fsync, cache writeback | `stock` | 400.0 1/s |  |  |  | 1 |",
                              "|  | `unprotected` | 380.0 1/s | **0.95** |  |  | 1 |",
                              "|  | `replicated` | 360.0 1/s | **0.90** | **0.75** | 12.0 % | 1 |"])
            self.assertEqual(report_text.figures(d.run()), "")

    def test_the_goal_is_a_share_of_stock(self):
        for rate, word in (("340", report_claims.HOLDS), ("339", report_claims.FAILS)):
            with Directory() as d:
                d.put(self.rows(rate))
                self.assertEqual(verdict(d.run(), "disks").word, word)


class Page(unittest.TestCase):
    def test_only_what_stands_between_the_markers_changes(self):
        page = "before\n<!-- begin claims -->\nold\n<!-- end claims -->\nafter\n"
        self.assertEqual(report.fill(page, {"claims": "new \\1\n"}),
                         "before\n<!-- begin claims -->\nnew \\1\n<!-- end claims -->\nafter\n")

    def test_a_marker_that_nobody_knows_or_that_does_not_end_is_an_error(self):
        with self.assertRaises(ValueError):
            report.fill("<!-- begin nonsense -->\n<!-- end nonsense -->\n", {"claims": ""})
        with self.assertRaises(ValueError):
            report.fill("<!-- begin claims -->\nold\n", {"claims": ""})

    def test_what_was_not_measured_is_said_in_the_page(self):
        with Directory() as d:
            page = d.path / "page.md"
            page.write_text("<!-- begin figures-bulk -->\n<!-- end figures-bulk -->\n"
                            "<!-- begin plot-throughput -->\nold\n<!-- end plot-throughput -->\n", encoding="utf-8")
            report.fill_page(page, d.run(), [], [], [], d.path)
            self.assertIn("`bulk` was not measured in this run", page.read_text(encoding="utf-8"))
            self.assertIn("No data for the plot `throughput`", page.read_text(encoding="utf-8"))


class Whole(unittest.TestCase):
    def test_an_empty_directory_gives_a_report_that_says_that_all_is_missing(self):
        with Directory() as d:
            with contextlib.redirect_stdout(io.StringIO()):
                self.assertEqual(report.main([str(d.path)]), 0)
            text = (d.path / "report" / "report.md").read_text(encoding="utf-8")
            self.assertIn("Nothing was measured.", text)
            self.assertIn("no data", text)
            self.assertTrue((d.path / "report" / "report.html").exists())


if __name__ == "__main__":
    unittest.main()
