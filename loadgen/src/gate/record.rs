//! The directory of a run: `latency.hdr`, which grows while it lasts, then `metrics.prom` and `run.json`, which comes last and so
//! says that the run was written whole.

use crate::cluster::Fault;
use crate::gate::prometheus::exposition;
use crate::health::{BrokerUse, Health};
use crate::options::{Options, Target};
use crate::report::{Report, summary};
use crate::run::Watched;
use crate::tally::Tally;
use clap::{ArgMatches, CommandFactory};
use serde_json::{Map, Value, json};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Of `run.json`. A reader refuses any other; it rises with each change that is not only an addition.
pub const SCHEMA_VERSION: u64 = 1;
pub const RUN_FILE: &str = "run.json";
pub const LOG_FILE: &str = "latency.hdr";
pub const METRICS_FILE: &str = "metrics.prom";
/// The command whose run is a directory of runs.
pub const SEVERAL: &str = "run";

/// What was counted between two looks at a run, about a second apart, in JSON. Times are the run's, the warm-up included.
#[derive(Clone, Debug)]
pub struct Row(Value);

impl Row {
    pub fn new(
        (from_ns, now_ns): (u64, u64),
        watched: &[Watched],
        intervals: &[(Tally, bool)],
        (health, broker): (&Health, Option<&BrokerUse>),
    ) -> Row {
        let seconds = |ns: u64| ns as f64 / 1e9;
        let main = &intervals[0].0;
        let latencies: Map<String, Value> = watched
            .iter()
            .zip(intervals)
            .map(|(watched, (tally, _))| (watched.tag.unwrap_or("latency").to_string(), summary(&tally.latency)))
            .collect();
        Row(json!({
            "from_seconds": seconds(from_ns),
            "seconds": seconds(now_ns - from_ns),
            "records": main.records,
            "bytes": main.bytes,
            "requests": main.requests,
            "errors": main.errors_named(),
            "censored": main.censored(),
            "latency_ms": latencies,
            "load": health.load_json(),
            "host": health.host_json(),
            "broker": broker.map(BrokerUse::json),
        }))
    }
}

/// Makes the directory of a run that begins. One that holds a run already is refused: two runs' files must not mix.
pub fn prepare(directory: Option<&Path>) -> Result<(), Fault> {
    let Some(directory) = directory else { return Ok(()) };
    let fault = |error| Fault::Io(directory.display().to_string(), error);
    if directory.join(RUN_FILE).try_exists().map_err(fault)? {
        return Err(Fault::Other(format!("{}: holds a run already", directory.display())));
    }
    fs::create_dir_all(directory).map_err(fault)
}

/// Completes the directory of a load that these words ask for, if it has one.
pub fn keep(target: &Target, words: &[OsString], report: &Report) -> Result<(), Fault> {
    let Some(directory) = &target.out else { return Ok(()) };
    // What only reads back has no log, and so no directory yet.
    prepare(Some(directory))?;
    let matches = Options::command().get_matches_from(words);
    let (command, options) = matches.subcommand().expect("loads are subcommands");
    let rows = report.rows.iter().map(|row| &row.0).collect::<Vec<_>>();
    let mut run = object(command, given(command, options), report.json());
    run["rows"] = json!(rows);
    write(&directory.join(METRICS_FILE), &exposition(&run))?;
    write(&directory.join(RUN_FILE), &format!("{run:#}\n"))
}

/// Completes the directory of loads of a file, each of which has one of its own in it.
pub fn keep_all(directory: &Path, options: Map<String, Value>, report: Value) -> Result<(), Fault> {
    let run = object(SEVERAL, options, report);
    write(&directory.join(RUN_FILE), &format!("{run:#}\n"))
}

fn object(command: &str, options: Map<String, Value>, report: Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "schema_version": SCHEMA_VERSION,
        "loadgen": env!("CARGO_PKG_VERSION"),
        "command": command,
        "options": options,
        "host": host(),
        "ended_unix_seconds": now.as_secs(),
        "report": report,
    })
}

/// Options as words, as the command line has them, defaults included. One that may be repeated is a list.
fn given(command: &str, options: &ArgMatches) -> Map<String, Value> {
    let all = Options::command();
    // `ids` of the matches would give the structs as well in which options are grouped.
    let arguments = all.find_subcommand(command).expect("it was given").get_arguments();
    let words = |id: &str| {
        let words = options.try_get_raw(id).ok().flatten()?;
        let mut words: Vec<Value> = words.map(|word| json!(word.to_string_lossy())).collect();
        Some(if words.len() == 1 { words.remove(0) } else { Value::Array(words) })
    };
    let ids = arguments.map(|argument| argument.get_id().as_str());
    ids.filter_map(|id| Some((id.to_string(), words(id)?))).collect()
}

/// The machine that the load ran on.
fn host() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| -> Option<String> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_string())
    };
    json!({
        "cpu": field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.to_string()),
        "cores": std::thread::available_parallelism().map_or(1, |cores| cores.get()),
        "memory": field(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}

fn write(path: &Path, text: &str) -> Result<(), Fault> {
    fs::write(path, text).map_err(|error| Fault::Io(path.display().to_string(), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Clock;

    #[test]
    fn options_are_there_with_their_defaults() {
        let words =
            ["loadgen", "produce", "--rate", "50", "--topic-config", "a=b", "--topic-config", "c=d", "--idempotent"];
        let matches = Options::command().get_matches_from(words);
        let options = given("produce", matches.subcommand().unwrap().1);
        assert_eq!(options["rate"], "50");
        assert_eq!(options["topic_configs"], json!(["a=b", "c=d"]));
        assert_eq!((&options["idempotent"], &options["busy_poll"]), (&json!("true"), &json!("false")));
        assert_eq!((&options["record_bytes"], &options["acks"]), (&json!("1024"), &json!("all")));
        assert!(!options.contains_key("seconds") && !options.contains_key("Writing"), "{options:?}");
    }

    #[test]
    fn a_row_says_what_happened_in_its_second() {
        let mut tally = Tally::new();
        tally.request(Clock::new().now_ns(), 5_000_000);
        tally.records = 7;
        tally.error(3, 2);
        let watched = [Watched::new(None, 1), Watched::new(Some("delivery"), 1)];
        let intervals = [(tally, true), (Tally::new(), true)];
        let Row(row) = Row::new((1_000_000_000, 3_500_000_000), &watched, &intervals, (&Health::default(), None));
        assert_eq!((&row["from_seconds"], &row["seconds"], &row["records"]), (&json!(1.0), &json!(2.5), &json!(7)));
        assert_eq!(row["errors"], json!({"UNKNOWN_TOPIC_OR_PARTITION": 2}));
        assert!(row["load"]["cpu"].is_null() && row["host"]["pressure"].is_object() && row["broker"].is_null());
        assert_eq!(
            (&row["latency_ms"]["latency"]["count"], &row["latency_ms"]["delivery"]["count"]),
            (&json!(1), &json!(0))
        );
    }

    #[test]
    fn the_host_is_named() {
        let host = host();
        assert!(!host["cpu"].as_str().unwrap().is_empty() && !host["kernel"].as_str().unwrap().is_empty(), "{host}");
    }
}
