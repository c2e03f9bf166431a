//! `tuning/check`: the names, the states, both formats, the exit codes, and that nothing stays behind. `tuning/drive`. What
//! `bench/compare` makes of its measurements.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const NAMES: [&str; 36] = [
    "cgroup_cpu",
    "cgroup_memory",
    "clock_source",
    "cpu_governor",
    "cpu_idle",
    "disk_free",
    "disk_queue",
    "disk_scheduler",
    "disk_write_cache",
    "drive",
    "energy_preference",
    "file_system",
    "interrupt_affinity",
    "interrupts_disk",
    "interrupts_network",
    "io_uring",
    "iowait",
    "irqbalance",
    "isolated_cores",
    "kernel",
    "listen_queue",
    "memlock",
    "memory_free",
    "mount_options",
    "numa",
    "open_files",
    "packet_steering",
    "sequential_read",
    "sequential_write",
    "smt_siblings",
    "steal",
    "swap",
    "synced_write",
    "time_sync",
    "transparent_huge_pages",
    "turbo",
];
const PROBES: [&str; 3] = ["synced_write", "sequential_write", "sequential_read"];
const STATES: [&str; 4] = ["good", "warn", "bad", "unknown"];
const EXIT_USAGE: i32 = 64;
const EXIT_UNAVAILABLE: i32 = 69;

/// An empty directory of one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tuning-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("scratch directory");
        Scratch(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directory");
        fs::write(path, text).expect("file");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn command() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning/check"))
}

fn run(data: &Path, arguments: &[&str]) -> Output {
    command().arg("--data-dir").arg(data).args(arguments).output().expect("tuning/check runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// Reads the subset of JSON that the report uses: objects, arrays and strings; panics on anything else.
struct Json<'a> {
    rest: &'a str,
}

impl<'a> Json<'a> {
    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start_matches([' ', '\n']);
        self.rest = rest.strip_prefix(token).unwrap_or(rest);
        rest.len() != self.rest.len()
    }

    fn expect(&mut self, token: &str) {
        assert!(self.take(token), "expected {token:?} at {:?}", self.rest);
    }

    fn string(&mut self) -> String {
        self.expect("\"");
        let (mut value, mut at) = (String::new(), self.rest.char_indices());
        while let Some((position, c)) = at.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[position + 1..];
                    return value;
                }
                '\\' => value.push(match at.next().map(|(_, escaped)| escaped) {
                    Some(c @ ('"' | '\\')) => c,
                    Some('n') => '\n',
                    Some('t') => '\t',
                    other => panic!("escape {other:?}"),
                }),
                c => {
                    assert!(!c.is_control(), "unescaped control character");
                    value.push(c);
                }
            }
        }
        panic!("string without an end")
    }

    fn object(&mut self) -> BTreeMap<String, String> {
        let mut pairs = BTreeMap::new();
        self.expect("{");
        loop {
            let key = self.string();
            self.expect(":");
            let value = self.string();
            assert!(pairs.insert(key, value).is_none(), "a key twice");
            if !self.take(",") {
                self.expect("}");
                return pairs;
            }
        }
    }
}

type Checks = BTreeMap<String, BTreeMap<String, String>>;

/// The report's checks by name. Asserts its form: each known name once, all fields, a valid state, the right exit code.
fn checks(output: &Output) -> Checks {
    let mut json = Json { rest: text(&output.stdout) };
    json.expect("{");
    assert_eq!(json.string(), "host");
    json.expect(":");
    assert!(!json.string().is_empty());
    json.expect(",");
    assert_eq!(json.string(), "checks");
    json.expect(":");
    json.expect("[");
    let mut checks = Checks::new();
    loop {
        let check = json.object();
        assert_eq!(check.keys().collect::<Vec<_>>(), ["fix", "name", "state", "value", "why"]);
        assert!(check.values().all(|value| !value.is_empty()), "an empty field in {check:?}");
        assert!(STATES.contains(&check["state"].as_str()), "{check:?}");
        assert!(checks.insert(check["name"].clone(), check).is_none(), "a check twice");
        if !json.take(",") {
            break;
        }
    }
    json.expect("]");
    json.expect("}");
    assert_eq!(json.rest, "\n");
    assert_eq!(checks.keys().collect::<Vec<_>>(), NAMES);
    assert_eq!(output.status.code(), Some(exit_code(checks.values().map(|check| check["state"].as_str()))));
    assert_eq!(text(&output.stderr), "");
    checks
}

