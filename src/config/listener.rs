//! Listeners: `NAME://HOST:PORT`, and what protocol a name speaks.

use super::value::split_list;

/// One address that the broker serves or advertises.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// In upper case.
    pub name: String,
    /// Name or address, IPv6 without brackets. Empty: every interface; advertised, the host's own name.
    pub host: String,
    /// 0: any free port; advertised, the port that was bound.
    pub port: u16,
}

/// Addresses that say "every interface", at which no client can be told to connect.
const META_ADDRESSES: [&str; 2] = ["0.0.0.0", "::"];

/// Reads a list of listeners.
pub(super) fn parse_listeners(value: &str) -> Result<Vec<Listener>, String> {
    let mut listeners: Vec<Listener> = Vec::new();
    for text in split_list(value) {
        let listener = parse_listener(text).ok_or_else(|| format!("{text} is not NAME://HOST:PORT"))?;
        if listeners.iter().any(|other| other.name == listener.name) {
            return Err(format!("Each listener must have a different name, and {} is given twice", listener.name));
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

fn parse_listener(text: &str) -> Option<Listener> {
    let (name, address) = text.split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']')?,
        None => host,
    };
    let name_is_good = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let host_is_good = host.chars().all(|c| c.is_ascii_alphanumeric() || "-%._:".contains(c));
    let listener = Listener { name: name.to_ascii_uppercase(), host: host.to_string(), port: port.parse().ok()? };
    (name_is_good && host_is_good).then_some(listener)
}

/// Two listeners cannot bind one port of one host.
pub(super) fn check_ports(listeners: &[Listener]) -> Result<(), String> {
    for (i, listener) in listeners.iter().enumerate().filter(|(_, listener)| listener.port != 0) {
        let same = |other: &&Listener| other.port == listener.port && other.host == listener.host;
        if let Some(other) = listeners[..i].iter().find(same) {
            let (a, b) = (&other.name, &listener.name);
            return Err(format!("Each listener must have a different port, and {a} and {b} have the same"));
        }
    }
    Ok(())
}

/// Checks that each listener's name maps to PLAINTEXT, the one protocol of this build.
pub(super) fn check_protocols(listeners: &[Listener], map: &str) -> Result<(), String> {
    for listener in listeners {
        let name = &listener.name;
        let entry = split_list(map).into_iter().find_map(|entry| {
            let (key, protocol) = entry.split_once(':')?;
            key.trim().eq_ignore_ascii_case(name).then(|| protocol.trim().to_ascii_uppercase())
        });
        match entry.as_deref() {
            Some("PLAINTEXT") => {}
            Some(protocol) => {
                return Err(format!(
                    "listener {name} asks for {protocol}, and this build serves PLAINTEXT only; use PLAINTEXT on a \
                     trusted network, or put a TLS proxy in front"
                ));
            }
            None => {
                return Err(format!(
                    "No security protocol defined for listener {name}; add {name}:PLAINTEXT to \
                     listener.security.protocol.map"
                ));
            }
        }
    }
    Ok(())
}

/// Checks that clients can use what they are told: known names, addresses that can be reached.
pub(super) fn check_advertised(advertised: &[Listener], listeners: &[Listener]) -> Result<(), String> {
    for listener in advertised {
        if !listeners.iter().any(|other| other.name == listener.name) {
            return Err(format!("advertised listener {} is not among `listeners`", listener.name));
        }
        if META_ADDRESSES.contains(&listener.host.as_str()) {
            return Err(format!(
                "advertised.listeners cannot use the nonroutable meta-address {}; set advertised.listeners to the name \
                 or address by which clients reach this host",
                listener.host
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Listener {
        parse_listeners(text).expect(text).remove(0)
    }

    #[test]
    fn listeners_are_read() {
        let listener = |name: &str, host: &str, port| Listener { name: name.into(), host: host.into(), port };
        assert_eq!(one("PLAINTEXT://127.0.0.1:9092"), listener("PLAINTEXT", "127.0.0.1", 9092));
        assert_eq!(one("internal://:0"), listener("INTERNAL", "", 0));
        assert_eq!(one("PLAINTEXT://[::1]:9092"), listener("PLAINTEXT", "::1", 9092));
        assert_eq!(parse_listeners("A://a:1, B://b:2").expect("two").len(), 2);
        for wrong in [
            "localhost:9092",
            "A://a",
            "A://a:65536",
            "A://a:-1",
            "A://[::1:1",
            "://a:1",
            "A://a b:1",
            "A://a:1,A://b:2",
        ] {
            assert!(parse_listeners(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_plaintext_is_served() {
        let map = "PLAINTEXT:PLAINTEXT, OUT:SSL,IN:plaintext";
        assert_eq!(check_protocols(&[one("PLAINTEXT://:1"), one("in://:2")], map), Ok(()));
        assert!(check_protocols(&[one("OUT://:1")], map).expect_err("TLS").contains("SSL"));
        assert!(check_protocols(&[one("NEW://:1")], map).expect_err("unmapped").contains("NEW:PLAINTEXT"));
    }

    #[test]
    fn ports_and_advertised_addresses_are_checked() {
        assert!(check_ports(&[one("A://h:1"), one("B://h:1")]).is_err());
        assert_eq!(check_ports(&[one("A://h:0"), one("B://h:0"), one("C://h:1"), one("D://g:1")]), Ok(()));
        assert!(check_advertised(&[one("A://0.0.0.0:1")], &[one("A://0.0.0.0:1")]).is_err());
        assert!(check_advertised(&[one("B://h:1")], &[one("A://h:1")]).is_err());
        assert_eq!(check_advertised(&[one("A://h:1")], &[one("A://0.0.0.0:1")]), Ok(()));
    }
}
