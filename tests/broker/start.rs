//! Starting and stopping: one line when it is ready, one error when it cannot be.

#![allow(unsafe_code)]

use crate::batches::batch;
use crate::client::{Client, Produce, ask, read_all};
use crate::process::{Broker, cores, cpus, klamm, run_to_end, wait_for};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

/// The rights that would let root pass over what these tests forbid.
const CAP_DAC_OVERRIDE: libc::c_ulong = 1;
const CAP_DAC_READ_SEARCH: libc::c_ulong = 2;
const CAP_IPC_LOCK: libc::c_ulong = 14;

/// Runs the program, which must end with one error line on standard error, nothing on standard output, and status 1.
#[track_caller]
fn refusal(command: Command) -> String {
    let (status, output, errors) = run_to_end(command);
    assert_eq!((status, &*output), (Some(1), ""), "{errors}");
    let lines: Vec<&str> = errors.lines().collect();
    let told: Vec<&&str> = lines.iter().filter(|line| line.starts_with("klamm: ")).collect();
    assert_eq!(told.len(), 1, "one error:\n{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    // Each further fault has a line of its own behind it.
    errors[errors.find("klamm: ").unwrap()..].strip_prefix("klamm: ").unwrap().trim_end().to_string()
}

#[track_caller]
fn assert_says(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{part:?} is missing: {error}");
    }
}

/// A program without these rights, as for users other than root.
fn without_rights(mut command: Command, rights: &'static [libc::c_ulong]) -> Command {
    // SAFETY: prctl is safe between fork and exec.
    unsafe {
        command.pre_exec(move || {
            for right in rights {
                // Refused to who does not have them anyway.
                libc::prctl(libc::PR_CAPBSET_DROP, *right, 0, 0, 0);
            }
            Ok(())
        })
    };
    command
}

#[test]
fn it_says_in_one_line_that_it_is_ready_and_stops_when_told() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("deep/er");
        let mut broker = Broker::start(&data, &[]);
        let words: Vec<&str> = broker.ready_line.trim_end().split(", ").collect();
        let listeners = format!("klamm is ready: listeners PLAINTEXT://{}", broker.address);
        assert_eq!(words[0], listeners);
        assert_eq!(words[1], format!("cores {}", cores(1)));
        assert_eq!(words[2], format!("data {}", data.canonicalize().unwrap().display()));
        assert!(words[3].strip_suffix(" ms since start").is_some_and(|ms| ms.parse::<u64>().is_ok()), "{words:?}");
        assert_eq!(words.len(), 4);
        let mut client = Client::connect(broker.address);
        client.create("t", 1, &[]);
        Produce::to("t", 0, batch(3)).write(&mut client);
        broker.signal(signal);
        assert_eq!(broker.wait(), Some(0), "{}", broker.log());
        let broker = Broker::start(&data, &[]);
        let mut client = Client::connect(broker.address);
        assert_eq!(klamm::wire::batch::batches(&read_all(&mut client, "t", 0, 0)).count(), 1);
        assert_eq!(broker.stop(), Some(0));
    }
}

#[test]
fn settings_come_from_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let (data, other) = (dir.path().join("data"), dir.path().join("other"));
    let file = dir.path().join("my.properties");
    let text = format!(
        "# A comment\nlisteners=PLAINTEXT://127.0.0.1:1\nlog.dirs={}\nnum.partitions=3\nlog.cleaner.threads=4\n",
        other.display()
    );
    fs::write(&file, text).unwrap();
    let mut command = klamm(&[("log.dirs", data.to_str().unwrap())]);
    command.arg(&file).env("KAFKA_LISTENERS", "PLAINTEXT://127.0.0.1:0").env("KAFKA_CORES", cores(1));
    command.env("KAFKA_LOG_CLEANER_IO_BUFFER_SIZE", "524288");
    let broker = Broker::spawn(command);
    assert!(!other.exists() && data.join("meta.properties").exists());
    let mut client = Client::connect(broker.address);
    client.create("t", -1, &[]);
    let mut client = Client::connect(broker.address);
    assert_eq!(Produce::to("t", 2, batch(1)).write(&mut client), 0);
    assert_eq!(Produce::to("t", 3, batch(1)).ask(&mut client).code, 3);
    // What has no meaning here is told once, and in the plain text of a file.
    broker.wait_for_log("WARN settings that people rely on");
    let log = broker.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("log.cleaner.")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert_says(told[0], &["my.properties:5", "log.cleaner.io.buffer.size", "KAFKA_LOG_CLEANER_IO_BUFFER_SIZE"]);
    assert!(!log.contains('\x1b'), "no colours where no terminal is: {log}");
}

