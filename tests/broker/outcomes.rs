//! What `loadgen` says of the real program when it is stopped, and when it is killed and comes back.

use crate::kill::free_port;
use crate::load::number;
use crate::process::{Broker, loadgen};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

const RATE: f64 = 500.0;
/// Exit status of figures that are not what they seem.
const INVALID: i32 = 3;

fn produce(address: &str, seconds: f64) -> Child {
    let mut command = loadgen();
    command.args(["produce", "--json", "--bootstrap-server", address, "--rate", &RATE.to_string()]);
    command.args([
        "--seconds",
        &seconds.to_string(),
        "--batch-bytes",
        "0",
        "--record-bytes",
        "100",
        "--partitions",
        "4",
    ]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("loadgen starts")
}

/// The report; every record that was due has an outcome in it, and the window is the planned one.
#[track_caller]
fn report(output: &Output, seconds: f64) -> String {
    let text = String::from_utf8_lossy(&output.stdout).to_string();
    assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(number(&text, "records") + number(&text, "censored"), RATE * seconds, "{text}");
    assert_eq!(number(&text, "seconds"), seconds, "{text}");
    text
}

#[test]
fn a_broker_that_is_stopped_is_as_slow_as_that() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let load = produce(&broker.address.to_string(), 5.0);
    std::thread::sleep(Duration::from_secs(2));
    broker.signal(libc::SIGSTOP);
    std::thread::sleep(Duration::from_millis(1500));
    broker.signal(libc::SIGCONT);
    let text = report(&load.wait_with_output().expect("loadgen runs"), 5.0);
    assert_eq!(number(&text, "connections_lost"), 0.0, "{text}");
    // Of all that was due meanwhile: a third of the run.
    assert!(number(&text, "latency_ms.p90") > 500.0 && number(&text, "latency_ms.max") > 1_300.0, "{text}");
}

#[test]
fn a_broker_that_is_killed_and_comes_back_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port(1));
    let listener = format!("PLAINTEXT://{address}");
    let broker = Broker::start(dir.path(), &[("listeners", &*listener)]);
    let load = produce(&address, 10.0);
    std::thread::sleep(Duration::from_secs(2));
    broker.kill();
    let broker = Broker::start(dir.path(), &[("listeners", &*listener)]);
    let output = load.wait_with_output().expect("loadgen runs");
    let text = report(&output, 10.0);
    assert_eq!(output.status.code(), Some(INVALID), "{text}\n{}", broker.log());
    assert!(number(&text, "connections_lost") >= 1.0 && text.contains("\"valid\":false"), "{text}");
    // More than before it was killed.
    assert!(number(&text, "records") > 3.0 * RATE, "{text}\n{}", broker.log());
}

/// Members, their readers and the writer find the broker again; nothing that was acknowledged is missed, and all that was due has an
/// outcome.
#[test]
fn a_group_goes_on_after_a_broker_that_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port(1));
    let listener = format!("PLAINTEXT://{address}");
    let settings = [("listeners", &*listener), ("group.min.session.timeout.ms", "1000")];
    let broker = Broker::start(dir.path(), &settings);
    let mut command = loadgen();
    let options = "group --members 3 --partitions 6 --rate 300 --record-bytes 50 --seconds 12 --session-ms 20000 \
                   --heartbeat-ms 100 --commit-ms 200 --json --bootstrap-server";
    command.args(options.split_whitespace()).arg(format!("127.0.0.1:1,{address}"));
    let load = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("loadgen starts");
    std::thread::sleep(Duration::from_secs(3));
    broker.kill();
    let broker = Broker::start(dir.path(), &settings);
    let output = load.wait_with_output().expect("loadgen runs");
    let text = String::from_utf8_lossy(&output.stdout).to_string();
    let value = |path: &str| number(&text, path);
    assert_eq!(output.status.code(), Some(INVALID), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(value("records_produced") + value("censored"), 300.0 * 12.0, "{text}\n{}", broker.log());
    assert!(value("connections_lost") > 0.0 && value("records_produced") > 1_000.0, "{text}");
    // The first "lost" is that of the censored records.
    assert!(text.trim_end().ends_with("\"lost\":0}"), "{text}\n{}", broker.log());
    assert_eq!(value("records_undelivered"), 0.0, "{text}\n{}", broker.log());
}
