//! Rust that flatc makes from the schemas in `flatbuffers/`, whose top names the command. Read it with the verifying
//! `root_as_*` functions only.

#[allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
#[rustfmt::skip]
pub mod checkpoint;
#[allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
#[rustfmt::skip]
pub mod metadata;
#[allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
#[rustfmt::skip]
pub mod types;

impl From<crate::types::Uuid> for types::Id {
    fn from(uuid: crate::types::Uuid) -> Self {
        types::Id(uuid.0)
    }
}

impl From<&types::Id> for crate::types::Uuid {
    fn from(id: &types::Id) -> Self {
        crate::types::Uuid(id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_is_made_from_the_schemas_of_today() {
        for (name, text, checksum) in [
            ("types", &include_bytes!("../../flatbuffers/types.fbs")[..], types::SCHEMA_CRC32C),
            ("metadata", &include_bytes!("../../flatbuffers/metadata.fbs")[..], metadata::SCHEMA_CRC32C),
            ("checkpoint", &include_bytes!("../../flatbuffers/checkpoint.fbs")[..], checkpoint::SCHEMA_CRC32C),
        ] {
            assert_eq!(
                crc32c::crc32c(text),
                checksum,
                "{name}.fbs has changed: run the command at the top of metadata.fbs"
            );
        }
    }
}