#[test]
fn what_is_no_setting_is_told_and_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("my.properties");
    fs::write(&file, "\u{feff}port=9092\nhost.name=h\nmy.plugin.url=http://x\n").unwrap();
    let data = dir.path().join("data");
    let mut command =
        klamm(&[("listeners", "PLAINTEXT://127.0.0.1:0"), ("log.dirs", data.to_str().unwrap()), ("cores", &cores(1))]);
    command.arg(&file);
    for (name, value) in [
        ("KAFKA_BROKER_PORT", "tcp://10.0.0.1:9092"),
        ("KAFKA_BROKER_SERVICE_HOST", "10.0.0.1"),
        ("KAFKA_BROKER_PORT_9092_TCP_ADDR", "10.0.0.1"),
        ("KAFKA_BOOTSTRAP_SERVERS", "h:9092"),
        ("KAFKA_CFG_LISTENERS", "x"),
        ("KAFKA_ADVERTISED_LISTENERS", ""),
        ("KLAMM_SIM_SEEDS", "5"),
    ] {
        command.env(name, value);
    }
    let broker = Broker::spawn(command);
    broker.wait_for_log("no settings of this broker, and passed over");
    let log = broker.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("passed over")).collect();
    assert_eq!(told.len(), 1, "{log}");
    let parts =
        ["WARN", "port (", "host.name", "my.plugin.url", "bootstrap.servers", "cfg.listeners", "KAFKA_ADVERTISED"];
    assert_says(told[0], &parts);
    assert!(!log.contains("10.0.0.1") && !log.contains("SIM_SEEDS") && !log.contains("BROKER_PORT"), "{log}");
}

#[test]
fn wrong_settings_are_explained() {
    for (settings, parts) in [
        (&[("num.partitons", "3")][..], &["num.partitons", "did you mean num.partitions?"][..]),
        (&[("num.partitions", "0"), ("listenrs", "x")], &["num.partitions", "\n", "did you mean listeners?"]),
        (&[("num.partitions", "many")], &["--override", "num.partitions", "many", "default: 1"]),
        (&[("num.partitions", "0")], &["num.partitions", "0"]),
        (&[("listeners", "127.0.0.1")], &["listeners"]),
        (&[("listeners", "SSL://127.0.0.1:0")], &["SSL"]),
        (&[("listeners", "PLAINTEXT://no.such.host.invalid:0")], &["listeners", "no.such.host.invalid"]),
        (&[("listeners", "PLAINTEXT://192.0.2.1:0")], &["listeners", "192.0.2.1"]),
        (&[("cores", "0-")], &["cores"]),
        (&[("cores", "4095")], &["cores", "4095"]),
        (&[("authorizer.class.name", "my.Authorizer")], &["authorizer.class.name", "--override"]),
        (&[("log.dirs", "/dev/null/data")], &["/dev/null/data"]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut all = vec![("log.dirs", dir.path().to_str().unwrap()), ("listeners", "PLAINTEXT://127.0.0.1:0")];
        all.extend_from_slice(settings);
        assert_says(&refusal(klamm(&all)), parts);
    }
    let mut command = klamm(&[]);
    command.env("KAFKA_NUM_PARTITIONS", "many");
    assert_says(&refusal(command), &["KAFKA_NUM_PARTITIONS", "many"]);
}

#[test]
fn a_file_that_cannot_be_read_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("my.properties");
    let with_file = || {
        let mut command = klamm(&[]);
        command.arg(&file);
        without_rights(command, &[CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH])
    };
    assert_says(&refusal(with_file()), &["my.properties", "No such file"]);
    fs::write(&file, "num.partitions=1\nnum.partitons=2\n").unwrap();
    assert_says(&refusal(with_file()), &["my.properties:2", "did you mean num.partitions?"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    assert_says(&refusal(with_file()), &["my.properties", "Permission denied"]);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_says(&refusal(with_file()), &["my.properties", "directory"]);
}

#[test]
fn a_taken_port_is_explained() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let listener = format!("PLAINTEXT://{}", taken.local_addr().unwrap());
    let command = klamm(&[("listeners", &listener), ("log.dirs", dir.path().to_str().unwrap())]);
    assert_says(&refusal(command), &["listeners", &listener, "taken"]);
}

fn on(dir: &Path, more: &[(&str, &str)]) -> Command {
    let core = cores(1);
    let mut settings = vec![("listeners", "PLAINTEXT://127.0.0.1:0"), ("log.dirs", dir.to_str().unwrap())];
    settings.push(("cores", &core));
    settings.extend_from_slice(more);
    klamm(&settings)
}

#[test]
fn a_data_directory_that_cannot_be_used_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let place = path.file_name().unwrap().to_str().unwrap();
    let broker = Broker::start(path, &[]);
    assert_says(&refusal(on(path, &[])), &[place, "in use"]);
    drop(broker);
    assert_says(&refusal(on(path, &[("node.id", "7")])), &["meta.properties", "node.id=1", "node.id=7"]);
    let metadata = path.join("meta.properties");
    let text = fs::read_to_string(&metadata).unwrap();
    fs::write(&metadata, text.replace("klamm-1", "klamm-9")).unwrap();
    assert_says(&refusal(on(path, &[])), &["meta.properties", "klamm-9"]);
    fs::write(&metadata, "version=1\ncluster.id=abc\nnode.id=1\n").unwrap();
    assert_says(&refusal(on(path, &[])), &["meta.properties", "Apache Kafka"]);
    fs::remove_file(&metadata).unwrap();
    assert_says(&refusal(on(path, &[])), &[place, "not empty", "log.dirs"]);
    let locked = path.join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    let command = without_rights(on(&locked, &[]), &[CAP_DAC_OVERRIDE]);
    assert_says(&refusal(command), &["locked", "Permission denied", "writable"]);
    let file = path.join("file");
    fs::write(&file, "").unwrap();
    assert_says(&refusal(on(&file, &[])), &["file"]);
}

