//! The one rule about where load may go: to this machine.

use std::net::SocketAddr;

use anyhow::{Context, ensure};

/// The address in a URL of a server, which must be a loopback address written as a number (or `localhost`).
pub fn address_in(url: &str) -> anyhow::Result<SocketAddr> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let numeric = match authority.strip_prefix("localhost") {
        Some(port) => format!("127.0.0.1{port}"),
        None => authority.to_owned(),
    };
    let address: SocketAddr = numeric.parse().with_context(|| {
        format!(
            "{authority}: expected localhost:PORT or a loopback address with its port, as in 127.0.0.1:3000"
        )
    })?;
    require(address)?;
    Ok(address)
}

/// Refuses an address outside of 127.0.0.0/8 and [::1].
pub fn require(address: SocketAddr) -> anyhow::Result<()> {
    ensure!(
        address.ip().is_loopback(),
        "{address} is not a loopback address: load goes only to this machine"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::address_in;

    #[test]
    fn loopback_is_taken_however_it_is_written() {
        for url in
            ["ws://127.0.0.1:3000/v1/ws", "http://localhost:3000", "127.9.9.9:3000", "ws://[::1]:3000?x=1"]
        {
            assert!(address_in(url).is_ok_and(|address| address.port() == 3000), "{url}");
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
            assert!(address_in(url).is_err(), "{url}");
        }
    }
}
