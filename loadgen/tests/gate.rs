//! What a run leaves behind, the comparison of such runs, and the action that does both.

mod fake;

use fake::Fault;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;

/// Latencies of five runs differ by these factors.
const NOISE: [f64; 5] = [1.0, 0.98, 1.02, 1.01, 0.97];

/// Latencies of one run: an interval a second, from 1 to 10 ms times `factor`, and slower by the second.
fn log(path: &Path, factor: f64, tag: Option<&str>) {
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut writer = IntervalLogWriterBuilder::new().begin_log_with(&mut bytes, &mut serializer).unwrap();
    for second in 0..3 {
        let mut latency = Histogram::<u64>::new_with_bounds(1_000, 3_600_000_000_000, 3).unwrap();
        for n in 100..=1000 {
            latency.record((f64::from(n) * 10_000.0 * factor * (1.0 + f64::from(second) / 100.0)) as u64).unwrap();
        }
        let from = Duration::from_secs(second as u64);
        writer.write_histogram(&latency, from, Duration::from_secs(1), tag.and_then(Tag::new)).unwrap();
    }
    drop(writer);
    fs::write(path, bytes).unwrap();
}

fn record(factor: f64) -> Value {
    json!({
        "schema_version": 1,
        "loadgen": "0.1.0",
        "command": "produce",
        "options": {"rate": "2000", "topic": "t", "acks": "all"},
        "host": {"cpu": "A <fast> one", "cores": 4, "memory": "16 GB", "kernel": "6.1.0"},
        "report": {
            "records": 6000, "records_per_second": 2000.0 / factor, "errors": {}, "records_unsent": 0,
            "broker_cpu_seconds_per_gb": null, "valid": true, "why": [],
        },
    })
}

/// Keeps a run in a directory.
fn keep(directory: &Path, factor: f64, record: &Value) {
    fs::create_dir_all(directory).unwrap();
    log(&directory.join("latency.hdr"), factor, None);
    fs::write(directory.join("run.json"), record.to_string()).unwrap();
}

/// Five runs in `base` and five in `new`, those slower by `factor`.
fn two_sets(factor: f64) -> TempDir {
    let place = TempDir::new().unwrap();
    for (side, factor) in [("base", 1.0), ("new", factor)] {
        for (number, noise) in NOISE.into_iter().enumerate() {
            let factor = factor * noise;
            keep(&place.path().join(format!("{side}/{}", number + 1)), factor, &record(factor));
        }
    }
    place
}

fn compare(place: &TempDir, words: &str) -> Output {
    let runs = |side: &str| {
        let mut runs: Vec<PathBuf> = fs::read_dir(place.path().join(side))
            .unwrap()
            .map(|entry| Path::new(side).join(entry.unwrap().file_name()))
            .collect();
        runs.sort();
        runs
    };
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .current_dir(place)
        .arg("compare")
        .arg("--base")
        .args(runs("base"))
        .arg("--new")
        .args(runs("new"))
        .args(words.split_whitespace())
        .output()
        .unwrap()
}

fn texts(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// Compares with a file, or writes it where `LOADGEN_GOLDEN=write` asks for that.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("LOADGEN_GOLDEN").is_some_and(|word| word == "write") {
        fs::write(&path, text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&path).unwrap(), "{name}");
}

const GATE: &str = "--fail-if p99>+5%,throughput<-20%,errors>0,p99.9<1";

#[test]
fn each_format_says_it_as_agreed() {
    let place = two_sets(1.1);
    for format in ["text", "json", "csv", "markdown", "junit"] {
        let (status, text, _) = texts(&compare(&place, &format!("{GATE} --format {format}")));
        assert_eq!(status, 1, "{text}");
        golden(&format!("compare.{format}"), &text);
    }
}

fn verdicts(place: &TempDir, words: &str) -> (i32, Value) {
    let (status, text, error) = texts(&compare(place, &format!("{words} --format json")));
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{error}")))
}

fn verdict<'a>(value: &'a Value, metric: &str) -> &'a str {
    let metrics = value["metrics"].as_array().unwrap();
    metrics.iter().find(|other| other["metric"] == metric).unwrap_or_else(|| panic!("{value}"))["verdict"]
        .as_str()
        .unwrap()
}

