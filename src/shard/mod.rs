pub mod admin;
pub mod api;
pub mod checkpoint;
pub mod node;
pub mod query;
pub mod store;
