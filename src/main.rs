//! `klamm`: arguments -> configuration -> shell, or a command of the CLI.

use klamm::cli::{Asked, Serve};
use klamm::config::Config;
use std::io::IsTerminal;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let serve = match klamm::cli::run(std::env::args_os()) {
        Asked::Serve(serve) => serve,
        Asked::Done(status) => return status,
    };
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("KLAMM_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,glommio=warn")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match start(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("klamm: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Serve) -> Result<(), String> {
    let text = match &arguments.file {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                let near = klamm::cli::nearest_command(&path.to_string_lossy());
                let meant = near.map_or(String::new(), |name| format!("; did you mean the command {name}?"));
                format!("{}: {error}{meant}", path.display())
            })?;
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
