//! What a run came to, as text for people and as one JSON object for programs.

use crate::gate::Row;
use crate::health::{BrokerUse, Health};
use crate::tally::Tally;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use std::fmt::Write;

const MIB: f64 = (1 << 20) as f64;
const MB: f64 = 1e6;
const GB: f64 = 1e9;
const MS: f64 = 1e6;

/// How the latencies of a load are called.
const LATENCY: (&str, &str) = ("latency_ms", "latency");

/// How the latencies of what was read back are called.
pub const DELIVERY: &str = "delivery_ms";

/// The percentiles that are reported, with their names in JSON and in text.
pub const PERCENTILES: [(f64, &str, &str); 5] = [
    (50.0, "p50", "p50"),
    (90.0, "p90", "p90"),
    (99.0, "p99", "p99"),
    (99.9, "p999", "p99.9"),
    (99.99, "p9999", "p99.99"),
];

/// Milliseconds at a percentile.
pub fn percentile_ms(latency: &Histogram<u64>, percentile: f64) -> f64 {
    latency.value_at_percentile(percentile) as f64 / MS
}

pub fn max_ms(latency: &Histogram<u64>) -> f64 {
    latency.max() as f64 / MS
}

/// The measured part of a run.
#[derive(Clone, Debug)]
pub struct Report {
    pub tally: Tally,
    pub seconds: f64,
    /// What the broker used in that time and in the drain.
    pub broker: Option<BrokerUse>,
    /// What the drives of its data can do at most, where that was measured.
    pub drive: Option<String>,
    /// What the tally's latencies are: name in JSON, title in text.
    pub latency_name: (&'static str, &'static str),
    /// Latency that the load has besides that of its requests: name in JSON, title in text.
    pub second_latency: Option<(&'static str, &'static str, Histogram<u64>)>,
    /// Of a load on schedule: from when a request was written to its answer, and the load's own lag before that.
    pub service: Option<Histogram<u64>>,
    pub lag: Option<Histogram<u64>>,
    pub health: Health,
    /// What only this load has to say: name in JSON, value.
    pub more: Vec<(&'static str, Value)>,
    /// Why the figures are not what they seem; empty if they are.
    pub why: Vec<String>,
    /// What was counted second by second, for the run's directory.
    pub rows: Vec<Row>,
}

impl Report {
    /// Of these counts in so many seconds, and of nothing else yet.
    pub fn new(tally: Tally, seconds: f64) -> Report {
        Report {
            tally,
            seconds,
            broker: None,
            drive: None,
            latency_name: LATENCY,
            second_latency: None,
            service: None,
            lag: None,
            health: Health::default(),
            more: Vec::new(),
            why: Vec::new(),
            rows: Vec::new(),
        }
    }

    fn per_second(&self, amount: f64) -> f64 {
        if self.seconds > 0.0 { amount / self.seconds } else { 0.0 }
    }

    /// Records and bytes that count for rates: those of the planned window.
    fn in_time(&self) -> (f64, f64) {
        let Tally { records, bytes, late_records, late_bytes, .. } = self.tally;
        (records.saturating_sub(late_records) as f64, bytes.saturating_sub(late_bytes) as f64)
    }

    /// Says what in the counts makes the figures other than they seem.
    pub fn weigh(&mut self) {
        let Tally { records, requests, .. } = self.tally;
        let censored = self.tally.censored();
        if censored > 0 {
            let parts = self.tally.censored.iter().map(|(miss, count)| format!("{} {count}", miss.name()));
            let parts = parts.collect::<Vec<_>>().join(", ");
            self.why.push(format!("{censored} records that were due are not acknowledged: {parts}"));
        }
        if !self.tally.errors.is_empty() {
            self.why.push(format!("errors: {}", errors_text(&self.tally)));
        }
        self.why.extend(self.tally.lost.iter().map(|(why, count)| format!("connections lost: {count}, {why}")));
        self.why.extend(self.distrust());
        if records == 0 && requests == 0 {
            self.why.push("nothing went through".to_string());
        }
    }

    /// Why the load itself or its host may be what was measured.
    pub fn distrust(&self) -> Vec<String> {
        let p99 = |latency| percentile_ms(latency, 99.0);
        let lag = self.lag.as_ref().map(|lag| self.health.distrust(p99(lag), p99(&self.tally.latency)));
        lag.into_iter().flatten().chain(self.health.distrust_host()).collect()
    }

