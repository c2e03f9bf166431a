//! `loadgen compare`: two runs' interval logs, summed up and put side by side.

use crate::chart::{Curve, draw};
use crate::cluster::Fault;
use crate::options::Compare;
use crate::report::{PERCENTILES, max_ms, percentile_ms};
use crate::tally::histogram;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The latencies of a run by their tag, "" for those without.
pub type Latencies = BTreeMap<String, Histogram<u64>>;

pub fn compare(options: &Compare) -> Result<String, Fault> {
    let read = |path: &Path| {
        let fault = |why: String| Fault::Other(format!("{}: {why}", path.display()));
        let log = fs::read(path).map_err(|error| fault(error.to_string()))?;
        sum_up(&log).map_err(fault)
    };
    let (a, b) = (read(&options.a)?, read(&options.b)?);
    let names = [&options.a, &options.b].map(|path| path.display().to_string());
    if let Some(svg) = &options.svg {
        let short = [&options.a, &options.b].map(|path| path.file_stem().unwrap_or_default().display().to_string());
        let legend = if short[0] == short[1] { &names } else { &short };
        let picture = draw(&curves(legend, &a, &b));
        fs::write(svg, picture).map_err(|error| Fault::Io(svg.display().to_string(), error))?;
    }
    Ok(if options.json { format!("{}\n", object(&names, &a, &b)) } else { table(&names, &a, &b) })
}

/// Adds up the intervals of a log, for each tag.
pub fn sum_up(log: &[u8]) -> Result<Latencies, String> {
    let mut sums = Latencies::new();
    let mut deserializer = Deserializer::new();
    for entry in IntervalLogIterator::new(log) {
        let LogEntry::Interval(interval) = entry.map_err(|error| format!("not an interval log ({error:?})"))? else {
            continue;
        };
        let bytes = BASE64_STANDARD.decode(interval.encoded_histogram()).map_err(|error| error.to_string())?;
        let latency: Histogram<u64> =
            deserializer.deserialize(&mut bytes.as_slice()).map_err(|error| error.to_string())?;
        let tag = interval.tag().map_or("", |tag| tag.as_str()).to_string();
        let sum = sums.entry(tag).or_insert_with(histogram);
        sum.add(&latency).map_err(|error| error.to_string())?;
    }
    match sums.is_empty() {
        true => Err("no intervals".to_string()),
        false => Ok(sums),
    }
}

/// Count, percentiles and maximum, each with its name in JSON and in text.
fn rows(latency: &Histogram<u64>) -> Vec<(&'static str, &'static str, f64)> {
    let percentiles = PERCENTILES.iter().map(|&(p, name, title)| (name, title, percentile_ms(latency, p)));
    let count = ("count", "count", latency.len() as f64);
    let max = ("max", "max", max_ms(latency));
    [count].into_iter().chain(percentiles).chain([max]).collect()
}

/// The tags that both have, with both latencies.
fn common<'a>(a: &'a Latencies, b: &'a Latencies) -> Vec<(&'a str, &'a Histogram<u64>, &'a Histogram<u64>)> {
    let both = a.iter().filter_map(|(tag, a)| Some((tag.as_str(), a, b.get(tag)?)));
    both.collect()
}

pub fn table(names: &[String; 2], a: &Latencies, b: &Latencies) -> String {
    let width = names.iter().map(String::len).max().unwrap_or(0).max(14) + 2;
    let mut text = String::new();
    for (tag, a, b) in common(a, b) {
        let title = if tag.is_empty() { "latency, ms" } else { tag };
        writeln!(text, "{title:<14}{:>width$}{:>width$}{:>10}", names[0], names[1], "ratio")
            .expect("a string takes all");
        for ((_, title, a), (_, _, b)) in rows(a).into_iter().zip(rows(b)) {
            let digits = if title == "count" { 0 } else { 3 };
            let ratio = if a > 0.0 { format!("{:.2}", b / a) } else { "-".to_string() };
            writeln!(text, "{title:<14}{a:>width$.digits$}{b:>width$.digits$}{ratio:>10}").expect("a string takes all");
        }
    }
    if text.is_empty() {
        text = "the two logs have no tag in common\n".to_string();
    }
    text
}

