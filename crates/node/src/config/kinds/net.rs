//! Places on the network: ports, addresses, hosts, origins.

use std::net::IpAddr;

use super::Kind;

/// A TCP port; 0 lets the system choose.
pub struct Port;

impl Kind for Port {
    type Value = u16;

    fn parse(&self, text: &str) -> Option<u16> {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
    }
    fn allowed(&self) -> String {
        "a port number from 0 to 65535; 0 lets the system choose".into()
    }
    fn placeholder(&self) -> &'static str {
        "PORT"
    }
}

/// An IP address: `127.0.0.1`, `::1`, `[::1]`.
pub struct IpAddress;

impl Kind for IpAddress {
    type Value = IpAddr;

    fn parse(&self, text: &str) -> Option<IpAddr> {
        match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => inner.parse().ok().map(IpAddr::V6),
            None => text.parse().ok(),
        }
    }
    fn allowed(&self) -> String {
        "an IP address, such as 127.0.0.1, 0.0.0.0 or ::1".into()
    }
    fn placeholder(&self) -> &'static str {
        "ADDRESS"
    }
}

/// A network: all addresses that begin alike. One address is a network, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    begin: IpAddr,
    /// How many bits of it count.
    bits: u32,
}

impl Network {
    /// Whether an address is in it. One of version 4 that is written as version 6 is the same.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.begin, address.to_canonical()) {
            (IpAddr::V4(begin), IpAddr::V4(address)) => {
                (begin.to_bits() ^ address.to_bits()).leading_zeros() >= self.bits
            }
            (IpAddr::V6(begin), IpAddr::V6(address)) => {
                (begin.to_bits() ^ address.to_bits()).leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

/// Networks with commas between them: `10.0.0.0/8`, `192.0.2.1`, `::1`; empty for none.
pub struct Networks;

impl Kind for Networks {
    type Value = Vec<Network>;

    fn parse(&self, text: &str) -> Option<Vec<Network>> {
        let network = |text: &str| {
            let (address, bits) = text.split_once('/').unwrap_or((text, ""));
            let begin = IpAddress.parse(address)?.to_canonical();
            let bits_max = if begin.is_ipv4() { 32 } else { 128 };
            let bits = if text.contains('/') { bits.parse().ok()? } else { bits_max };
            (bits <= bits_max).then_some(Network { begin, bits })
        };
        if text.trim().is_empty() {
            return Some(Vec::new());
        }
        text.split(',').map(|text| network(text.trim())).collect()
    }
    fn allowed(&self) -> String {
        "addresses or networks with commas between them, such as 127.0.0.1,10.0.0.0/8,::1".into()
    }
    fn placeholder(&self) -> &'static str {
        "NETWORKS"
    }
}

/// An IP address or a host name, kept as it was written.
pub struct Host;

impl Kind for Host {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        (IpAddress.parse(text).is_some() || is_host_name(text)).then(|| text.into())
    }
    fn allowed(&self) -> String {
        "an IP address or a host name".into()
    }
    fn placeholder(&self) -> &'static str {
        "HOST"
    }
}

/// A name by RFC 1123. One of digits and dots alone is a mistyped IPv4 address, not a name.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253
        && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label)
        && !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// `host` or `host:port`, the host in brackets if it is an IPv6 address.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let host_is_right = match host.starts_with('[') {
        true => IpAddress.parse(host).is_some(),
        false => !host.contains(':') && Host.parse(host).is_some(),
    };
    host_is_right && port.is_none_or(|port| Port.parse(port).is_some_and(|port| port != 0))
}

/// Hosts with commas between them, each with or without a port, and with or without this scheme before it.
pub struct Hosts(pub &'static str);

impl Kind for Hosts {
    type Value = Vec<String>;

    fn parse(&self, text: &str) -> Option<Vec<String>> {
        let host = |host: &str| {
            let host = host.trim();
            let host = host.strip_prefix(self.0).and_then(|rest| rest.strip_prefix("://")).unwrap_or(host);
            is_authority(host).then(|| host.to_owned())
        };
        text.split(',').map(host).collect()
    }
    fn allowed(&self) -> String {
        format!(
            "hosts with commas between them, such as a.example.org:1234,b.example.org or {}://127.0.0.1:1234",
            self.0
        )
    }
    fn placeholder(&self) -> &'static str {
        "HOSTS"
    }
}

/// An `http` or `https` address without a query, kept without a slash at its end.
pub struct Url;

