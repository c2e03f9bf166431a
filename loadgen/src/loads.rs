//! Each kind of load, carried out by this process or by agents.

use crate::agent;
use crate::cluster::Fault;
use crate::options::LoadCommand;
use crate::process::ROOT;
use crate::report::Report;
use crate::{churn, commit, consume, drive, end_to_end, group, produce, verify};
use std::ffi::OsString;
use std::path::Path;

/// What came of a load: its report, weighed, and whether the broker did what it should.
pub type Reported = Result<(Report, bool), Fault>;

/// Carries out a load that these words ask for.
pub fn carry_out(load: &LoadCommand, words: &[OsString]) -> Reported {
    if !load.target().agents.is_empty() {
        // Each agent has weighed its own.
        return agent::conduct(load.target(), words).map(|report| (report, true));
    }
    // The broker may be gone in the end.
    let drive = load.target().broker_pid.and_then(|pid| drive::headline(Path::new(ROOT), pid));
    let weighed = |(mut report, is_faultless): (Report, bool)| {
        report.weigh();
        (report, is_faultless)
    };
    let counted = |report| weighed((report, true));
    let reported = match load {
        LoadCommand::Produce(options) => produce::produce(options).map(counted),
        LoadCommand::Consume(options) => consume::consume(options).map(counted),
        LoadCommand::EndToEnd(options) => end_to_end::end_to_end(options).map(counted),
        LoadCommand::Churn(options) => churn::churn(options).map(counted),
        LoadCommand::Group(options) => group::group(options).map(weighed),
        LoadCommand::Commit(options) => commit::commit(options).map(weighed),
        // Its verdict is its own: a broker that dies is no reason.
        LoadCommand::Verify(options) => verify::verify(options).map(|report| (report, true)),
    };
    reported.map(|(report, is_faultless)| (Report { drive, ..report }, is_faultless))
}
