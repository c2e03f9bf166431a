pub mod config;
pub mod flat;
pub mod journal;
pub mod log;
pub mod metadata;
pub mod shard;
pub mod types;
pub mod wire;
