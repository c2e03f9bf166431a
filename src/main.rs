//! `klamm`: arguments -> configuration -> shell, or a command of the CLI.

use klamm::cli::{Asked, Serve};
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
    let loaded = arguments.load().map_err(|error| match &arguments.file {
        Some(path) if !path.exists() => {
            let near = klamm::cli::nearest_command(&path.to_string_lossy());
            near.map_or(error.clone(), |name| format!("{error}; did you mean the command {name}?"))
        }
        _ => error,
    })?;
    if !loaded.no_effect.is_empty() {
        tracing::info!("settings without effect in this broker: {}", loaded.no_effect.join(", "));
    }
    klamm::shell::run(loaded.config)
}
