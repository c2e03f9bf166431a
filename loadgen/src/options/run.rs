//! `run`.

use clap::Args;
use std::path::PathBuf;

pub const ABOUT: &str = "Several loads at once, from a TOML file.\n\n\
    Each load is a table [[produce]], [[consume]], [[end-to-end]], [[group]], [[commit]], [[churn]] or [[verify]], whose keys are \
    the options of that command without their dashes; flags are true or false, options that may be repeated are lists. Keys \
    above all tables are for each load that has such an option. Besides, a load may have a name, and after-seconds, when it \
    begins; seconds from above all tables count from the beginning of the file.\n\n\
    So a group that begins late drains a backlog:\n\n  \
    bootstrap-server = \"localhost:9092\"\n  \
    seconds = 60\n\n  \
    [[produce]]\n  \
    topic = \"orders\"\n  \
    partitions = 16\n  \
    rate = \"1k..20k/60s\"\n  \
    keys = \"zipf:100000:0.99\"\n\n  \
    [[group]]\n  \
    topic = \"orders\"\n  \
    read = true\n  \
    from = \"earliest\"\n  \
    members = 4\n  \
    commit-ms = 1000\n  \
    after-seconds = 30\n\n\
    The lag of each group that reads is looked at from outside once a second: the ends of its topic's partitions less what is \
    committed, and so it includes what was read and not committed. The backlog is the lag when the group begins; it is drained \
    when all of it is committed.\n\n\
    With --agents they run each load but groups and verify, as with --agents of its command: all of it each, begun together. Groups, \
    verify and the look at lags stay here, where topics are made too. Loads at the beginning start once all agents are prepared.\n\n\
    With --out each load has a directory DIR/NAME, as with --out of its command, which compare takes; DIR/run.json has all reports, \
    the lags, and the file.\n\n\
    Exit status 1 if a group or commits found the broker faulty, 3 if the figures of a load are not what they seem or a lag could \
    not be seen.";

#[derive(Args, Clone, Debug)]
pub struct Scenario {
    /// The loads
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Agents that run the loads (each all of them: rates add up) but groups and verify; see `agent`
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub agents: Vec<String>,
    /// Draw the rate, p50, p99 and the own lag of each load that runs here, if standard error is a terminal, instead of lines
    #[arg(long)]
    pub live: bool,
    /// Directory for all that is to be known of the run: run.json, and a directory for each load
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
}
