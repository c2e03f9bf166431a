//! Kafka bytes <-> structs.
