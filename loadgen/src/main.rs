//! Load generator for Kafka-compatible brokers; see `loadgen --help`.

mod agent;
mod backlog;
mod chart;
mod churn;
mod cluster;
mod commit;
mod compression;
mod consume;
mod end_to_end;
mod epoll;
mod fetch;
mod gate;
mod group;
mod health;
mod link;
mod live;
mod load;
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
use cluster::Fault;
use options::{Command, Options, Target};
use report::Report;
use std::process::ExitCode;

/// The load found the broker faulty.
const FAULTY: u8 = 1;
/// The figures are not what they seem, or there are none.
const INVALID: u8 = 3;

fn main() -> ExitCode {
    let command = Options::parse().command;
    let result = match command {
        _ if command.target().is_some_and(|target| !target.agents.is_empty()) => conduct(&command),
        Command::Agent(options) => agent::agent(&options).map(|()| ExitCode::SUCCESS),
        Command::Produce(options) => show(&options.target, produce::produce(&options)),
        Command::Search(options) => search::search(&options),
        Command::Consume(options) => show(&options.target, consume::consume(&options)),
        Command::EndToEnd(options) => show(&options.target, end_to_end::end_to_end(&options)),
        Command::Verify(options) => return verdict(&options.target, verify::verify(&options)),
        Command::Group(options) => judge(&options.target, group::group(&options)),
        Command::Commit(options) => judge(&options.target, commit::commit(&options)),
        Command::Churn(options) => show(&options.target, churn::churn(&options)),
        Command::Run(options) => scenario::run(&options).map(|outcome| {
            outcome.print(options.json);
            match (outcome.is_faultless(), outcome.why().is_empty()) {
                (false, _) => ExitCode::from(FAULTY),
                (true, false) => ExitCode::from(INVALID),
                (true, true) => ExitCode::SUCCESS,
            }
        }),
        Command::Compare(options) => return gate::compare(&options),
    };
    result.unwrap_or_else(|fault| {
        eprintln!("loadgen: {fault}");
        ExitCode::from(INVALID)
    })
}

/// Prints the report of a load that others ran, each of which has weighed its own.
fn conduct(command: &Command) -> Result<ExitCode, Fault> {
    let target = command.target().expect("only a load has agents");
    let report = agent::conduct(target)?;
    report.print(target.json);
    gate::keep(target, &report)?;
    Ok(if report.why.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(INVALID) })
}

/// Prints a report of a load that says itself whether the broker did what it should.
fn judge(target: &Target, result: Result<(Report, bool), Fault>) -> Result<ExitCode, Fault> {
    let (mut report, is_faultless) = result?;
    report.weigh();
    report.print(target.json);
    gate::keep(target, &report)?;
    Ok(match (is_faultless, report.why.is_empty()) {
        (false, _) => ExitCode::from(FAULTY),
        (true, false) => ExitCode::from(INVALID),
        (true, true) => ExitCode::SUCCESS,
    })
}

/// Prints a report whose counts say whether its figures can be believed.
fn show(target: &Target, report: Result<Report, Fault>) -> Result<ExitCode, Fault> {
    judge(target, report.map(|report| (report, true)))
}

/// Prints what was verified. Options that do not fit, or a broker that is not there, are no verdict.
fn verdict(target: &Target, report: Result<Report, Fault>) -> ExitCode {
    let kept = report.and_then(|report| {
        report.print(target.json);
        gate::keep(target, &report)?;
        Ok(report)
    });
    match kept {
        Ok(report) => {
            if report.why.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(INVALID)
            }
        }
        Err(fault) => {
            eprintln!("loadgen: {fault}");
            ExitCode::FAILURE
        }
    }
}
