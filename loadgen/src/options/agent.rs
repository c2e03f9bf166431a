//! What an agent is told.

use clap::Args;

pub const ABOUT: &str = "Run loads for whoever conducts them with --agents, one at a time, or those of one file together.\n\n\
    An agent runs produce, consume, end-to-end, commit and churn, with any brokers and topics that it is given, and asks nobody who \
    they are: let it listen only where whoever reaches it may do that. It reads and writes no files but in a temporary directory \
    (so no sizes by @FILE), and bears what is no message. When whoever conducts goes, so does the load.";

#[derive(Args, Clone, Debug)]
pub struct Agent {
    /// Where it listens; with port 0 at a free one, which the first line of standard output names
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9099")]
    pub listen: String,
}
