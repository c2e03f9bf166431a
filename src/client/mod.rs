//! The other side of the protocol: what every client of a broker does, as values and rules without I/O or a clock.
//!
//! The command line, `loadgen` and the simulator's members send and receive by themselves, each in its own way; which version
//! to speak, whether an answer belongs to its request and how long it may take, who leads a partition, and what an error means
//! is decided here.

#![warn(missing_docs)]

pub mod address;
pub mod ask;
pub mod assignment;
pub mod coordinator;
pub mod meaning;
pub mod member;
pub mod membership;
pub mod metadata;
pub mod offsets;
pub mod partition;
pub mod patience;
pub mod request;
pub mod version;
