//! The command line: what can be asked for, in words that `--help` prints.

use crate::gate::{LOG_FILE, Rule};
use crate::group::Pattern;
use clap::{Args, Parser, Subcommand, ValueEnum};
use klamm::client::assignment;
use klamm::wire::batch::Compression;
use std::path::PathBuf;

/// Seconds of a run for which neither a time nor a number of records was given.
const SECONDS_DEFAULT: f64 = 10.0;
const BATCH_BYTES_DEFAULT: u32 = 65536;

#[derive(Parser, Debug)]
#[command(
    name = "loadgen",
    version,
    about = "Load for Kafka-compatible brokers, and what they do under it",
    long_about = "Load for Kafka-compatible brokers, and what they do under it.\n\n\
        Speaks the protocol itself, prepares its batches before it begins, and runs one thread per core that it may use \
        (pin it with taskset), so that one core of load saturates a broker. Progress goes to standard error, one line a \
        second; the result goes to standard output, as text or as one JSON object. Exit status 3 if the figures are not what they \
        seem: records that were due have no acknowledgement, requests failed, connections were lost, nothing went through; or \
        if there are none, because the broker is away or refuses. The result says why.",
    arg_required_else_help = true
)]
pub struct Options {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Write, as fast as the requests in flight allow or at a fixed rate
    Produce(Produce),
    /// Read, as fast as the broker answers; walks the batches' headers only
    Consume(Consume),
    /// Write at a fixed rate and read it back at once: latency of the acknowledgement and of the delivery
    EndToEnd(EndToEnd),
    /// Write numbered records through the broker's deaths and restarts, then read all back and report what is lost, duplicated,
    /// changed or elsewhere; exit status 3 if anything is
    #[command(long_about = VERIFY_ABOUT)]
    Verify(Verify),
    /// Consumers in groups that join, leave and die in a pattern: time to the first message, time of rebalances, pauses of
    /// partitions, duplicates and losses; exit status 1 if records were lost or a rebalance did not end
    #[command(long_about = GROUP_ABOUT)]
    Group(Box<Group>),
    /// Commit offsets, each connection for a group of its own; exit status 1 if an acknowledged one is not there at the end
    Commit(Commit),
    /// Open and close connections, make and delete topics
    Churn(Churn),
    /// Compare two sets of runs: what is better, worse, the same or undecided, and whether it is a reason to fail
    #[command(long_about = COMPARE_ABOUT)]
    Compare(Compare),
}

/// What every load has: a cluster, a topic, a span of time, a report.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// Brokers to begin with; the first that can be reached tells of the others [env: KLAMM_BOOTSTRAP_SERVER] [default:
    /// 127.0.0.1:9092]
    #[arg(short = 'b', long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub bootstrap_server: Vec<String>,
    /// Topic; made when it is missing
    #[arg(long, default_value = "loadgen")]
    pub topic: String,
    /// Partitions to use, and to make the topic with [default: all of the topic, 16 when it is made]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub partitions: Option<u32>,
    /// Setting for the topic when it is made, such as retention.ms=60000; may be repeated
    #[arg(long = "topic-config", value_name = "KEY=VALUE", value_parser = key_value)]
    pub topic_configs: Vec<(String, String)>,
    /// Connections; they share the partitions out among themselves
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Threads that serve the connections [default: the cores that the process may use, at most one per connection]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub threads: Option<u32>,
    /// Seconds to run, after the warm-up [default: 10 if --records is not given either]
    #[arg(long, value_name = "S", value_parser = positive)]
    pub seconds: Option<f64>,
    /// Records to run for after the warm-up, in whole requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub records: Option<u64>,
    /// Seconds at the start that are not measured
    #[arg(long, value_name = "S", default_value_t = 0.0, value_parser = not_negative)]
    pub warmup_seconds: f64,
    /// Seconds after the end in which answers are awaited; what has none by then is counted as censored
    #[arg(long, value_name = "S", default_value_t = 60.0, value_parser = not_negative)]
    pub drain_seconds: f64,
    /// Look for answers all the time instead of sleeping until they come: latencies without the wake-up of the load's own core,
    /// which is busy for it
    #[arg(long)]
    pub busy_poll: bool,
    /// The broker's process, on this host, to report its processor time and memory
    #[arg(long, value_name = "PID")]
    pub broker_pid: Option<u32>,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Write latencies in HdrHistogram's log format (nanoseconds), one interval a second; see `compare`
    #[arg(long, value_name = "FILE")]
    pub hdr: Option<PathBuf>,
    /// Directory for all that is to be known of the run: run.json, latency.hdr, metrics.prom (Prometheus's text format)
    #[arg(long, value_name = "DIR", conflicts_with = "hdr")]
    pub out: Option<PathBuf>,
}

