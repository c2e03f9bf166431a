//! What the machine gives and takes: signals, descriptors, standard error, file systems, the program's name.

#![allow(unsafe_code)]

use crate::batches::batch;
use crate::client::{Client, Produce, ask, fetch_once, read_frame};
use crate::process::{Broker, cores, klamm, run_to_end, wait_for};
use klamm::wire::messages::join_group_request::JoinGroupRequestProtocol;
use klamm::wire::messages::{ApiKey, FindCoordinatorRequest, JoinGroupRequest};
use std::fs::OpenOptions;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The broker with its data in `dir`, on so many cores.
fn on(dir: &Path, cores_count: usize, listener: &str) -> Command {
    klamm(&[
        ("listeners", listener),
        ("log.dirs", dir.to_str().unwrap()),
        ("cores", &cores(cores_count)),
        ("journal.file.bytes", "8388608"),
        ("group.initial.rebalance.delay.ms", "0"),
    ])
}

/// A limit of open files, soft and hard.
fn with_open_files(mut command: Command, soft: u64, hard: u64) -> Command {
    // SAFETY: setrlimit is safe between fork and exec.
    unsafe {
        command.pre_exec(move || {
            let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
            match libc::setrlimit(libc::RLIMIT_NOFILE, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    command
}

const ANY_PORT: &str = "PLAINTEXT://127.0.0.1:0";

/// A new connection that has been answered.
fn is_served(broker: &Broker) -> Option<Client> {
    crate::limits::is_served(broker)
}

#[test]
fn connections_never_take_the_descriptors_of_files() {
    const TOPICS: usize = 30;
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::spawn(with_open_files(on(dir.path(), 2, ANY_PORT), 60, 120));
    broker.wait_for_log("120 files may be open");
    let mut client = Client::connect(broker.address);
    let mut served = Vec::new();
    while let Some(client) = is_served(&broker) {
        served.push(client);
        assert!(served.len() < 120, "more connections than descriptors");
    }
    assert!(served.len() > 10, "{} connections", served.len());
    broker.wait_for_log("too many are open");
    // With all connections taken, files are made, written and read: more than there are descriptors for.
    let names: Vec<String> = (0..TOPICS).map(|number| format!("t{number}")).collect();
    for name in &names {
        client.create(name, 2, &[("segment.bytes", "1048576")]);
        for partition in 0..2 {
            for _ in 0..3 {
                let large = klamm::wire::batch::BatchBuilder::new(0)
                    .record(crate::batches::now_ms(), None, Some(&vec![7; 400_000]))
                    .build();
                Produce::to(name, partition, large).write(&mut client);
            }
        }
    }
    for name in &names {
        for partition in 0..2 {
            assert_eq!(fetch_once(&mut client, name, partition, 0, 1000).0, 0, "{name}-{partition}");
        }
    }
    // Who leaves makes room, however many have come and gone.
    served.clear();
    for _ in 0..300 {
        drop(Client::connect(broker.address));
    }
    wait_for("room", || is_served(&broker));
    Produce::to("t0", 0, batch(1)).write(&mut client);
    assert!(!broker.log().contains("ERROR"), "{}", broker.log());
    assert_eq!(broker.stop(), Some(0));
}

#[test]
fn few_descriptors_are_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::spawn(with_open_files(on(dir.path(), 1, ANY_PORT), 64, 64));
    broker.wait_for_log("WARN only");
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    Produce::to("t", 0, batch(1)).write(&mut client);
    drop(client);
    assert_eq!(broker.stop(), Some(0));
    let (status, _, error) = run_to_end(with_open_files(on(dir.path(), 1, ANY_PORT), 30, 30));
    assert_eq!(status, Some(1));
    assert!(error.contains("30 files may be open") && error.contains("ulimit -n"), "{error}");
}

#[test]
fn a_hangup_ends_the_broker_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = on(dir.path(), 1, ANY_PORT);
    // SAFETY: signal is safe between fork and exec. The tests may run below nohup.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGHUP, libc::SIG_DFL);
            Ok(())
        });
    }
    let mut broker = Broker::spawn(command);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    Produce::to("t", 0, batch(1)).write(&mut client);
    broker.signal(libc::SIGHUP);
    assert_eq!(broker.wait(), Some(0));
    let broker = Broker::spawn(on(dir.path(), 1, ANY_PORT));
    let mut client = Client::connect(broker.address);
    assert_eq!(fetch_once(&mut client, "t", 0, 0, 1000).1, 1);
    assert!(!broker.log().contains("replayed"), "{}", broker.log());
}

#[test]
fn a_broker_that_is_to_outlive_its_terminal_does() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = on(dir.path(), 1, ANY_PORT);
    // SAFETY: signal is safe between fork and exec. What is ignored stays so: this is what nohup does.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            Ok(())
        });
    }
    let mut broker = Broker::spawn(command);
    broker.signal(libc::SIGHUP);
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    broker.assert_alive();
    assert_eq!(broker.stop(), Some(0));
}

