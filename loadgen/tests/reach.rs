//! Brokers that are to be found among several addresses, and found again.

mod fake;

use fake::{Fault, count, json};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};

/// Exit status of figures that are not what they seem.
const INVALID: i32 = 3;
/// An address at which nothing listens.
const DEAD: &str = "127.0.0.1:1";

fn run(addresses: &str, command: &str) -> Output {
    let mut words = command.split_whitespace();
    let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    loadgen.arg(words.next().unwrap()).args(["--bootstrap-server", addresses, "--json"]).args(words);
    loadgen.output().unwrap()
}

/// The address of a server that says `answer` to whatever it is asked, and nothing more; or nothing at all.
fn babbler(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut all = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            if !answer.is_empty() && stream.read(&mut [0; 1024]).is_ok() {
                // Whoever asked may have hung up.
                let _ = stream.write_all(answer);
            }
            all.push(stream);
        }
    });
    address
}

/// `address` behind others that are of no use.
fn behind(address: &str) -> String {
    let others = [
        DEAD.to_string(),
        babbler(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
        babbler(b"\x00\x00\x00\x05\xff\xff\xff\xff\xff"),
        babbler(b"\x7f\xff\xff\xff"),
        babbler(b""),
    ];
    format!("{},{address}", others.join(","))
}

#[test]
fn brokers_that_are_away_or_mad_do_not_hide_the_others() {
    let addresses = behind(&fake::start(Fault::None).to_string());
    for (command, records) in [
        ("produce --records 1000 --partitions 4 --batch-bytes 10000", 1000),
        ("consume --to-end", 1000),
        ("end-to-end --rate 500 --seconds 1 --record-bytes 50 --topic other", 0),
        ("verify --records 1000 --record-bytes 100 --topic third", 1000),
    ] {
        let value = json(&run(&addresses, command));
        assert!(count(&value, "records") >= records && count(&value, "requests") > 0, "{command}: {value}");
        assert_eq!((value["errors"].to_string(), count(&value, "connections_lost")), ("{}".to_string(), 0), "{value}");
    }
}

#[test]
fn if_none_is_there_each_is_named() {
    let mad = babbler(b"\x00\x00\x00\x05\xff\xff\xff\xff\xff");
    let output = run(&format!("{DEAD},{mad}"), "produce --records 1");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(INVALID), "{errors}");
    assert!(errors.contains(DEAD) && errors.contains("refused") && errors.contains(&mad), "{errors}");
}

/// The one that was there at first has gone, and another leads.
#[test]
fn a_cluster_is_found_again_by_any_of_its_brokers() {
    let brokers = fake::start_all(Fault::FailOver);
    let addresses = format!("{},{}", behind(&brokers[0].to_string()), brokers[1]);
    let paced = "produce --rate 500 --seconds 3 --batch-bytes 0 --record-bytes 100 --partitions 4 --drain-seconds 1";
    let value = json(&run(&addresses, paced));
    assert_eq!(count(&value, "records") + count(&value, "censored"), 1500, "{value}");
    assert!(count(&value, "connections_lost") > 0 && count(&value, "censored_by.lost") > 0, "{value}");
    // Many more than the first broker took.
    assert!(count(&value, "records") > 2 * fake::REQUESTS, "{value}");
}

/// While one broker is asked that says nothing, the connection to the other is made again each time that it is lost.
#[test]
fn a_broker_that_is_silent_keeps_no_connection_from_another() {
    let brokers: Vec<String> = fake::start_all(Fault::Mute).iter().map(|address| address.to_string()).collect();
    let command = "produce --rate 600 --seconds 7 --batch-bytes 0 --partitions 4 --connections 2 --threads 1 \
                   --drain-seconds 0.5";
    let value = json(&run(&brokers.join(","), command));
    assert_eq!(count(&value, "records") + count(&value, "censored"), 7 * 600, "{value}");
    // One of the two has half of all, and is cut off at each third hundred.
    assert!(count(&value, "records") > 3 * fake::REQUESTS && count(&value, "records") <= 2_400, "{value}");
    assert!(count(&value, "connections_lost") >= 4, "{value}");
}

#[test]
fn what_a_silent_broker_does_not_lead_is_read() {
    let brokers: Vec<String> = fake::start_all(Fault::Mute).iter().map(|address| address.to_string()).collect();
    let written = "produce --records 20000 --record-bytes 1000 --batch-bytes 250000 --partitions 4 --connections 2";
    assert_eq!(count(&json(&run(&brokers.join(","), written)), "records"), 20_000);
    let value = json(&run(&brokers.join(","), "consume --seconds 7 --connections 2 --threads 1"));
    // Half of all, and of the rest what was read before its leader fell silent.
    assert!((10_000..20_000).contains(&count(&value, "records")), "{value}");
    assert!(count(&value, "connections_lost") >= 3, "{value}");
}

