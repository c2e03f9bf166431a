//! `kafka-storage`: `format`, `info` and `random-uuid` with Kafka's flags and words.

use crate::cli::Serve;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::print;
use crate::cli::storage::{Directory, Formatted, inspect, random_id};
use crate::types::BrokerId;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(super) const NAME: &str = "kafka-storage";
/// The release that the versions of our APIs belong to, as `metadata.version` says it too.
const METADATA_VERSION: &str = "4.1-IV1";

/// The Kafka storage tool, for Klamm's data directory.
#[derive(Parser)]
#[command(name = NAME, infer_long_args = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Get information about the log directories on this node
    Info(Config),
    /// Format the log directories on this node
    Format(FormatArguments),
    /// Print a random UUID
    RandomUuid,
}

#[derive(clap::Args)]
struct Config {
    /// The Kafka configuration file to use
    #[arg(short, long, value_name = "CONFIG")]
    config: PathBuf,
}

#[derive(clap::Args)]
struct FormatArguments {
    #[command(flatten)]
    config: Config,
    /// The cluster ID to use
    #[arg(short = 't', long, value_name = "CLUSTER_ID")]
    cluster_id: String,
    /// Skip directories that are formatted already rather than failing
    #[arg(short = 'g', long)]
    ignore_formatted: bool,
    /// This node is the only controller, as it is without this flag
    #[arg(short, long, conflicts_with_all = ["no_initial_controllers", "initial_controllers"])]
    standalone: bool,
    /// Taken as Kafka takes it; changes nothing
    #[arg(short = 'N', long, conflicts_with = "initial_controllers")]
    no_initial_controllers: bool,
    /// id@host:port:directory of this node, the only one that there can be
    #[arg(short = 'I', long, value_name = "INITIAL_CONTROLLERS")]
    initial_controllers: Option<String>,
    #[arg(short = 'S', long, hide = true)]
    add_scram: Vec<String>,
    #[arg(short, long, hide = true)]
    release_version: Option<String>,
    #[arg(short, long, hide = true)]
    feature: Vec<String>,
}

/// Unlike Kafka's other tools this one has commands, and says what is wrong in another way.
pub(super) fn start(arguments: &[OsString]) -> ExitCode {
    let line = match Line::try_parse_from(std::iter::once(&OsString::from(NAME)).chain(arguments)) {
        Ok(line) => line,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match line.run() {
        Ok(status) => status,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

impl Line {
    fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::RandomUuid => print(&format!("{}\n", random_id()?))?,
            Command::Info(config) => return info(&config.load()?.path),
            Command::Format(arguments) => arguments.run()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Config {
    fn load(&self) -> Result<Directory> {
        Directory::of(Serve { file: Some(self.config.clone()), overrides: Vec::new() })
    }
}

impl FormatArguments {
    fn run(self) -> Result<()> {
        self.check()?;
        let directory = self.config.load()?;
        let path = directory.path.display();
        let what = match self.standalone || self.initial_controllers.is_some() {
            true => "dynamic metadata voter directory",
            false => "metadata directory",
        };
        if let Some(others) = &self.initial_controllers {
            let id = others.split('@').next().and_then(|id| id.parse::<BrokerId>().ok());
            if others.contains(',') || id != Some(directory.node_id) {
                let why = "the only controller that Klamm can have is this node";
                return Err(Failure::Other(format!("--initial-controllers {others}: {why}")));
            }
        }
        match directory.format(&self.cluster_id)? {
            Formatted::Now => print(&format!("Formatting {what} {path} with metadata.version {METADATA_VERSION}.\n")),
            Formatted::Before if self.ignore_formatted => print("All of the log directories are already formatted.\n"),
            Formatted::Before => Err(Failure::Other(format!(
                "Log directory {path} is already formatted. Use --ignore-formatted to ignore this directory and format the others."
            ))),
        }
    }

    fn check(&self) -> Result<()> {
        let refused = [
            ("--add-scram", !self.add_scram.is_empty(), "there is no authentication"),
            ("--release-version", self.release_version.is_some(), "the version of the metadata is fixed"),
            ("--feature", !self.feature.is_empty(), "the versions of features are fixed"),
        ];
        match refused.iter().find(|(_, given, _)| *given) {
            Some((flag, _, why)) => Err(Failure::Other(format!("{flag} is not served by Klamm: {why}"))),
            None => Ok(()),
        }
    }
}

fn info(path: &Path) -> Result<ExitCode> {
    let mut problem = None;
    let mut text = String::new();
    if !path.exists() {
        problem = Some(format!("{} does not exist", path.display()));
    } else if !path.is_dir() {
        problem = Some(format!("{} is not a directory", path.display()));
    } else {
        text += &format!("Found log directory:\n  {}\n\n", path.display());
        match inspect(path) {
            Ok(Some(node)) => {
                let pairs: Vec<String> = node.pairs().iter().map(|(name, value)| format!("{name}={value}")).collect();
                text += &format!("Found metadata: {{{}}}\n\n", pairs.join(", "));
            }
            Ok(None) => problem = Some(format!("{} is not formatted.", path.display())),
            Err(failure) => problem = Some(failure.to_string()),
        }
    }
    let status = if problem.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if let Some(problem) = problem {
        text += &format!("Found problem:\n  {problem}\n\n");
    }
    print(&text).map(|()| status)
}