impl Kind for Url {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        let authority = rest.split('/').next()?;
        let is_plain = !text.contains(|c: char| c.is_whitespace() || c.is_control() || "?#@\\".contains(c));
        (is_plain && is_authority(authority)).then(|| text.trim_end_matches('/').into())
    }
    fn allowed(&self) -> String {
        "an address such as https://accounts.example.org, without query or password".into()
    }
    fn placeholder(&self) -> &'static str {
        "URL"
    }
}

/// An `http` or `https` address as it is, perhaps with a query.
pub struct UrlWithQuery;

impl Kind for UrlWithQuery {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        let address = text.split('?').next()?;
        let is_plain = !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#');
        (is_plain && Url.parse(address).is_some()).then(|| text.into())
    }
    fn allowed(&self) -> String {
        "an address such as https://accounts.example.org/keys, without password".into()
    }
    fn placeholder(&self) -> &'static str {
        "URL"
    }
}

/// A web origin in lower case, as a browser sends it: `https://chat.example.org`, `http://localhost:8080`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin(String);

impl Origin {
    /// Takes the text if it is the origin of an http or https page: no path, no default port.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://")?;
        let default_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => return None,
        };
        (is_authority(authority) && !authority.ends_with(default_port)).then(|| Self(text.clone()))
    }

    /// The origin.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Origins with commas between them; `*` is any, empty is none beside our own.
pub struct Origins;

/// Which pages of other origins may use this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// All.
    Any,
    /// These.
    Listed(Vec<Origin>),
}

impl Kind for Origins {
    type Value = AllowedOrigins;

    fn parse(&self, text: &str) -> Option<AllowedOrigins> {
        match text.trim() {
            "*" => Some(AllowedOrigins::Any),
            "" => Some(AllowedOrigins::Listed(Vec::new())),
            list => list
                .split(',')
                .map(|item| Origin::parse(item.trim()))
                .collect::<Option<_>>()
                .map(AllowedOrigins::Listed),
        }
    }
    fn allowed(&self) -> String {
        "* or a list, with commas, of origins as browsers send them, such as https://chat.example.org (no path, no default port)".into()
    }
    fn placeholder(&self) -> &'static str {
        "ORIGINS"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_a_host_is_told_from_a_typing_error() {
        for good in ["127.0.0.1", "::1", "[::1]", "localhost", "nats-0.nats.svc.cluster.local", "my_db"] {
            assert!(Host.parse(good).is_some(), "{good}");
        }
        for bad in ["", "127.0.0", "256.0.0.1", "a b", "http://a", "a:80", "-a", "a..b", "[::1"] {
            assert!(Host.parse(bad).is_none(), "{bad:?}");
        }
        assert!(IpAddress.parse("localhost").is_none());
        assert!(Port.parse("65536").is_none() && Port.parse("+1").is_none() && Port.parse("").is_none());
    }

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for good in ["https://chat.example.org", "http://localhost:8080", "https://[::1]:8443", "HTTPS://A"] {
            assert!(Origin::parse(good).is_some(), "{good}");
        }
        for bad in ["chat.example.org", "https://a/", "https://a:443", "ftp://a", "null", "https://u@a"] {
            assert!(Origin::parse(bad).is_none(), "{bad}");
        }
        let listed = Origins.parse("https://a, https://B").unwrap();
        assert_eq!(
            listed,
            AllowedOrigins::Listed(vec![Origin("https://a".into()), Origin("https://b".into())])
        );
        assert_eq!(Origins.parse("*"), Some(AllowedOrigins::Any));
        assert_eq!(Origins.parse("https://a,,"), None);
    }

    #[test]
    fn a_url_is_kept_without_its_last_slash() {
        assert_eq!(Url.parse("https://a.b:8443/x/").as_deref(), Some("https://a.b:8443/x"));
        for bad in ["a.b", "https://", "https:///x", "https://u:p@a", "https://a?b", "ftp://a", "https://a b"]
        {
            assert_eq!(Url.parse(bad), None, "{bad}");
        }
        assert_eq!(UrlWithQuery.parse("https://a/k/?p=@x").as_deref(), Some("https://a/k/?p=@x"));
        for bad in ["a?b", "https://u:p@a?b", "https://a?b#c", "https://a?b c"] {
            assert_eq!(UrlWithQuery.parse(bad), None, "{bad}");
        }
    }
}
