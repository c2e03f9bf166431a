//! One report of those of several agents: histograms and counts are added, and whatever one of them doubts makes all invalid.

use super::conductor::{Offset, words_of};
use crate::cluster::{Fault, error_name};
use crate::gate::{self, LOG_FILE, RUN_FILE, latencies};
use crate::options::Target;
use crate::report::{DELIVERY, Report, percentile_ms, summary};
use crate::run::{LAG, SERVICE};
use crate::tally::{Miss, Tally, histogram};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use klamm::wire::error::ErrorCode;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Share of the window by which the agents' windows may lie apart.
const APART_MAX: f64 = 0.01;
/// Share of the latency across hosts by which it may be wrong, both at the 99th percentile.
const ACROSS_ERROR_MAX: f64 = 0.1;
/// Tags of a load's first latencies: there is one of these.
const MAIN_TAGS: [&str; 3] = ["", "ack", "connect"];
/// Counts and rates of single loads, which add up.
const COUNTS: [&str; 12] = [
    "records_unsent",
    "records_delivered",
    "records_undelivered",
    "records_duplicated",
    "records_unknown",
    "records_across",
    "commits",
    "positions_behind",
    "positions_unclear",
    "connections",
    "topics_created",
    "topics_deleted",
];
const RATES: [&str; 4] =
    ["commits_per_second", "connections_per_second", "topics_created_per_second", "topics_deleted_per_second"];

/// What came of one agent.
pub struct Part {
    pub name: String,
    pub offset: Offset,
    /// By how much its load began late, on its own clock.
    pub late_ns: u64,
    /// What the agent has of its load, if that came to an end.
    pub ended: Value,
    /// Why there is less to know of it than there should be.
    pub fault: Option<String>,
}

impl Part {
    fn report(&self) -> &Value {
        &self.ended["run"]["report"]
    }

    /// Why its figures are not what they seem, or are missing.
    fn why(&self) -> Vec<String> {
        let mut why: Vec<String> = self.fault.iter().map(|fault| format!("agent {}: {fault}", self.name)).collect();
        if !self.report().is_object() {
            let status = self.ended["status"].as_str().map(|status| format!(", {status}"));
            let said = words_of(&self.ended["errors"]);
            why.push(
                format!("agent {} has no figures{} {said}", self.name, status.unwrap_or_default()).trim().to_string(),
            );
        }
        let own = self.report()["why"].as_array().into_iter().flatten().filter_map(Value::as_str);
        why.extend(own.map(|own| format!("agent {}: {own}", self.name)));
        why
    }

    fn json(&self) -> Value {
        let ms = |ns: f64| json!(ns / 1e6);
        let mut object = Map::new();
        for name in ["valid", "records", "records_per_second", "seconds", "latency_ms", "fetch_ms", "load", "host"] {
            let value = &self.report()[name];
            (!value.is_null()).then(|| object.insert(name.to_string(), value.clone()));
        }
        object.insert("begun_late_ms".to_string(), ms(self.late_ns as f64));
        object.insert("clock_offset_ms".to_string(), ms(self.offset.ns as f64));
        object.insert("clock_error_ms".to_string(), ms(self.offset.error_ns as f64));
        Value::Object(object)
    }
}

/// Keeps the agents' runs as well, where a directory is asked for.
pub fn merge(target: &Target, parts: &[Part]) -> Result<Report, Fault> {
    let (mut all, mut unreadable) = (BTreeMap::new(), Vec::new());
    for part in parts.iter().filter(|part| part.report().is_object()) {
        if let Err(why) = add_latencies(&mut all, part.ended["log"].as_str().unwrap_or_default()) {
            unreadable.push(format!("agent {}: its latencies cannot be read: {why}", part.name));
        }
    }
    let report = report(parts, &all, unreadable);
    keep(target, parts, &all, report.seconds)?;
    Ok(report)
}

