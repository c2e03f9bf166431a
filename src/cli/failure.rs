//! Why a command does not do what it was asked, and the exit status that says so.

use super::codes::{code_name, explained};
use crate::client::version::NoCommonVersion;
use crate::wire::error::ErrorCode;
use std::fmt;
use std::io;
use std::process::ExitCode;

/// Exit status where the command line itself is at fault.
pub const USAGE_STATUS: u8 = 2;

#[derive(Debug)]
pub enum Failure {
    /// What was typed cannot be meant so.
    Usage(String),
    /// No address of the list could be connected to; each with its reason.
    Unreachable(Vec<(String, io::Error)>),
    /// A connection that was made ended or stalled, or what answers is not a broker.
    Lost { address: String, error: io::Error },
    /// No common version of an API.
    Unsupported { address: String, why: NoCommonVersion },
    /// What was asked for, and the broker's answer to it.
    Refused { what: String, code: i16, message: Option<String> },
    /// A file of this machine that cannot be read or written.
    File { path: String, error: io::Error },
    /// Anything else, said in full.
    Other(String),
}

pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// `Ok` for code 0, else what the broker refused and why.
    pub fn check(what: impl fmt::Display, code: i16, message: Option<&str>) -> Result<()> {
        match code {
            0 => Ok(()),
            _ => Err(Failure::Refused { what: what.to_string(), code, message: message.map(str::to_string) }),
        }
    }

    /// What the broker refused without a word.
    pub fn refused(what: impl fmt::Display, code: i16) -> Failure {
        Failure::Refused { what: what.to_string(), code, message: None }
    }

    /// The broker's error, if it is one that Kafka has a name for.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Failure::Refused { code, .. } => ErrorCode::from_code(*code),
            _ => None,
        }
    }

    /// Both, one after the other.
    pub fn and(self, other: Failure) -> Failure {
        Failure::Other(format!("{self}\nklamm: {other}"))
    }

    pub fn status(&self) -> ExitCode {
        match self {
            Failure::Usage(_) => ExitCode::from(USAGE_STATUS),
            _ => ExitCode::FAILURE,
        }
    }

    /// Prints it as `klamm` does, with the exit status.
    pub fn report(&self) -> ExitCode {
        eprintln!("klamm: {self}");
        self.status()
    }
}

/// An error of the system without its number.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(text) | Failure::Other(text) => f.write_str(text),
            Failure::Unreachable(tried) => {
                for (i, (address, error)) in tried.iter().enumerate() {
                    let between = if i == 0 { "" } else { "; " };
                    write!(f, "{between}cannot reach {address}: {}", reason(error))?;
                }
                Ok(())
            }
            Failure::Lost { address, error } => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => write!(f, "{address} does not answer in time"),
                io::ErrorKind::UnexpectedEof => write!(f, "{address} has closed the connection"),
                _ => write!(f, "{address}: {}", reason(error)),
            },
            Failure::Unsupported { address, why } => write!(f, "{address} {why}"),
            Failure::Refused { what, code, message } => {
                write!(f, "{what}: {}", code_name(*code))?;
                let said = message.as_deref().filter(|message| !message.is_empty());
                match said.map(str::to_string).or_else(|| explained(*code)) {
                    Some(words) => write!(f, ": {words}"),
                    None => Ok(()),
                }
            }
            Failure::File { path, error } => write!(f, "{path}: {}", reason(error)),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_what_and_why() {
        let refused = || io::Error::from_raw_os_error(111);
        let both = Failure::Unreachable(vec![("a:1".into(), refused()), ("b:2".into(), refused())]);
        assert_eq!(both.to_string(), "cannot reach a:1: Connection refused; cannot reach b:2: Connection refused");
        let told = Failure::check("topic t", 17, Some("no such name")).unwrap_err();
        assert_eq!(told.to_string(), "topic t: INVALID_TOPIC_EXCEPTION: no such name");
        assert_eq!(told.code(), Some(ErrorCode::InvalidTopicException));
        assert_eq!(Failure::check("x", 999, None).unwrap_err().to_string(), "x: ERROR_999");
        for silent in [None, Some("")] {
            let told = Failure::check("topic t", 3, silent).unwrap_err().to_string();
            assert_eq!(told, "topic t: UNKNOWN_TOPIC_OR_PARTITION: there is no such topic or partition");
        }
        assert!(Failure::check("x", 0, None).is_ok());
    }
}
