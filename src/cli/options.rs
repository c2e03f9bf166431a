//! Options that every command with a broker has.

use super::client::Client;
use super::failure::Result;
use super::output::Format;
use super::time::parse_duration;
use std::time::Duration;

/// Names brokers where the option does not.
pub const BOOTSTRAP_VARIABLE: &str = "KLAMM_BOOTSTRAP_SERVER";

#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Brokers to begin with; the first that answers tells of the others
    #[arg(
        short = 'b',
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        env = BOOTSTRAP_VARIABLE,
        default_value = "127.0.0.1:9092",
        global = true
    )]
    pub bootstrap_server: Vec<String>,
    /// What is printed
    #[arg(long, value_enum, default_value_t, global = true)]
    pub format: Format,
    /// How long to wait for a broker: 500ms, 10s, 2m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration, global = true)]
    pub timeout: Duration,
}

impl Options {
    pub fn connect(&self) -> Result<Client> {
        Client::connect(&self.bootstrap_server, self.timeout)
    }
}
