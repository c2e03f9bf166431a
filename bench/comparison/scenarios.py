"""The scenarios: what each system is asked to do, and the figures that come of it."""

import json
import shutil
import socket
import struct
import subprocess
import time

from comparison import figures, host
from comparison.systems import Wire

GIB, MIB = 1 << 30, 1 << 20
ROOM_BYTES = 4 * GIB  # What the drive keeps free.
ROOM_SECONDS_MAX = 120
LOAD_CORE_PERCENT_MAX, STEAL_PERCENT_MAX, FOREIGN_PERCENT_MAX = 85, 1, 5
EXIT_INVALID = 3


class Run:
    """One measurement of one system. `why`: what speaks against its figures."""

    def __init__(self, options, broker):
        self.options, self.broker = options, broker
        self.why, self.windows, self.steady, self.around, self.topics = [], [], None, [], 0

    def topic(self):
        """Arguments that name the topic."""
        arguments = ["--topic", f"load-{self.topics}"]
        for setting in self.broker.topic:
            arguments += ["--topic-config", setting]
        return arguments

    def command(self, command, *arguments):
        broker = ["--bootstrap-server", f"127.0.0.1:{self.broker.port}", "--broker-pid", str(self.broker.pid)]
        return ["taskset", "-c", str(self.options.load_cpu), self.options.loadgen, command, "--json", *broker, *map(str, arguments)]

    def result(self, command, code, output, error):
        """What loadgen says. A result without a fault has no `why`."""
        try:
            result = json.loads(output)
        except ValueError:
            raise RuntimeError(f"{' '.join(command)}: exit status {code}: {error.strip()}") from None
        why = list(result.get("why") or [])
        if result.get("errors") and not why:
            why.append(f"errors {result['errors']}")
        if (code or result.get("valid") is False) and not why:
            why.append(f"loadgen: not valid (exit status {code})")
        result["why"] = why
        return result

    def load(self, command, *arguments, beside=None):
        """Runs loadgen, and `beside` (another of its commands) at the same time. `around`: whose processor time that was."""
        account = host.Account(self.broker, self.options.load_cpu)
        command = self.command(command, *arguments)
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        other = subprocess.Popen(beside, **piped) if beside else None
        try:
            done = subprocess.run(command, **piped)
            output = other.communicate() if other else None
        finally:
            if other and other.poll() is None:
                other.kill()
                other.wait()
        result = self.result(command, done.returncode, done.stdout, done.stderr)
        result["around"] = account.end()
        if other:
            result["beside"] = self.result(beside, other.returncode, *output)
            result["why"] += result["beside"]["why"]
        return result

    def prepare(self, command, *arguments):
        """Load whose figures are not wanted."""
        result = self.load(command, *arguments)
        if result.get("errors") or result.get("censored"):
            raise RuntimeError(f"loadgen {command}, in preparation: {'; '.join(result['why'])}")
        return result

    def measured(self, result):
        """A result that counts: what speaks against it is kept."""
        around = result["around"]
        self.around.append(around)
        self.why += result["why"]
        for name, most in (("load_core", LOAD_CORE_PERCENT_MAX), ("steal", STEAL_PERCENT_MAX), ("foreign", FOREIGN_PERCENT_MAX)):
            if around[f"{name}_percent"] > most:
                self.why.append(f"{name.replace('_', ' ')} {around[f'{name}_percent']:.1f} %, above {most} %")
        return result

    def warm(self, load, work="records", writes=True):
        """Repeats `load(seconds)` until its throughput and the broker's processor time for each of `work` are steady."""
        options, begin, room = self.options, time.monotonic(), 0
        self.windows, self.steady = [], False
        while not self.steady:
            if time.monotonic() - begin + options.window_seconds > options.warm_seconds_max:
                self.why.append(f"not steady after {len(self.windows)} windows of {options.window_seconds:g} s")
                return
            if writes and not self.make_room(2 * room):
                self.why.append("not steady: the drive has no room for more warm-up")
                return
            result, amount = load(options.window_seconds), 0
            if not result.get("errors"):
                amount = result[work]
            room = result.get("bytes", 0) * max(1, options.seconds / options.window_seconds)
            # A window with errors counts as none of its kind: three without are needed behind it.
            self.windows.append((amount / result["seconds"], result["around"]["broker"] / max(1, amount)))
            self.steady = figures.steady(self.windows, options.steady_percent / 100)

    def make_room(self, wanted):
        """Deletes what was written if the drive has no room for `wanted` bytes more; the load goes on with a new topic."""
        def is_there():
            return shutil.disk_usage(self.broker.dir).free > wanted + ROOM_BYTES

        if is_there():
            return True
        Wire(self.broker.port).delete(f"load-{self.topics}")
        self.topics += 1
        patience = time.monotonic() + ROOM_SECONDS_MAX
        while not is_there() and time.monotonic() < patience:
            time.sleep(1)
        return is_there()


