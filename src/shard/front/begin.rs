//! How requests begin that others help to answer, by API.

pub use super::fetch::begin as fetch;
pub use super::groups::begin as groups;
pub use super::partitions::delete_records::begin as delete_records;
pub use super::partitions::epoch_ends::begin as epoch_ends;
pub use super::partitions::list_offsets::begin as list_offsets;
pub use super::partitions::log_dirs::begin as log_dirs;
pub use super::partitions::producers::begin as producers;
pub use super::produce::begin as produce;
