//! Addresses of brokers, as people type them.

/// Kafka's port, where an address has none.
pub const PORT_DEFAULT: u16 = 9092;

/// Names brokers where no option does.
pub const BOOTSTRAP_VARIABLE: &str = "KLAMM_BOOTSTRAP_SERVER";
const BOOTSTRAP_DEFAULT: &str = "127.0.0.1:9092";

/// The brokers to begin with: those of the option, else those that the variable names, else the one of this machine. A
/// variable that is empty names none.
pub fn bootstrap(given: &[String], variable: Option<&str>) -> Vec<String> {
    match variable.filter(|names| !names.trim().is_empty()) {
        _ if !given.is_empty() => given.to_vec(),
        Some(names) => names.split(',').map(str::to_string).collect(),
        None => vec![BOOTSTRAP_DEFAULT.to_string()],
    }
}

/// `HOST:PORT` from `HOST:PORT`, `HOST`, `[ADDRESS]:PORT` or `PROTOCOL://HOST:PORT`. The error says what is wrong.
pub fn with_port(address: &str) -> Result<String, String> {
    let plain = address.split_once("://").map_or(address, |(_, rest)| rest).trim();
    let has_port = plain.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
    let whole = if has_port { plain.to_string() } else { format!("{plain}:{PORT_DEFAULT}") };
    let (host, port) = whole.rsplit_once(':').unwrap_or_default();
    let is_number = !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit());
    match port.parse::<u16>() {
        _ if host.is_empty() || !is_number => Err(format!("{address:?} is no address: HOST:PORT is")),
        Ok(1..) => Ok(whole),
        _ => Err(format!("{address:?}: port {port} is out of range: ports are 1 to 65535")),
    }
}

/// `HOST:PORT` of a host as brokers name it, which may be an address of IPv6.
pub fn host_port(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_comes_before_the_variable_and_an_empty_one_is_none() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(bootstrap(&names(&["a"]), Some("b")), names(&["a"]));
        assert_eq!(bootstrap(&[], Some("b,c:1")), names(&["b", "c:1"]));
        for none in [None, Some(""), Some(" ")] {
            assert_eq!(bootstrap(&[], none), names(&["127.0.0.1:9092"]), "{none:?}");
        }
    }

    #[test]
    fn hosts_of_any_kind_are_written() {
        assert_eq!((host_port("a", 1), host_port("::1", 1)), ("a:1".to_string(), "[::1]:1".to_string()));
    }

    #[test]
    fn addresses_have_a_port() {
        assert_eq!(with_port("a:1").as_deref(), Ok("a:1"));
        assert_eq!(with_port("a").as_deref(), Ok("a:9092"));
        assert_eq!(with_port("PLAINTEXT://a:1").as_deref(), Ok("a:1"));
        assert_eq!(with_port("[::1]:5").as_deref(), Ok("[::1]:5"));
        assert_eq!(with_port("[::1]").as_deref(), Ok("[::1]:9092"));
        for wrong in ["", "a:", "a:x", "a:-1", ":1"] {
            assert!(with_port(wrong).unwrap_err().contains("is no address"), "{wrong}");
        }
        for port in ["0", "65536", "99999999999"] {
            let told = with_port(&format!("a:{port}")).unwrap_err();
            assert_eq!(told, format!("\"a:{port}\": port {port} is out of range: ports are 1 to 65535"));
        }
    }
}