def megabytes(result):
    """A second, of those that came within the planned time."""
    return result["mib_per_second"] * MIB / 1e6


def costs(result, bytes_):
    """What a byte costs: of all that was busy for it, and of the broker's processes alone."""
    around = result["around"]
    return {"core-s/GB": around["charged"] / bytes_ * 1e9, "core-s/GB, processes": around["broker"] / bytes_ * 1e9,
            "load core %": around["load_core_percent"]}


def produced(result):
    latency = result["latency_ms"]
    return {"MB/s": megabytes(result), "records/s": result["records_per_second"],
            "p50 ms": latency["p50"], "p99 ms": latency["p99"], "p99.9 ms": latency["p999"],
            **costs(result, result["bytes"]), "RSS MiB": result["broker_rss_bytes"] / MIB}


def produce(partitions, record_bytes, batch_bytes, connections, in_flight, *more):
    def scenario(run):
        run.broker.start()

        def load(seconds):
            return run.load("produce", "--partitions", partitions, "--record-bytes", record_bytes, "--batch-bytes", batch_bytes,
                            "--connections", connections, "--in-flight", in_flight, "--seconds", seconds, *more, *run.topic())
        run.warm(load)
        return produced(run.measured(load(run.options.seconds)))
    return scenario


def latency(run):
    run.broker.start()

    def load(seconds):
        return run.load("end-to-end", "--partitions", 1, "--record-bytes", 1024, "--connections", 1, "--rate", 1000,
                        "--busy-poll", "--seconds", seconds, *run.topic())
    run.warm(load)
    result = run.measured(load(run.options.seconds))
    # The load's core looks for answers all the time, and so is always busy.
    run.why = [why for why in run.why if not why.startswith("load core")]
    flat = {f"ack {name} ms": result["latency_ms"][name] for name in ("p50", "p99", "p999")}
    delivery = result.get("delivery_ms") or result.get("end_to_end_ms") or {}
    return flat | {f"delivery {name} ms": delivery[name] for name in ("p50", "p99", "p999") if name in delivery}


FILL = ["--partitions", 16, "--record-bytes", 1024, "--batch-bytes", 262144]


def both_ways(*rate):
    """One byte in and one byte out, in steady state."""
    def scenario(run):
        run.broker.start()
        made = set()

        def load(seconds):
            if run.topics not in made:  # Readers must find it.
                run.prepare("produce", *FILL, "--records", 16 * 1024, *run.topic())
                made.add(run.topics)
            reader = run.command("consume", "--from", "latest", "--seconds", seconds + 1, *run.topic())
            return run.load("produce", *FILL, *rate, "--seconds", seconds, *run.topic(), beside=reader)
        run.warm(load)
        result = run.measured(load(run.options.seconds))
        return {"in MB/s": megabytes(result), "out/in": result["beside"]["bytes"] / result["bytes"],
                **costs(result, result["bytes"]), "core %": result["around"]["charged"] / result["around"]["seconds"] * 100}
    return scenario


