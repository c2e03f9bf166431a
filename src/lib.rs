#![doc = include_str!("ARCHITECTURE.md")]

#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
pub mod config;
pub mod flat;
pub mod group;
pub mod journal;
pub mod log;
pub mod metadata;
pub mod shard;
#[cfg(feature = "shell")]
pub mod shell;
pub mod types;
pub mod wire;
