#!/usr/bin/env python3
"""Tests of what bench/compare makes of its measurements; `cargo test --test tuning` runs them."""

import importlib.machinery
import importlib.util
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import types
import unittest

sys.dont_write_bytecode = True
BENCH = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(BENCH))

from comparison import figures, host, scenarios, systems  # noqa: E402


def script():
    loader = importlib.machinery.SourceFileLoader("compare", str(BENCH / "compare"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("compare", loader))
    loader.exec_module(module)
    return module


class Figures(unittest.TestCase):
    def test_intervals_say_what_they_cover(self):
        self.assertEqual(figures.interval([3.0]), (3.0, 3.0, 3.0, 0.0))
        self.assertEqual(figures.interval([5, 1, 2, 4, 3]), (3, 1, 5, 0.9375))
        self.assertEqual(figures.interval([6, 5, 4, 3, 2, 1]), (3.5, 1, 6, 0.96875))
        # Nine: the second and the eighth, 1 - 2 * (1 + 9) / 512.
        self.assertEqual(figures.interval(range(1, 10)), (5, 2, 8, 1 - 20 / 512))

    def test_intervals_hold_the_median_as_often_as_they_say(self):
        generator, held = random.Random(1), 0
        for _ in range(4000):
            _, low, high, _ = figures.interval([generator.expovariate(1) for _ in range(6)])
            held += low <= 0.6931 <= high
        self.assertAlmostEqual(held / 4000, 0.96875, delta=0.012)

    def test_three_windows_alike_are_steady(self):
        self.assertFalse(figures.steady([(100, 1), (100, 1)], 0.03))
        self.assertTrue(figures.steady([(50, 9), (100, 1), (101, 1.01), (102, 1.02)], 0.03))
        self.assertFalse(figures.steady([(100, 1), (101, 1), (104, 1)], 0.03))
        # Throughput stands while a compiler still works.
        self.assertFalse(figures.steady([(100, 1.2), (100, 1.1), (100, 1)], 0.03))
        self.assertFalse(figures.steady([(0, 0), (0, 0), (0, 0)], 0.03))

    def test_each_round_has_each_system_in_an_order_of_its_own(self):
        generator = random.Random(7)
        orders = [tuple(figures.shuffled(["a", "b", "c"], generator)) for _ in range(60)]
        self.assertTrue(all(sorted(order) == ["a", "b", "c"] for order in orders))
        self.assertEqual(len(set(orders)), 6)

    def test_ratios_are_of_one_round(self):
        mine = [{"figures": {"x": 4}}, {"error": "died"}, {"figures": {"x": 9}}]
        theirs = [{"figures": {"x": 2}}, {"figures": {"x": 2}}, {"figures": {"x": 3}}]
        self.assertEqual(figures.ratios(mine, theirs, "x"), [2, 3])

    def test_what_is_compared_is_equally_durable_or_said_not_to_be(self):
        durable = {name: systems.durability(name) for name in systems.SYSTEMS}
        found = {(mine, theirs): what for mine, theirs, what in figures.pairs(durable)}
        self.assertEqual(found["klamm", "kafka-fsync"], "both durable")
        self.assertEqual(found["klamm-memory", "kafka"], "neither durable")
        self.assertEqual(found["klamm", "klamm-base"], "two builds")
        self.assertIn("UNEQUAL", found["klamm", "kafka"])
        # What is not durable is divided by nothing that is.
        self.assertFalse([pair for pair in found if pair[0] == "klamm-memory" and durable[pair[1]] == "disk"])


class Host(unittest.TestCase):
    def test_all_that_was_busy_is_charged_to_the_broker_but_the_load_and_others(self):
        def state(seconds, **more):
            ticks = int(seconds * host.TICKS)
            return {"cpus": {"cpu": (15 * ticks, 0, 20 * ticks), "cpu1": (8 * ticks, 0, 10 * ticks)}, "at": 10 * seconds, **more}
        begin = state(0, load=1, broker=2, foreign=500, self=0)
        end = state(1, load=6, broker=8, foreign=500 + host.TICKS, self=0.5)
        # Busy 15 s, of which the load 5, others 1.5: 8.5 are the broker's, 2.5 more than its processes know of.
        around = host.charge(begin, end, 1)
        self.assertEqual((around["charged"], around["broker"], around["load_core_percent"]), (8.5, 6, 80))
        self.assertEqual(around["foreign_percent"], 15)
        # Never less than what its processes had.
        self.assertEqual(host.charge(begin, end | {"broker": 12}, 1)["charged"], 10)

    def test_the_kernel_is_read(self):
        found = host.cpu_ticks("cpu  10 1 20 100 5 3 4 7 9 0\ncpu0 1 0 0 0 0 0 0 0 0 0\nintr 5\n")
        self.assertEqual(found, {"cpu": (38, 7, 150), "cpu0": (1, 0, 1)})
        text = "7 (a) b) S 2 0 0 0 -1 2129984 0 0 0 0 1 2 3 4 20 0"
        self.assertEqual(host.process_times(text), (2129984, 10))
        self.assertTrue(2129984 & host.KERNEL_THREAD)

    def test_an_account_finds_who_worked(self):
        broker = types.SimpleNamespace(pids=lambda: {os.getppid()}, usage=lambda: (0.0, 0))
        account = host.Account(broker, min(os.sched_getaffinity(0)))
        subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)
        around = account.end()
        self.assertGreaterEqual(around["load"], 0.3)
        self.assertGreaterEqual(around["seconds"], around["load"])

    def test_siblings_and_cgroups(self):
        with tempfile.TemporaryDirectory() as root:
            root = pathlib.Path(root)
            topology = root / "devices/system/cpu/cpu0/topology"
            topology.mkdir(parents=True)
            (topology / "thread_siblings_list").write_text("0,4-5\n")
            self.assertEqual(host.siblings(0, root), {0, 4, 5})
            self.assertEqual(host.siblings(1, root), {1})
            mounts = root / "mounts"
            mounts.write_text("proc /proc proc rw 0 0\n")
            self.assertEqual(host.Cgroup.make(3, mounts), (None, "no cgroup v2 is mounted"))
            mounts.write_text(f"cgroup2 {root} cgroup2 rw 0 0\n")
            child = root / f"klamm-compare-{os.getpid()}"
            child.mkdir()
            (child / "cgroup.controllers").write_text("memory\n")
            (child / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
            (child / "cgroup.procs").write_text("12\n34\n")
            group, how = host.Cgroup.make(3, mounts)
            self.assertTrue(group.pins, how)
            self.assertEqual((root / "cgroup.subtree_control").read_text(), "+cpuset")
            self.assertEqual((child / "cpuset.cpus").read_text(), "3")
            self.assertEqual((group.cpu_seconds(), group.pids()), (2.5, {12, 34}))


class Runs(unittest.TestCase):
    def run_of(self, **more):
        options = {"seconds": 1, "window_seconds": 10, "warm_seconds_max": 60, "steady_percent": 3, "load_cpu": 0, "loadgen": "loadgen"}
        broker = types.SimpleNamespace(dir="/", topic=[], port=1, pid=1)
        run = scenarios.Run(types.SimpleNamespace(**options | more), broker)
        run.make_room = lambda wanted: True
        return run

    def window(self, rate, cpu=1.0):
        return {"records": 10 * rate, "seconds": 10, "bytes": 0, "why": [], "around": {"broker": cpu}}

    def test_a_load_is_repeated_until_it_is_steady(self):
        run, rates = self.run_of(), iter([50, 80, 100, 100, 101, 500])
        run.warm(lambda seconds: self.window(next(rates), 1.0))
        # The processor time a record falls with the rate here, so both are steady at once.
        self.assertEqual((run.steady, run.why, len(run.windows)), (True, [], 5))

    def test_what_is_never_steady_is_marked(self):
        run, rates = self.run_of(warm_seconds_max=10), iter(range(100, 10**9, 50))
        clock = iter(range(0, 1000, 4))
        scenarios.time, kept = types.SimpleNamespace(monotonic=lambda: next(clock)), scenarios.time
        try:
            run.options.window_seconds = 4
            run.warm(lambda seconds: self.window(next(rates)))
        finally:
            scenarios.time = kept
        self.assertFalse(run.steady)
        self.assertEqual(run.why, ["not steady after 1 windows of 4 s"])

    def test_errors_in_the_warm_up_make_it_longer(self):
        run = self.run_of()
        windows = iter([self.window(100), self.window(100) | {"errors": {"NOT_COORDINATOR": 1}}, *[self.window(100)] * 3])
        run.warm(lambda seconds: next(windows))
        self.assertEqual((run.steady, run.why, len(run.windows)), (True, [], 5))

    def test_a_run_that_is_not_valid_is_kept_with_its_reason(self):
        run = self.run_of()
        around = {"load_core_percent": 90.0, "steal_percent": 0.5, "foreign_percent": 6}
        result = run.result([], 3, json.dumps({"valid": False, "why": ["12 censored"], "errors": {}}), "") | {"around": around}
        self.assertIs(run.measured(result), result)
        self.assertEqual(run.why, ["12 censored", "load core 90.0 %, above 85 %", "foreign 6.0 %, above 5 %"])
        self.assertEqual(run.result([], 0, '{"errors": {}}', "")["why"], [])
        self.assertEqual(len(run.result([], 0, '{"errors": {"closed": 1}}', "")["why"]), 1)
        self.assertEqual(len(run.result([], 3, '{"errors": {}}', "")["why"]), 1)
        with self.assertRaisesRegex(RuntimeError, "no broker"):
            run.result(["loadgen"], 1, "", "no broker")

    def test_a_summary_has_what_there_is(self):
        rounds = {"klamm": [{"figures": {"MB/s": 300}}, {"error": "died"}], "kafka-fsync": [{"figures": {"MB/s": 100}}, {"figures": {"MB/s": 50}}]}
        names, medians, ratios = script().summary(rounds)
        self.assertEqual(names, ["MB/s"])
        self.assertEqual(medians["klamm"]["MB/s"], (300, 300, 300, 0))
        self.assertEqual(medians["kafka-fsync"]["MB/s"][0], 75)
        self.assertEqual(ratios, {"klamm / kafka-fsync": {"what": "both durable", "MB/s": (3, 3, 3, 0)}})

    def test_a_quick_run_is_not_a_fair_one(self):
        compare = script()
        sys.argv, kept = ["compare"], sys.argv
        try:
            self.assertEqual(compare.unfair(compare.parse()), [])
            sys.argv = ["compare", "--quick"]
            self.assertEqual(len(compare.unfair(compare.parse())), len(compare.FAIR))
            sys.argv = ["compare", "--steady-percent", "5"]
            self.assertEqual(compare.unfair(compare.parse()), ["--steady-percent 5 (fair: 3)"])
        finally:
            sys.argv = kept


class Peers(unittest.TestCase):
    def test_a_peer_starts_and_stops_by_its_script(self):
        with tempfile.TemporaryDirectory() as work:
            program = pathlib.Path(work) / "redpanda"
            program.write_text(f'#!/bin/sh\necho "$@" > {work}/arguments\nexec sleep 60\n')
            program.chmod(0o755)
            core = min(os.sched_getaffinity(0))

            def peer(*arguments, **more):
                environment = os.environ | {"KLAMM_PEER_REDPANDA": str(program), **more}
                return subprocess.run([BENCH / "peers/redpanda", *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.assertEqual(peer("ready").returncode, 0)
            self.assertIn("KLAMM_PEER_REDPANDA", peer("ready", KLAMM_PEER_REDPANDA="/nowhere").stderr)
            started = peer("start", "--port", "20001", "--dir", f"{work}/data", "--cpu", str(core), "write_caching_default=true")
            self.assertEqual(started.returncode, 0, started.stderr)
            pid = int(peer("pid", f"{work}/data").stdout)
            self.assertEqual(int(started.stdout), pid)
            os.kill(pid, 0)
            self.assertIn("port: 20001", (pathlib.Path(work) / "data/redpanda.yaml").read_text())
            self.assertEqual((pathlib.Path(work) / "data/.bootstrap.yaml").read_text(), "write_caching_default: true\n")
            patience = time.monotonic() + 30
            while not (pathlib.Path(work) / "arguments").exists() and time.monotonic() < patience:
                time.sleep(0.01)
            self.assertEqual(peer("stop", f"{work}/data").returncode, 0)
            self.assertRaises(ProcessLookupError, os.kill, pid, 0)
            self.assertIn("--smp 1", (pathlib.Path(work) / "arguments").read_text())

    def test_each_peer_has_a_script(self):
        for system in filter(systems.is_peer, systems.SYSTEMS):
            self.assertTrue(os.access(systems.PEERS / systems.SYSTEMS[system][0], os.X_OK), system)


if __name__ == "__main__":
    unittest.main()