/// What the metadata log of format 1 began with.
const OLD_LOG_HEADER: &[u8] = b"klammeta\x01\0\0\0\xb5\xbeL\xde\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

#[test]
fn damaged_metadata_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    Client::connect(broker.address).create("t", 1, &[]);
    assert_eq!(broker.stop(), Some(0));
    let log = dir.path().join("metadata/log-00000000000000000000");
    let mut bytes = fs::read(&log).unwrap();
    // In the first entry. The last one may be one that was being written; one before it may not be wrong.
    bytes[60] ^= 0xff;
    fs::write(&log, bytes).unwrap();
    assert_says(&refusal(on(dir.path(), &[])), &["metadata", "log-00000000000000000000", "damaged at byte 32"]);
    // The only file that format 1 had.
    fs::remove_file(&log).unwrap();
    fs::write(dir.path().join("metadata/log"), OLD_LOG_HEADER).unwrap();
    assert_says(&refusal(on(dir.path(), &[])), &["metadata", "its format is 1, and this program reads 2"]);
}

/// A program that may lock this much memory.
fn with_memlock(mut command: Command, bytes: u64) -> Command {
    // SAFETY: setrlimit is safe between fork and exec.
    unsafe {
        command.pre_exec(move || {
            let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
            match libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        })
    };
    without_rights(command, &[CAP_IPC_LOCK])
}

#[test]
fn little_locked_memory_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let error = refusal(with_memlock(on(dir.path(), &[]), 64 << 10));
    assert_says(&error, &["memlock", "65536", "524288", "ulimit -l"]);
    let two = cores(2);
    let broker = Broker::spawn(with_memlock(on(dir.path(), &[("cores", &two)]), 520 << 10));
    broker.wait_for_log("memlock");
    assert_says(&broker.log(), &["532480", "unregistered", "ulimit -l"]);
    let mut client = Client::connect(broker.address);
    client.create("t", 2, &[]);
    for partition in 0..2 {
        Produce::to("t", partition, batch(3)).write(&mut client);
    }
    assert_eq!(broker.stop(), Some(0));
}

