pub mod api;
pub mod checkpoint;
pub mod node;
pub mod store;
