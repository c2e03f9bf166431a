"""The systems: how each is started, stopped and asked what it costs."""

import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from comparison import host

MIB = 1 << 20
START_SECONDS_MAX = 120
PEERS = pathlib.Path(__file__).resolve().parent.parent / "peers"


class Wire:
    """Just enough of the protocol to ask for what loadgen does not."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS_MAX)

    def ask(self, api, version, body):
        header = struct.pack(">hhih", api, version, 1, -1)
        self.socket.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
        length = struct.unpack(">i", self.read(4))[0]
        return self.read(length)[4:]

    def read(self, count):
        parts = []
        while count > 0:
            part = self.socket.recv(min(count, MIB))
            if not part:
                raise ConnectionError("closed")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def create(self, topics):
        """CreateTopics 2: (name, partitions) of each."""
        body = struct.pack(">i", len(topics))
        for name, partitions in topics:
            name = name.encode()
            body += struct.pack(f">h{len(name)}sihii", len(name), name, partitions, 1, 0, 0)
        answer = self.ask(19, 2, body + struct.pack(">i?", 120_000, False))
        at = 8
        for _ in topics:
            at += 2 + struct.unpack_from(">h", answer, at)[0]
            code, message = struct.unpack_from(">hh", answer, at)
            at += 4 + max(message, 0)
            if code:
                raise RuntimeError(f"CreateTopics: error {code}")

    def delete(self, topic):
        """DeleteTopics 1."""
        name = topic.encode()
        answer = self.ask(20, 1, struct.pack(f">ih{len(name)}si", 1, len(name), name, 120_000))
        (code,) = struct.unpack_from(">h", answer, len(answer) - 2)
        if code:
            raise RuntimeError(f"DeleteTopics: error {code}")


class Broker:
    """A running broker. `pid` is its process; data stays in `dir` over a restart."""

    def __init__(self, options, work, settings, topic):
        self.options, self.settings, self.topic = options, settings, topic
        self.dir = pathlib.Path(tempfile.mkdtemp(dir=work))
        self.port, self.pid = free_port(), None
        self.cgroup, self.kept = host.Cgroup.make(options.broker_cpu)
        if not self.cgroup:
            self.kept = f"by pid and taskset: {self.kept}"

    def start(self):
        """Returns the seconds until the first answer."""
        begin = time.monotonic()
        self.launch()
        while True:
            try:
                Wire(self.port).ask(18, 0, b"")
                return time.monotonic() - begin
            except OSError:
                if time.monotonic() - begin > START_SECONDS_MAX:
                    raise
                time.sleep(0.001)

    def enter(self):
        """Runs in the process that becomes the broker."""
        if self.cgroup:
            self.cgroup.enter()

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.reap()

    def pids(self):
        return self.cgroup.pids() if self.cgroup else {self.pid}

    def usage(self):
        """Processor seconds so far, and resident bytes."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks = int(fields[11]) + int(fields[12])
        seconds = self.cgroup.cpu_seconds() if self.cgroup else ticks / host.TICKS
        return seconds, int(fields[21]) * os.sysconf("SC_PAGE_SIZE")

    def remove(self):
        try:
            if self.pid:
                self.stop()
        except RuntimeError as error:
            print(f"{error}: killed", file=sys.stderr)
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)
        if self.cgroup:
            self.cgroup.remove()


class Klamm(Broker):
    def program(self):
        return self.options.klamm

    def launch(self):
        command = ["taskset", "-c", str(self.options.broker_cpu), self.program()]
        settings = {"listeners": f"PLAINTEXT://127.0.0.1:{self.port}", "log.dirs": str(self.dir / "data"), **self.settings}
        for key, value in settings.items():
            command += ["--override", f"{key}={value}"]
        with open(self.dir / "broker.log", "a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=self.enter)
        self.pid = self.process.pid

    def reap(self):
        self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait()


class KlammBase(Klamm):
    """Another build of Klamm, to compare with."""

    def program(self):
        return self.options.klamm_base


class Peer(Broker):
    """Another broker, by the script of its name in bench/peers."""

    def __init__(self, options, work, settings, topic, name):
        super().__init__(options, work, settings, topic)
        self.name = name

    def ask(self, command, *arguments):
        done = subprocess.run([PEERS / self.name, command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              preexec_fn=self.enter if command == "start" else None)
        if done.returncode:
            raise RuntimeError(f"bench/peers/{self.name} {command}: {done.stderr.strip()}")
        return done.stdout

    def launch(self):
        # The directory is formatted at the first start; a peer's own start is what the second one takes.
        settings = [f"{key}={value}" for key, value in self.settings.items()]
        self.ask("start", "--port", str(self.port), "--dir", str(self.dir), "--cpu", str(self.options.broker_cpu), *settings)
        self.pid = int(self.ask("pid", str(self.dir)))

    def reap(self):
        while pathlib.Path(f"/proc/{self.pid}").exists():
            time.sleep(0.01)

    def stop(self):
        if pathlib.Path(f"/proc/{self.pid}").exists():
            self.ask("stop", str(self.dir))


def free_port():
    """Below those that the kernel gives out; a peer may take those 5,000 and 10,000 higher for itself."""
    for port in range(20_000 + os.getpid() % 1000, 22_000):
        try:
            for number in (port, port + 5_000, port + 10_000):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number))
            return port
        except OSError:
            continue
    sys.exit("no port is free")


# Files of a deleted topic go at once: the warm-up makes room so.
KAFKA = {"log.segment.delete.delay.ms": "1000"}
# Name: class or script, broker settings, topic settings, where an acknowledged record is.
SYSTEMS = {
    "klamm": (Klamm, {}, [], "disk"),
    "klamm-base": (KlammBase, {}, [], "disk"),
    "klamm-memory": (Klamm, {}, ["ack.durability=memory"], "memory"),
    "kafka": ("kafka", KAFKA, [], "memory"),
    "kafka-fsync": ("kafka", KAFKA | {"log.flush.interval.messages": "1"}, [], "disk"),
    "redpanda": ("redpanda", {}, [], "disk"),
    "redpanda-cached": ("redpanda", {"write_caching_default": "true"}, [], "memory"),
    "automq": ("automq", {}, [], "disk"),
}
DEFAULT = ["klamm", "klamm-memory", "kafka", "kafka-fsync"]


def durability(system):
    return SYSTEMS[system][3]


def is_peer(system):
    return isinstance(SYSTEMS[system][0], str)


def missing(system):
    """Why a peer cannot be had on this host; None if it can."""
    done = subprocess.run([PEERS / SYSTEMS[system][0], "ready"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return (done.stdout.strip() or "not there") if done.returncode else None


def make(options, work, system):
    kind, settings, topic, _ = SYSTEMS[system]
    if isinstance(kind, str):
        return Peer(options, work, settings, topic, kind)
    return kind(options, work, settings, topic)
