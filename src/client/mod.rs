//! The other side of the protocol: what every client of a broker does, as values and rules without I/O or a clock.
//!
//! The command line, `loadgen` and the simulator's members send and receive by themselves, each in its own way; which version
//! to speak, whether an answer belongs to its request, where a partition goes and what an error means to a member of a group
//! is decided here.

#![warn(missing_docs)]

pub mod address;
pub mod assignment;
pub mod membership;
pub mod request;
pub mod version;
