//! The one rule about where load may go: to this machine, unless its owner says that another one is theirs too.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, bail, ensure};

/// A server as a URL names it.
#[derive(Debug)]
pub struct Place {
    /// Whether TLS is spoken there.
    pub tls: bool,
    /// Its name or address, with the port, as its certificate is asked for.
    pub authority: String,
    /// Its address.
    pub address: SocketAddr,
}

/// The server in a URL. Only one at a loopback address, unless whoever asks says that the target is theirs.
pub fn place_in(url: &str, owned: bool) -> anyhow::Result<Place> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let tls = match scheme {
        "" | "ws" | "http" => false,
        "wss" | "https" => true,
        _ => bail!("{scheme}: expected ws://HOST:PORT, or wss:// for TLS"),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let expected = || format!("{authority}: expected HOST:PORT, as in 127.0.0.1:3000");
    let numeric = match authority.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => authority.to_owned(),
    };
    let address = match numeric.parse::<SocketAddr>() {
        Ok(address) if owned => address,
        Ok(address) => require(address).map(|()| address)?,
        // A name is looked up only if it may be anywhere.
        Err(_) if owned => {
            authority.to_socket_addrs().with_context(expected)?.next().with_context(expected)?
        }
        Err(error) => {
            let refused =
                || format!("{}, and no name of another machine without --i-own-this-target", expected());
            return Err(error).with_context(refused);
        }
    };
    // What was checked is what is connected to; a certificate is of the name.
    let authority = if tls { authority.to_owned() } else { numeric };
    Ok(Place { tls, authority, address })
}

/// The address of a server that load goes to.
pub fn address_in(url: &str, owned: bool) -> anyhow::Result<SocketAddr> {
    let Place { tls, address, .. } = place_in(url, owned)?;
    ensure!(!tls, "the load generator speaks no TLS (verify does); ws://HOST:PORT");
    Ok(address)
}

/// Refuses an address outside of 127.0.0.0/8 and [::1].
pub fn require(address: SocketAddr) -> anyhow::Result<()> {
    ensure!(
        address.ip().is_loopback(),
        "{address} is not a loopback address: load goes only to this machine, unless --i-own-this-target says that the \
         other one is yours"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{address_in, place_in};

    #[test]
    fn loopback_is_taken_however_it_is_written() {
        for url in
            ["ws://127.0.0.1:3000/v1/ws", "http://localhost:3000", "127.9.9.9:3000", "ws://[::1]:3000?x=1"]
        {
            assert!(address_in(url, false).is_ok_and(|address| address.port() == 3000), "{url}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for url in [
            "ws://10.0.0.1:80",
            "http://chat.example:80",
            "0.0.0.0:3000",
            "ws://127.0.0.1",
            "localhost.evil:1",
            "",
        ] {
            assert!(address_in(url, false).is_err(), "{url}");
        }
    }

    #[test]
    fn another_machine_is_taken_from_its_owner_alone() {
        // A documentation address, to which nothing is sent here.
        let other = "ws://192.0.2.1:3000";
        assert!(
            address_in(other, false).is_err_and(|error| error.to_string().contains("--i-own-this-target"))
        );
        assert_eq!(address_in(other, true).expect("an address").to_string(), "192.0.2.1:3000");
        for url in ["wss://127.0.0.1:3000", "192.0.2.1", ""] {
            assert!(address_in(url, true).is_err(), "{url}");
        }
    }

    #[test]
    fn tls_is_asked_for_by_the_scheme_and_of_the_name() {
        let place = place_in("wss://localhost:3443/v1/ws", false).expect("a place");
        assert_eq!((place.tls, place.authority.as_str()), (true, "localhost:3443"));
        assert!(place.address.ip().is_loopback());
        let plain = place_in("ws://localhost:3443", false).expect("a place");
        assert!(!plain.tls && plain.authority == "127.0.0.1:3443", "{plain:?}");
        for url in ["wss://192.0.2.1:443", "ftp://127.0.0.1:21"] {
            assert!(place_in(url, false).is_err(), "{url}");
        }
    }
}
