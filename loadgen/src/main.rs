//! Load generator for Kafka-compatible brokers; see `loadgen --help`.

mod chart;
mod churn;
mod cluster;
mod commit;
mod compare;
mod compression;
mod consume;
mod end_to_end;
mod epoll;
mod fetch;
mod group;
mod ledger;
mod link;
mod load;
mod options;
mod payload;
mod process;
mod produce;
mod producer;
mod report;
mod request;
mod run;
mod schedule;
mod tally;
mod verify;
mod writer;

use clap::Parser;
use cluster::Fault;
use options::{Command, Options, Target};
use report::Report;
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match Options::parse().command {
        Command::Produce(options) => show(&options.target, produce::produce(&options)),
        Command::Consume(options) => show(&options.target, consume::consume(&options)),
        Command::EndToEnd(options) => show(&options.target, end_to_end::end_to_end(&options)),
        Command::Verify(options) => judge(&options.target, verify::verify(&options)),
        Command::Group(options) => judge(&options.target, group::group(&options)),
        Command::Commit(options) => judge(&options.target, commit::commit(&options)),
        Command::Churn(options) => show(&options.target, churn::churn(&options)),
        Command::Compare(options) => compare::compare(&options).map(|text| {
            print!("{text}");
            true
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

/// Prints a report that says itself whether all was as it should be.
fn judge(target: &Target, result: Result<(Report, bool), Fault>) -> Result<bool, Fault> {
    let (report, is_faultless) = result?;
    report.print(target.json);
    Ok(is_faultless)
}

/// Prints a report; gives whether anything went through at all.
fn show(target: &Target, report: Result<Report, Fault>) -> Result<bool, Fault> {
    let report = report?;
    report.print(target.json);
    Ok(report.tally.records > 0 || report.tally.errors.is_empty())
}