#[test]
fn the_exit_status_is_the_gates() {
    for (factor, status, outcome, expected) in
        [(1.0, 0, "passed", "same"), (1.1, 1, "failed", "worse"), (1.0 / 1.1, 0, "passed", "better")]
    {
        let (code, value) = verdicts(&two_sets(factor), "--fail-if p99>+5%");
        assert_eq!((code, value["outcome"].as_str().unwrap()), (status, outcome), "{value}");
        assert_eq!((verdict(&value, "p99"), verdict(&value, "throughput")), (expected, expected));
    }
    // Four runs decide nothing, but a fault is one.
    let place = two_sets(1.5);
    fs::remove_dir_all(place.path().join("new/1")).unwrap();
    let (code, value) = verdicts(&place, "--fail-if p99>+5%,errors>0");
    assert_eq!((code, verdict(&value, "p99"), verdict(&value, "errors")), (4, "undecided", "same"));
    assert_eq!(verdicts(&place, "--fail-if p99>12").0, 1);
    assert_eq!(verdicts(&place, "").0, 0);
    assert_eq!(texts(&compare(&place, "--fail-if p98>+5%")).0, 2);
}

#[test]
fn faults_and_runs_that_are_not_valid_are_seen() {
    let place = two_sets(1.0);
    let mut bad = record(1.0);
    bad["report"]["errors"] = json!({"NOT_LEADER_OR_FOLLOWER": 3, "CONNECTION_LOST": 1});
    bad["report"]["records_unsent"] = json!(77);
    keep(&place.path().join("new/3"), 1.0, &bad);
    let (code, value) = verdicts(&place, "--fail-if errors>3");
    assert_eq!((code, verdict(&value, "errors"), verdict(&value, "unsent")), (1, "worse", "worse"));
    assert_eq!(verdict(&value, "p99"), "same");
    bad["report"]["valid"] = json!(false);
    bad["report"]["why"] = json!(["the broker went away", "a load thread was busy"]);
    keep(&place.path().join("new/3"), 1.0, &bad);
    let (code, value) = verdicts(&place, "--fail-if p99>+5%");
    assert_eq!((code, verdict(&value, "p99")), (4, "undecided"));
    let note = value["notes"][0].as_str().unwrap();
    assert_eq!(note, "new/3 is not valid: the broker went away; a load thread was busy");
    assert_eq!(verdicts(&place, "--fail-if invalid>0").0, 1);
    assert_eq!(verdicts(&place, "--fail-if p99>+5% --force").0, 0);
}

#[test]
fn what_is_not_comparable_is_refused_with_the_difference() {
    let other = |pointer: &str, value: Value| {
        let place = two_sets(1.0);
        let mut record = record(1.0);
        *record.pointer_mut(pointer).unwrap() = value;
        keep(&place.path().join("new/2"), 1.0, &record);
        place
    };
    for (pointer, value, difference) in [
        ("/schema_version", json!(2), "new/2 has schema version 2, not 1"),
        ("/options/rate", json!("3000"), "--rate is 2000 in base/1 and 3000 in new/2"),
        ("/command", json!("consume"), "the command is produce in base/1 and consume in new/2"),
    ] {
        let place = other(pointer, value);
        let (status, text, error) = texts(&compare(&place, ""));
        assert!(status == 4 && text.is_empty() && error.contains(difference), "{text}{error}");
        let (status, text, _) = texts(&compare(&place, "--force"));
        assert!(status == 0 && text.contains(&format!("note: {difference}\n")), "{text}");
    }
    // Where the broker is may differ, and the host with a word about it.
    assert_eq!(texts(&compare(&other("/options/topic", json!("u")), "")).0, 0);
    let (status, text, _) = texts(&compare(&other("/host/cores", json!(8)), ""));
    assert!(status == 0 && text.contains("note: the number of cores differs: 4, 8\n"), "{text}");
    // Without a tag in common there is nothing to compare.
    let place = two_sets(1.0);
    log(&place.path().join("new/2/latency.hdr"), 1.0, Some("ack"));
    for force in ["", "--force"] {
        let (status, _, error) = texts(&compare(&place, force));
        assert!(status == 4 && error.contains("no tag of latencies in common"), "{error}");
    }
    // What is no run.
    fs::write(place.path().join("new/2/run.json"), "{}").unwrap();
    let (status, _, error) = texts(&compare(&place, "--force"));
    assert!(status == 4 && error.contains("new/2/run.json"), "{error}");
}

#[test]
fn logs_alone_are_compared_by_their_latencies() {
    let place = TempDir::new().unwrap();
    for (name, factor) in [("base", 1.0), ("new", 2.0)] {
        fs::create_dir(place.path().join(name)).unwrap();
        log(&place.path().join(format!("{name}/a.hdr")), factor, Some("delivery"));
    }
    let (code, value) = verdicts(&place, "");
    assert_eq!((code, verdict(&value, "delivery.p50")), (0, "undecided"));
    let ratio = value["metrics"][0]["ratio"].as_f64().unwrap();
    assert!((ratio - 2.0).abs() < 0.01, "{value}");
}

