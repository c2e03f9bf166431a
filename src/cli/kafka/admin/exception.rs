//! Failures in the words of Kafka's Java client, which scripts look for in its tools' output.

use crate::cli::codes::{code_name, default_message, exception};
use crate::cli::failure::Failure;
use crate::wire::error::ErrorCode;

/// `getMessage()` of the exception.
pub fn message(failure: &Failure) -> String {
    match failure {
        Failure::Refused { code, message, .. } => match message {
            Some(message) => message.clone(),
            None => ErrorCode::from_code(*code).map_or_else(|| code_name(*code), default_message),
        },
        other => other.to_string(),
    }
}

/// The exception's full class.
pub fn class(failure: &Failure) -> String {
    let name = match failure {
        Failure::Refused { code, .. } => exception(*code).map_or("UnknownServer", |(name, _)| name),
        Failure::Unreachable(_) => "Timeout",
        Failure::Lost { .. } => "Disconnect",
        Failure::Unsupported { .. } => "UnsupportedVersion",
        Failure::Usage(_) => return "java.lang.IllegalArgumentException".into(),
        Failure::File { .. } => return "java.io.IOException".into(),
        Failure::Other(_) => return "java.lang.RuntimeException".into(),
    };
    format!("org.apache.kafka.common.errors.{name}Exception")
}

/// `toString()` of the exception.
pub fn text(failure: &Failure) -> String {
    format!("{}: {}", class(failure), message(failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_put_as_java_does() {
        let refused = |code, message: Option<&str>| Failure::check("x", code, message).unwrap_err();
        assert_eq!(message(&refused(36, Some("Topic 't' already exists."))), "Topic 't' already exists.");
        assert_eq!(
            text(&refused(68, None)),
            "org.apache.kafka.common.errors.GroupNotEmptyException: The group is not empty."
        );
        assert_eq!(class(&refused(999, None)), "org.apache.kafka.common.errors.UnknownServerException");
        assert_eq!(class(&Failure::Usage("x".into())), "java.lang.IllegalArgumentException");
    }
}