    pub fn json(&self) -> Value {
        let Tally { records, bytes, .. } = self.tally;
        let (records_in_time, bytes_in_time) = self.in_time();
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_string(), value);
        put("records", json!(records));
        put("bytes", json!(bytes));
        put("seconds", json!(self.seconds));
        put("records_per_second", json!(self.per_second(records_in_time)));
        put("mib_per_second", json!(self.per_second(bytes_in_time / MIB)));
        put("requests", json!(self.tally.requests));
        put(self.latency_name.0, latency_json(&self.tally.latency));
        if let Some((name, _, latency)) = &self.second_latency {
            put(name, latency_json(latency));
        }
        if let Some(service) = &self.service {
            put("service_ms", latency_json(service));
        }
        put("errors", json!(self.tally.errors_named()));
        put("censored", json!(self.tally.censored()));
        let censored = self.tally.censored.iter().map(|(miss, count)| (miss.name().to_string(), json!(count)));
        put("censored_by", Value::Object(censored.collect()));
        put("connections_lost", json!(self.tally.lost.values().sum::<u64>()));
        put("valid", json!(self.why.is_empty()));
        put("why", json!(self.why));
        let broker = self.broker.as_ref();
        let charged = broker.and_then(|broker| broker.charged_cpu_seconds);
        put("broker_cpu_seconds", json!(broker.map(|broker| broker.cpu_seconds)));
        put("broker_cpu_seconds_per_gb", json!(broker.and_then(|broker| self.per_gb(broker.cpu_seconds))));
        put("charged_cpu_seconds", json!(charged));
        put("charged_cpu_seconds_per_gb", json!(charged.and_then(|seconds| self.per_gb(seconds))));
        put("broker_rss_bytes", json!(broker.map(|broker| broker.rss_bytes)));
        put("broker", json!(broker.map(BrokerUse::json)));
        put("drive", json!(self.drive));
        let mut load = self.health.load_json();
        load["lag_ms"] = self.lag.as_ref().map_or(Value::Null, latency_json);
        put("load", load);
        put("host", self.health.host_json());
        for (name, value) in &self.more {
            put(name, value.clone());
        }
        Value::Object(object)
    }

    fn per_gb(&self, seconds: f64) -> Option<f64> {
        (self.tally.bytes > 0).then(|| seconds / (self.tally.bytes as f64 / GB))
    }

    /// Processor time for people.
    fn cpu_text(&self, seconds: f64, cores: &str) -> String {
        let per_gb = self.per_gb(seconds).map_or(String::new(), |seconds| format!(", {seconds:.3} s/GB"));
        format!("{seconds:.2} s processor time{per_gb}, {cores} of a core")
    }

    /// Titles and what they say of the broker.
    fn broker_lines(&self, broker: &BrokerUse) -> Vec<(&'static str, String)> {
        let cores = |seconds: f64| format!("{:.1} %", self.per_second(100.0 * seconds));
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / MIB);
        let (seconds, rss) = (broker.cpu_seconds, mib(broker.rss_bytes));
        let mut lines = vec![("broker", format!("{}, {rss} memory", self.cpu_text(seconds, &cores(seconds))))];
        if let Some(seconds) = broker.charged_cpu_seconds {
            lines.push(("and the kernel for it", self.cpu_text(seconds, &cores(seconds))));
        }
        if let Some(cgroup) = &broker.cgroup {
            let memory = cgroup.memory.map(|memory| {
                let (all, own, cache) = (mib(memory.total), mib(memory.anonymous), mib(memory.page_cache));
                format!("{all} memory: {own} anonymous, {cache} page cache  ")
            });
            lines.push(("its cgroup", memory.unwrap_or_default() + &plain(&json!({"pressure": cgroup.pressure}), "")));
        }
        lines
    }

    pub fn text(&self) -> String {
        let Tally { records, bytes, requests, .. } = self.tally;
        let (records_in_time, bytes_in_time) = self.in_time();
        let mut text = String::new();
        let mut line = |name: &str, value: String| writeln!(text, "{name:<22}{value}").expect("a string takes all");
        line("total", format!("{records} records, {bytes} bytes, {requests} requests in {:.3} s", self.seconds));
        line(
            "throughput",
            format!(
                "{:.0} records/s, {:.1} MiB/s, {:.1} MB/s",
                self.per_second(records_in_time),
                self.per_second(bytes_in_time / MIB),
                self.per_second(bytes_in_time / MB)
            ),
        );
        line(self.latency_name.1, latency_text(&self.tally.latency));
        if let Some((_, title, latency)) = &self.second_latency {
            line(title, latency_text(latency));
        }
        if let Some(service) = &self.service {
            line("service", latency_text(service));
        }
        line("errors", if self.tally.errors.is_empty() { "none".to_string() } else { errors_text(&self.tally) });
        line("censored", format!("{} records", self.tally.censored()));
        for (title, text) in self.broker.iter().flat_map(|broker| self.broker_lines(broker)) {
            line(title, text);
        }
        self.drive.iter().for_each(|drive| line("its drive", drive.clone()));
        if let Some(lag) = &self.lag {
            line("load's own lag", latency_text(lag));
        }
        line("load", plain(&self.health.load_json(), ""));
        line("host", plain(&self.health.host_json(), ""));
        for (name, value) in &self.more {
            let (title, unit) = unit(name);
            line(&title.replace('_', " "), plain(value, unit));
        }
        self.why.iter().for_each(|why| line("NOT VALID", why.clone()));
        text
    }

    pub fn print(&self, as_json: bool) {
        if as_json {
            println!("{}", self.json());
        } else {
            print!("{}", self.text());
        }
    }
}

