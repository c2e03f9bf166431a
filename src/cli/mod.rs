//! What the binary does besides serving: commands of its own, and Kafka's tools by their names.
//!
//! Operations (`operation`) ask brokers through the `client` and give plain values; the commands (a file each) and Kafka's
//! tools (`kafka`) only read arguments and print. Nothing here starts a part of the broker: a command takes milliseconds.

pub mod client;
mod cluster;
mod codes;
mod completion;
mod config;
mod consume;
mod consuming;
mod dump;
mod encoding;
mod failure;
mod group;
mod group_print;
mod kafka;
mod member;
mod offset_records;
mod offsets;
mod operation;
mod options;
mod output;
mod pattern;
mod produce;
mod progress;
mod reading;
mod sending;
mod setting;
mod storage;
mod time;
mod topic;

use crate::client::address::BOOTSTRAP_VARIABLE;
use crate::config::{Config, Loaded};
use clap::{Parser, Subcommand};
use failure::Result;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// A Kafka-compatible log broker. Without arguments it listens on 127.0.0.1:9092 and keeps its data in ./klamm-data;
/// with a command it does something else.
#[derive(Parser)]
#[command(name = "klamm", version, args_conflicts_with_subcommands = true, subcommand_value_name = "COMMAND")]
pub struct Line {
    #[command(flatten)]
    pub serve: Serve,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Arguments of the broker itself.
#[derive(clap::Args)]
pub struct Serve {
    /// Settings by Kafka's names, one `key=value` a line
    pub file: Option<PathBuf>,
    /// A setting that wins over the file and the environment (KAFKA_LISTENERS style)
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = key_value)]
    pub overrides: Vec<(String, String)>,
}

#[derive(Subcommand)]
enum Command {
    Topic(topic::Arguments),
    Group(group::Arguments),
    Config(config::Arguments),
    Offsets(offsets::Arguments),
    Produce(produce::Arguments),
    Consume(consume::Arguments),
    Cluster(cluster::Arguments),
    Completion(completion::Arguments),
    Dump(dump::Arguments),
    Storage(storage::Arguments),
}

/// What a command line asks for.
pub enum Asked {
    /// To be a broker.
    Serve(Serve),
    /// What has been done already, and how it went.
    Done(ExitCode),
}

/// Does what the arguments (the program's name first) ask for, unless that is to be a broker. Ends the program where they are
/// wrong, or ask for help.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Asked {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(status) = kafka::run(&arguments) {
        return Asked::Done(status);
    }
    let line = Line::parse_from(arguments);
    match line.command {
        None => Asked::Serve(line.serve),
        Some(command) => Asked::Done(match command.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        }),
    }
}

impl Serve {
    /// The configuration that these arguments and the environment make.
    pub fn load(&self) -> Result<Loaded, String> {
        let text = match &self.file {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
                Some((path.display().to_string(), text))
            }
        };
        let file = text.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        // These are read by the log and by commands; they are no settings of the broker.
        let environment = std::env::vars().filter(|(name, _)| name != "KLAMM_LOG" && name != BOOTSTRAP_VARIABLE);
        Config::load(file, environment, &self.overrides).map_err(|error| error.to_string())
    }
}

impl Command {
    fn run(self) -> Result<()> {
        match self {
            Command::Topic(arguments) => arguments.run(),
            Command::Group(arguments) => arguments.run(),
            Command::Config(arguments) => arguments.run(),
            Command::Offsets(arguments) => arguments.run(),
            Command::Produce(arguments) => arguments.run(),
            Command::Consume(arguments) => arguments.run(),
            Command::Cluster(arguments) => arguments.run(),
            Command::Completion(arguments) => arguments.run(),
            Command::Dump(arguments) => arguments.run(),
            Command::Storage(arguments) => arguments.run(),
        }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("not of the form KEY=VALUE")?;
    Ok((key.trim().into(), value.trim().into()))
}

/// A command that was perhaps meant by the name of a file that is not there.
pub fn nearest_command(typed: &str) -> Option<String> {
    let command = <Line as clap::CommandFactory>::command();
    let names: Vec<&str> = command.get_subcommands().map(|command| command.get_name()).collect();
    nearest(typed, names.into_iter()).map(str::to_string)
}

/// Of `known`, what differs from `typed` by the fewest edits, if they are few.
fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let closest = known.map(|name| (edits(typed, name), name)).min()?;
    let few = 1 + typed.chars().count() / 4;
    (closest.0 <= few).then_some(closest.1)
}

/// How many letters must be put in, left out, exchanged or swapped with their neighbour to make one word of the other.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let exchanged = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = exchanged.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Line::command().debug_assert();
    }

    #[test]
    fn near_names_are_found() {
        assert_eq!(edits("topic", "topci"), 1);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(nearest("clutser", ["topic", "cluster"].into_iter()), Some("cluster"));
        assert_eq!(nearest("server", ["topic", "cluster"].into_iter()), None);
        assert_eq!(nearest_command("completoin").as_deref(), Some("completion"));
    }
}
