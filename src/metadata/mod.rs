//! What the cluster is, and what should change.
//!
//! [`Controller`] decides and proposes [`Record`]s to a log ([`DecidedLog`]); [`Image::apply`] is the only thing that
//! changes an [`Image`], live and at recovery. What the log commits is applied, and only then published to the cores, with
//! what changed ([`Delta`]). Of logs there is one: that of a node that is alone ([`Alone`]), which the shell writes.

#![warn(missing_docs)]

mod alone;
mod controller;
mod decided;
mod delta;
mod image;
mod log;
mod record;
mod recover;
mod rejection;
mod requests;
mod rules;
mod snapshot;
mod topic;

pub use alone::{Alone, Write, Written};
pub use controller::{Controller, DECISION_BYTES_MAX, Outcome};
pub use decided::{Body, DecidedLog, Entry, NotLeader, Role};
pub use delta::Delta;
pub use image::{Image, Leader};
pub use log::{FRAME_HEADER_BYTES, Frame, HEADER_BYTES, Head, Kind, LogError};
pub use log::{decode_frame, decode_head, file_index, file_name};
pub use record::{Broker, Listener, PartitionRange, Placement, Record, RecordError, Settings};
pub use recover::{RecoverError, Recovered, SNAPSHOT_NAME};
pub use rejection::Rejection;
pub use rules::{
    Assignment, Created, Defaults, Deleted, PartitionsSpec, PolicyCheck, SettingCheck, Terms, TopicKey, TopicSpec,
    check_assignment, check_name,
};
pub use snapshot::Part;
pub use topic::{Topic, is_internal};
