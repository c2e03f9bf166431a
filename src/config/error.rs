//! Why settings cannot be used.

use std::fmt;

/// Why the broker cannot start with these settings: where, what, and what to do, a line for each fault.
#[derive(Debug, PartialEq)]
pub struct ConfigError(pub(super) String);

impl ConfigError {
    pub(super) fn at(origin: &str, why: String) -> ConfigError {
        ConfigError(format!("{origin}: {why}"))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}