def consume(cold):
    def scenario(run):
        run.broker.start()
        if cold:
            records = int(run.options.consume_gib * GIB / 1024)
            run.prepare("produce", *FILL, "--records", records, *run.topic())
            run.topics += 1
        run.prepare("produce", *FILL, "--records", GIB // 8 // 1024, *run.topic())
        if cold:
            run.broker.stop()
            run.broker.start()

        def load(seconds):
            return run.load("consume", "--connections", 4, "--seconds", seconds, "--repeat", *run.topic())
        # After the restart it reads something else than what is measured then.
        run.warm(load, writes=False)
        if cold:
            host.settle(0)
            if not host.drop_caches():
                run.why.append("the page cache cannot be dropped: reads that go through it come from memory")
            run.topics -= 1
            result = run.load("consume", "--connections", 4, "--records", records, *run.topic())
        else:
            result = load(run.options.seconds)
        run.measured(result)
        return {"MB/s": megabytes(result), **costs(result, result["bytes"])}
    return scenario


def commits(run):
    run.broker.start()

    def load(seconds):
        return run.load("commit", "--connections", 100, "--seconds", seconds)
    run.warm(load, work="commits", writes=False)
    result = run.measured(load(run.options.seconds))
    return {"commits/s": result["commits_per_second"], "p50 ms": result["latency_ms"]["p50"], "p99 ms": result["latency_ms"]["p99"],
            "core-us/commit": result["around"]["charged"] / result["commits"] * 1e6, "load core %": result["around"]["load_core_percent"]}


def million_offsets(run):
    """Until every coordinator answers, with all positions of 100 groups in 10,000 partitions."""
    run.broker.start()
    for _ in range(100):
        run.prepare("commit", "--connections", 1, "--partitions", 10_000, "--partitions-per-commit", 1000, "--records", 10)
    run.broker.kill()
    begin = time.monotonic()
    run.broker.start()
    while True:
        # ListGroups 0: an error while one of them loads.
        answer = Wire(run.broker.port).ask(16, 0, b"")
        code, groups = struct.unpack_from(">hi", answer)
        if code == 0 and groups >= 100:
            return {"start and load s": time.monotonic() - begin}
        time.sleep(0.002)


def group(*arguments):
    """A consumer alone, then a second one."""
    def scenario(run):
        run.broker.start()

        def load(_):
            run.topics += 1
            return run.load("group", "--members", 1, "--partitions", 16, "--rate", 1000, "--pattern", "4 join 1", "--seconds", 10,
                            *arguments, *run.topic())
        run.warm(load, work="records_delivered")
        result = run.measured(load(None))
        return {"first message ms": result["first_message_ms"], "rebalance ms": result["rebalance_join_ms"]["max"],
                "pause, stays ms": result["pause_kept_ms"]["max"], "pause, moves ms": result["pause_moved_ms"]["max"]}
    return scenario


def groups_idle(run):
    run.broker.start()
    result = run.measured(run.load("group", "--groups", 1000, "--members", 10, "--warmup-seconds", min(60, run.options.warm_seconds_max),
                                   "--seconds", run.options.seconds + 4))
    return {"CPU %": result["broker_cpu_seconds"] / result["seconds"] * 100, "RSS MiB": result["broker_rss_bytes"] / MIB}


def start(run):
    """The first start formats; the second one is what a restart takes."""
    first = run.broker.start()
    run.broker.stop()
    again = run.broker.start()
    return {"first ms": first * 1e3, "again ms": again * 1e3}


def crash(partitions, gib):
    def scenario(run):
        run.broker.start()
        if gib:
            run.prepare("produce", "--partitions", partitions, "--record-bytes", 1024, "--batch-bytes", 65536,
                        "--records", int(gib * GIB / 1024), *run.topic())
            create = 0
        else:
            begin = time.monotonic()
            Wire(run.broker.port).create([(f"many-{number}", 1000) for number in range(partitions // 1000)])
            create = time.monotonic() - begin
        run.broker.kill()
        seconds = run.broker.start()
        return ({"create s": create} if create else {}) | {"start after kill -9 s": seconds}
    return scenario


def idle(run):
    broker, options = run.broker, run.options
    broker.start()
    time.sleep(2)
    empty = broker.usage()[1]
    Wire(broker.port).create([("idle", 1000)])
    time.sleep(2)
    before, with_partitions = broker.usage()
    time.sleep(options.seconds)
    used = broker.usage()[0] - before
    links = [socket.create_connection(("127.0.0.1", broker.port)) for _ in range(options.idle_connections)]
    for link in links[:: max(1, len(links) // 100)]:
        link.sendall(struct.pack(">ihhih", 10, 18, 0, 1, -1))
        link.recv(4096)
    time.sleep(1)
    with_links = broker.usage()[1]
    for link in links:
        link.close()
    return {"RSS MiB": empty / MIB, "KiB/partition": (with_partitions - empty) / 1000 / 1024,
            "CPU % at 1,000 partitions": used / options.seconds * 100,
            "KiB/connection": (with_links - with_partitions) / max(1, len(links)) / 1024}


SCENARIOS = {
    "produce-16": (produce(16, 1024, 262144, 4, 5), "1 KiB records, 16 partitions, 256 KiB batches, acks=all"),
    "produce-1000": (produce(1000, 1024, 65536, 4, 5, "--partitions-per-request", 16), "1 KiB records, 1,000 partitions, 64 KiB batches"),
    "small-records": (produce(16, 100, 262144, 4, 5), "100-byte records, 16 partitions, 256 KiB batches"),
    "single-records": (produce(16, 1024, 0, 16, 100, "--rate", 20000), "20,000 requests a second of one record"),
    "latency": (latency, "1,000 records a second, one at a time: acknowledgement and delivery"),
    "both-ways": (both_ways("--rate", 200_000), "one byte in, one byte out, at 200,000 records of 1 KiB a second"),
    "both-ways-full": (both_ways(), "one byte in, one byte out, as fast as it goes"),
    "consume-memory": (consume(False), "reading what was just written"),
    "consume-disk": (consume(True), "reading old data from the drive"),
    "start": (start, "until the first answer"),
    "crash": (crash(1000, 2), "until the first answer after kill -9, 1,000 partitions, 2 GiB"),
    "crash-10000": (crash(10000, 0), "10,000 partitions: creating them, and the first answer after kill -9"),
    "commits": (commits, "offset commits of 100 connections"),
    "million-offsets": (million_offsets, "start after kill -9 with a million committed offsets"),
    "group-eager": (group("--assignor", "range"), "a group's first consumer and its second, eager; 3 s heartbeats"),
    "group-cooperative": (group("--assignor", "cooperative-sticky"), "a group's first consumer and its second, cooperative; 3 s heartbeats"),
    "groups-idle": (groups_idle, "1,000 groups of 10 members, heartbeats each 3 s"),
    "idle": (idle, "memory and processor time without load"),
}