#[test]
fn a_forbidden_io_uring_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = on(dir.path(), &[]);
    // SAFETY: prctl is safe between fork and exec; the filter lives until the call is over.
    unsafe { command.pre_exec(forbid_io_uring) };
    assert_says(&refusal(command), &["io_uring", "forbidden"]);
}

/// A seccomp filter as container runtimes have it: io_uring_setup fails with EPERM.
fn forbid_io_uring() -> io::Result<()> {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut filter = [
        // The system call's number is at the start of the data.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: libc::SYS_io_uring_setup as u32,
        },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its filter live until the calls are over.
    let result = unsafe {
        match libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) {
            0 => libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program),
            failed => failed,
        }
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[test]
fn the_processs_cores_are_obeyed() {
    let cpus = cpus();
    let last = *cpus.last().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let mut command = klamm(&[("listeners", "PLAINTEXT://127.0.0.1:0"), ("log.dirs", data)]);
    // SAFETY: sched_setaffinity is safe between fork and exec; the set is plain memory.
    unsafe {
        command.pre_exec(move || {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(last, &mut set);
            match libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        })
    };
    let broker = Broker::spawn(command);
    assert_says(&broker.ready_line, &[&format!("cores {last},")]);
    // Each core has a thread of its name, which runs there and nowhere else.
    let pinned = wait_for("the core's thread", || {
        let tasks = fs::read_dir(format!("/proc/{}/task", broker.pid())).ok()?;
        tasks.flatten().find_map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            name.starts_with(&format!("core-{last}")).then(|| fs::read_to_string(task.path().join("status")).unwrap())
        })
    });
    assert_says(&pinned, &[&format!("Cpus_allowed_list:\t{last}\n")]);
}

#[test]
fn what_a_crash_left_is_cleared_away() {
    use klamm::wire::messages::DeleteRecordsRequest;
    use klamm::wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut client = Client::connect(broker.address);
    client.create("t.x", 1, &[("segment.bytes", "1048576")]);
    // Two of these do not fit into a segment.
    let large = klamm::wire::batch::BatchBuilder::new(0).record(0, None, Some(&[7; 600_000])).build();
    for _ in 0..4 {
        Produce::to("t.x", 0, large.clone()).write(&mut client);
    }
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset: 3 }];
    let topics = vec![DeleteRecordsTopic { name: "t.x".into(), partitions }];
    let request = DeleteRecordsRequest { topics, timeout_ms: 60_000 };
    let response = ask!(client, DeleteRecords, 2, DeleteRecordsResponse, request);
    assert_eq!(response.topics[0].partitions[0].low_watermark, 3);
    assert_eq!(broker.stop(), Some(0));

    let partition = dir.path().join("t.x-0");
    let old = ["log", "index", "timeindex"].map(|ending| partition.join(format!("{:020}", 1)).with_extension(ending));
    old.iter().for_each(|path| fs::write(path, b"old").unwrap());
    let deleted = dir.path().join("gone-0.AAAAAAAAAAAAAAAAAAAAAQ-delete");
    let (unknown, beyond, other) = (dir.path().join("lost.y-3"), dir.path().join("t.x-1"), dir.path().join("notes-2"));
    for dir in [&deleted, &unknown, &beyond, &other] {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("content"), b"content").unwrap();
    }
    for dir in [&unknown, &beyond] {
        fs::copy(partition.join("partition.metadata"), dir.join("partition.metadata")).unwrap();
    }

    let broker = Broker::start(dir.path(), &[]);
    assert!(old.iter().all(|path| !path.exists()), "segments below the first one go");
    wait_for("the deleted partition's end", || (!deleted.exists()).then_some(()));
    let names = || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for stray in ["lost.y-3", "t.x-1"] {
        assert!(!dir.path().join(stray).exists());
        let aside = names().find(|name| name.starts_with(&format!("{stray}.")) && name.ends_with("-stray"));
        let kept = dir.path().join(aside.expect("it is put aside")).join("content");
        assert_eq!(fs::read(kept).unwrap(), b"content");
        broker.wait_for_log(stray);
    }
    assert!(other.exists(), "not ours");
    let mut client = Client::connect(broker.address);
    assert_eq!(klamm::wire::batch::batches(&read_all(&mut client, "t.x", 0, 3)).count(), 1);
    assert_eq!(broker.stop(), Some(0));
}