impl Target {
    /// How long to run after the warm-up; `None` if something else ends the run: the number of records, or `ends_itself`.
    pub fn seconds(&self, ends_itself: bool) -> Option<f64> {
        if self.records.is_some() || ends_itself { self.seconds } else { Some(self.seconds.unwrap_or(SECONDS_DEFAULT)) }
    }

    /// Where the interval log goes.
    pub fn log(&self) -> Option<PathBuf> {
        self.hdr.clone().or_else(|| Some(self.out.as_ref()?.join(LOG_FILE)))
    }

    /// Threads for that many connections.
    pub fn threads(&self, connections: usize) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        self.threads.map_or(cores, |threads| threads as usize).min(connections)
    }
}

/// What is written, and how.
#[derive(Args, Clone, Debug)]
pub struct Writing {
    /// Bytes of a record's value, random and so incompressible
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(0..=1 << 29))]
    pub record_bytes: u32,
    /// Bytes of values in a batch; one record a batch if it has no room for two [default: 65536, for end-to-end 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1 << 29))]
    pub batch_bytes: Option<u32>,
    /// Requests that a connection has unanswered at a time
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight: u32,
    /// Who must have a record before it is acknowledged; nothing is answered with 0
    #[arg(long, value_enum, default_value_t = Acks::All)]
    pub acks: Acks,
    /// How batches are compressed
    #[arg(long, value_enum, default_value_t = Codec::None)]
    pub compression: Codec,
    /// Number the batches so that the broker can tell repeated ones (at most 5 requests in flight)
    #[arg(long)]
    pub idempotent: bool,
    /// Records a second, sent on schedule whatever the broker does; latency counts from the scheduled time
    #[arg(long, value_name = "R", value_parser = positive)]
    pub rate: Option<f64>,
    /// Partitions that one request writes to, at most those of a connection (verify: always 1)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub partitions_per_request: u32,
}

impl Writing {
    /// Records of one batch.
    pub fn batch_records(&self) -> usize {
        let batch_bytes = self.batch_bytes.unwrap_or(BATCH_BYTES_DEFAULT);
        ((batch_bytes / self.record_bytes.max(1)) as usize).max(1)
    }
}

#[derive(Args, Clone, Debug)]
pub struct Produce {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub writing: Writing,
}

/// How a broker is asked for records.
#[derive(Args, Clone, Debug)]
pub struct Fetching {
    /// Bytes of records that one answer may hold
    #[arg(long, value_name = "N", default_value_t = 52428800, value_parser = clap::value_parser!(i32).range(1..))]
    pub max_bytes: i32,
    /// Bytes of records that one answer may hold of one partition
    #[arg(long, value_name = "N", default_value_t = 1048576, value_parser = clap::value_parser!(i32).range(1..))]
    pub fetch_partition_bytes: i32,
    /// Bytes of records that are worth an answer
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(0..))]
    pub min_bytes: i32,
    /// Milliseconds after which an answer comes with less
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(i32).range(0..))]
    pub max_wait_ms: i32,
}

#[derive(Args, Clone, Debug)]
pub struct Consume {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub fetching: Fetching,
    /// Where to begin
    #[arg(long, value_enum, default_value_t = From::Earliest)]
    pub from: From,
    /// End when all is read that was there at the start
    #[arg(long)]
    pub to_end: bool,
    /// Read what was there at the start again and again, until the time is over
    #[arg(long, conflicts_with = "to_end")]
    pub repeat: bool,
    /// Check every batch's checksum
    #[arg(long)]
    pub check_crc: bool,
}

#[derive(Args, Clone, Debug)]
pub struct EndToEnd {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub writing: Writing,
    #[command(flatten)]
    pub fetching: Fetching,
    /// Connections that read, besides those that write
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub consumers: u32,
}

const VERIFY_ABOUT: &str = "Write numbered records through the broker's deaths and restarts, then read all back.\n\n\
    Each record says which one it is, and is held against what was acknowledged: partition, offset, time, key, headers, value, \
    order. The topic must be the run's own from its start to its end: what others write is a fault (foreign, or stale if another \
    run of verify sealed it), and so are offsets that are not contiguous and ones below a partition's end that never come \
    (unread). Requests without an answer are unknown: they may be there or not. Their doubles are counted (unknown_duplicated) \
    and are faults (duplicated) only of an --idempotent producer; doubles of acknowledged records always are.\n\n\
    With --readers all is read while it is written too: what was read once must be there at the end (else vanished), and the ends \
    of partitions must not go back (went_back).\n\n\
    With --ledger what is acknowledged is written to a file, which is of use when this program dies or the broker's machine does: \
    verify --check FILE reads all back later, from the topic that the file names.\n\n\
    Exit status 0 if there is no fault, 3 if there is or if not all could be seen, 1 if the run could not begin.";