fn report(parts: &[Part], all: &BTreeMap<String, Histogram<u64>>, mut why: Vec<String>) -> Report {
    let reports: Vec<&Value> = parts.iter().map(Part::report).filter(|report| report.is_object()).collect();
    let seconds = reports.iter().filter_map(|report| report["seconds"].as_f64()).fold(0.0, f64::max);
    let mut tally = Tally::new();
    reports.iter().zip(parts).for_each(|(report, _)| add_counts(&mut tally, report));
    let latency = |tag: &str| all.get(tag).cloned();
    tally.latency = MAIN_TAGS.into_iter().find_map(latency).unwrap_or_else(histogram);
    why.extend(parts.iter().flat_map(Part::why));
    for part in parts {
        let apart = (part.offset.error_ns + part.late_ns) as f64 / 1e9;
        if apart > APART_MAX * seconds && part.report().is_object() {
            why.push(format!("agent {} began up to {:.3} ms off", part.name, apart * 1e3));
        }
    }
    let mut merged = Report { why, ..Report::new(tally, seconds) };
    if reports.iter().any(|report| !report["fetch_ms"].is_null()) {
        merged.latency_name = ("fetch_ms", "fetch, waits included");
    }
    merged.second_latency = latency("delivery").map(|latency| (DELIVERY, "delivery", latency));
    (merged.service, merged.lag) = (latency(SERVICE), latency(LAG));
    let count = |name: &str| reports.iter().filter_map(|report| report[name].as_u64()).reduce(|a, b| a + b);
    let rate = |name: &str| reports.iter().filter_map(|report| report[name].as_f64()).reduce(|a, b| a + b);
    merged.more.extend(COUNTS.into_iter().filter_map(|name| Some((name, json!(count(name)?)))));
    merged.more.extend(RATES.into_iter().filter_map(|name| Some((name, json!(rate(name)?)))));
    for (tag, name) in [("create", "create_ms"), ("delete", "delete_ms")] {
        merged.more.extend(latency(tag).map(|latency| (name, summary(&latency))));
    }
    add_across(&mut merged, parts, latency("across"));
    let agents: Map<String, Value> = parts.iter().map(|part| (part.name.clone(), part.json())).collect();
    merged.more.push(("agents", Value::Object(agents)));
    merged
}

/// Adds how long records took that one agent wrote and another read, and by how much that may be wrong: the clocks of the two that
/// are known worst, and the difference between their beginnings.
fn add_across(merged: &mut Report, parts: &[Part], latency: Option<Histogram<u64>>) {
    let Some(latency) = latency.filter(|_| parts.len() > 1) else { return };
    let mut errors: Vec<u64> = parts.iter().map(|part| part.offset.error_ns).collect();
    errors.sort_unstable();
    let late = || parts.iter().map(|part| part.late_ns);
    let apart_ns = late().max().unwrap_or(0) - late().min().unwrap_or(0);
    let error_ms = (errors.iter().rev().take(2).sum::<u64>() + apart_ns) as f64 / 1e6;
    merged.more.push(("delivery_across_ms", summary(&latency)));
    merged.more.push(("delivery_across_error_ms", json!(error_ms)));
    let p99_ms = percentile_ms(&latency, 99.0);
    if error_ms > ACROSS_ERROR_MAX * p99_ms {
        merged.why.push(format!("delivery across hosts is known to {error_ms:.3} ms only, its p99 is {p99_ms:.3} ms"));
    }
    let sum = |name: &str| parts.iter().filter_map(|part| part.report()[name].as_u64()).sum::<u64>();
    // What each of them wrote and read itself, all the others are to have read as well.
    let (seen, expected) = (sum("records_across"), sum("records_delivered") * (parts.len() as u64 - 1));
    if seen != expected {
        merged.why.push(format!("{seen} of {expected} deliveries across hosts were seen"));
    }
}

