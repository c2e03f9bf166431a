//! What the program says of brokers that end, hang, refuse and come back: every record that was due has an outcome, and figures
//! that are not what they seem say so.

mod fake;

use fake::{Fault, REQUESTS, count};
use serde_json::Value;
use std::ops::RangeInclusive;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Exit status of figures that are not what they seem.
const INVALID: i32 = 3;
const RATE: u64 = 500;
/// Of a record each, for two seconds, and with so little patience afterwards that a test does not wait.
const PACED: &str =
    "produce --rate 500 --seconds 2 --batch-bytes 0 --record-bytes 100 --partitions 4 --drain-seconds 1";

fn run(address: &str, command: &str) -> Output {
    let mut words = command.split_whitespace();
    let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    loadgen.arg(words.next().unwrap()).args(["--bootstrap-server", address, "--json"]).args(words);
    loadgen.output().unwrap()
}

/// The report of a run whose figures are not what they seem, and why.
fn invalid(fault: Fault, command: &str) -> (Value, String) {
    let output = run(&fake::start(fault).to_string(), command);
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no report: {text}{errors}"));
    assert_eq!(output.status.code(), Some(INVALID), "{fault:?} {value}");
    assert_eq!(value["valid"], false, "{fault:?} {value}");
    let why = value["why"].to_string();
    (value, why)
}

/// Every record that was due is acknowledged or censored, and rates are those of the window that was planned.
#[track_caller]
fn whole(value: &Value) {
    assert_eq!(count(value, "records") + count(value, "censored"), 2 * RATE, "{value}");
    assert_eq!(value["seconds"], 2.0, "{value}");
    assert!(value["records_per_second"].as_f64().unwrap() <= count(value, "records") as f64 / 2.0, "{value}");
}

#[test]
fn a_broker_that_hangs_is_seen_in_every_figure() {
    let (value, why) = invalid(Fault::Hang, PACED);
    whole(&value);
    assert!(count(&value, "records") <= REQUESTS, "{value}");
    assert!(count(&value, "censored_by.unanswered") > 0 && count(&value, "censored_by.unsent") > 0, "{value}");
    // Two thirds of all waited for a second and more.
    assert!(value["latency_ms"]["p50"].as_f64().unwrap() > 900.0, "{value}");
    assert!(why.contains("are not acknowledged: unsent"), "{why}");
    // The broker is late and not the load, which knew of each request when it was due.
    assert!(!why.contains("own lag"), "{value}");
}

/// A load that was stopped does not pass that off as the broker's latency.
#[test]
fn a_load_that_was_stopped_says_so() {
    let (within, over_its_end) = ([700, 700], [1_300, 1_500]);
    std::thread::scope(|scope| [within, over_its_end].map(|pauses_ms| drop(scope.spawn(move || stop(pauses_ms)))));
}

