//! Whose request it is that a proxy brought: the address in its header counts, if the proxy is one of ours.
//!
//! Each proxy adds the address of whoever came to it at the end of the list. So it is read from the end on, past our own proxies;
//! the first other address is the client. What stands before it was written by the client, or by proxies that are not ours.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, header};
use hubbub_node::config::kinds::Network;

/// In which header our proxies say it. Only one is read: the other would be passed on as the client wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedBy {
    /// `X-Forwarded-For`: addresses with commas.
    XForwardedFor,
    /// `Forwarded`: RFC 7239.
    Forwarded,
}

/// Which proxies are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxies {
    /// Where they are.
    pub trusted: Vec<Network>,
    /// What they write.
    pub header: ForwardedBy,
}

impl Proxies {
    /// Whether this is one of them.
    pub fn is_one(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    /// Who came through `peer`, which is one of ours: the nearest address that is known for sure.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let name = match self.header {
            ForwardedBy::XForwardedFor => "x-forwarded-for",
            ForwardedBy::Forwarded => header::FORWARDED.as_str(),
        };
        let lists: Vec<&str> = headers.get_all(name).iter().filter_map(|list| list.to_str().ok()).collect();
        let mut nearest = peer;
        for element in lists.iter().rev().flat_map(|list| list.rsplit(',')) {
            let address = match self.header {
                ForwardedBy::XForwardedFor => address(element.trim()),
                ForwardedBy::Forwarded => for_of(element).and_then(address),
            };
            match address {
                Some(address) if self.is_one(address) => nearest = address,
                Some(address) => return address,
                // Nobody can say what is before a word that is none.
                None => return nearest,
            }
        }
        nearest
    }
}

/// The node in the `for` of an element, without its quotes.
fn for_of(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, node) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| node.trim().trim_matches('"'))
    })
}

/// An address with or without a port; one of version 6 may stand in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use hubbub_node::config::kinds::{Kind, Networks};

    use super::*;

    fn client(header: ForwardedBy, lists: &[&str]) -> String {
        let trusted = Networks.parse("10.0.0.0/8, ::1").unwrap();
        let mut headers = HeaderMap::new();
        for list in lists {
            let name = if header == ForwardedBy::Forwarded { "forwarded" } else { "x-forwarded-for" };
            headers.append(name, list.parse().unwrap());
        }
        Proxies { trusted, header }.client("10.0.0.1".parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_last_address_that_is_none_of_our_proxies_is_the_client() {
        for (lists, expected) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["198.51.100.9, 192.0.2.1, 10.0.0.7"], "192.0.2.1"),
            (&["198.51.100.9", "192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1:4711, [::1]:80"], "192.0.2.1"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["192.0.2.1, unknown"], "10.0.0.1"),
            (&["192.0.2.1, "], "10.0.0.1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(client(ForwardedBy::XForwardedFor, lists), expected, "{lists:?}");
        }
        for (lists, expected) in [
            (&["for=192.0.2.1;proto=https;by=10.0.0.1"][..], "192.0.2.1"),
            (&["for=198.51.100.9, For=\"[2001:db8::1]:4711\", proto=http;for=10.1.1.1"], "2001:db8::1"),
            (&["for=192.0.2.1, for=_hidden"], "10.0.0.1"),
            (&["proto=https"], "10.0.0.1"),
        ] {
            assert_eq!(client(ForwardedBy::Forwarded, lists), expected, "{lists:?}");
        }
    }
}