/// Adds what a report counts.
fn add_counts(tally: &mut Tally, report: &Value) {
    let count = |name: &str| report[name].as_u64().unwrap_or(0);
    let named = |name: &str| -> Vec<(String, u64)> {
        let object = report[name].as_object().into_iter().flatten();
        object.filter_map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect()
    };
    tally.requests += count("requests");
    tally.records += count("records");
    tally.bytes += count("bytes");
    // Rates are those of the window, and what came later is the rest.
    let in_time = |rate: &str| report[rate].as_f64().unwrap_or(0.0) * report["seconds"].as_f64().unwrap_or(0.0);
    tally.late_records += count("records").saturating_sub(in_time("records_per_second").round() as u64);
    let bytes_in_time = in_time("mib_per_second") * (1 << 20) as f64;
    tally.late_bytes += count("bytes").saturating_sub(bytes_in_time.round() as u64);
    for (name, count) in named("errors") {
        let code = ErrorCode::ALL.iter().map(|code| code.code()).find(|&code| error_name(code) == name);
        let unnamed = || name.strip_prefix("ERROR_").and_then(|code| code.parse().ok());
        tally.error(code.or_else(unnamed).unwrap_or(ErrorCode::UnknownServerError.code()), count);
    }
    for (name, count) in named("censored_by") {
        let miss = Miss::ALL.into_iter().find(|miss| miss.name() == name);
        tally.miss(miss.unwrap_or(Miss::Unanswered), count);
    }
    let lost = count("connections_lost");
    if lost > 0 {
        *tally.lost.entry("agents say why".to_string()).or_default() += lost;
    }
}

