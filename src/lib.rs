pub mod journal;
pub mod log;
pub mod types;
pub mod wire;
