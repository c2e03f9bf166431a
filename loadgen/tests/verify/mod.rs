//! What `verify` makes of a broker that is faithful, of one that is not, and of one that is away.

use crate::fake::{self, END_TOO_HIGH, Fault};
use crate::{json, run};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const VERIFY: &str = "verify --records 20000 --record-bytes 100 --batch-bytes 1000 --partitions 4 --connections 2";
/// What `verify` counts as the broker's fault.
const FLAWS: [&str; 15] = [
    "lost",
    "duplicated",
    "reordered",
    "corrupted",
    "wrong_partition",
    "wrong_offset",
    "wrong_timestamp",
    "wrong_key",
    "wrong_headers",
    "stale",
    "foreign",
    "offset_gaps",
    "unread",
    "vanished",
    "went_back",
];
/// Exit codes: faultless, and found faulty or not to be judged.
const FAULTLESS: i32 = 0;
const FAULTY: i32 = 3;

fn verify_at(address: SocketAddr, more: &str) -> (i32, Value) {
    let output = run(&address.to_string(), &format!("{VERIFY} {more}"));
    (output.status.code().unwrap(), json(&output))
}

/// Runs verify against a fault; gives its exit code, and what it said.
fn verify(fault: Fault, more: &str) -> (i32, Value) {
    verify_at(fake::start(fault), more)
}

/// The flaws that were found.
fn flaws(value: &Value) -> Vec<&'static str> {
    FLAWS.into_iter().filter(|name| value[name].as_u64().unwrap() > 0).collect()
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    for more in ["", "--idempotent", "--compression lz4", "--acks 1 --in-flight 20"] {
        let (code, value) = verify(Fault::None, more);
        assert!(code == FAULTLESS && flaws(&value).is_empty(), "{more} {value}");
        assert_eq!((&value["acknowledged"], &value["interruptions"]), (&20000.into(), &0.into()));
    }
    // More connections than partitions: several streams in one.
    let output = run(&fake::start(Fault::None).to_string(), &VERIFY.replace("--connections 2", "--connections 6"));
    let value = json(&output);
    assert!(output.status.success() && flaws(&value).is_empty(), "{value}");
}

#[test]
fn interruptions_are_no_faults() {
    for fault in [Fault::HangUp, Fault::Refuse] {
        let (code, value) = verify(fault, "");
        assert!(code == FAULTLESS && value["interruptions"].as_u64().unwrap() > 0, "{fault:?} {value}");
        assert!(value["unknown"].as_u64().unwrap() > 0, "{fault:?} {value}");
        assert_eq!(value["censored"], value["unknown"], "{fault:?} {value}");
        let (code, value) = verify(fault, "--idempotent");
        assert!(code == FAULTLESS && value["interruptions"].as_u64().unwrap() > 0, "{fault:?} {value}");
        assert_eq!((&value["acknowledged"], &value["unknown"]), (&20000.into(), &0.into()), "{fault:?}");
    }
}

#[test]
fn what_was_due_has_an_outcome() {
    let options =
        "verify --rate 20000 --seconds 1 --record-bytes 100 --batch-bytes 1000 --partitions 4 --connections 2";
    let value = json(&run(&fake::start(Fault::HangUp).to_string(), options));
    let count = |name: &str| value[name].as_u64().unwrap();
    assert_eq!(count("acknowledged") + count("censored"), 20000, "{value}");
    assert!(count("censored") >= count("unknown") && count("unknown") > 0, "{value}");
}

#[test]
fn each_fault_is_found_by_its_name() {
    let cases: [(Fault, &[&str]); 12] = [
        (Fault::Lose, &["lost"]),
        (Fault::Duplicate, &["duplicated"]),
        // What is swapped is not where the acknowledgement said.
        (Fault::Swap, &["reordered", "wrong_offset"]),
        // A corrupted record is also one that is not there.
        (Fault::Corrupt, &["lost", "corrupted"]),
        (Fault::WrongPartition, &["wrong_partition"]),
        (Fault::WrongOffset, &["wrong_offset"]),
        (Fault::Gap, &["offset_gaps"]),
        (Fault::Time, &["wrong_timestamp"]),
        (Fault::Key, &["wrong_key"]),
        (Fault::Headers, &["wrong_headers"]),
        (Fault::Foreign, &["foreign"]),
        (Fault::Stale, &["duplicated"]),
    ];
    for (fault, expected) in cases {
        let (code, value) = verify(fault, "");
        assert_eq!((code, flaws(&value)), (FAULTY, expected.to_vec()), "{fault:?} {value}");
        if fault == Fault::WrongPartition {
            assert_eq!(value["wrong_partition"], 20000, "{value}");
        }
    }
}

#[test]
fn records_of_an_earlier_run_are_stale() {
    let address = fake::start(Fault::Stale);
    verify_at(address, "");
    let (code, value) = verify_at(address, "");
    assert_eq!((code, flaws(&value)), (FAULTY, vec!["stale"]), "{value}");
}

#[test]
fn doubles_of_unacknowledged_records_count_and_are_faults_of_idempotence() {
    let (code, value) = verify(Fault::HangUpTwice, "");
    assert_eq!((code, flaws(&value)), (FAULTLESS, vec![]), "{value}");
    assert!(value["unknown_duplicated"].as_u64().unwrap() > 0, "{value}");
    let (code, value) = verify(Fault::HangUpTwice, "--idempotent");
    assert_eq!((code, flaws(&value)), (FAULTY, vec!["duplicated"]), "{value}");
}