/// Stops a load after the first pause, and lets it go on after the second.
fn stop(pauses_ms: [u64; 2]) {
    let address = fake::start(Fault::None).to_string();
    let log = std::env::temp_dir().join(format!("loadgen-outcomes-{}-{}.hdr", std::process::id(), pauses_ms[0]));
    let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    loadgen.args(PACED.split_whitespace()).args(["--json", "--bootstrap-server", &address, "--hdr"]).arg(&log);
    let child = loadgen.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let signal = |name: &str, pause_ms: u64| {
        std::thread::sleep(Duration::from_millis(pause_ms));
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    signal("-STOP", pauses_ms[0]);
    signal("-CONT", pauses_ms[1]);
    let output = child.wait_with_output().unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    assert_eq!((output.status.code(), &value["valid"]), (Some(INVALID), &false.into()), "{value}");
    assert!(value["load"]["lag_ms"]["p90"].as_f64().unwrap() > 200.0, "{value}");
    assert!(value["why"].to_string().contains("the load's own lag has p99"), "{value}");
    assert!(value["service_ms"]["p50"].as_f64().unwrap() < 200.0, "{value}");
    assert!(text.contains("Tag=lag,") && text.contains("Tag=service,"), "{text}");
}

/// However the requests of a rate lie in time, each that was due is answered or censored, and is in the lag and in the latencies.
#[test]
fn every_arrival_has_an_outcome() {
    let place = tempfile::TempDir::new().unwrap();
    let cases = [
        ("even", "200..800/2s", 1_000..=1_000),
        ("burst:250ms", "800..200/2s", 1_000..=1_000),
        // Give or take six times the root.
        ("poisson", "500", 810..=1_190),
        ("poisson", "0.2k..0.8k/2s", 810..=1_190),
    ];
    let judge = |(name, rate, expected): (&str, &str, RangeInclusive<u64>)| {
        let out = place.path().join(format!("{name}{}", rate.len()));
        // Without --seconds a ramp has its own time.
        let seconds = if rate.contains("..") { "" } else { "--seconds 2" };
        let options = "--batch-bytes 0 --record-bytes 100 --partitions 4 --drain-seconds 1";
        let command = format!("produce --rate {rate} --arrival {name} {seconds} {options} --out {}", out.display());
        let (value, _) = invalid(Fault::Hang, &command);
        let due = count(&value, "records") + count(&value, "censored");
        assert!(expected.contains(&due), "{name} {rate}: {value}");
        assert!(count(&value, "records") <= REQUESTS && value["seconds"] == 2.0, "{value}");
        assert!(value["latency_ms"]["p50"].as_f64().unwrap() > 500.0, "{value}");
        let run: Value = serde_json::from_slice(&std::fs::read(out.join("run.json")).unwrap()).unwrap();
        let of = |name: &str| -> u64 {
            run["rows"].as_array().unwrap().iter().map(|row| count(row, &format!("latency_ms.{name}.count"))).sum()
        };
        assert_eq!((of("lag"), of("latency")), (due, due), "{name} {rate}: {value}");
    };
    std::thread::scope(|scope| cases.into_iter().for_each(|case| drop(scope.spawn(|| judge(case)))));
}

/// All loads that have a rate have ramps and arrivals.
#[test]
fn a_ramp_is_kept_by_each_load() {
    for (command, delivered) in [
        ("produce", "records"),
        ("end-to-end", "records_delivered"),
        ("verify", "acknowledged"),
        ("churn --workers 2 --topic-workers 0", "connections"),
    ] {
        let arrival = if command.starts_with("churn") { "" } else { "--arrival burst:200ms --batch-bytes 0" };
        let command = format!("{command} --rate 100..500/1s {arrival}");
        let output = run(&fake::start(Fault::None).to_string(), &command);
        let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no report: {text}{errors}"));
        // Connections are made one by one, and those that were not begun at the end are not counted.
        let expected = if command.starts_with("churn") { 1..=300 } else { 300..=300 };
        assert!(expected.contains(&(count(&value, delivered) + count(&value, "censored"))), "{command}: {value}");
    }
    for (command, why) in [
        ("produce --arrival poisson", "--rate"),
        ("produce --rate 1..2", "1k..50k/60s"),
        ("end-to-end --rate 5 --arrival often", "burst:TIME"),
        ("verify --rate 0", "above 0"),
        ("churn --rate 5 --arrival poisson", "--arrival"),
        ("group --rate 1k..2k/0s", "above 0"),
    ] {
        let output = run("127.0.0.1:1", command);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && errors.contains(why), "{command}: {errors}");
    }
}

#[test]
fn a_broker_that_ends_is_seen_in_every_figure() {
    let (value, why) = invalid(Fault::Die, PACED);
    whole(&value);
    assert!(count(&value, "censored_by.lost") > 0 && count(&value, "censored_by.unsent") > RATE, "{value}");
    assert!(value["latency_ms"]["p90"].as_f64().unwrap() > 500.0, "{value}");
    assert!(count(&value, "connections_lost") > 0 && why.contains("connections lost"), "{value}");
}

/// A load without a schedule has no records that are due and unsent; what it sent has an outcome, and the window is the planned one.
#[test]
fn without_a_schedule_what_was_sent_has_an_outcome() {
    let closed = "produce --seconds 1 --drain-seconds 0.5 --batch-bytes 0 --in-flight 3 --connections 2 --partitions 4";
    let (value, why) = invalid(Fault::Hang, closed);
    assert_eq!((count(&value, "censored"), count(&value, "censored_by.unanswered")), (6, 6), "{value}");
    assert_eq!(value["seconds"], 1.0, "{value}");
    assert!(value["latency_ms"]["max"].as_f64().unwrap() > 400.0 && why.contains("unanswered 6"), "{value}");
}

