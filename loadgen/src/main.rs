//! Load generator for Kafka-compatible brokers; see `loadgen --help`.

mod cluster;
mod epoll;
mod link;
mod options;
mod payload;
mod process;
mod produce;
mod report;
mod request;
mod run;
mod schedule;
mod tally;

use clap::Parser;
use options::{Command, Options};
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match Options::parse().command {
        Command::Produce(options) => produce::produce(&options).map(|report| {
            report.print(options.target.json);
            report.tally.records > 0
        }),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("loadgen: {fault}");
            ExitCode::FAILURE
        }
    }
}
