//! How a broker is reached, and what its queues are called.

use hubbub_core::ports::accounts::Secret;
use lapin::uri::{AMQPAuthority, AMQPScheme, AMQPUri, AMQPUserInfo};

/// How long a connection may be silent before it counts as lost is twice this, in seconds.
const HEARTBEAT_S: u16 = 5;
/// How long connecting may take, in milliseconds.
const CONNECT_MS: u64 = 5_000;
/// The longest name of a vhost, in bytes: AMQP's bound of short texts.
const VHOST_MAX: usize = 255;

/// How a broker is reached, and what its queues are called.
#[derive(Clone)]
pub struct AmqpOptions {
    pub(super) uri: AMQPUri,
    /// From the chat to the bots.
    pub commands_queue: String,
    /// From the bots to the chat.
    pub answers_queue: String,
    /// Certificates to trust beside the machine's, PEM.
    pub ca: Option<String>,
    /// What the broker shows the connections as.
    pub name: String,
}

/// An address that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("it must be amqp://user:password@host:port/vhost, or amqps")]
pub struct BadAmqpUrl;

impl AmqpOptions {
    /// By one address: `amqp://user:password@host:port/vhost`, or `amqps`. In a vhost `/` is written `%2f`.
    ///
    /// # Errors
    /// When it is none. The error does not repeat the address, which has a password in it.
    pub fn by_url(url: &Secret) -> Result<Self, BadAmqpUrl> {
        // What the parser says of it may repeat it.
        let uri: AMQPUri = url.reveal().parse().map_err(|_| BadAmqpUrl)?;
        if uri.vhost.len() > VHOST_MAX {
            return Err(BadAmqpUrl);
        }
        Ok(Self::at(uri))
    }

    /// By its parts, in the vhost `/`.
    pub fn by_parts(tls: bool, host: String, port: u16, username: String, password: &Secret) -> Self {
        let userinfo = AMQPUserInfo { username, password: password.reveal().to_owned() };
        Self::at(AMQPUri {
            scheme: if tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
            authority: AMQPAuthority { userinfo, host, port },
            vhost: "/".into(),
            query: lapin::uri::AMQPQueryString::default(),
        })
    }

    fn at(mut uri: AMQPUri) -> Self {
        uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
        uri.query.connection_timeout.get_or_insert(CONNECT_MS);
        Self {
            uri,
            commands_queue: "bot-jobsity-bot".into(),
            answers_queue: "bot-jobsity-chat".into(),
            ca: None,
            name: "hubbub".into(),
        }
    }

    /// Whether it is reached by TLS.
    pub fn is_tls(&self) -> bool {
        self.uri.scheme == AMQPScheme::AMQPS
    }

    /// Where it is, without what is secret.
    pub fn place(&self) -> String {
        format!("{}://{}:{}", self.uri.scheme, self.uri.authority.host, self.uri.authority.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_and_its_password_is_not_shown() {
        let options =
            AmqpOptions::by_url(&Secret::new("amqps://ann:pass@broker:5671/%2fchat".into())).unwrap();
        assert_eq!(options.uri.vhost, "/chat");
        assert_eq!(options.place(), "amqps://broker:5671");
        for bad in ["http://ann:hunter2@broker", "amqp://ann:hunter2@[broker", "ann:hunter2@broker"] {
            let bad = AmqpOptions::by_url(&Secret::new(bad.into())).err().unwrap();
            assert!(!bad.to_string().contains("hunter2"), "{bad}");
        }
    }
}
