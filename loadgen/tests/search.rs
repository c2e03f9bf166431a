//! `loadgen search`: what it finds is never more than the broker can do.

mod fake;

use fake::{Fault, SLOW_RATE};
use serde_json::Value;
use std::process::{Command, Output};
use tempfile::TempDir;

/// Exit status of figures that are not what they seem.
const INVALID: i32 = 3;
/// In a second it can be half a second behind, and no more.
const RATE_MAX: f64 = 1.5 * SLOW_RATE as f64;
/// Steps of a second, of single records.
const STEPS: &str =
    "--seconds 1 --warmup-seconds 0.2 --drain-seconds 1 --batch-bytes 0 --record-bytes 100 --partitions 4";

fn search(fault: Fault, options: &str) -> (Output, Value) {
    let address = fake::start(fault).to_string();
    let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    loadgen.args(["search", "--json", "--bootstrap-server", &address]);
    let output = loadgen.args(STEPS.split_whitespace()).args(options.split_whitespace()).output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no report: {text}{errors}"));
    (output, value)
}

fn steps(value: &Value) -> &Vec<Value> {
    value["steps"].as_array().unwrap()
}

#[test]
fn what_a_broker_cannot_do_is_not_found() {
    let place = TempDir::new().unwrap();
    let [csv, svg] = ["steps.csv", "chart.svg"].map(|name| place.path().join(name));
    let files = format!("--csv {} --svg {}", csv.display(), svg.display());
    let (output, value) = search(Fault::Slow, &format!("--max p99<500ms --from 30 --precision 30 {files}"));
    for step in steps(&value) {
        let is_possible = step["rate"].as_f64().unwrap() <= RATE_MAX;
        assert!(step["outcome"] != "passed" || is_possible, "{step}");
    }
    assert!(value["rate"].is_null() || value["rate"].as_f64().unwrap() <= RATE_MAX, "{value}");
    assert_eq!(value["max"], serde_json::json!(["p99<500ms"]));
    // A host that is busy elsewhere may let no step be valid.
    assert_eq!(output.status.code(), Some(if value["valid"] == true { 0 } else { INVALID }), "{value}");
    assert!(value["rate"].is_null() || !value["limited_by"].as_array().unwrap().is_empty(), "{value}");
    let lines = std::fs::read_to_string(csv).unwrap();
    assert_eq!(lines.lines().count(), 1 + steps(&value).len(), "{lines}");
    assert!(std::fs::read_to_string(svg).unwrap().starts_with("<svg "));
}

/// Steps are of end-to-end where the delivery has a limit.
#[test]
fn the_delivery_can_be_limited() {
    let (_, value) = search(Fault::None, "--max p99<10s,delivery.p99<10s --from 200 --to 400");
    let is_seen = |step: &Value| step["delivery_p99_ms"].as_f64().unwrap() > 0.0 && step["p99_ms"].is_number();
    assert!(steps(&value).iter().all(is_seen), "{value}");
    let (_, value) = search(Fault::None, "--max p99<10s --from 200 --to 200");
    assert!(steps(&value).iter().all(|step| step.get("delivery_p99_ms").is_none()), "{value}");
}

/// A broker that ends in the middle leaves the steps so far, and says that it did.
#[test]
fn a_broker_that_ends_leaves_a_report() {
    let (output, value) = search(Fault::Die, "--max max<10s --from 200");
    assert_eq!((output.status.code(), &value["valid"]), (Some(INVALID), &false.into()), "{value}");
    assert!(value["why"].to_string().contains("the search ended early"), "{value}");
    assert!(!steps(&value).is_empty() && steps(&value).iter().any(|step| step["outcome"] != "passed"), "{value}");
}

#[test]
fn what_does_not_fit_is_refused() {
    for (options, why, status) in [
        ("--from 5", "--max", 2),
        ("--from 5 --max p99", "p99<10ms", 2),
        ("--from 1k..2k/3s --max p99<1s", "one rate", 2),
        ("--from 5 --max p99<1s --rate 5", "cannot be used", 2),
        ("--from 5 --max p99<1s --out d", "cannot be used", 2),
        ("--from 5 --to 4 --max p99<1s", "--to is below", INVALID),
        ("--from 5 --max p99<1s --seconds 0.5", "at least 1", INVALID),
        ("--from 5 --max p99<1s -b 127.0.0.1:1 --arrival poisson", "127.0.0.1:1", INVALID),
    ] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_loadgen")).arg("search").args(options.split(' ')).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(status) && errors.contains(why), "{options}: {errors}");
    }
}