#[test]
fn a_connection_that_is_cut_comes_back() {
    let (value, why) = invalid(Fault::Cut, PACED);
    whole(&value);
    assert_eq!((count(&value, "connections_lost"), count(&value, "censored_by.lost") > 0), (1, true), "{value}");
    // Those that came due meanwhile went out when it was back.
    assert_eq!(
        count(&value, "censored"),
        count(&value, "censored_by.lost") + count(&value, "records_unsent"),
        "{value}"
    );
    assert!(count(&value, "censored_by.lost") <= 5 && count(&value, "records") > 2 * RATE - RATE / 2, "{value}");
    assert!(why.contains("connections lost: 1"), "{why}");
}

#[test]
fn answers_that_are_none_end_a_connection_which_comes_back() {
    let (value, why) = invalid(Fault::Babble, PACED);
    whole(&value);
    assert!(why.contains("an answer that cannot be read"), "{why}");
    assert!(count(&value, "records") > 2 * RATE - RATE / 2, "{value}");
}

#[test]
fn partitions_that_move_are_followed() {
    for more in ["", "--idempotent", "--partitions-per-request 2 --connections 2"] {
        let (value, why) = invalid(Fault::Move, &format!("{PACED} {more}"));
        let errors = count(&value, "errors.NOT_LEADER_OR_FOLLOWER");
        assert_eq!((errors > 0, value["errors"].as_object().unwrap().len()), (true, 1), "{more} {value}");
        // Up to 600 were written before they moved.
        assert!(count(&value, "records") > 2 * RATE - 3 * RATE / 5, "{more} {value}");
        assert!(why.contains("NOT_LEADER_OR_FOLLOWER"), "{more} {why}");
    }
}

#[test]
fn a_broker_that_refuses_is_named() {
    let (value, why) = invalid(Fault::Deny, PACED);
    whole(&value);
    assert_eq!((count(&value, "records"), count(&value, "requests")), (0, 0), "{value}");
    assert!(why.contains("TOPIC_AUTHORIZATION_FAILED") && why.contains("nothing went through"), "{why}");
}

#[test]
fn a_broker_that_is_away_is_named() {
    let output = run("127.0.0.1:1", "produce --records 1");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(INVALID), "{errors}");
    assert!(errors.contains("127.0.0.1:1") && errors.contains("refused"), "{errors}");
}

/// What is lost and what is there twice do not cancel out.
#[test]
fn end_to_end_knows_each_record() {
    let command = "end-to-end --rate 800 --seconds 1.5 --record-bytes 50 --partitions 4 --drain-seconds 4";
    let (value, why) = invalid(Fault::LoseAndDuplicate, command);
    let (lost, doubled) = (count(&value, "records_undelivered"), count(&value, "records_duplicated"));
    assert!(lost > 0 && lost.abs_diff(doubled) <= 1, "{value}");
    assert!(why.contains(&format!("{lost} acknowledged records were not delivered")), "{why}");
    assert!(why.contains(&format!("{doubled} records were delivered that had been before")), "{why}");
    // They are awaited for long, and that is in the latencies of the delivery, but not in those of the acknowledgement.
    assert!(value["delivery_ms"]["max"].as_f64().unwrap() > 3_900.0, "{value}");
    assert!(value["latency_ms"]["max"].as_f64().unwrap() < 3_900.0, "{value}");
}

#[test]
fn records_count_after_the_warm_up() {
    let address = fake::start(Fault::None).to_string();
    for (more, window) in [("", 0.0), ("--rate 1000", 0.3)] {
        let command = "produce --records 500 --warmup-seconds 0.3 --batch-bytes 0 --record-bytes 100 --partitions 2";
        let value: Value = serde_json::from_slice(&run(&address, &format!("{command} {more}")).stdout).unwrap();
        assert_eq!(count(&value, "records") + count(&value, "censored"), 500, "{more} {value}");
        assert!(value["seconds"].as_f64().unwrap() > window, "{more} {value}");
    }
    // What was written before is read in the warm-up.
    let value: Value =
        serde_json::from_slice(&run(&address, "consume --records 300 --warmup-seconds 0.3 --repeat").stdout).unwrap();
    assert!(count(&value, "records") >= 300, "{value}");
}
