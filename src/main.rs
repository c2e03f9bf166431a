//! `klamm`: arguments -> configuration -> shell, or a command of the CLI.

use klamm::cli::{Asked, Serve};
use std::io::Write;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let serve = match klamm::cli::run(std::env::args_os()) {
        Asked::Serve(serve) => serve,
        Asked::Done(status) => return status,
    };
    klamm::shell::log_to_standard_error(std::env::var("KLAMM_LOG").ok().as_deref());
    match start(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A standard error that is closed does not keep the program from ending as it should.
            let _ = writeln!(std::io::stderr(), "klamm: {error}");
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
    if !loaded.unknown.is_empty() {
        tracing::warn!("no settings of this broker, and passed over: {}", loaded.unknown.join(", "));
    }
    if !loaded.relied_on.is_empty() {
        tracing::warn!("settings that people rely on, without effect in this broker: {}", loaded.relied_on.join(", "));
    }
    if !loaded.no_effect.is_empty() {
        tracing::info!("settings without effect in this broker: {}", loaded.no_effect.join(", "));
    }
    klamm::shell::run(loaded.config)
}
