//! The same load by several agents: one report, and agents that die, refuse, and are told nonsense.

mod fake;

use fake::{Fault, count, json};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Exit status of figures that are not what they seem.
const INVALID: i32 = 3;
/// How long something may take that takes no time.
const PATIENCE: Duration = Duration::from_secs(60);

/// An agent that ends with its test.
struct Agent {
    child: Child,
    address: String,
    /// Where it has its files: one that is killed leaves them behind.
    _place: tempfile::TempDir,
}

impl Agent {
    fn start() -> Agent {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command.args(["agent", "--listen", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let place = tempfile::tempdir().unwrap();
        let mut child = command.env("TMPDIR", place.path()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("loadgen agent is ready: ").unwrap().to_string();
        Agent { child, address, _place: place }
    }

    /// The processes that it has started.
    fn children(&self) -> Vec<String> {
        let pid = self.child.id();
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let children = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        children.flat_map(|text| text.split_whitespace().map(str::to_string).collect::<Vec<_>>()).collect()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn conduct(agents: &[&Agent], broker: &str, command: &str) -> Command {
    let mut words = command.split_whitespace();
    let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    let agents: Vec<&str> = agents.iter().map(|agent| &*agent.address).collect();
    loadgen.arg(words.next().unwrap()).args(["--json", "--agents", &agents.join(","), "--bootstrap-server", broker]);
    loadgen.args(words).stdin(Stdio::null());
    loadgen
}

/// Until something holds.
#[track_caller]
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn loads_of_agents_add_up() {
    let (broker, one, two) = (fake::start(Fault::None).to_string(), Agent::start(), Agent::start());
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("run");
    let command =
        "produce --rate 300 --seconds 2 --batch-bytes 0 --record-bytes 100 --partitions 4 --warmup-seconds 0.5";
    let output = conduct(&[&one, &two], &broker, command).arg("--out").arg(&out).output().unwrap();
    let value = json(&output);
    // A host that is busy elsewhere may leave some unsent, but none unaccounted for.
    assert_eq!(count(&value, "records") + count(&value, "censored"), 2 * 600, "{value}");
    assert_eq!(value["seconds"], 2.0, "{value}");
    let mut records = 0;
    for agent in [&one, &two] {
        let own = &value["agents"][&agent.address];
        records += count(own, "records");
        assert!(count(own, "records") > 0 && own["load"].is_object(), "{value}");
        // They have one clock, and its error is known.
        let (offset, error) = (own["clock_offset_ms"].as_f64().unwrap(), own["clock_error_ms"].as_f64().unwrap());
        assert!(error > 0.0 && offset.abs() <= error, "{value}");
        let kept = out.join("agents").join(&agent.address);
        let run: Value = serde_json::from_slice(&std::fs::read(kept.join("run.json")).unwrap()).unwrap();
        assert_eq!(run["report"]["records"], own["records"], "{run}");
        assert!(value["latency_ms"]["max"].as_f64() >= own["latency_ms"]["max"].as_f64(), "{value}");
        assert_eq!(run["options"].get("agents"), None, "{run}");
    }
    assert_eq!(records, count(&value, "records"), "{value}");
    assert!(value["service_ms"].is_object() && value["load"]["lag_ms"].is_object(), "{value}");
    // The run can be compared, and the agents leave nothing behind.
    let compare = |run: &Path| {
        let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        loadgen.args(["compare", "--force", "--format", "json", "--base"]).arg(run).arg("--new").arg(run);
        json(&loadgen.output().unwrap())
    };
    assert!(compare(&out).to_string().contains("p99"), "{:?}", compare(&out));
    assert_eq!((one.children(), two.children()), (vec![], vec![]));
}

/// Loads of a file: agents run several at a time, all of each, and what has to be known to one process stays here.
#[test]
fn loads_of_a_file_are_shared_out() {
    let (broker, one, two) = (fake::start(Fault::None).to_string(), Agent::start(), Agent::start());
    let directory = tempfile::tempdir().unwrap();
    let (file, out) = (directory.path().join("loads.toml"), directory.path().join("run"));
    let text = "seconds = 3\npartitions = 4\nrecord-bytes = 100\nbatch-bytes = 0\n\
                [[produce]]\nrate = 200\n[[end-to-end]]\nrate = 100\ntopic = \"other\"\n\
                [[produce]]\nname = \"late\"\nrate = 300\nafter-seconds = 1.5\n\
                [[verify]]\nrecords = 100\nseconds = 1\ntopic = \"third\"\n";
    std::fs::write(&file, text).unwrap();
    let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    let agents = format!("{},{}", one.address, two.address);
    loadgen.arg("run").arg(&file).args(["--json", "--agents", &agents, "--out"]).arg(&out).stdin(Stdio::null());
    let output = loadgen.env("KLAMM_BOOTSTRAP_SERVER", &broker).output().unwrap();
    let value = json(&output);
    let loads = &value["loads"];
    for (name, due) in [("produce-1", 1200), ("end-to-end-1", 600), ("late", 900)] {
        let load = &loads[name];
        assert_eq!(count(load, "records") + count(load, "censored"), due, "{name} {value}");
        for agent in [&one, &two] {
            assert!(count(&load["agents"][&agent.address], "records") > 0, "{name} {value}");
            let kept = out.join(name).join("agents").join(&agent.address).join("run.json");
            let run: Value = serde_json::from_slice(&std::fs::read(kept).unwrap()).unwrap();
            assert_eq!(run["options"]["name"], name, "{run}");
        }
    }
    assert_eq!(count(&loads["end-to-end-1"], "records_across"), count(&loads["end-to-end-1"], "records_delivered"));
    assert!(loads["verify-1"].get("agents").is_none() && count(&loads["verify-1"], "records") >= 100, "{value}");
    // An agent that is busy with a file runs nothing of another.
    assert_eq!((one.children(), two.children()), (vec![], vec![]));
    std::fs::write(&file, "[[produce]]\nrate = 10\nseconds = 600\npartitions = 2").unwrap();
    let run = || {
        let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        loadgen.arg("run").arg(&file).args(["--agents", &one.address]).env("KLAMM_BOOTSTRAP_SERVER", &broker);
        loadgen.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        loadgen
    };
    let mut first = run().spawn().unwrap();
    wait_until("it runs", || !one.children().is_empty());
    let second = run().output().unwrap();
    let errors = String::from_utf8_lossy(&second.stderr);
    assert!(second.status.code() == Some(INVALID) && errors.contains("runs another load"), "{errors}");
    first.kill().unwrap();
    first.wait().unwrap();
    wait_until("its load has ended", || one.children().is_empty());
}

#[test]
fn every_kind_of_load_has_its_figures() {
    let (broker, one, two) = (fake::start(Fault::None).to_string(), Agent::start(), Agent::start());
    let run = |command: &str| json(&conduct(&[&one, &two], &broker, command).output().unwrap());
    let value = run("end-to-end --rate 200 --seconds 1 --record-bytes 50 --partitions 4");
    assert_eq!(count(&value, "records_delivered") + count(&value, "records_unsent"), 400, "{value}");
    assert_eq!((count(&value, "records_undelivered"), count(&value, "records_unknown")), (0, 0), "{value}");
    assert!(value["delivery_ms"]["p50"].as_f64().unwrap() > 0.0, "{value}");
    // Each has read what the other wrote as well, and it is said how well the times of that are known.
    assert_eq!(count(&value, "records_across"), count(&value, "records_delivered"), "{value}");
    assert_eq!(count(&value, "delivery_across_ms.count"), count(&value, "records_across"), "{value}");
    let [error, p99] = ["delivery_across_error_ms", "delivery_across_ms"].map(|name| &value[name]);
    let (error, p99) = (error.as_f64().unwrap(), p99["p99"].as_f64().unwrap());
    let is_doubted = value["why"].to_string().contains("delivery across hosts is known to");
    assert!(error > 0.0 && p99 > 0.0 && is_doubted == (error > 0.1 * p99), "{value}");
    let written = count(&value, "records");
    let value = run("consume --to-end");
    // Each of them reads all.
    assert_eq!(count(&value, "records"), 2 * written, "{value}");
    assert!(value["fetch_ms"]["max"].as_f64().unwrap() > 0.0, "{value}");
    let value = run("commit --records 50 --connections 2");
    assert_eq!((count(&value, "commits"), count(&value, "positions_behind")), (100, 0), "{value}");
    let value = run("churn --records 40 --workers 1 --topic-workers 1");
    assert_eq!(count(&value, "connections") + count(&value, "topics_created"), 80, "{value}");
}

/// An agent that is killed is named, what it had done is missing, and what the other did is there. Its load ends with it.
#[test]
fn an_agent_that_dies_makes_the_run_invalid_by_name() {
    let (broker, one, two) = (fake::start(Fault::None).to_string(), Agent::start(), Agent::start());
    let command = "produce --rate 200 --seconds 4 --batch-bytes 0 --record-bytes 100 --partitions 4";
    let mut loadgen = conduct(&[&one, &two], &broker, command);
    let loadgen = loadgen.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the loads run", || !one.children().is_empty() && !two.children().is_empty());
    std::thread::sleep(Duration::from_secs(2));
    let (load, dead) = (one.children(), one.address.clone());
    drop(one);
    let output = loadgen.wait_with_output().unwrap();
    let value = json(&output);
    assert_eq!((output.status.code(), &value["valid"]), (Some(INVALID), &false.into()), "{value}");
    let why = value["why"].to_string();
    assert!(why.contains(&format!("agent {dead}: unexpected end of file")), "{value}");
    assert!(why.contains(&format!("agent {dead} has no figures")), "{value}");
    let own = &value["agents"][&two.address];
    assert_eq!((count(&value, "records"), count(own, "records") > 0), (count(own, "records"), true), "{value}");
    assert_eq!(load.len(), 1);
    wait_until("its load has ended", || !is_running(&load[0]));
}

/// Not gone, and not only waiting to be reaped.
fn is_running(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn a_load_ends_with_whoever_conducts_it() {
    let (broker, agent) = (fake::start(Fault::None).to_string(), Agent::start());
    let mut loadgen = conduct(&[&agent], &broker, "produce --seconds 600 --partitions 4 --rate 10");
    let mut loadgen = loadgen.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the load runs", || !agent.children().is_empty());
    // Another is not served meanwhile.
    let output = conduct(&[&agent], &broker, "produce --seconds 1").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(INVALID), "{errors}");
    assert!(errors.contains(&agent.address) && errors.contains("runs another load"), "{errors}");
    loadgen.kill().unwrap();
    loadgen.wait().unwrap();
    wait_until("the load has ended", || agent.children().is_empty());
}

#[test]
fn what_cannot_run_is_refused_and_named() {
    let (broker, agent) = (fake::start(Fault::None).to_string(), Agent::start());
    for (command, why) in [
        ("verify --records 10", "an agent runs produce"),
        ("produce --broker-pid 1", "--broker-pid is of one host"),
        ("end-to-end --seconds 1", "end-to-end needs a --rate"),
    ] {
        let output = conduct(&[&agent], &broker, command).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(INVALID), "{command} {errors}");
        assert!(errors.contains(why) && output.stdout.is_empty(), "{command} {errors}");
    }
    let output = conduct(&[&agent], "127.0.0.1:1", "produce --seconds 1").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains(&agent.address) && errors.contains("refused"), "{errors}");
    let nobody = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["produce", "--agents", "127.0.0.1:1", "--seconds", "1"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&nobody.stderr);
    assert_eq!(nobody.status.code(), Some(INVALID), "{errors}");
    assert!(errors.contains("agent 127.0.0.1:1") && errors.contains("refused"), "{errors}");
}

/// Whatever it is told, an agent says why not or hangs up, starts nothing, and serves the next one.
#[test]
fn an_agent_bears_hostile_bytes() {
    let agent = Agent::start();
    let request = |words: &str| {
        let version = env!("CARGO_PKG_VERSION");
        format!("{{\"loadgen_agent\":1,\"version\":\"{version}\",\"words\":{words}}}\n").into_bytes()
    };
    let deep = [vec![b'['; 60_000], b"\n".to_vec()].concat();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), ""),
        (vec![0xff; 200_000], ""),
        (deep, ""),
        (b"\n\n\n".to_vec(), ""),
        (b"null\n".to_vec(), "no request of this protocol"),
        (b"{\"loadgen_agent\":2}\n".to_vec(), "no request of this protocol"),
        (b"{\"loadgen_agent\":1,\"version\":\"0\",\"words\":[]}\n".to_vec(), "it is loadgen"),
        (request("[1, null]"), "words that are none"),
        (request("7"), "refused"),
        (request("[\"--help\"]"), "refused"),
        (request("[\"produce\", \"--out\", \"/dev/null\"]"), "not for agents"),
        (request("[\"produce\", \"--hdr\", \"x\"]"), "not for agents"),
        (request("[\"produce\", \"--held\", \"1\"]"), "not for agents"),
        (request("[\"produce\", \"--agents\", \"a\"]"), "not for agents"),
        (request("[\"produce\", \"--record-bytes\", \"@/dev/zero\"]"), "not for agents"),
        (request("[\"produce\", \"--record-bytes=@/dev/zero\"]"), "not for agents"),
        (request("[\"agent\"]"), "an agent runs produce"),
        (request("[\"compare\", \"--base\", \"/etc\", \"--new\", \"/etc\"]"), "an agent runs produce"),
    ];
    for (bytes, said) in &cases {
        let mut stream = TcpStream::connect(&agent.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may have hung up before it has all.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let (answer, begin) =
            (String::from_utf8_lossy(&answer), String::from_utf8_lossy(&bytes[..bytes.len().min(80)]));
        assert!(answer.contains(said) && (said.is_empty() == answer.is_empty()), "{begin}: {answer}");
    }
    // Those that say nothing take places, and give them back.
    let idle: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(&agent.address).unwrap()).collect();
    drop(idle);
    assert_eq!(agent.children(), Vec::<String>::new());
    let broker = fake::start(Fault::None).to_string();
    let served = || {
        let command = "produce --records 100 --batch-bytes 0 --partitions 2";
        let output = conduct(&[&agent], &broker, command).output().unwrap();
        let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        count(&value, "records") >= 100
    };
    wait_until("it serves", served);
}
