//! The program itself against a broker in memory, faithful and faithless.

mod fake;
mod verify;

use fake::{Fault, json};
use std::process::{Command, Output};

fn loadgen(fault: Fault, command: &str) -> Output {
    run(&fake::start(fault).to_string(), command)
}

fn run(address: &str, command: &str) -> Output {
    let mut words = command.split_whitespace();
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .arg(words.next().unwrap())
        .args(["--bootstrap-server", address, "--json"])
        .args(words)
        .output()
        .unwrap()
}

#[test]
fn what_is_produced_is_consumed() {
    let address = fake::start(Fault::None).to_string();
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let options = "produce --records 1000 --record-bytes 100 --batch-bytes 1000 --partitions-per-request 3";
        let output = run(&address, &format!("{options} --compression {compression} --idempotent"));
        let value = json(&output);
        // Other guests of the host may have taken some of its time.
        let is_well = output.status.success() || value["why"].to_string().contains("(steal)");
        assert!(is_well && value["errors"].as_object().unwrap().is_empty(), "{value}");
        assert!(value["records"].as_u64().unwrap() >= 1000);
        assert_eq!(value["bytes"].as_u64().unwrap(), 100 * value["records"].as_u64().unwrap());
    }
    let value = json(&run(&address, "consume --to-end --check-crc --connections 3"));
    assert!(value["records"].as_u64().unwrap() >= 5000 && value["errors"].as_object().unwrap().is_empty(), "{value}");
    let value = json(&run(&address, "consume --to-end --from latest"));
    assert_eq!(value["records"], 0);
}

#[test]
fn records_are_of_the_shape_that_was_asked_for() {
    let address = fake::start(Fault::None).to_string();
    let shape = "--record-bytes 10..90 --batch-bytes 500 --keys zipf:100:1 --key-bytes 4 --tombstones 50 --headers 2";
    let bytes = |seed: u32| {
        let options = format!("--records 2000 --connections 1 --partitions 3 --compressibility 2 --seed {seed}");
        let value = json(&run(&address, &format!("produce {options} --compression lz4 {shape}")));
        assert_eq!((&value["records"], &value["errors"]), (&2000.into(), &serde_json::json!({})), "{value}");
        value["bytes"].as_u64().unwrap()
    };
    // Keys of four bytes, and values of 50 on average in half of the records.
    let (first, second) = (bytes(1), bytes(2));
    assert!(first == bytes(1) && first != second && (50_000..66_000).contains(&first), "{first} {second}");
    let value = json(&run(&address, "consume --to-end --check-crc"));
    assert_eq!((&value["records"], &value["errors"]), (&6000.into(), &serde_json::json!({})), "{value}");
    let value = json(&run(&address, "produce --records 100 --record-bytes 10 --batch-bytes 100 --prepared 3"));
    assert_eq!(value["bytes"].as_u64().unwrap(), 10 * value["records"].as_u64().unwrap(), "{value}");
    let output = run(&address, "produce --records 1 --keys uniform:1000 --key-bytes 2");
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("no room"), "{output:?}");
}

#[test]
fn a_hot_key_makes_a_hot_partition() {
    let produce = "produce --records 4000 --partitions 4 --record-bytes 50 --batch-bytes 500";
    let shares = |more: &str| {
        let address = fake::start(Fault::None).to_string();
        let value = json(&run(&address, &format!("{produce} {more}")));
        let all = value["records"].as_u64().unwrap();
        assert!(all >= 4000 && value["errors"].as_object().unwrap().is_empty(), "{value}");
        let below = |partitions: u64| match partitions {
            0 => 0,
            _ => {
                let consume = format!("consume --to-end --check-crc --partitions {partitions}");
                json(&run(&address, &consume))["records"].as_u64().unwrap()
            }
        };
        [0, 1, 2, 3].map(|partition| (below(partition + 1) - below(partition)) as f64 / all as f64)
    };
    let hot = shares("--keys hot:1000:1:80 --connections 3");
    assert_eq!(hot.iter().filter(|&&share| share > 0.75).count(), 1, "{hot:?}");
    let even = shares("--keys hot:1000:1:80 --partitioner even --connections 1");
    assert!(even.iter().all(|share| (0.2..0.3).contains(share)), "{even:?}");
    let options = "end-to-end --rate 500 --seconds 1 --record-bytes 50 --partitions 4 --keys zipf:100:1";
    let value = json(&loadgen(Fault::None, options));
    assert_eq!((&value["records_undelivered"], &value["records_duplicated"]), (&0.into(), &0.into()), "{value}");
    let output = loadgen(Fault::None, "produce --records 1 --keys uniform:10 --partitions-per-request 2");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--partitioner even"), "{output:?}");
}

#[test]
fn a_rate_is_kept() {
    let value = json(&loadgen(Fault::None, "produce --rate 2000 --seconds 1 --batch-bytes 0"));
    // A host that is busy elsewhere may leave some unsent, but none unaccounted for.
    let count = |name: &str| value[name].as_u64().unwrap();
    assert!(count("records") > 0 && count("records") + count("records_unsent") == 2000, "{value}");
}

