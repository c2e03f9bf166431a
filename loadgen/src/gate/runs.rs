//! Runs as they were kept: a run's directory, or an interval log alone, which has latencies and nothing else.

use crate::gate::record::{LOG_FILE, RUN_FILE, SCHEMA_VERSION, SEVERAL};
use crate::report::percentile_ms;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Rows of a heat map in each decade of latency.
pub const BANDS_PER_DECADE: f64 = 8.0;

/// One interval of a log. Times are seconds of the run.
#[derive(Clone, Debug)]
pub struct Interval {
    pub from: f64,
    pub seconds: f64,
    pub latency: BTreeMap<i32, u64>,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// The latencies of one tag.
pub struct Latency {
    pub sum: Histogram<u64>,
    pub intervals: Vec<Interval>,
}

pub struct Kept {
    pub name: String,
    /// By their tag, "" for those without.
    pub latencies: BTreeMap<String, Latency>,
    /// What `run.json` says, null where there is none.
    pub record: Value,
}

impl Kept {
    pub fn read(path: &Path) -> Result<Kept, String> {
        let name = path.display().to_string();
        let bytes = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        let fault = |file: &Path, why: String| format!("{}: {why}", file.display());
        let (record, log) = if path.is_dir() {
            let file = path.join(RUN_FILE);
            let record: Value =
                serde_json::from_slice(&bytes(&file)?).map_err(|error| fault(&file, error.to_string()))?;
            if record["schema_version"].as_u64().is_none() || !record["report"].is_object() {
                return Err(fault(&file, "not what a run of loadgen leaves".to_string()));
            }
            if record["command"] == SEVERAL {
                let loads = record["report"]["loads"].as_object().into_iter().flat_map(|loads| loads.keys());
                let loads = loads.map(String::as_str).collect::<Vec<_>>().join(", ");
                return Err(format!("{name}: holds the runs of several loads; compare one of them: {loads}"));
            }
            (record, path.join(LOG_FILE))
        } else {
            (Value::Null, path.to_path_buf())
        };
        let latencies = latencies(&bytes(&log)?).map_err(|why| fault(&log, why))?;
        Ok(Kept { name, latencies, record })
    }

    /// The schema that its `run.json` has; a log alone has none that could be another.
    pub fn schema_version(&self) -> u64 {
        self.record["schema_version"].as_u64().unwrap_or(SCHEMA_VERSION)
    }

    /// When it ended, since 1970.
    pub fn ended_seconds(&self) -> Option<u64> {
        self.record["ended_unix_seconds"].as_u64()
    }

    pub fn report(&self) -> &Value {
        &self.record["report"]
    }

    /// Why the run is not to be believed, if it says so itself.
    pub fn invalid(&self) -> Option<String> {
        (self.report()["valid"] == false).then(|| match &self.report()["why"] {
            Value::Array(reasons) => reasons
                .iter()
                .map(|why| why.as_str().map_or(why.to_string(), str::to_string))
                .collect::<Vec<_>>()
                .join("; "),
            Value::String(why) => why.clone(),
            _ => "no reason given".to_string(),
        })
    }
}

/// The intervals of a log and their sums, for each tag.
pub fn latencies(log: &[u8]) -> Result<BTreeMap<String, Latency>, String> {
    let mut all = BTreeMap::new();
    let mut deserializer = Deserializer::new();
    for entry in IntervalLogIterator::new(log) {
        let LogEntry::Interval(interval) = entry.map_err(|error| format!("not an interval log ({error:?})"))? else {
            continue;
        };
        let bytes = BASE64_STANDARD.decode(interval.encoded_histogram()).map_err(|error| error.to_string())?;
        let histogram_read: Histogram<u64> =
            deserializer.deserialize(&mut bytes.as_slice()).map_err(|error| error.to_string())?;
        let tag = interval.tag().map_or("", |tag| tag.as_str()).to_string();
        let latency = all
            .entry(tag)
            .or_insert_with(|| Latency { sum: Histogram::new_from(&histogram_read), intervals: Vec::new() });
        latency.sum.add(&histogram_read).map_err(|error| error.to_string())?;
        let (from, seconds) = (interval.start_timestamp().as_secs_f64(), interval.duration().as_secs_f64());
        latency.intervals.push(Interval {
            from,
            seconds,
            latency: bands(&histogram_read),
            p50_ms: percentile_ms(&histogram_read, 50.0),
            p99_ms: percentile_ms(&histogram_read, 99.0),
        });
    }
    match all.is_empty() {
        true => Err("no intervals".to_string()),
        false => Ok(all),
    }
}

/// How many requests took how long: the logarithm of the milliseconds in steps, and a count.
fn bands(latency: &Histogram<u64>) -> BTreeMap<i32, u64> {
    let mut bands = BTreeMap::new();
    for value in latency.iter_recorded() {
        let ms = latency.median_equivalent(value.value_iterated_to()) as f64 / 1e6;
        let band = (ms.log10() * BANDS_PER_DECADE).floor() as i32;
        *bands.entry(band).or_default() += value.count_since_last_iteration();
    }
    bands
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::report::max_ms;
    use crate::tally::histogram;
    use hdrhistogram::serialization::V2DeflateSerializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
    use std::time::Duration;

    /// Two intervals in which `scale` to 1000 times `scale` microseconds were seen.
    pub fn log(scale: u64, tag: Option<&str>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        let mut writer = IntervalLogWriterBuilder::new().begin_log_with(&mut bytes, &mut serializer).unwrap();
        for second in 0..2 {
            let mut latency = histogram();
            (1..=1000).for_each(|n| latency.record(n * scale * 1_000).unwrap());
            let (from, took) = (Duration::from_secs(second), Duration::from_secs(1));
            writer.write_histogram(&latency, from, took, tag.and_then(Tag::new)).unwrap();
        }
        drop(writer);
        bytes
    }

    #[test]
    fn intervals_add_up() {
        let read = latencies(&log(12, Some("ack"))).unwrap();
        let latency = &read["ack"];
        assert_eq!((latency.sum.len(), latency.intervals.len()), (2000, 2));
        assert!((max_ms(&latency.sum) - 12.0).abs() < 0.02);
        let second = &latency.intervals[1];
        assert_eq!((second.from, second.seconds, second.latency.values().sum::<u64>()), (1.0, 1.0, 1000));
        assert!((second.p50_ms - 6.0).abs() < 0.01 && (second.p99_ms - 11.88).abs() < 0.02, "{second:?}");
        // From 0.012 to 12 ms are three decades.
        assert_eq!((second.latency.keys().min(), second.latency.keys().max()), (Some(&-16), Some(&8)));
    }

    #[test]
    fn other_files_are_refused() {
        assert!(latencies(b"").is_err());
        assert!(latencies(b"0.1,0.2,0.3,no histogram\n").is_err());
        assert!(latencies(b"garbage\n").is_err());
    }
}
