//! The coordinator of consumer groups: scenarios as text, every error of every API, and a simulator.

#[path = "group/bench.rs"]
mod bench;
#[path = "group/errors.rs"]
mod errors;
#[path = "group/limits.rs"]
mod limits;
#[path = "group/load.rs"]
mod load;
#[path = "group/scenarios.rs"]
mod scenarios;
#[path = "group/simulator.rs"]
mod simulator;
