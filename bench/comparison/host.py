"""The host: whose processor time it is, cores and their siblings, a cgroup for the broker, quiet between measurements."""

import os
import pathlib
import resource
import sys
import time

TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20
KERNEL_THREAD = 0x0020_0000  # PF_KTHREAD of linux/sched.h
DIRTY_BYTES_QUIET = 16 * MIB
SETTLE_SECONDS_MAX = 60


def cores(text):
    """0,2-3 as a set."""
    found = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def siblings(core, sys_root="/sys"):
    """The hardware threads of a core's physical core, itself among them."""
    try:
        return cores(pathlib.Path(f"{sys_root}/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text()) | {core}
    except OSError:
        return {core}


class Cgroup:
    """A cgroup (version 2) of the broker's own: all its processes are counted, and kept on its core where there is cpuset."""

    def __init__(self, path, pins):
        self.path, self.pins = path, pins

    @staticmethod
    def make(core, mounts="/proc/mounts"):
        """A new one, or why there is none."""
        lines = [line.split() for line in pathlib.Path(mounts).read_text().splitlines()]
        mount = next((fields[1] for fields in lines if fields[2] == "cgroup2"), None)
        if not mount:
            return None, "no cgroup v2 is mounted"
        path = pathlib.Path(mount) / f"klamm-compare-{os.getpid()}"
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            return None, f"no cgroup can be made: {error.strerror}"
        try:
            if "cpuset" not in (path / "cgroup.controllers").read_text().split():
                (pathlib.Path(mount) / "cgroup.subtree_control").write_text("+cpuset")
            (path / "cpuset.cpus").write_text(str(core))
            return Cgroup(path, True), "cgroup with cpuset"
        except OSError:
            return Cgroup(path, False), "cgroup; pinned by taskset, as it has no cpuset"

    def enter(self):
        """Moves the calling process in; its children are born there."""
        (self.path / "cgroup.procs").write_text("0")

    def cpu_seconds(self):
        fields = dict(line.split() for line in (self.path / "cpu.stat").read_text().splitlines())
        return int(fields["usage_usec"]) / 1e6

    def pids(self):
        return {int(pid) for pid in (self.path / "cgroup.procs").read_text().split()}

    def remove(self):
        for _ in range(100):
            try:
                return self.path.rmdir()
            except OSError:  # What has just ended still counts as in it.
                time.sleep(0.05)
        print(f"{self.path} is left behind", file=sys.stderr)


def process_times(text):
    """(flags, processor ticks of the process and its reaped children) of a /proc/PID/stat."""
    fields = text.rsplit(")", 1)[1].split()
    return int(fields[6]), sum(int(field) for field in fields[11:15])


def foreign_ticks(ours):
    """Of all processes but `ours` and the kernel's threads. A child that ends is counted by its parent, so the sum goes on."""
    ticks = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) not in ours:
            try:
                with open(f"/proc/{entry.name}/stat") as file:
                    flags, spent = process_times(file.read())
            except (OSError, IndexError):
                continue
            ticks += 0 if flags & KERNEL_THREAD else spent
    return ticks


def cpu_ticks(text):
    """By name of a line of /proc/stat (cpu, cpu0, ...): (busy, steal, all)."""
    found = {}
    for line in text.splitlines():
        name, *fields = line.split()
        if name.startswith("cpu"):
            user, nice, system, idle, iowait, irq, softirq, steal = map(int, fields[:8])
            busy = user + nice + system + irq + softirq
            found[name] = busy, steal, busy + idle + iowait + steal
    return found


class Account:
    """Whose processor time a span was.

    Charged to the broker is all that was busy on any core and was neither the load's nor another process's: so also what the
    kernel's threads and its interrupts did, wherever they ran.
    """

    def __init__(self, broker, load_core):
        self.broker, self.load_core = broker, load_core
        self.begin = self.now()

    def now(self):
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "cpus": cpu_ticks(pathlib.Path("/proc/stat").read_text()),
            "foreign": foreign_ticks(self.broker.pids() | {os.getpid()}),
            "self": time.process_time(),
            "load": usage.ru_utime + usage.ru_stime,
            "broker": self.broker.usage()[0],
            "at": time.monotonic(),
        }

    def end(self):
        return charge(self.begin, self.now(), self.load_core)


def charge(begin, end, load_core):
    """What was used between two states of an account."""
    def cpu(name, at):
        return end["cpus"][name][at] - begin["cpus"][name][at]

    def since(name):
        return end[name] - begin[name]

    seconds, load, broker, core = since("at"), since("load"), since("broker"), f"cpu{load_core}"
    foreign = max(0, since("foreign")) / TICKS + since("self")
    return {
        "seconds": seconds,
        "broker": broker,
        "charged": max(cpu("cpu", 0) / TICKS - load - foreign, broker),
        "load": load,
        "load_core_percent": 100 * cpu(core, 0) / max(1, cpu(core, 2)),
        "foreign_percent": 100 * foreign / seconds,
        "steal_percent": 100 * cpu("cpu", 1) / max(1, cpu("cpu", 2)),
    }


def drop_caches():
    try:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("1")
        return True
    except OSError:
        return False


def settle(seconds):
    """What was written is on the drive, and the host is left alone for a while (0: it is not waited for)."""
    os.sync()
    patience = time.monotonic() + (SETTLE_SECONDS_MAX if seconds else 0)
    while time.monotonic() < patience:
        fields = (line.split() for line in pathlib.Path("/proc/meminfo").read_text().splitlines())
        if sum(int(field[1]) * 1024 for field in fields if field[0] in ("Dirty:", "Writeback:")) < DIRTY_BYTES_QUIET:
            break
        time.sleep(0.5)
    time.sleep(seconds)