#[test]
fn the_page_holds_everything_itself() {
    let place = two_sets(1.1);
    let (status, ..) = texts(&compare(&place, &format!("{GATE} --html page.html")));
    assert_eq!(status, 1);
    let page = fs::read_to_string(place.path().join("page.html")).unwrap();
    // The changes, three pictures with a curve for each run, and a heat map for each side.
    assert_eq!((page.matches("<svg ").count(), page.matches("<path ").count()), (6, 30));
    // In each of the three a band for each side, where there are runs enough; of each metric with a ratio a change.
    assert_eq!((page.matches("<polygon ").count(), page.matches(">new: median, 95 %<").count()), (6, 3));
    assert_eq!(page.matches("<circle ").count(), 7);
    for expected in
        ["<td class=\"worse\">worse</td>", "p99 over time", "All runs of base", "<span class=\"failed\">failed</span>"]
    {
        assert!(page.contains(expected), "{expected}");
    }
    fs::remove_dir_all(place.path().join("new/5")).unwrap();
    compare(&place, "--html few.html");
    let few = fs::read_to_string(place.path().join("few.html")).unwrap();
    assert_eq!((few.matches("<polygon ").count(), few.matches(": median, 95 %<").count()), (3, 3));
    // Nothing is fetched: the one address is the name of SVG's vocabulary.
    let addresses = page.matches("://").count();
    assert_eq!(addresses, page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count());
    assert!(!page.contains("<script") && !page.contains("url(") && !page.contains("NaN"));
    for tag in ["table", "svg", "div", "tr", "h2", "ul", "li", "p", "span", "code"] {
        let opened = page.matches(&format!("<{tag} ")).count() + page.matches(&format!("<{tag}>")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

/// One run with `--out` against a broker in memory.
#[test]
fn a_run_leaves_its_directory() {
    let place = TempDir::new().unwrap();
    let address = fake::start(Fault::None).to_string();
    let run = |command: &str, directory: &str| {
        Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .current_dir(&place)
            .args(command.split_whitespace())
            .args(["--bootstrap-server", &address, "--out", directory, "--broker-pid", &std::process::id().to_string()])
            .output()
            .unwrap()
    };
    for command in
        ["produce --records 500", "consume --to-end", "end-to-end --rate 300 --seconds 1", "verify --records 500"]
    {
        let name = command.split_whitespace().next().unwrap();
        let (_, text, error) = texts(&run(command, name));
        let directory = place.path().join(name);
        let record =
            fs::read_to_string(directory.join("run.json")).unwrap_or_else(|_| panic!("{command}: {text}{error}"));
        let record: Value = serde_json::from_str(&record).unwrap();
        assert_eq!((&record["schema_version"], &record["command"]), (&json!(1), &json!(name)));
        assert_eq!((&record["options"]["topic"], &record["options"]["out"]), (&json!("loadgen"), &json!(name)));
        let total = record["report"]["records"].as_u64().unwrap();
        let rows: u64 = record["rows"].as_array().unwrap().iter().map(|row| row["records"].as_u64().unwrap()).sum();
        assert!(total > 0 && total == rows, "{record}");
        // The first interval of a second is long enough for shares; what a container hides is null.
        if name == "end-to-end" {
            let row = &record["rows"][0];
            for share in
                [&row["load"]["cpu"], &row["host"]["steal"], &row["host"]["foreign_cpu"], &row["broker"]["cpu"]]
            {
                assert!(share.is_number(), "{row}");
            }
            let hides = row["host"]["kernel_threads"].is_null();
            assert_eq!(
                (hides, hides),
                (row["broker"]["charged_cpu"].is_null(), record["report"]["charged_cpu_seconds"].is_null())
            );
        }
        let metrics = fs::read_to_string(directory.join("metrics.prom")).unwrap();
        assert!(metrics.contains(&format!("\nloadgen_records {total}\n")), "{metrics}");
        assert!(
            metrics.contains(&format!("loadgen_run_info{{version=\"{}\",", env!("CARGO_PKG_VERSION"))),
            "{metrics}"
        );
        // It can be compared, if only with itself.
        let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .current_dir(&place)
            .args(["compare", "--base", name, "--new", name])
            .output();
        let (status, text, error) = texts(&output.unwrap());
        assert!(status == 0 && text.contains("p99"), "{text}{error}");
    }
    // A second run would mix with the first.
    let (status, _, error) = texts(&run("produce --records 500", "produce"));
    assert!(status != 0 && error.contains("holds a run already"), "{error}");
}

fn action() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github/actions/loadgen")
}

/// One step of the action; gives its exit status, what it printed, and what it said of its outcome.
fn step(step: &str, directory: &Path, settings: &[(&str, &str)]) -> (i32, String, String) {
    let outputs = directory.parent().unwrap().join("outputs");
    fs::write(&outputs, "").unwrap();
    let output = Command::new(action().join("gate"))
        .arg(step)
        .env("LOADGEN_BINARY", env!("CARGO_BIN_EXE_loadgen"))
        .env("LOADGEN_DIRECTORY", directory)
        .env("GITHUB_OUTPUT", &outputs)
        .env("GITHUB_STEP_SUMMARY", directory.parent().unwrap().join("summary"))
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let (status, text, error) = texts(&output);
    (status, text + &error, fs::read_to_string(outputs).unwrap())
}

#[test]
fn the_action_runs_compares_and_writes_the_summary() {
    let place = TempDir::new().unwrap();
    let directory = place.path().join("loadgen");
    let summary = || fs::read_to_string(place.path().join("summary")).unwrap();
    let (status, text, outputs) = step("build", &directory, &[]);
    assert!(status == 0 && outputs.contains("binary=/") && outputs.contains("directory=/"), "{text}{outputs}");
    let load = format!("produce --bootstrap-server {} --records 200", fake::start(Fault::None));
    let (status, text, _) = step("run", &directory, &[("LOADGEN_LOAD", &load), ("LOADGEN_RUNS", "2")]);
    assert!(status == 0 && directory.join("new/2/run.json").exists(), "{text}");
    // The first time there is nothing to compare with.
    let (status, text, outputs) = step("compare", &directory, &[]);
    assert!(status == 0 && outputs == "outcome=undecided\n" && summary().contains("no runs of the base"), "{text}");
    assert_eq!(step("compare", &directory, &[("LOADGEN_UNDECIDED", "fail")]).0, 4);
    // Two runs a side decide nothing.
    assert_eq!(step("keep", &directory, &[]).0, 0);
    fs::remove_file(place.path().join("summary")).unwrap();
    let (status, text, outputs) = step("compare", &directory, &[("LOADGEN_FAIL_IF", "p99>+5%")]);
    assert!(
        status == 0 && outputs == "outcome=undecided\n" && summary().starts_with("### Load: undecided\n"),
        "{text}"
    );
    // A broker that is away leaves no report.
    let load = [("LOADGEN_LOAD", "produce --bootstrap-server 127.0.0.1:1"), ("LOADGEN_RUNS", "1")];
    fs::remove_dir_all(directory.join("new")).unwrap();
    let (status, text, _) = step("run", &directory, &load);
    assert!(status == 1 && text.contains("::error::run 1 left no report"), "{text}");
}

#[test]
fn the_actions_summary_is_the_comparison() {
    let runs = two_sets(1.1);
    let place = TempDir::new().unwrap();
    let directory = place.path().join("loadgen");
    fs::rename(runs.path(), &directory).unwrap();
    let conditions = GATE.split_once(' ').unwrap().1;
    let (status, text, outputs) = step("compare", &directory, &[("LOADGEN_FAIL_IF", conditions)]);
    assert_eq!((status, outputs.as_str()), (1, "outcome=failed\n"), "{text}");
    golden("compare.markdown", &fs::read_to_string(place.path().join("summary")).unwrap());
    golden("compare.junit", &fs::read_to_string(directory.join("junit.xml")).unwrap());
    assert!(directory.join("comparison.html").exists() && text.contains("gate: failed"), "{text}");
    // A wrong condition is nobody's outcome.
    let (status, _, outputs) = step("compare", &directory, &[("LOADGEN_FAIL_IF", "p98>+5%")]);
    assert_eq!((status, outputs.as_str()), (2, ""));
}

#[test]
fn the_actions_steps_are_those_of_its_script() {
    let [manifest, script] = ["action.yml", "gate"].map(|name| fs::read_to_string(action().join(name)).unwrap());
    let steps: Vec<&str> = manifest.split("/gate\" ").skip(1).map(|rest| rest.split('\'').next().unwrap()).collect();
    assert_eq!(steps, ["build", "run", "compare", "keep"]);
    assert!(steps.iter().all(|step| script.contains(&format!("\n{step}() {{"))));
    let settings = manifest.split("LOADGEN_").skip(1).map(|rest| rest.split(':').next().unwrap());
    assert!(
        settings.clone().count() > 6 && settings.into_iter().all(|name| script.contains(&format!("LOADGEN_{name}")))
    );
}