fn exit_code<'a>(states: impl Iterator<Item = &'a str>) -> i32 {
    states.fold(0, |code, state| {
        code.max(match state {
            "bad" => 2,
            "warn" => 1,
            _ => 0,
        })
    })
}

fn assert_empty(directory: &Path) {
    let left: Vec<_> = fs::read_dir(directory).expect("data directory").collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// A host as `KLAMM_CHECK_ROOT`: two cores, one disk with one partition, all of it as it should be.
fn host(scratch: &Scratch) {
    let cpu = "sys/devices/system/cpu";
    let disk = "sys/devices/pci0/virtio1/block/vda";
    scratch.write("proc/sys/kernel/osrelease", "6.12.1\n");
    scratch.write("proc/sys/kernel/io_uring_disabled", "0\n");
    scratch.write("proc/sys/vm/swappiness", "60\n");
    scratch.write("proc/self/status", "Cpus_allowed_list:\t0-1\nSeccomp:\t0\n");
    scratch.write("proc/self/cgroup", "0::/klamm\n");
    scratch.write("proc/meminfo", "MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n");
    scratch.write("proc/stat", "cpu 500 0 300 9000 100 50 45 5 0 0\n");
    scratch.write("proc/sys/net/core/somaxconn", "4096\n");
    scratch.write("proc/irq/36/smp_affinity_list", "2-3\n");
    scratch.write("sys/fs/cgroup/klamm/cpu.max", "max 100000\n");
    scratch.write("sys/fs/cgroup/klamm/memory.max", "max\n");
    scratch.write("sys/devices/system/node/node0/cpulist", "0-3\n");
    scratch.write("sys/class/net/eth0/device/numa_node", "0\n");
    scratch.write("sys/class/net/eth0/queues/rx-0/rps_cpus", "3\n");
    scratch.write("sys/class/net/eth0/queues/tx-0/xps_cpus", "0\n");
    scratch.write("proc/self/mountinfo", "1 1 254:1 / / rw,noatime shared:1 - xfs /dev/vda1 rw,inode64\n");
    scratch.write("proc/swaps", "Filename Type Size Used Priority\n");
    scratch.write("proc/1/comm", "init\n");
    scratch.write(
        "proc/interrupts",
        "     CPU0 CPU1 CPU2 CPU3\n 36: 500 500 500 500 PCI-MSIX 1-edge virtio1-req.0\n 37: 9000 0 0 0 other virtio10-x\n",
    );
    scratch.write(&format!("{cpu}/online"), "0-3\n");
    scratch.write(&format!("{cpu}/isolated"), "0-1\n");
    scratch.write(&format!("{cpu}/intel_pstate/no_turbo"), "0\n");
    scratch.write(&format!("{cpu}/cpuidle/current_driver"), "intel_idle\n");
    for core in 0..2 {
        scratch.write(&format!("{cpu}/cpu{core}/cpufreq/scaling_governor"), "performance\n");
        scratch.write(&format!("{cpu}/cpu{core}/cpufreq/energy_performance_preference"), "performance\n");
        scratch.write(&format!("{cpu}/cpu{core}/topology/thread_siblings_list"), &format!("{core}\n"));
        for (state, name, latency_us, disable) in [(0, "C1", 2, 0), (1, "C6", 170, 1)] {
            let dir = format!("{cpu}/cpu{core}/cpuidle/state{state}");
            scratch.write(&format!("{dir}/name"), name);
            scratch.write(&format!("{dir}/latency"), &format!("{latency_us}\n"));
            scratch.write(&format!("{dir}/disable"), &format!("{disable}\n"));
        }
    }
    scratch.write("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n");
    scratch.write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    scratch.write(&format!("{disk}/queue/scheduler"), "[none] mq-deadline\n");
    scratch.write(&format!("{disk}/queue/write_cache"), "write through\n");
    scratch.write(&format!("{disk}/queue/nr_requests"), "256\n");
    scratch.write(&format!("{disk}/queue/nomerges"), "0\n");
    scratch.write(&format!("{disk}/vda1/partition"), "1\n");
    fs::create_dir_all(scratch.0.join("sys/dev/block")).expect("directory");
    symlink("../../devices/pci0/virtio1/block/vda/vda1", scratch.0.join("sys/dev/block/254:1")).expect("link");
}

fn run_on(root: &Scratch, data: &Scratch, arguments: &[&str]) -> Checks {
    let output = command()
        .env("KLAMM_CHECK_ROOT", &root.0)
        .args(["--probe-seconds", "0", "--format", "json", "--data-dir"])
        .arg(&data.0)
        .args(arguments)
        .output()
        .expect("tuning/check runs");
    checks(&output)
}

#[test]
fn json_without_probe() {
    let data = Scratch::new("json");
    let checks = checks(&run(&data.0, &["--probe-seconds", "0", "--format", "json"]));
    for name in PROBES {
        assert_eq!(checks[name]["state"], "unknown");
        assert!(checks[name]["value"].starts_with("not measured"), "{:?}", checks[name]);
    }
    assert_empty(&data.0);
}

#[test]
fn json_with_probe() {
    let data = Scratch::new("probe");
    let checks = checks(&run(&data.0, &["--probe-seconds=1", "--format=json"]));
    let refused =
        checks["synced_write"]["value"] == "direct I/O refused" || checks["synced_write"]["state"] == "unknown";
    for name in PROBES {
        let measured = checks[name]["value"].chars().any(|c| c.is_ascii_digit());
        assert!(refused || measured, "{:?}", checks[name]);
    }
    assert_empty(&data.0);
}

#[test]
fn table() {
    for seconds in ["0", "1"] {
        let data = Scratch::new("table");
        let output = run(&data.0, &["--all", "--probe-seconds", seconds]);
        let lines: Vec<Vec<&str>> =
            text(&output.stdout).lines().map(|line| line.split_whitespace().collect()).collect();
        let rows: Vec<_> = lines.iter().filter(|line| line.len() > 2 && STATES.contains(&line[0])).collect();
        let mut names: Vec<_> = rows.iter().map(|row| row[1]).collect();
        names.sort_unstable();
        assert_eq!(names, NAMES);
        assert_eq!(lines.iter().filter(|line| line.first() == Some(&"why:")).count(), NAMES.len());
        assert_eq!(lines.iter().filter(|line| line.first() == Some(&"fix:")).count(), NAMES.len());
        assert_eq!(output.status.code(), Some(exit_code(rows.iter().map(|row| row[0]))));
        assert_empty(&data.0);
    }
}

#[test]
fn wrong_usage() {
    let data = Scratch::new("usage");
    for arguments in [
        &["--nonsense"][..],
        &["extra"],
        &["--cores"],
        &["--cores", "0-"],
        &["--cores", "1-0"],
        &["--cores", "8191"],
        &["--cores", "99999"],
        &["--probe-seconds", "-1"],
        &["--probe-seconds", "3601"],
        &["--format", "xml"],
        &["--data-dir", "/nonexistent"],
    ] {
        let output = run(&data.0, arguments);
        assert_eq!(output.status.code(), Some(EXIT_USAGE), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    let help = run(&data.0, &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("--probe-seconds N"));
    assert_empty(&data.0);
}

/// The limits are those of the test's own process, everything else comes from the made-up host.
#[test]
fn good_host() {
    let (root, data) = (Scratch::new("good-root"), Scratch::new("good-data"));
    host(&root);
    let checks = run_on(&root, &data, &[]);
    for name in NAMES {
        let expected = match name {
            // The kernel is asked, and the file system that the test runs on.
            "memlock" | "open_files" | "disk_free" | "io_uring" | "time_sync" => continue,
            "interrupts_network" | "synced_write" | "sequential_write" | "sequential_read" | "drive" => "unknown",
            _ => "good",
        };
        assert_eq!(checks[name]["state"], expected, "{:?}", checks[name]);
    }
    assert!(checks["interrupts_disk"]["value"].starts_with("50 %"), "{:?}", checks["interrupts_disk"]);
    assert_eq!(checks["disk_scheduler"]["value"], "vda: none");
    assert_eq!(checks["interrupts_disk"]["state"], "good");
    assert_eq!(run_on(&root, &data, &["--cores", "3"])["interrupts_disk"]["value"].split(' ').next(), Some("25"));
}

#[test]
fn bad_host() {
    let (root, data) = (Scratch::new("bad-root"), Scratch::new("bad-data"));
    host(&root);
    let clock = "sys/devices/system/clocksource/clocksource0/current_clocksource";
    let mount = "proc/self/mountinfo";
    let queue = "sys/devices/pci0/virtio1/block/vda/queue";
    for (path, content, name, state) in [
        ("proc/sys/kernel/osrelease", "5.4.0-42\n", "kernel", "bad"),
        ("proc/meminfo", "MemAvailable: 1000000 kB\n", "memory_free", "bad"),
        ("proc/stat", "cpu 500 0 300 9000 100 50 45 500 0 0\n", "steal", "warn"),
        ("proc/stat", "cpu 500 0 300 900 100 50 45 500 0 0\n", "steal", "bad"),
        ("proc/sys/net/core/somaxconn", "128\n", "listen_queue", "warn"),
        ("sys/fs/cgroup/klamm/cpu.max", "150000 100000\n", "cgroup_cpu", "bad"),
        ("sys/fs/cgroup/klamm/cpu.max", "200000 100000\n", "cgroup_cpu", "good"),
        ("sys/fs/cgroup/klamm/cpu.stat", "usage_usec 1\nnr_throttled 77\n", "cgroup_cpu", "warn"),
        ("sys/fs/cgroup/klamm/memory.max", "1073741824\n", "cgroup_memory", "bad"),
        ("sys/fs/cgroup/klamm/memory.max", "2147483648\n", "cgroup_memory", "good"),
        ("sys/fs/cgroup/memory.max", "536870912\n", "cgroup_memory", "bad"),
        ("sys/class/net/eth0/device/numa_node", "1\n", "numa", "warn"),
        ("sys/class/net/eth0/device/numa_node", "-1\n", "numa", "good"),
        ("sys/devices/system/node/node0/cpulist", "0,2-3\n", "numa", "good"),
        ("sys/devices/system/node/node1/cpulist", "1\n", "numa", "warn"),
        ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0-1\n", "smt_siblings", "warn"),
        ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0,2\n", "smt_siblings", "warn"),
        ("sys/devices/system/cpu/isolated", "1-2\n", "isolated_cores", "warn"),
        ("sys/devices/system/cpu/isolated", "\n", "isolated_cores", "good"),
        ("sys/devices/system/cpu/intel_pstate/no_turbo", "1\n", "turbo", "warn"),
        ("sys/devices/system/cpu/cpu1/cpufreq/energy_performance_preference", "power\n", "energy_preference", "warn"),
        ("proc/irq/36/smp_affinity_list", "1,3\n", "interrupt_affinity", "warn"),
        ("proc/irq/36/effective_affinity_list", "3\n", "interrupt_affinity", "good"),
        ("sys/class/net/eth0/queues/rx-0/rps_cpus", "0,00000000\n", "packet_steering", "warn"),
        ("sys/class/net/eth0/queues/rx-1/rps_cpus", "0\n", "packet_steering", "good"),
        ("sys/class/net/eth0/queues/tx-1/xps_cpus", "0\n", "packet_steering", "warn"),
        (&format!("{queue}/nr_requests"), "31\n", "disk_queue", "warn"),
        (clock, "hpet\n", "clock_source", "bad"),
        (clock, "", "clock_source", "unknown"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n", "transparent_huge_pages", "warn"),
        ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n", "cpu_governor", "warn"),
        ("sys/devices/system/cpu/cpu1/cpuidle/state1/disable", "0\n", "cpu_idle", "warn"),
        (&format!("{queue}/scheduler"), "none [bfq]\n", "disk_scheduler", "warn"),
        (mount, "1 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw,discard\n", "mount_options", "warn"),
        (mount, "1 1 254:1 / / rw - ext4 /dev/vda1 rw\n", "mount_options", "warn"),
        (mount, "1 1 254:1 / / rw,noatime - ext4 /dev/vda1 rw,nobarrier\n", "mount_options", "good"),
        (&format!("{queue}/write_cache"), "write back\n", "disk_write_cache", "good"),
        (mount, "1 1 254:1 / / rw,noatime - ext4 /dev/vda1 rw,nobarrier\n", "mount_options", "bad"),
        (mount, "1 1 0:31 / / rw,relatime - overlay overlay rw,lowerdir=/a\n", "file_system", "bad"),
        (mount, "", "file_system", "unknown"),
        ("proc/swaps", "Filename Type Size Used Priority\n/swap file 2048 0 -2\n", "swap", "warn"),
        ("proc/2/comm", "irqbalance\n", "irqbalance", "warn"),
        ("etc/default/irqbalance", "IRQBALANCE_BANNED_CPULIST=0-1\n", "irqbalance", "good"),
    ] {
        root.write(path, content);
        let checks = run_on(&root, &data, &[]);
        assert_eq!(checks[name]["state"], state, "{content:?}: {:?}", checks[name]);
    }
    assert_empty(&data.0);
}

/// A host that tells nothing: no file to read, no tool but bash.
#[test]
fn silent_host() {
    let (root, data) = (Scratch::new("silent-root"), Scratch::new("silent-data"));
    let bash = ["/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash"].into_iter().find(|path| Path::new(path).exists());
    let output = Command::new(bash.expect("bash"))
        .arg(command().get_program())
        .env("KLAMM_CHECK_ROOT", &root.0)
        .env("PATH", &root.0)
        .args(["--probe-seconds", "1", "--format", "json", "--data-dir"])
        .arg(&data.0)
        .output()
        .expect("tuning/check runs");
    let checks = checks(&output);
    for name in NAMES {
        if !["memlock", "open_files", "iowait"].contains(&name) {
            assert_eq!(checks[name]["state"], "unknown", "{:?}", checks[name]);
        }
    }
    assert_empty(&data.0);
}

#[test]
fn what_is_not_good_is_shown() {
    let (root, data) = (Scratch::new("shown-root"), Scratch::new("shown-data"));
    host(&root);
    root.write("proc/sys/net/core/somaxconn", "128\n");
    let mut command = command();
    command.env("KLAMM_CHECK_ROOT", &root.0).args(["--probe-seconds", "0", "--data-dir"]).arg(&data.0);
    let output = command.output().expect("tuning/check runs");
    let lines = text(&output.stdout).lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let rows: Vec<_> = lines.filter(|line| line.len() > 2 && STATES.contains(&line[0])).collect();
    assert!(rows.iter().any(|row| row[..2] == ["warn", "listen_queue"]), "{rows:?}");
    assert!(rows.iter().all(|row| row[0] == "warn" || row[0] == "bad"), "{rows:?}");
}

/// What `tuning/drive` wrote is what `tuning/check` prints. Without fio it says so.
#[test]
fn the_drive_is_measured_and_told() {
    let data = Scratch::new("drive");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning/drive");
    let Ok(python) = Command::new("python3").args(["-c", "import sys; print(sys.executable, end='')"]).output() else {
        eprintln!("skipped: python3 is not there");
        return;
    };
    let drive = |seconds: &str| {
        let mut command = Command::new(text(&python.stdout));
        command.arg(&script).args(["--seconds", seconds, "--size-mib", "32", "--dir"]).arg(&data.0);
        command
    };
    let without = drive("3").env("PATH", &data.0).output().expect("python3 runs");
    assert_eq!(without.status.code(), Some(EXIT_UNAVAILABLE));
    assert!(text(&without.stderr).contains("fio is missing"), "{without:?}");
    assert_empty(&data.0);
    let output = drive("3").output().expect("python3 runs");
    if output.status.code() == Some(EXIT_UNAVAILABLE) {
        eprintln!("skipped: fio is not there");
        return;
    }
    assert!(output.status.success(), "{}", text(&output.stderr));
    let rows = text(&output.stdout).lines().filter(|line| line.contains(" KiB  depth ")).count();
    assert_eq!(rows, 3 * 2 * 3 + 2, "{}", text(&output.stdout));
    let left: Vec<_> =
        fs::read_dir(&data.0).expect("data directory").map(|entry| entry.expect("entry").file_name()).collect();
    assert_eq!(left, ["drive.json"]);
    let report = fs::read_to_string(data.0.join("drive.json")).expect("UTF-8");
    let headline = report.lines().find_map(|line| line.trim().strip_prefix("\"headline\": \"")?.strip_suffix("\","));
    let headline = headline.expect("a headline");
    assert!(headline.contains("one synced 4 KiB write p50") && headline.contains("MB/s"), "{headline}");
    let told = &checks(&run(&data.0, &["--probe-seconds", "0", "--format", "json"]))["drive"];
    assert_eq!(told["value"], headline);
    assert_eq!(told["state"], if headline.contains("NOT STEADY") { "warn" } else { "good" });
}

/// The broker's properties say how much memory it may use: 100 MiB, and for each core 3.5 times this, 32 MiB and one request.
#[test]
fn settings_are_held_against_the_host() {
    let (root, data) = (Scratch::new("settings-root"), Scratch::new("settings-data"));
    host(&root);
    root.write("small.properties", "# small\ncore.memory.bytes = 16777216\nsocket.request.max.bytes=1048576\n");
    root.write("sys/fs/cgroup/klamm/memory.max", "536870912\n");
    let small = root.0.join("small.properties").to_string_lossy().into_owned();
    let checks = run_on(&root, &data, &["--config", &small]);
    assert_eq!(checks["cgroup_memory"]["value"], "limit of 512 MiB, the settings allow the broker 278 MiB");
    assert_eq!(checks["cgroup_memory"]["state"], "good");
    assert_eq!(run_on(&root, &data, &[])["cgroup_memory"]["state"], "bad");
    assert_eq!(run(&data.0, &["--config", "/nonexistent"]).status.code(), Some(EXIT_USAGE));
}

/// A filter as Docker's: io_uring_setup gives EPERM, whatever the kernel's switch says.
#[test]
fn io_uring_is_called_and_not_guessed() {
    const FORBID: &str = r#"
import ctypes, os, struct, sys
LOAD, EQUAL, RETURN, ALLOW, EPERM = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050001
rules = [(LOAD, 0, 0, 0), (EQUAL, 0, 1, 425), (RETURN, 0, 0, EPERM), (RETURN, 0, 0, ALLOW)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
program = struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
    sys.exit(99)
os.execv(sys.argv[1], sys.argv[1:])
"#;
    let data = Scratch::new("filter");
    let python = |code: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", code]).arg(self::command().get_program());
        command.args(["--probe-seconds", "0", "--format", "json", "--data-dir"]).arg(&data.0).output()
    };
    let Ok(output) = python(FORBID) else {
        eprintln!("skipped: python3 is not there");
        return;
    };
    if output.status.code() == Some(99) {
        eprintln!("skipped: this process may set no filter");
        return;
    }
    let check = &checks(&output)["io_uring"];
    assert_eq!(check["state"], "bad", "{check:?}");
    assert!(check["value"].starts_with("io_uring_setup fails: EPERM (kernel.io_uring_disabled"), "{check:?}");
    assert!(check["value"].ends_with("seccomp filter on)"), "{check:?}");
    // Tests of the broker need io_uring, so without the filter it is there.
    let allowed =
        &checks(&python("import os, sys; os.execv(sys.argv[1], sys.argv[1:])").expect("python3 runs"))["io_uring"];
    assert!(allowed["state"] == "good" && allowed["value"].starts_with("io_uring_setup works"), "{allowed:?}");
}

/// What a host calls its things must not break the report.
#[test]
fn hostile_names_are_escaped() {
    let (root, data) = (Scratch::new("hostile-root"), Scratch::new("hostile-data"));
    host(&root);
    root.write("proc/sys/kernel/osrelease", "6.12-\"quoted\"\\back\u{1}\tt\u{e9}\n");
    let checks = run_on(&root, &data, &[]);
    assert_eq!(checks["kernel"]["value"], "6.12-\"quoted\"\\back?\tt??");
}

#[test]
fn interrupted_probe_leaves_nothing() {
    let data = Scratch::new("interrupted");
    let mut child = command()
        .args(["--probe-seconds", "60", "--data-dir"])
        .arg(&data.0)
        .stdout(Stdio::null())
        .spawn()
        .expect("tuning/check runs");
    // Descriptor 9 is the probe's file, when it is not one that the script has from whoever runs the tests.
    let open = PathBuf::from(format!("/proc/{}/fd/9", child.id()));
    let patience = Instant::now() + Duration::from_secs(30);
    while !fs::read_link(&open).is_ok_and(|file| file.starts_with(&data.0)) {
        assert!(Instant::now() < patience, "the probe does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    assert!(kill.success());
    let status = child.wait().expect("the script ends");
    assert_eq!(status.code(), Some(143), "ends by its own trap");
    assert_empty(&data.0);
}

/// Its statistics, when a load is steady, whose processor time it was, what a run that is not valid comes to, a peer's script.
#[test]
fn the_comparison_tests_itself() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: python3 is not there");
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/comparison/selftest.py");
    let output = Command::new("python3").arg(path).output().expect("python3 runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
}
