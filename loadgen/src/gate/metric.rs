//! What is compared of a run: names, units, which way is better, where the value is.

use crate::gate::runs::Kept;
use crate::report::{PERCENTILES, max_ms, percentile_ms};
use serde_json::Value;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Less is better.
    Cost,
    /// More is better.
    Yield,
    /// A number of things that ought not to be; none is as it should be.
    Faults,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Metric {
    pub name: String,
    pub unit: &'static str,
    pub kind: Kind,
}

/// Measures of a report: name, place in the report, unit, kind.
const MEASURES: [(&str, &str, &str, Kind); 5] = [
    ("throughput", "/records_per_second", "/s", Kind::Yield),
    ("cpu", "/broker_cpu_seconds_per_gb", "s/GB", Kind::Cost),
    ("cpu_charged", "/charged_cpu_seconds_per_gb", "s/GB", Kind::Cost),
    ("memory", "/broker_rss_bytes", "bytes", Kind::Cost),
    ("memory_with_cache", "/broker/memory_bytes", "bytes", Kind::Cost),
];
/// Counts of a report: name, keys of which the first that is there is taken.
const FAULTS: [(&str, &[&str]); 9] = [
    ("unsent", &["records_unsent"]),
    ("censored", &["censored"]),
    ("connections_lost", &["connections_lost"]),
    ("undelivered", &["records_undelivered", "undelivered"]),
    ("lost", &["lost"]),
    ("duplicated", &["duplicated", "records_duplicated"]),
    ("reordered", &["reordered"]),
    ("corrupted", &["corrupted"]),
    ("interruptions", &["interruptions"]),
];
const ERRORS: &str = "errors";
const INVALID: &str = "invalid";
const MAX: &str = "max";

/// Whether there can be a metric of that name, and its kind.
pub fn kind(name: &str) -> Option<Kind> {
    let is_percentile = |name: &str| name == MAX || PERCENTILES.iter().any(|(.., title)| *title == name);
    let ends_in_percentile = name.match_indices('.').any(|(dot, _)| is_percentile(&name[dot + 1..]));
    if is_percentile(name) || ends_in_percentile {
        return Some(Kind::Cost);
    }
    if let Some((.., kind)) = MEASURES.iter().find(|(measure, ..)| *measure == name) {
        return Some(*kind);
    }
    let is_fault = [ERRORS, INVALID].contains(&name) || FAULTS.iter().any(|(fault, _)| *fault == name);
    is_fault.then_some(Kind::Faults)
}

/// All that a run has to be compared.
pub fn values(run: &Kept) -> Vec<(Metric, f64)> {
    let mut values = Vec::new();
    let mut put = |name: String, unit: &'static str, kind: Kind, value: f64| {
        values.push((Metric { name, unit, kind }, value));
    };
    let report = run.report();
    for (name, place, unit, kind) in MEASURES {
        if let Some(value) = report.pointer(place).and_then(Value::as_f64) {
            put(name.to_string(), unit, kind, value);
        }
    }
    for (tag, latency) in &run.latencies {
        let name = |title: &str| if tag.is_empty() { title.to_string() } else { format!("{tag}.{title}") };
        // Percentiles of nothing would be zeros.
        if latency.sum.is_empty() {
            continue;
        }
        for (percentile, _, title) in PERCENTILES {
            put(name(title), "ms", Kind::Cost, percentile_ms(&latency.sum, percentile));
        }
        put(name(MAX), "ms", Kind::Cost, max_ms(&latency.sum));
    }
    if let Some(errors) = report[ERRORS].as_object() {
        put(ERRORS.to_string(), "", Kind::Faults, errors.values().filter_map(Value::as_u64).sum::<u64>() as f64);
    }
    for (name, keys) in FAULTS {
        if let Some(value) = keys.iter().find_map(|key| report[*key].as_f64()) {
            put(name.to_string(), "", Kind::Faults, value);
        }
    }
    if let Some(is_valid) = report["valid"].as_bool() {
        put(INVALID.to_string(), "", Kind::Faults, f64::from(u8::from(!is_valid)));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn measures_are_taken_from_their_places() {
        let report = json!({
            "records_per_second": 5.0, "broker_cpu_seconds_per_gb": null, "charged_cpu_seconds_per_gb": 0.5,
            "broker": {"memory_bytes": 7},
        });
        let record = json!({"report": report});
        let run = Kept { name: String::new(), latencies: BTreeMap::new(), record };
        let found: Vec<(String, f64)> = values(&run).into_iter().map(|(metric, value)| (metric.name, value)).collect();
        let expected = [("throughput", 5.0), ("cpu_charged", 0.5), ("memory_with_cache", 7.0)];
        assert_eq!(found, expected.map(|(name, value)| (name.to_string(), value)));
    }

    #[test]
    fn names_have_kinds() {
        for (name, expected) in [
            ("p99", Some(Kind::Cost)),
            ("p99.9", Some(Kind::Cost)),
            ("delivery.p99.99", Some(Kind::Cost)),
            ("ack.max", Some(Kind::Cost)),
            ("throughput", Some(Kind::Yield)),
            ("cpu_charged", Some(Kind::Cost)),
            ("censored", Some(Kind::Faults)),
            ("errors", Some(Kind::Faults)),
            ("p98", None),
            ("ack.errors", None),
            ("", None),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
    }
}
