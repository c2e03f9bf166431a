//! The real program: started, stopped, killed, misused and loaded.

mod admin;
mod batches;
mod client;
mod compose;
mod compressed;
mod damage;
mod deletion;
mod fetch;
mod full;
mod fuzz;
mod fuzz_composed;
mod fuzz_stored;
mod fuzz_values;
mod groups;
mod host;
mod input;
mod kill;
mod limits;
mod load;
mod member;
mod memory;
mod outcomes;
mod process;
mod produce;
mod retention;
#[path = "../wire/sample.rs"]
#[allow(dead_code)]
mod sample;
mod start;
mod strings;
mod subject;
mod topics;