fn object(names: &[String; 2], a: &Latencies, b: &Latencies) -> Value {
    let side = |latency: &Histogram<u64>| -> Map<String, Value> {
        rows(latency).into_iter().map(|(name, _, value)| (name.to_string(), json!(value))).collect()
    };
    let latencies: Vec<Value> = common(a, b)
        .into_iter()
        .map(|(tag, a, b)| {
            let ratios: Map<String, Value> = rows(a)
                .into_iter()
                .zip(rows(b))
                .map(|((name, _, a), (_, _, b))| (name.to_string(), json!((a > 0.0).then_some(b / a))))
                .collect();
            json!({"tag": tag, "a": side(a), "b": side(b), "ratio": ratios})
        })
        .collect();
    json!({"a": names[0], "b": names[1], "latencies": latencies})
}

fn curves(names: &[String; 2], a: &Latencies, b: &Latencies) -> Vec<Curve> {
    let curve = |name: &str, tag: &str, latency: &Histogram<u64>| Curve {
        name: if tag.is_empty() { name.to_string() } else { format!("{name} {tag}") },
        points: points(latency),
    };
    let pairs = common(a, b).into_iter();
    pairs.flat_map(|(tag, a, b)| [curve(&names[0], tag, a), curve(&names[1], tag, b)]).collect()
}

/// Share of the requests that took longer, and the milliseconds that they took longer than.
fn points(latency: &Histogram<u64>) -> Vec<(f64, f64)> {
    let total = latency.len() as f64;
    let mut below = 0.0;
    let mut points = Vec::new();
    for value in latency.iter_recorded() {
        points.push((1.0 - below / total, latency.highest_equivalent(value.value_iterated_to()) as f64 / 1e6));
        below += value.count_at_value() as f64;
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::V2DeflateSerializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
    use std::time::Duration;

    /// Two intervals in which `scale` to 1000 times `scale` microseconds were seen.
    fn log(scale: u64, tag: Option<&str>) -> Vec<u8> {
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

    fn names() -> [String; 2] {
        ["one.hdr".to_string(), "two.hdr".to_string()]
    }

    #[test]
    fn intervals_add_up_and_stand_side_by_side() {
        let (a, b) = (sum_up(&log(10, None)).unwrap(), sum_up(&log(20, None)).unwrap());
        assert_eq!(a[""].len(), 2000);
        let text = table(&names(), &a, &b);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["latency,", "ms", "one.hdr", "two.hdr", "ratio"]);
        assert_eq!(lines[1], ["count", "2000", "2000", "1.00"]);
        assert_eq!((lines[2][0], lines[2][3]), ("p50", "2.00"));
        let p50: f64 = lines[2][1].parse().unwrap();
        assert!((p50 - 5.0).abs() < 0.05, "{p50}");
        assert_eq!((lines.len(), lines[7][0]), (8, "max"));
        let object = object(&names(), &a, &b);
        assert_eq!(object["latencies"][0]["a"]["count"], json!(2000.0));
    }

    #[test]
    fn tags_are_compared_with_their_like() {
        let (a, b) = (sum_up(&log(10, Some("ack"))).unwrap(), sum_up(&log(10, Some("ack"))).unwrap());
        assert!(table(&names(), &a, &b).starts_with("ack "));
        let untagged = sum_up(&log(10, None)).unwrap();
        assert!(table(&names(), &a, &untagged).contains("no tag in common"));
    }

    #[test]
    fn other_files_are_refused() {
        assert!(sum_up(b"").is_err());
        assert!(sum_up(b"0.1,0.2,0.3,no histogram\n").is_err());
        assert!(sum_up(b"garbage\n").is_err());
    }

    #[test]
    fn the_curve_falls_from_all_to_the_slowest() {
        let latencies = sum_up(&log(10, None)).unwrap();
        let points = points(&latencies[""]);
        assert_eq!(points[0].0, 1.0);
        assert!(points.windows(2).all(|pair| pair[0].0 > pair[1].0 && pair[0].1 < pair[1].1));
        assert!(points.last().unwrap().0 > 0.0);
    }
}