#[test]
fn a_start_after_a_crash_says_what_it_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::spawn(on(dir.path(), 1, ANY_PORT));
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    for _ in 0..3 {
        Produce::to("t", 0, batch(1)).write(&mut client);
    }
    broker.kill();
    let broker = Broker::spawn(on(dir.path(), 1, ANY_PORT));
    broker.wait_for_log("with 3 batches");
    let log = broker.log();
    let line = log.lines().find(|line| line.contains("replayed")).expect("it is told");
    assert!(line.contains("blocks of the journal") && line.contains(" ms"), "{line}");
    assert_eq!(log.lines().filter(|line| line.contains("replayed")).count(), 1, "{log}");
}

#[test]
fn what_the_default_limits_cost_is_no_warning() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let broker = Broker::spawn(on(dir.path(), 1, ANY_PORT));
    broker.wait_for_log("connections at a time");
    let log = broker.log();
    assert!(!log.contains("WARN memlock"), "{log}");
    // Where memory is a file system, that it is is told.
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        let dir = tempfile::tempdir_in(memory).unwrap();
        let broker = Broker::spawn(on(dir.path(), 1, ANY_PORT));
        broker.wait_for_log("which is memory");
    }
}

#[test]
fn tools_of_kafkas_that_are_not_there_start_no_broker() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["kafka-acls", "kafka-mirror-maker.sh", "connect-distributed.sh"] {
        let path = dir.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_klamm"), &path).unwrap();
        let mut command = Command::new(&path);
        command.current_dir(dir.path()).stdin(Stdio::null());
        let (status, output, error) = run_to_end(command);
        assert_eq!((status, output.as_str()), (Some(1), ""), "{error}");
        assert!(error.contains("no such tool") && error.contains("kafka-topics"), "{error}");
    }
}

/// A port that nobody uses, for a broker that cannot say which one it has got.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let (_kept, unread) = std::io::pipe().unwrap();
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    for (name, output, errors) in [
        ("a full disk", Stdio::from(full()), Stdio::from(full())),
        ("a closed pipe", closed.try_clone().unwrap().into(), closed.into()),
        ("a pipe that nobody empties", unread.try_clone().unwrap().into(), unread.into()),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = on(dir.path(), 1, &format!("PLAINTEXT://127.0.0.1:{port}"));
        command.env("KLAMM_LOG", "debug,glommio=warn");
        let mut broker = Killed(command.stdout(output).stderr(errors).spawn().unwrap());
        let address = ([127, 0, 0, 1], port).into();
        let mut client = wait_for(name, || {
            assert!(broker.0.try_wait().unwrap().is_none(), "{name}: it has ended");
            std::net::TcpStream::connect(address).is_ok().then(|| Client::connect(address))
        });
        client.create("t", 1, &[]);
        // Each is a line of the log, and all together more than a pipe holds.
        for number in 0..300 {
            join(&mut client, &format!("{}{number}", "g".repeat(200)));
        }
        for _ in 0..20 {
            let mut bad = Client::connect(address);
            bad.stream.write_all(&[0, 0, 0, 2, 0x7f, 0xff]).unwrap();
            assert!(read_frame(&mut bad.stream).is_ok_and(|frame| frame.is_none()), "{name}");
        }
        Produce::to("t", 0, batch(1)).write(&mut client);
        assert!(broker.0.try_wait().unwrap().is_none(), "{name}: it has ended");
        // SAFETY: a system call without memory; the child has not been waited for, so its id is its own.
        assert_eq!(unsafe { libc::kill(broker.0.id() as i32, libc::SIGTERM) }, 0);
        assert_eq!(wait_for(name, || broker.0.try_wait().unwrap()).code(), Some(0), "{name}");
    }
}

/// Joins a group that has no other member.
fn join(client: &mut Client, group: &str) {
    let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: b"".as_slice().into() };
    let request = JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    };
    let find = FindCoordinatorRequest { key: group.into(), ..Default::default() };
    wait_for("a coordinator", || {
        let response = ask!(client, FindCoordinator, 2, FindCoordinatorResponse, find.clone());
        (response.error_code == 0).then_some(())
    });
    client.send(ApiKey::JoinGroup, 3, |w| request.encode(w, 3));
    let frame = client.frame().expect("it is open");
    assert!(frame.len() > 10);
}

#[test]
fn what_a_peer_says_cannot_forge_lines() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::spawn(on(dir.path(), 1, ANY_PORT));
    let mut client = Client::connect(broker.address);
    join(&mut client, "g\n2026-01-01T00:00:00Z ERROR forged\r\u{1b}[2J");
    broker.wait_for_log("generation 1 has 1 member");
    let log = broker.log();
    assert!(log.contains("g\\n2026-01-01T00:00:00Z ERROR forged\\r\\u{1b}[2J"), "{log}");
    assert!(log.lines().all(|line| !line.starts_with("2026-01-01") && !line.contains('\u{1b}')), "{log}");
    join(&mut client, &"x".repeat(30_000));
    broker.wait_for_log("xxx");
    assert!(broker.log().lines().all(|line| line.chars().count() < 9000), "a line is short");
}
