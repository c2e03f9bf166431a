pub mod flat;
pub mod metadata;
pub mod types;
pub mod wire;