#[derive(Args, Clone, Debug)]
pub struct Verify {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub writing: Writing,
    /// Seconds that the broker may be gone
    #[arg(long, value_name = "S", default_value_t = 60.0, value_parser = positive)]
    pub timeout_seconds: f64,
    /// Write what is acknowledged to a new file too
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// Readers of all partitions during the writing
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub readers: u32,
    /// Write nothing, and read back what a --ledger says that an earlier run wrote
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ledger", "readers", "records", "seconds", "rate", "idempotent"])]
    pub check: Option<PathBuf>,
}

const GROUP_ABOUT: &str = "Consumers in groups that join, leave and die in a pattern.\n\n\
    With a --rate a producer feeds the topic, evenly over its partitions, and every group reads and commits all of it; each \
    member has a connection to its coordinator and one to each leader that it reads from. Without a --rate members only send \
    heartbeats: so the cost of many idle groups is measured (--groups 1000 --members 10 --warmup-seconds 10 --broker-pid PID). \
    Groups begin one after the other within one heartbeat.\n\n\
    Times are in milliseconds. first_message_ms: from the start, when the first members look for their coordinator, to the \
    first record. rebalance_join_ms, rebalance_leave_ms, rebalance_die_ms: from an event of the pattern until all members are \
    in one generation, each partition has one owner, and each owner knows where to read on; members learn of a rebalance by \
    their heartbeats, and of a death by the end of its session. member_rebalance_ms: from when a member learns of a rebalance, \
    or begins to join, until it has its share. pause_kept_ms and pause_moved_ms: the longest time without a record around a \
    rebalance, of each partition whose owner stayed or changed; without a rebalance it is about the number of partitions \
    divided by the rate. Exit status 1 if an acknowledged record was not delivered or a rebalance did not end.";

