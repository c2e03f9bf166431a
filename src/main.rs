//! `klamm`: arguments -> configuration -> shell.

use clap::Parser;
use klamm::config::Config;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A Kafka-compatible log broker. Without arguments it listens on 127.0.0.1:9092 and keeps its data in ./klamm-data.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Settings by Kafka's names, one `key=value` a line
    file: Option<PathBuf>,
    /// A setting that wins over the file and the environment (KAFKA_LISTENERS style)
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = key_value)]
    overrides: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("not of the form KEY=VALUE")?;
    Ok((key.trim().into(), value.trim().into()))
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("KLAMM_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,glommio=warn")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match start(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("klamm: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> Result<(), String> {
    let text = match &arguments.file {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Some((path.display().to_string(), text))
        }
    };
    let file = text.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    // KLAMM_LOG is the log's own filter, not a setting of the broker.
    let environment = std::env::vars().filter(|(name, _)| name != "KLAMM_LOG");
    let loaded = Config::load(file, environment, &arguments.overrides).map_err(|error| error.to_string())?;
    if !loaded.no_effect.is_empty() {
        tracing::info!("settings without effect in this broker: {}", loaded.no_effect.join(", "));
    }
    klamm::shell::run(loaded.config)
}
