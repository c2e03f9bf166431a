//! The command line itself: help, completion, faults of typing, brokers that are not there.

#![allow(unsafe_code)]

use crate::process::{klamm, run_to_end};
use crate::stage::{Stage, alone, tool_alone};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Stdio;

#[test]
fn help_names_the_commands() {
    let help = alone("--help").well();
    for command in ["topic", "group", "config", "offsets", "cluster", "completion"] {
        assert!(help.contains(&format!("  {command} ")), "{help}");
    }
    assert!(alone("topic --help").well().contains("describe"));
    assert!(alone("--version").well().starts_with("klamm "));
}

#[test]
fn shells_can_complete() {
    for (shell, sign) in [("bash", "complete -F _klamm"), ("zsh", "#compdef klamm"), ("fish", "complete -c klamm")] {
        let script = alone(&format!("completion {shell}")).well();
        assert!(script.contains(sign) && script.contains("reset-offsets"), "{shell}");
    }
    alone("completion tcsh").ill(2);
}

#[test]
fn what_is_near_is_named() {
    assert!(alone("topic lsit").ill(2).contains("a similar subcommand exists: 'list'"));
    assert!(alone("topic list --fromat json").ill(2).contains("--format"));
    let file = alone("topci").ill(1);
    assert!(file.contains("topci: No such file") && file.contains("did you mean the command topic?"), "{file}");
    assert!(!alone("/nowhere/server.properties").ill(1).contains("did you mean"));
}

/// An address that nobody listens at.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn brokers_that_are_not_there_are_named() {
    let (first, second) = (nobody(), nobody());
    assert_eq!(
        alone(&format!("topic list -b {first},{second}")).ill(1),
        format!("klamm: cannot reach {first}: Connection refused; cannot reach {second}: Connection refused\n")
    );
    assert_eq!(
        tool_alone("kafka-topics", &format!("--bootstrap-server {first} --list")).ill(1),
        format!(
            "cannot reach {first}: Connection refused\n\
            org.apache.kafka.common.errors.TimeoutException: cannot reach {first}: Connection refused\n"
        )
    );
    assert!(alone("topic list -b no.such.host.invalid").ill(1).contains("cannot reach no.such.host.invalid:9092: "));
    assert!(alone("topic list -b a:b").ill(2).contains("\"a:b\" is no address"));
    assert!(alone("topic list -b a:65536").ill(2).contains("port 65536 is out of range"));
}

#[test]
fn the_next_broker_of_the_list_is_asked() {
    let stage = Stage::new();
    stage.told("topic create t");
    let addresses = format!("{},{}", nobody(), stage.broker.address);
    assert_eq!(alone(&format!("topic list -b {addresses}")).well(), TABLE);
}

const TABLE: &str = "TOPIC  PARTITIONS\nt               1\n";

#[test]
fn the_environment_names_brokers_where_the_option_does_not() {
    let stage = Stage::new();
    stage.told("topic create t");
    let list = |variable: &str, more: &[&str]| {
        let mut command = klamm(&[]);
        command.env("KLAMM_BOOTSTRAP_SERVER", variable).args(["topic", "list"]).args(more);
        run_to_end(command)
    };
    let address = stage.broker.address.to_string();
    assert_eq!(list(&format!("{},{address}", nobody()), &[]), (Some(0), TABLE.into(), String::new()));
    assert_eq!(list(&nobody(), &["-b", &address]), (Some(0), TABLE.into(), String::new()));
    // To the broker itself it is no setting.
    let mut broker = klamm(&[("log.dirs", "/proc/none")]);
    broker.env("KLAMM_BOOTSTRAP_SERVER", address);
    let (status, _, error) = run_to_end(broker);
    assert!(status == Some(1) && !error.contains("bootstrap"), "{error}");
}

#[test]
fn other_peers_are_no_brokers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    assert!(
        alone(&format!("topic list -b {address}"))
            .ill(1)
            .contains(&format!("cannot reach {address}: this is no Kafka broker"))
    );

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let error = alone(&format!("topic list --timeout 100ms -b {address}")).ill(1);
    assert!(error.contains(&address.to_string()), "{error}");
}

/// What a broker that cannot start writes to a terminal.
fn on_a_terminal(no_color: Option<&str>) -> String {
    let (mut leader, mut follower) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: both numbers are written to while the call lasts; the other pointers may be null.
    let opened = unsafe { libc::openpty(&mut leader, &mut follower, none, std::ptr::null(), std::ptr::null()) };
    assert_eq!(opened, 0);
    // SAFETY: both descriptors are open, and nobody else's.
    let (leader, follower) = unsafe { (OwnedFd::from_raw_fd(leader), OwnedFd::from_raw_fd(follower)) };
    let mut command = klamm(&[("log.dirs", "/proc/none"), ("background.threads", "3")]);
    command.env_remove("NO_COLOR").stderr(Stdio::from(follower));
    no_color.map(|value| command.env("NO_COLOR", value));
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut text = Vec::new();
    // With nobody at the other end, reading fails.
    let _ = std::fs::File::from(leader).read_to_end(&mut text);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    String::from_utf8(text).unwrap()
}

#[test]
fn the_log_has_colors_on_a_terminal_unless_they_are_not_wanted() {
    let [plain, empty, colored] = [Some("1"), Some(""), None].map(on_a_terminal);
    assert!(plain.contains("background.threads") && !plain.contains('\x1b'), "{plain}");
    assert!(empty.contains('\x1b') && colored.contains('\x1b'), "{empty}{colored}");
}