#[derive(Args, Clone, Debug)]
pub struct Group {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub writing: Writing,
    #[command(flatten)]
    pub fetching: Fetching,
    /// Members that join each group at the start
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub members: u32,
    /// Groups, each of which reads all
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub groups: u32,
    /// Name of the group, of several with a number behind it [default: a random one]
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// What happens after the start, as SECONDS join|leave|die [N], such as "5 join 2, 10 leave, 15 die": N new members
    /// come, or the N that have been there longest leave with or without a word
    #[arg(long, value_name = "EVENTS", default_value = "", hide_default_value = true)]
    pub pattern: Pattern,
    /// How partitions are shared out, and so how clients behave in a rebalance
    #[arg(long, value_enum, default_value_t = Assignor::Range)]
    pub assignor: Assignor,
    /// Milliseconds between a member's heartbeats
    #[arg(long, value_name = "MS", default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..))]
    pub heartbeat_ms: u32,
    /// Milliseconds without a heartbeat after which the coordinator takes a member for dead
    #[arg(long, value_name = "MS", default_value_t = 45000, value_parser = clap::value_parser!(i32).range(1..))]
    pub session_ms: i32,
    /// Milliseconds that a rebalance waits for a member
    #[arg(long, value_name = "MS", default_value_t = 300000, value_parser = clap::value_parser!(i32).range(1..))]
    pub rebalance_ms: i32,
    /// Milliseconds between a member's commits
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    pub commit_ms: u32,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assignor {
    /// Eager: in a rebalance each member gives up all that it has, and gets a range of the partitions
    Range,
    /// Cooperative: members go on with what stays theirs; what moves is given up first, and given out in a second rebalance
    CooperativeSticky,
}

impl std::convert::From<Assignor> for assignment::Assignor {
    fn from(assignor: Assignor) -> Self {
        match assignor {
            Assignor::Range => assignment::Assignor::Range,
            Assignor::CooperativeSticky => assignment::Assignor::CooperativeSticky,
        }
    }
}

#[derive(Args, Clone, Debug)]
pub struct Commit {
    #[command(flatten)]
    pub target: Target,
    /// Commits that a connection has unanswered at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight: u32,
    /// Partitions that one commit has positions of
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub partitions_per_commit: u32,
}

#[derive(Args, Clone, Debug)]
pub struct Churn {
    #[command(flatten)]
    pub target: Target,
    /// Connections a second, each closed once the broker has said what it speaks [default: as fast as they come]
    #[arg(long, value_name = "R", value_parser = positive)]
    pub rate: Option<f64>,
    /// Topics a second, each deleted once it is made [default: as fast as they come]
    #[arg(long, value_name = "R", value_parser = positive)]
    pub topic_rate: Option<f64>,
    /// Threads that open and close connections, one at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub workers: u32,
    /// Threads that make and delete topics (of --partitions, 1 if that is not given), one at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub topic_workers: u32,
}

const COMPARE_ABOUT: &str = "Runs of two versions or settings, side by side: medians over runs, their ratio with a 95 % interval (bootstrap over \
    runs), and for each metric whether it is better, worse, the same, or undecided.\n\n\
    A run is a directory of --out, or a file of --hdr, which has latencies only. A change counts from --margin on, if the \
    interval excludes no change; metrics are the same if the interval ends within four times the margin to both sides; the rest \
    is undecided, as is everything with less than five runs a side. Take the runs of both sides in turn on one idle machine.\n\n\
    Metrics: throughput, p50 p90 p99 p99.9 p99.99 max (of several latencies with their tag before: delivery.p99), cpu \
    (seconds per GB), memory; and counts: errors, unsent, censored, connections_lost, undelivered, lost, duplicated, reordered, corrupted, \
    interruptions, invalid (runs).\n\n\
    Exit status 0: compared, and no condition of --fail-if holds; 1: one holds; 4: one is undecided, or the runs cannot be \
    compared; 2: wrong usage.";

#[derive(Args, Clone, Debug)]
pub struct Compare {
    /// Runs to compare with
    #[arg(long, value_name = "RUN", required = true, num_args = 1..)]
    pub base: Vec<PathBuf>,
    /// Runs to compare
    #[arg(long, value_name = "RUN", required = true, num_args = 1..)]
    pub new: Vec<PathBuf>,
    /// Conditions under which the exit status is 1, such as 'p99>+5%,throughput<-3%,errors>0': with % a change from base to
    /// new, without a level of the new runs (their median; of counts the sum)
    #[arg(long, value_name = "CONDITIONS", value_delimiter = ',')]
    pub fail_if: Vec<Rule>,
    /// Percent from which a change counts in the verdicts; a condition has its own
    #[arg(long, value_name = "PERCENT", default_value_t = 3.0, value_parser = positive)]
    pub margin: f64,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Write a page that needs no network: the tables, curves of all runs, percentiles over time, heat maps
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Compare runs of other options or another schema as well, and believe runs that are not valid; the differences are named
    #[arg(long)]
    pub force: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Text,
    Json,
    Csv,
    Markdown,
    Junit,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// The first record that is there
    Earliest,
    /// Behind the last record that is there
    Latest,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// No one; requests are not answered
    #[value(name = "0")]
    None,
    /// The partition's leader
    #[value(name = "1")]
    Leader,
    /// All replicas in sync
    #[value(name = "all", alias = "-1")]
    All,
}

impl Acks {
    /// The number on the wire.
    pub fn number(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl std::convert::From<Codec> for Compression {
    fn from(codec: Codec) -> Compression {
        match codec {
            Codec::None => Compression::None,
            Codec::Gzip => Compression::Gzip,
            Codec::Snappy => Compression::Snappy,
            Codec::Lz4 => Compression::Lz4,
            Codec::Zstd => Compression::Zstd,
        }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("not of the form KEY=VALUE")?;
    Ok((key.to_string(), value.to_string()))
}

fn not_negative(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number")?;
    if number.is_finite() && number >= 0.0 { Ok(number) } else { Err("must not be negative".to_string()) }
}

fn positive(text: &str) -> Result<f64, String> {
    match not_negative(text)? {
        0.0 => Err("must be above 0".to_string()),
        number => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn a_batch_has_a_record_at_least() {
        let parse = |args: &[&str]| match Options::parse_from([&["loadgen", "produce"], args].concat()).command {
            Command::Produce(produce) => produce,
            other => panic!("{other:?}"),
        };
        assert_eq!(parse(&[]).writing.batch_records(), 64);
        assert_eq!(parse(&["--batch-bytes", "2047"]).writing.batch_records(), 1);
        assert_eq!(parse(&["--batch-bytes", "0"]).writing.batch_records(), 1);
        assert_eq!(parse(&["--record-bytes", "0", "--batch-bytes", "9"]).writing.batch_records(), 9);
        assert_eq!(parse(&[]).target.seconds(false), Some(SECONDS_DEFAULT));
        assert_eq!(parse(&["--records", "5"]).target.seconds(false), None);
        assert_eq!(parse(&[]).target.seconds(true), None);
        let configs = parse(&["--topic-config", "a=b=c"]).target.topic_configs;
        assert_eq!(configs, [("a".to_string(), "b=c".to_string())]);
    }
}