#[test]
fn readers_see_what_vanishes() {
    for (fault, more) in [(Fault::None, ""), (Fault::HangUp, ""), (Fault::HangUp, "--idempotent"), (Fault::Refuse, "")]
    {
        let (code, value) = verify(fault, &format!("--readers 2 {more}"));
        assert_eq!((code, flaws(&value)), (FAULTLESS, vec![]), "{fault:?} {more} {value}");
    }
    // Nobody else notices: what vanishes was not acknowledged.
    let (code, value) = verify(Fault::HangUpAndForget, "");
    assert_eq!((code, flaws(&value)), (FAULTLESS, vec![]), "{value}");
    let (code, value) = verify(Fault::HangUpAndForget, "--readers 2");
    assert_eq!((code, flaws(&value)), (FAULTY, vec!["vanished", "went_back"]), "{value}");
}

#[test]
fn an_end_that_is_never_reached_ends_the_patience() {
    let (code, value) = verify(Fault::EndTooHigh, "--timeout-seconds 1");
    assert_eq!((code, flaws(&value)), (FAULTY, vec!["unread"]), "{value}");
    assert_eq!((&value["unread"], &value["acknowledged"]), (&(4 * END_TOO_HIGH).into(), &20000.into()));
    assert!(value["why"].to_string().contains("empty answers below the end"), "{value}");
}

#[test]
fn without_a_broker_there_is_no_verdict() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = run(&address.to_string(), VERIFY);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
}

/// A ledger's name in a directory of the test's own, which goes with it.
struct LedgerPath(PathBuf);

impl LedgerPath {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("loadgen-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        LedgerPath(dir.join("ledger"))
    }

    /// How many times something was acknowledged so far.
    fn acknowledged(&self) -> usize {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().filter(|line| line.starts_with("acknowledged ")).count()
    }

    fn option(&self, name: &str) -> String {
        format!("--{name} {}", self.0.display())
    }

    fn check_at(&self, address: SocketAddr) -> (i32, Value) {
        let output = run(&address.to_string(), &format!("verify --timeout-seconds 1 {}", self.option("check")));
        (output.status.code().unwrap(), json(&output))
    }
}

impl Drop for LedgerPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().unwrap());
    }
}

#[test]
fn a_ledger_is_checked_later() {
    for (fault, expected) in
        [(Fault::HangUp, vec![]), (Fault::Lose, vec!["lost"]), (Fault::WrongOffset, vec!["wrong_offset"])]
    {
        let (ledger, address) = (LedgerPath::new(&format!("{fault:?}")), fake::start(fault));
        let (written_code, written) = verify_at(address, &ledger.option("ledger"));
        let (code, value) = ledger.check_at(address);
        let expected_code = if expected.is_empty() { FAULTLESS } else { FAULTY };
        assert_eq!((code, written_code, flaws(&value)), (expected_code, expected_code, expected), "{value}");
        for name in ["acknowledged", "unknown", "unknown_present", "lost", "wrong_offset"] {
            assert_eq!(value[name], written[name], "{name}: {value} {written}");
        }
        assert!(value["records"].as_u64().unwrap() > 0, "{value}");
    }
}

#[test]
fn a_ledger_outlives_its_writer_and_sees_what_its_broker_forgot() {
    let (ledger, address) = (LedgerPath::new("outlives"), fake::start(Fault::None));
    let options =
        format!("verify --seconds 100 --rate 5000 --record-bytes 100 --batch-bytes 1000 {}", ledger.option("ledger"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(options.split_whitespace()).args(["--bootstrap-server", &address.to_string()]);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let begin = Instant::now();
    while ledger.acknowledged() < 100 && begin.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let (code, value) = ledger.check_at(address);
    assert_eq!((code, flaws(&value)), (FAULTLESS, vec![]), "{value}");
    let acknowledged = value["acknowledged"].as_u64().unwrap();
    assert!(acknowledged >= 1000, "{value}");
    // Another broker has none of it.
    let (code, value) = ledger.check_at(fake::start(Fault::None));
    assert_eq!((code, value["lost"].as_u64().unwrap()), (FAULTY, acknowledged), "{value}");
}

#[test]
fn a_ledger_that_cannot_be_used_is_no_verdict() {
    let (ledger, address) = (LedgerPath::new("unused"), fake::start(Fault::None).to_string());
    let code = |address: &str, options: &str| run(address, options).status.code().unwrap();
    assert_eq!(code(&address, &format!("verify {}", ledger.option("check"))), 1);
    std::fs::write(&ledger.0, "what was here before\n").unwrap();
    assert_eq!(code(&address, &format!("verify {}", ledger.option("check"))), 1);
    assert_eq!(code(&address, &format!("{VERIFY} {}", ledger.option("ledger"))), 1);
    assert_eq!(std::fs::read_to_string(&ledger.0).unwrap(), "what was here before\n");
}

/// Records of the warm-up are verified, and are in none of the figures.
#[test]
fn the_warm_up_is_verified_and_not_measured() {
    let options = "verify --rate 2000 --warmup-seconds 1 --seconds 1 --record-bytes 100 --batch-bytes 0 --partitions 4";
    let value = json(&run(&fake::start(Fault::HangUp).to_string(), options));
    let count = |name: &str| value[name].as_u64().unwrap();
    assert_eq!(count("records") + count("censored"), 2000, "{value}");
    assert_eq!(flaws(&value), Vec::<&str>::new(), "{value}");
    assert!(count("acknowledged") + count("unknown") > 2000 && count("censored") > 0, "{value}");
}
