//! Kafka bytes <-> structs.
//!
//! The room knows the encoding of every message that the broker speaks, the frame around them, the error codes, and the
//! header of a record batch. It does not know what any of them means: no topic, no connection, no version that is advertised.
//! It allocates in proportion to the bytes that arrived, panics on no input, and copies no records.
//!
//! Adding a message is adding its block to `messages.txt`.

#![warn(missing_docs)]

pub mod batch;
pub mod codec;
pub mod compression;
pub mod crc;
pub mod error;
pub mod frame;
pub mod messages;