/// Adds the latencies of a log, each under its tag.
fn add_latencies(all: &mut BTreeMap<String, Histogram<u64>>, log: &str) -> Result<(), String> {
    for (tag, latency) in latencies(log.as_bytes())? {
        all.entry(tag).or_insert_with(histogram).add(&latency.sum).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Writes the merged log, and the files of each agent's run below `agents`.
fn keep(target: &Target, parts: &[Part], all: &BTreeMap<String, Histogram<u64>>, seconds: f64) -> Result<(), Fault> {
    let Some(path) = target.log() else { return Ok(()) };
    gate::prepare(target.out.as_deref())?;
    let fault = |path: &Path, error| Fault::Io(path.display().to_string(), error);
    let mut file = fs::File::create(&path).map_err(|error| fault(&path, error))?;
    let mut serializer = V2DeflateSerializer::new();
    let written = |why: String| Fault::Other(format!("interval log: {why}"));
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("latencies in nanoseconds, of all agents and the whole run")
        .begin_log_with(&mut file, &mut serializer)
        .map_err(|error| written(error.to_string()))?;
    for (tag, latency) in all {
        let tag = if tag.is_empty() { None } else { Tag::new(tag) };
        log.write_histogram(latency, Duration::ZERO, Duration::from_secs_f64(seconds), tag)
            .map_err(|error| written(format!("{error:?}")))?;
    }
    let Some(directory) = &target.out else { return Ok(()) };
    for part in parts.iter().filter(|part| part.report().is_object()) {
        let own = directory.join("agents").join(part.name.replace('/', "_"));
        fs::create_dir_all(&own).map_err(|error| fault(&own, error))?;
        let log = part.ended["log"].as_str().unwrap_or_default();
        for (name, text) in [(LOG_FILE, log.to_string()), (RUN_FILE, format!("{:#}\n", part.ended["run"]))] {
            let path = own.join(name);
            fs::write(&path, text).map_err(|error| fault(&path, error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, report: Value) -> Part {
        let offset = Offset { ns: -2_000_000, error_ns: 500_000 };
        let ended =
            json!({"status": "exit status: 3", "run": {"report": report}, "errors": "loadgen: it went wrong\n"});
        Part { name: name.to_string(), offset, late_ns: 100_000, ended, fault: None }
    }

    fn report_of(records: u64, in_time: u64) -> Value {
        json!({
            "records": records, "bytes": 100 * records, "seconds": 2.0, "records_per_second": in_time as f64 / 2.0,
            "mib_per_second": 50.0 * in_time as f64 / f64::from(1 << 20), "requests": records, "records_unsent": 3,
            "errors": {"NOT_LEADER_OR_FOLLOWER": 2, "ERROR_999": 1}, "censored_by": {"lost": 4, "unsent": 3},
            "connections_lost": 1, "valid": false, "why": ["connections lost: 1, reset"],
        })
    }

    #[test]
    fn counts_add_up_and_each_doubt_is_named() {
        let mut all = BTreeMap::from([(String::new(), histogram()), ("lag".to_string(), histogram())]);
        all.get_mut("").unwrap().record_n(5_000_000, 7).unwrap();
        let parts = [part("a", report_of(100, 90)), part("b", report_of(50, 50)), part("c", Value::Null)];
        let merged = report(&parts, &all, vec!["agent b: unreadable".to_string()]).json();
        assert_eq!(
            (&merged["records"], &merged["bytes"], &merged["seconds"]),
            (&json!(150), &json!(15_000), &json!(2.0))
        );
        assert_eq!(merged["records_per_second"], json!(70.0), "what came late is not of the window");
        assert_eq!(merged["errors"], json!({"ERROR_999": 2, "NOT_LEADER_OR_FOLLOWER": 4}));
        assert_eq!(merged["censored_by"], json!({"unsent": 6, "lost": 8}));
        assert_eq!((&merged["connections_lost"], &merged["records_unsent"]), (&json!(2), &json!(6)));
        assert!((merged["latency_ms"]["p50"].as_f64().unwrap() - 5.0).abs() < 0.01, "{merged}");
        let expected = [
            "agent b: unreadable",
            "agent a: connections lost: 1, reset",
            "agent b: connections lost: 1, reset",
            "agent c has no figures, exit status: 3 it went wrong",
        ];
        assert_eq!(merged["why"], json!(expected));
        assert_eq!(merged["agents"]["a"]["clock_offset_ms"], json!(-2.0));
        assert_eq!(merged["agents"]["a"]["clock_error_ms"], json!(0.5));
    }

    /// Records that nobody else has seen would make the times of the others look better than they are.
    #[test]
    fn times_across_hosts_are_as_good_as_the_clocks() {
        let report_of = |seen: u64| json!({"seconds": 2.0, "records_delivered": 10, "records_across": seen});
        let mut latency = histogram();
        latency.record_n(30_000_000, 40).unwrap();
        let all = BTreeMap::from([("across".to_string(), latency)]);
        let mut parts = [part("a", report_of(20)), part("b", report_of(20)), part("c", report_of(19))];
        parts[1].offset.error_ns = 1_500_000;
        parts[2].late_ns = 300_000;
        let merged = report(&parts, &all, Vec::new());
        assert_eq!(merged.why, ["59 of 60 deliveries across hosts were seen"]);
        let json = merged.json();
        // The two that are known worst, and one that began later than the others.
        assert_eq!(
            (&json["delivery_across_error_ms"], &json["delivery_across_ms"]["count"]),
            (&json!(2.2), &json!(40))
        );
        parts[0].offset.error_ns = 1_500_000;
        let merged = report(&parts, &all, Vec::new());
        assert!(merged.why[0].starts_with("delivery across hosts is known to 3.200 ms only"), "{:?}", merged.why);
        // Of one host there is none.
        assert_eq!(report(&parts[..1], &all, Vec::new()).json().get("delivery_across_ms"), None);
    }

    #[test]
    fn windows_that_lie_apart_are_no_common_window() {
        let mut far = part("a", report_of(100, 100));
        far.offset.error_ns = 30_000_000;
        let merged = report(&[far], &BTreeMap::new(), Vec::new());
        assert!(merged.why.iter().any(|why| why == "agent a began up to 30.100 ms off"), "{:?}", merged.why);
    }

    #[test]
    fn logs_that_are_none_are_refused() {
        assert!(add_latencies(&mut BTreeMap::new(), "no log").is_err());
        assert!(add_latencies(&mut BTreeMap::new(), "").is_err());
    }
}
