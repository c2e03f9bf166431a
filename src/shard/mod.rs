pub mod checkpoint;
pub mod store;