fn errors_text(tally: &Tally) -> String {
    let errors = tally.errors_named();
    errors.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

/// What is said of times of which there are few: their count, two percentiles and the longest.
pub fn summary(times: &Histogram<u64>) -> Value {
    let (p50, p99) = (percentile_ms(times, 50.0), percentile_ms(times, 99.0));
    json!({"count": times.len(), "p50": p50, "p99": p99, "max": max_ms(times)})
}

/// Units by the ends of names in JSON, and as they stand behind numbers for people.
const UNITS: [(&str, &str); 3] = [("_ms", " ms"), ("_per_second", "/s"), ("_bytes", " bytes")];

/// A name without its unit, and the unit.
fn unit(name: &str) -> (&str, &'static str) {
    let parted = UNITS.iter().find_map(|(end, unit)| Some((name.strip_suffix(end)?, *unit)));
    parted.unwrap_or((name, ""))
}

/// A value for people: an object without its punctuation, measures with three digits and their unit.
fn plain(value: &Value, unit: &str) -> String {
    match value {
        // Percentiles of nothing would be zeros.
        Value::Object(fields) if fields.get("count") == Some(&json!(0)) => "none".to_string(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name} {}", plain(value, unit)));
            fields.collect::<Vec<_>>().join("  ")
        }
        Value::Null => "none".to_string(),
        Value::Number(number) if number.is_f64() => format!("{:.3}{unit}", number.as_f64().unwrap_or_default()),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn latency_json(latency: &Histogram<u64>) -> Value {
    let mut object = Map::new();
    for (percentile, name, _) in PERCENTILES {
        object.insert(name.to_string(), json!(percentile_ms(latency, percentile)));
    }
    object.insert("max".to_string(), json!(max_ms(latency)));
    Value::Object(object)
}

fn latency_text(latency: &Histogram<u64>) -> String {
    let mut text = String::new();
    for (percentile, _, title) in PERCENTILES {
        write!(text, "{title} {:.3}  ", percentile_ms(latency, percentile)).expect("a string takes all");
    }
    text + &format!("max {:.3} ms", max_ms(latency))
}

/// The line that shows one second of a run while it goes on.
pub fn progress(
    second: f64,
    interval_seconds: f64,
    interval: &Tally,
    second_latency: Option<&Histogram<u64>>,
) -> String {
    let latency = &interval.latency;
    let mut text = format!(
        "{second:7.1} s  {:10.0} records/s  {:8.1} MiB/s  p50 {:.2}  p99 {:.2}  max {:.2} ms",
        interval.records as f64 / interval_seconds,
        interval.bytes as f64 / MIB / interval_seconds,
        percentile_ms(latency, 50.0),
        percentile_ms(latency, 99.0),
        max_ms(latency),
    );
    if let Some(latency) = second_latency {
        let (p50, p99) = (percentile_ms(latency, 50.0), percentile_ms(latency, 99.0));
        text += &format!("  delivery p50 {p50:.2}  p99 {p99:.2}  max {:.2} ms", max_ms(latency));
    }
    for (name, count) in interval.errors_named() {
        text += &format!("  {name} {count}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{CgroupUse, Memory};
    use crate::tally::Miss;
    use std::collections::BTreeMap;

    fn report() -> Report {
        let mut tally = Tally::new();
        for i in 1..=1000 {
            tally.request(i, i * 1_000_000);
        }
        tally.records = 64_000;
        tally.bytes = 2_000_000_000;
        tally.error(6, 3);
        let memory = Memory { total: 96 << 20, anonymous: 32 << 20, page_cache: 60 << 20 };
        Report {
            broker: Some(BrokerUse {
                seconds: 2.0,
                cpu_seconds: 1.0,
                charged_cpu_seconds: Some(1.5),
                rss_bytes: 32 << 20,
                cgroup: Some(CgroupUse {
                    memory: Some(memory),
                    pressure: BTreeMap::from([("io_some".to_string(), 0.25)]),
                }),
            }),
            drive: Some("vda: 9 us".to_string()),
            more: vec![
                ("records_unsent", json!(5)),
                ("pause_ms", json!({"count": 2, "max": 1.5})),
                ("rest_ms", summary(&crate::tally::histogram())),
                ("first_message_ms", Value::Null),
                ("commits_per_second", json!(7.25)),
            ],
            ..Report::new(tally, 2.0)
        }
    }

    #[test]
    fn the_object_has_the_promised_keys() {
        let json = report().json();
        let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        for key in [
            "records",
            "bytes",
            "seconds",
            "records_per_second",
            "mib_per_second",
            "latency_ms",
            "errors",
            "censored",
            "valid",
            "why",
            "broker_cpu_seconds",
            "broker_rss_bytes",
        ] {
            assert!(keys.contains(&key), "{key}");
        }
        assert_eq!(json["records_per_second"], json!(32_000.0));
        assert_eq!(json["errors"], json!({"NOT_LEADER_OR_FOLLOWER": 3}));
        assert_eq!(json["broker_cpu_seconds_per_gb"], json!(0.5));
        assert_eq!(json["charged_cpu_seconds_per_gb"], json!(0.75));
        assert_eq!(json["broker"]["page_cache_bytes"], json!(60 << 20));
        let latency: Vec<&str> = json["latency_ms"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(latency, ["p50", "p90", "p99", "p999", "p9999", "max"]);
        let p99 = json["latency_ms"]["p99"].as_f64().unwrap();
        assert!((p99 - 990.0).abs() < 2.0, "{p99}");
        assert!(!json.to_string().contains('\n'));
    }

    #[test]
    fn figures_that_are_not_what_they_seem_say_so() {
        let mut report = report();
        assert_eq!((&report.json()["valid"], &report.json()["why"]), (&json!(true), &json!([])));
        report.tally.miss(Miss::Unsent, 5);
        report.tally.miss(Miss::Lost, 2);
        report.tally.lose("reset".to_string());
        report.tally.late_records = 4_000;
        report.weigh();
        let json = report.json();
        assert_eq!((&json["valid"], &json["censored"]), (&json!(false), &json!(7)));
        assert_eq!(json["records_per_second"], json!(30_000.0), "what came too late is not of the window");
        let expected = [
            "7 records that were due are not acknowledged: unsent 5, lost 2",
            "errors: NOT_LEADER_OR_FOLLOWER 3",
            "connections lost: 1, reset",
        ];
        assert_eq!(json["why"], json!(expected));
        assert!(report.text().contains("NOT VALID             errors: NOT_LEADER_OR_FOLLOWER 3\n"));
        let mut nothing = Report { tally: Tally::new(), ..report };
        nothing.why.clear();
        nothing.weigh();
        assert_eq!(nothing.why, ["nothing went through"]);
    }

    #[test]
    fn without_a_broker_process_its_keys_are_null() {
        let json = Report { broker: None, ..report() }.json();
        assert!(json["broker_cpu_seconds"].is_null() && json["broker_rss_bytes"].is_null());
        assert!(json["charged_cpu_seconds"].is_null() && json["broker"].is_null());
    }

    #[test]
    fn the_text_says_the_same() {
        let text = report().text();
        assert!(text.contains("32000 records/s"), "{text}");
        assert!(text.contains("NOT_LEADER_OR_FOLLOWER 3") && text.contains("0.500 s/GB"), "{text}");
        for line in [
            "pause                 count 2  max 1.500 ms\n",
            "rest                  none\n",
            "its drive             vda: 9 us\n",
            "first message         none\n",
            "commits               7.250/s\n",
            "broker                1.00 s processor time, 0.500 s/GB, 50.0 % of a core, 32.0 MiB memory\n",
            "and the kernel for it 1.50 s processor time, 0.750 s/GB, 75.0 % of a core\n",
            "its cgroup            96.0 MiB memory: 32.0 MiB anonymous, 60.0 MiB page cache  pressure io_some 0.250\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(text.contains("records unsent") && text.contains("max 1000"), "{text}");
        let line = progress(3.0, 1.0, &report().tally, None);
        assert!(line.contains("64000 records/s") && line.contains("NOT_LEADER_OR_FOLLOWER 3"), "{line}");
    }
}
