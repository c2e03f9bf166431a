//! Options that every command with a broker has.

use super::client::Client;
use super::failure::Result;
use super::output::Format;
use super::time::parse_duration;
use crate::client::address::{BOOTSTRAP_VARIABLE, bootstrap};
use std::time::Duration;

#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Brokers to begin with; the first that answers tells of the others [env: KLAMM_BOOTSTRAP_SERVER] [default:
    /// 127.0.0.1:9092]
    #[arg(short = 'b', long, value_name = "HOST:PORT", value_delimiter = ',', global = true)]
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
        let variable = std::env::var(BOOTSTRAP_VARIABLE).ok();
        Client::connect(&bootstrap(&self.bootstrap_server, variable.as_deref()), self.timeout)
    }
}