/// What a connection was to read that is lost, and partitions that move, are read to their ends: nothing is missed or read twice.
#[test]
fn reading_goes_on_after_a_lost_connection_and_a_moved_partition() {
    for (fault, lost, why) in
        [(Fault::CutReading, 1, "connections lost: 1"), (Fault::MoveReading, 0, "NOT_LEADER_OR_FOLLOWER")]
    {
        let addresses = behind(&fake::start(fault).to_string());
        let written = json(&run(&addresses, "produce --records 20000 --record-bytes 1000 --partitions 4"));
        assert!(count(&written, "records") >= 20_000, "{fault:?} {written}");
        let output = run(&addresses, "consume --to-end --check-crc --connections 2");
        let value = json(&output);
        assert_eq!(output.status.code(), Some(INVALID), "{fault:?} {value}");
        assert_eq!(count(&value, "records"), count(&written, "records"), "{fault:?} {value}");
        assert_eq!((count(&value, "connections_lost"), &value["valid"]), (lost, &false.into()), "{fault:?} {value}");
        assert!(value["why"].to_string().contains(why), "{fault:?} {value}");
    }
}

/// Positions of partitions that commits are due for; the window is the planned one.
#[track_caller]
fn commits(fault: Fault, more: &str) -> (Output, Value) {
    let brokers: Vec<String> = fake::start_all(fault).iter().map(|address| address.to_string()).collect();
    let command = "commit --connections 3 --in-flight 2 --partitions 4 --partitions-per-commit 2 --drain-seconds 0.5";
    let output = run(&behind(&brokers.join(",")), &format!("{command} {more}"));
    let value = json(&output);
    (output, value)
}

#[test]
fn commits_go_on_after_a_lost_connection_and_with_another_coordinator() {
    for (fault, lost) in [(Fault::Cut, true), (Fault::FailOver, true), (Fault::Move, false)] {
        let (output, value) = commits(fault, "--seconds 2");
        assert_eq!(output.status.code(), Some(INVALID), "{fault:?} {value}");
        // More than before.
        assert!(count(&value, "commits") > 2 * fake::REQUESTS, "{fault:?} {value}");
        let kind = if lost { "censored_by.lost" } else { "censored_by.refused" };
        assert!(count(&value, kind) > 0 && count(&value, kind).is_multiple_of(2), "{fault:?} {value}");
        assert_eq!(
            (count(&value, "connections_lost") > 0, &value["seconds"]),
            (lost, &2.0.into()),
            "{fault:?} {value}"
        );
        // What was cut off late in the window has been in the latencies since then.
        assert!(value["latency_ms"]["max"].as_f64().unwrap() > 100.0, "{fault:?} {value}");
        if fault != Fault::FailOver {
            assert_eq!((count(&value, "positions_behind"), count(&value, "positions_unclear")), (0, 0), "{value}");
        }
    }
}

#[test]
fn commits_without_an_answer_have_an_outcome() {
    let (output, value) = commits(Fault::Hang, "--seconds 1");
    assert_eq!(output.status.code(), Some(INVALID), "{value}");
    assert_eq!(count(&value, "censored_by.unanswered"), 3 * 2 * 2, "{value}");
    assert_eq!(count(&value, "records"), 2 * count(&value, "commits"), "{value}");
    assert!(value["why"].to_string().contains("could not be asked for their positions"), "{value}");
    assert!(value["latency_ms"]["max"].as_f64().unwrap() > 400.0, "{value}");
}

#[test]
fn commits_that_are_forgotten_are_found_out() {
    let (output, value) = commits(Fault::Lose, "--records 600");
    assert_eq!((output.status.code(), count(&value, "commits")), (Some(1), 600), "{value}");
    assert_eq!(count(&value, "positions_behind"), 6, "{value}");
    assert!(value["why"].to_string().contains("6 positions are behind what was acknowledged"), "{value}");
}

#[test]
fn churn_finds_another_broker_and_each_round_has_an_outcome() {
    let brokers: Vec<String> = fake::start_all(Fault::FailOver).iter().map(|address| address.to_string()).collect();
    let command = "churn --rate 200 --topic-rate 300 --seconds 3 --workers 2 --topic-workers 2 --drain-seconds 1";
    let output = run(&behind(&brokers.join(",")), command);
    let value = json(&output);
    assert_eq!((output.status.code(), &value["seconds"]), (Some(INVALID), &3.0.into()), "{value}");
    // A topic that was made is due to be deleted.
    let due = 3 * (200 + 300) + count(&value, "topics_created");
    assert_eq!(count(&value, "records") + count(&value, "censored"), due, "{value}");
    assert!(count(&value, "topics_deleted") > fake::REQUESTS, "{value}");
    assert!(count(&value, "censored_by.lost") > 0 && count(&value, "connections_lost") > 0, "{value}");
    let value = json(&run(&fake::start(Fault::None).to_string(), "churn --records 100 --workers 2 --topic-workers 1"));
    assert!(count(&value, "connections") + count(&value, "topics_created") == 100, "{value}");
}

/// A broker that is silent keeps nobody waiting beyond the drain.
#[test]
fn churn_ends_although_a_broker_is_silent() {
    let begin = std::time::Instant::now();
    let command = "churn --rate 100 --topic-rate 200 --seconds 4 --workers 1 --topic-workers 1 --drain-seconds 1";
    let value = json(&run(&fake::start(Fault::Hang).to_string(), command));
    assert!(count(&value, "censored_by.unanswered") > 0, "{value}");
    let due = 4 * (100 + 200) + count(&value, "topics_created");
    assert_eq!(count(&value, "records") + count(&value, "censored"), due, "{value}");
    assert!(begin.elapsed().as_secs() < 40, "{value}");
}