/// A record waits for others from its birth on, and that is in its latency.
#[test]
fn records_linger_until_their_request_is_full_or_their_time_is_over() {
    let address = fake::start(Fault::None).to_string();
    let produce = "produce --rate 1000 --seconds 1 --connections 1 --record-bytes 100";
    for (batches, requests, p50_ms) in [
        ("--batch-bytes 100000 --linger-ms 100", 8..=12, 45.0),
        ("--batch-bytes 5000 --linger-ms 1000", 18..=21, 20.0),
        ("--batch-bytes 5000 --linger-ms 1000 --partitions-per-request 2", 9..=11, 45.0),
        ("--batch-bytes 5000 --linger-ms 0", 50..=1000, 0.0),
    ] {
        let value = json(&run(&address, &format!("{produce} {batches}")));
        let count = |name: &str| value[name].as_u64().unwrap();
        assert_eq!(count("records") + count("records_unsent"), 1000, "{value}");
        // A machine that is busy elsewhere sends fewer and larger ones, each of them later.
        assert!(count("requests") <= *requests.end(), "{batches} {value}");
        let is_late = value["load"]["lag_ms"]["max"].as_f64().unwrap() > 20.0;
        assert!(is_late || count("requests") >= *requests.start(), "{batches} {value}");
        assert!(value["latency_ms"]["p50"].as_f64().unwrap() >= p50_ms, "{batches} {value}");
    }
    let value = json(&run(
        &address,
        "end-to-end --rate 500 --seconds 1 --connections 1 --record-bytes 50 --batch-bytes 1000 --linger-ms 200",
    ));
    // Twenty records are born in 40 ms.
    assert!(value["delivery_ms"]["p90"].as_f64().unwrap() > 30.0, "{value}");
    assert_eq!((&value["records_undelivered"], &value["records_duplicated"]), (&0.into(), &0.into()), "{value}");
}

#[test]
fn end_to_end_delivers_all() {
    let value = json(&loadgen(Fault::None, "end-to-end --rate 500 --seconds 1 --record-bytes 50 --compression zstd"));
    let count = |name: &str| value[name].as_u64().unwrap();
    assert!(count("records_delivered") > 0 && count("records_undelivered") == 0, "{value}");
    assert_eq!(count("records_delivered") + count("records_unsent"), 500);
    assert!(value["delivery_ms"]["p50"].as_f64().unwrap() > 0.0);
}

/// Nothing is answered, so what was sent counts.
#[test]
fn without_acknowledgements_what_is_sent_counts() {
    let value = json(&loadgen(Fault::Sink, "produce --records 1000 --acks 0"));
    assert!(value["records"].as_u64().unwrap() >= 1000 && value["errors"].as_object().unwrap().is_empty(), "{value}");
}

/// Loads of a file leave a directory each, which can be compared, and one that says all.
#[test]
fn loads_of_a_file_are_kept() {
    let address = fake::start(Fault::None).to_string();
    let directory = tempfile::tempdir().unwrap();
    let (file, out) = (directory.path().join("loads.toml"), directory.path().join("kept"));
    let text = format!(
        "bootstrap-server = \"{address}\"\nseconds = 3\n[[produce]]\nname = \"w\"\nrate = 500\npartitions = 2\n\
         [[consume]]\npartitions = 2\nafter-seconds = 0.5\n"
    );
    std::fs::write(&file, &text).unwrap();
    let keep = || {
        let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        loadgen.arg("run").arg(&file).args(["--json", "--out"]).arg(&out).output().unwrap()
    };
    let output = keep();
    let (value, errors) = (json(&output), String::from_utf8_lossy(&output.stderr));
    // Lines say whose they are.
    assert!(errors.lines().any(|line| line.starts_with("w: ")), "{errors}");
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let run = |name: &str| -> serde_json::Value { serde_json::from_str(&read(&out.join(name))).unwrap() };
    let all = run("run.json");
    assert_eq!((&all["command"], &all["report"], &all["options"]["text"]), (&"run".into(), &value, &text.into()));
    for (name, command) in [("w", "produce"), ("consume-1", "consume")] {
        let one = run(&format!("{name}/run.json"));
        assert_eq!((&one["command"], &one["report"]), (&command.into(), &value["loads"][name]), "{one}");
        assert_eq!((&one["options"]["name"], &one["options"]["partitions"]), (&name.into(), &"2".into()), "{one}");
        assert!(!one["rows"].as_array().unwrap().is_empty(), "{one}");
        assert!(read(&out.join(name).join("metrics.prom")).contains("loadgen_records "), "{name}");
    }
    let compare = |one: &std::path::Path| {
        let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        loadgen.args(["compare", "--force", "--base"]).arg(one).arg("--new").arg(one).output().unwrap()
    };
    assert!(String::from_utf8_lossy(&compare(&out.join("w")).stdout).contains("p99"));
    let errors = String::from_utf8_lossy(&compare(&out).stderr).into_owned();
    assert!(errors.contains("compare one of them: w, consume-1"), "{errors}");
    // Another run goes elsewhere.
    let again = keep();
    let errors = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.code() == Some(3) && errors.contains("holds a run already"), "{errors}");
}
