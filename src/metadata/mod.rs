//! What the cluster is, and what should change.
//!
//! [`Controller`] decides and emits [`Record`]s; [`Image::apply`] is the only thing that changes an [`Image`], live and
//! at recovery. Records gather until the shell appends them to the metadata log (`log`) and syncs it; only then is the
//! image that contains them published to the cores.

mod controller;
mod delta;
mod image;
mod log;
mod record;
mod rejection;
mod requests;
mod rules;
mod topic;

pub use controller::{Append, Controller, RecoverError, Recovered, Snapshot};
pub use delta::Delta;
pub use image::{Image, Leader};
pub use log::{FRAME_HEADER_BYTES, Frame, HEADER_BYTES, Head, LogError, decode_frame, decode_head};
pub use record::{Broker, Listener, PartitionRange, Placement, Record, RecordError, Settings};
pub use rejection::Rejection;
pub use rules::{
    Assignment, Created, Defaults, Deleted, PartitionsSpec, PolicyCheck, SettingCheck, Terms, TopicKey, TopicSpec,
    check_assignment, check_name,
};
pub use topic::{Topic, is_internal};
