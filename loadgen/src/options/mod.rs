//! The command line: what can be asked for, in words that `--help` prints. Each command has a file.

mod agent;
mod churn;
mod commit;
mod compare;
mod consume;
mod end_to_end;
mod group;
mod produce;
mod run;
mod search;
mod shape;
mod target;
mod verify;

pub use agent::Agent;
pub use churn::Churn;
pub use commit::Commit;
pub use compare::{Compare, Format};
pub use consume::{Consume, Fetching, From};
pub use end_to_end::EndToEnd;
pub use group::Group;
pub use produce::{Acks, Produce, Writing};
pub use run::Scenario;
pub use search::Search;
pub use shape::Shape;
pub use target::Target;
pub use verify::Verify;

use clap::{Parser, Subcommand};

#[derive(Parser, Debug)]
#[command(
    name = "loadgen",
    version,
    about = "Load for Kafka-compatible brokers, and what they do under it",
    long_about = "Load for Kafka-compatible brokers, and what they do under it.\n\n\
        Speaks the protocol itself, writes records that are new in each batch, and runs one thread per core that it may use \
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
    #[command(flatten)]
    Load(Box<LoadCommand>),
    /// The highest rate at which the broker keeps within limits of latency, by steps of produce
    #[command(long_about = search::ABOUT, mut_arg("warmup_seconds", |arg| arg.default_value("2")),
        mut_args(|arg| if search::HIDDEN.contains(&arg.get_id().as_str()) { arg.hide(true) } else { arg }))]
    Search(Box<Search>),
    /// Several loads at once, from a file: topics, producers, groups with their lag and the drain of a backlog
    #[command(long_about = run::ABOUT)]
    Run(Scenario),
    /// Run loads for whoever conducts them with --agents, one at a time or those of one file
    #[command(long_about = agent::ABOUT)]
    Agent(Agent),
    /// Compare two sets of runs: what is better, worse, the same or undecided, and whether it is a reason to fail
    #[command(long_about = compare::ABOUT)]
    Compare(Compare),
}

/// One load: what a command is by itself, and a table of a file.
#[derive(Subcommand, Debug)]
pub enum LoadCommand {
    /// Write, as fast as the requests in flight allow or at a --rate
    Produce(Produce),
    /// Read, as fast as the broker answers; walks the batches' headers only
    Consume(Consume),
    /// Write at a --rate and read it back at once: latency of the acknowledgement and of the delivery
    EndToEnd(EndToEnd),
    /// Write numbered records through the broker's deaths and restarts, then read all back and report what is lost, duplicated,
    /// changed or elsewhere; exit status 3 if anything is
    #[command(long_about = verify::ABOUT)]
    Verify(Verify),
    /// Consumers in groups that join, leave and die in a pattern: time to the first message, time of rebalances, pauses of
    /// partitions, duplicates and losses; exit status 1 if records were lost or a rebalance did not end
    #[command(long_about = group::ABOUT)]
    Group(Box<Group>),
    /// Commit offsets, each connection for a group of its own; exit status 1 if an acknowledged one is not there at the end
    Commit(Commit),
    /// Open and close connections, make and delete topics
    Churn(Churn),
}

impl LoadCommand {
    /// What every load has.
    pub fn target(&self) -> &Target {
        match self {
            LoadCommand::Produce(options) => &options.target,
            LoadCommand::Consume(options) => &options.target,
            LoadCommand::EndToEnd(options) => &options.target,
            LoadCommand::Verify(options) => &options.target,
            LoadCommand::Group(options) => &options.target,
            LoadCommand::Commit(options) => &options.target,
            LoadCommand::Churn(options) => &options.target,
        }
    }

    /// Whether agents run it. Records of `verify` and members of groups have to be known to one process.
    pub fn is_for_agents(&self) -> bool {
        !matches!(self, LoadCommand::Verify(_) | LoadCommand::Group(_))
    }

    /// The words by which they are asked for.
    pub fn names() -> Vec<String> {
        let all = LoadCommand::augment_subcommands(clap::Command::new("loads"));
        all.get_subcommands().map(|command| command.get_name().to_string()).collect()
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
            Command::Load(load) => match *load {
                LoadCommand::Produce(produce) => produce,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        assert_eq!(parse(&[]).writing.batch_records(), 64);
        assert_eq!(parse(&["--batch-bytes", "2047"]).writing.batch_records(), 1);
        assert_eq!(parse(&["--batch-bytes", "0"]).writing.batch_records(), 1);
        assert_eq!(parse(&["--record-bytes", "0", "--batch-bytes", "9"]).writing.batch_records(), 9);
        assert_eq!(parse(&[]).target.seconds(false), Some(10.0));
        assert_eq!(parse(&["--records", "5"]).target.seconds(false), None);
        assert_eq!(parse(&[]).target.seconds(true), None);
        let configs = parse(&["--topic-config", "a=b=c"]).target.topic_configs;
        assert_eq!(configs, [("a".to_string(), "b=c".to_string())]);
    }
}
