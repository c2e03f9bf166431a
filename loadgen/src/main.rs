//! Load generator for Kafka-compatible brokers; see `loadgen --help`.

mod agent;
mod backlog;
mod chart;
mod churn;
mod cluster;
mod commit;
mod compression;
mod consume;
mod drive;
mod end_to_end;
mod epoll;
mod fetch;
mod gate;
mod group;
mod health;
mod link;
mod live;
mod load;
mod loads;
mod mark;
mod options;
mod payload;
mod process;
mod produce;
mod producer;
mod report;
mod request;
mod run;
mod scenario;
mod schedule;
mod search;
mod shape;
mod tally;
mod verify;

use clap::Parser;
use options::{Command, LoadCommand, Options};
use std::ffi::OsString;
use std::process::ExitCode;

/// The load found the broker faulty.
const FAULTY: u8 = 1;
/// The figures are not what they seem, or there are none.
const INVALID: u8 = 3;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let mut without_figures = ExitCode::from(INVALID);
    let result = match Options::parse().command {
        Command::Load(load) => {
            let target = load.target();
            if matches!(*load, LoadCommand::Verify(_)) && target.agents.is_empty() {
                // Options that do not fit, or a broker that is not there, are no verdict.
                without_figures = ExitCode::FAILURE;
            }
            loads::carry_out(&load, &words).and_then(|(report, is_faultless)| {
                report.print(target.json);
                gate::keep(target, &words, &report)?;
                Ok(status(is_faultless, report.why.is_empty()))
            })
        }
        Command::Run(options) => scenario::run(&options).and_then(|outcome| {
            outcome.print(options.json);
            outcome.keep(&options)?;
            Ok(status(outcome.is_faultless(), outcome.why().is_empty()))
        }),
        Command::Search(options) => search::search(&options),
        Command::Agent(options) => agent::agent(&options).map(|()| ExitCode::SUCCESS),
        Command::Compare(options) => return gate::compare(&options),
    };
    result.unwrap_or_else(|fault| {
        eprintln!("loadgen: {fault}");
        without_figures
    })
}

fn status(is_faultless: bool, is_valid: bool) -> ExitCode {
    match (is_faultless, is_valid) {
        (false, _) => ExitCode::from(FAULTY),
        (true, false) => ExitCode::from(INVALID),
        (true, true) => ExitCode::SUCCESS,
    }
}
