//! Whose accounts count: our own, or those of another service. The all-in-one and the gateways of a cluster choose here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hubbub_adapters::accounts::{
    AuthServer, AuthServerOptions, BadOption, BuiltIn, BuiltInOptions, HttpOptions, JwksOptions, Jwt,
    JwtKeys, JwtOptions,
};
use hubbub_core::ports::accounts::{AccountStore, Accounts, AccountsError, Secret};

use crate::process::WrongSettings;
use crate::settings::read;

/// What a process was told of accounts.
pub struct Told {
    /// Of our own.
    pub built_in: BuiltInOptions,
    /// The service to ask.
    pub auth_server: Option<String>,
    /// For how long its word counts.
    pub auth_server_cache: Duration,
    /// Where a set of keys is.
    pub jwks_url: Option<String>,
    /// The file of a public key.
    pub jwt_key_file: Option<PathBuf>,
    /// A secret that the other service signs with.
    pub jwt_secret: Option<Secret>,
    /// Who must have made a token that is checked by key.
    pub jwt_issuer: Option<String>,
    /// For whom it must be.
    pub jwt_audience: Option<String>,
    /// How long a call may take.
    pub timeout: Duration,
    /// Certificates to trust besides the machine's.
    pub ca: Option<PathBuf>,
}

/// Whose accounts count.
pub enum Whose {
    /// Ours, once there is a store to keep them in.
    Ours(BuiltInOptions),
    /// Another service's.
    Others(Arc<dyn Accounts>),
}

/// How a token of another service is checked.
enum Way {
    Asked(String),
    KeySet(String),
    KeyFile(PathBuf),
    Secret(Secret),
}

impl Told {
    /// Nothing is called yet; files are read.
    ///
    /// # Errors
    /// More than one way to check a token; a key, an address or a file that can't be used.
    pub fn choose(mut self) -> Result<Whose, WrongSettings> {
        let mut ways = Vec::new();
        ways.extend(self.auth_server.take().map(|url| ("--auth-server (AUTH_SERVER)", Way::Asked(url))));
        ways.extend(self.jwks_url.take().map(|url| ("--jwks-url (JWKS_URL)", Way::KeySet(url))));
        ways.extend(
            self.jwt_key_file.take().map(|path| ("--jwt-key-file (JWT_KEY_FILE)", Way::KeyFile(path))),
        );
        ways.extend(self.jwt_secret.take().map(|secret| ("--jwt-secret (JWT_SECRET)", Way::Secret(secret))));
        if ways.len() > 1 {
            let names: Vec<_> = ways.iter().map(|(name, _)| *name).collect();
            return Err(WrongSettings(format!(
                "a token can be checked in one way only: keep one of {}",
                names.join(" and "),
            )));
        }
        let way = ways.pop();
        if let (None | Some((_, Way::Asked(_))), Some(setting)) = (&way, self.of_keys_only()) {
            // Not left aside: whoever set it counts on its being checked.
            return Err(WrongSettings(format!(
                "{setting} is for tokens that are checked by key: set --jwks-url, --jwt-key-file or --jwt-secret \
                 and no --auth-server, or remove it",
            )));
        }
        match way {
            None => Ok(Whose::Ours(self.built_in)),
            Some((name, way)) => {
                let accounts = self.by(way)?;
                tracing::info!(by = name, "accounts are of another service");
                Ok(Whose::Others(accounts))
            }
        }
    }

    /// What is set that means nothing unless tokens are checked by key.
    fn of_keys_only(&self) -> Option<&'static str> {
        let issuer = self.jwt_issuer.as_ref().map(|_| "--jwt-issuer (JWT_ISSUER)");
        issuer.or(self.jwt_audience.as_ref().map(|_| "--jwt-audience (JWT_AUDIENCE)"))
    }

    fn by(self, way: Way) -> Result<Arc<dyn Accounts>, WrongSettings> {
        let keys = match way {
            Way::Asked(url) => {
                let options = AuthServerOptions {
                    http: self.http()?,
                    valid_ttl: self.auth_server_cache,
                    session_max: self.built_in.token_ttl,
                    ..AuthServerOptions::default()
                };
                return Ok(Arc::new(AuthServer::new(&url, options)?));
            }
            Way::KeySet(url) => JwtKeys::Jwks(url),
            Way::KeyFile(path) => JwtKeys::PublicKeyPem(read("JWT_KEY_FILE", &path)?),
            Way::Secret(secret) => JwtKeys::Secret(secret),
        };
        let jwks = JwksOptions { http: self.http()?, ..JwksOptions::default() };
        let (issuer, audience) = (self.jwt_issuer, self.jwt_audience);
        Ok(Arc::new(Jwt::new(keys, JwtOptions { issuer, audience, jwks, ..JwtOptions::default() })?))
    }

    fn http(&self) -> Result<HttpOptions, WrongSettings> {
        let extra_roots_pem = self.ca.as_deref().map(|path| read("ACCOUNTS_CA", path)).transpose()?;
        Ok(HttpOptions { timeout: self.timeout, extra_roots_pem, ..HttpOptions::default() })
    }
}

impl Whose {
    /// The accounts. The store is that of our own.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn open(self, store: Arc<dyn AccountStore>) -> Result<Arc<dyn Accounts>, AccountsError> {
        match self {
            Self::Ours(options) => Ok(Arc::new(BuiltIn::open(store, options).await?)),
            Self::Others(accounts) => Ok(accounts),
        }
    }
}

impl From<BadOption> for WrongSettings {
    fn from(bad: BadOption) -> Self {
        Self(bad.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told {
        Told {
            built_in: BuiltInOptions::default(),
            auth_server: None,
            auth_server_cache: Duration::from_secs(30),
            jwks_url: None,
            jwt_key_file: None,
            jwt_secret: None,
            jwt_issuer: None,
            jwt_audience: None,
            timeout: Duration::from_secs(3),
            ca: None,
        }
    }

    fn url() -> Option<String> {
        Some("http://accounts.example".into())
    }

    fn secret(text: &str) -> Option<Secret> {
        Some(Secret::new(text.into()))
    }

    fn complaint(told: Told) -> String {
        told.choose().err().expect("a complaint").to_string()
    }

    #[test]
    fn without_a_word_the_accounts_are_ours() {
        assert!(matches!(told().choose(), Ok(Whose::Ours(_))));
    }

    #[test]
    fn each_way_alone_is_taken() {
        let of_keys = |told| Told { jwt_issuer: Some("i".into()), jwt_audience: Some("a".into()), ..told };
        for told in [
            Told { auth_server: url(), ..told() },
            of_keys(Told { jwks_url: url(), ..told() }),
            of_keys(Told { jwt_secret: secret(&"s".repeat(32)), ..told() }),
        ] {
            assert!(matches!(told.choose(), Ok(Whose::Others(_))));
        }
    }

    #[test]
    fn two_ways_are_refused_by_name() {
        let text = complaint(Told { auth_server: url(), jwt_secret: secret("hunter2"), ..told() });
        assert!(text.contains("keep one of --auth-server (AUTH_SERVER) and --jwt-secret"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn an_issuer_that_nobody_would_check_is_refused() {
        let issuer = || Some("https://issuer.example".to_owned());
        let text = complaint(Told { jwt_issuer: issuer(), ..told() });
        assert!(
            text.starts_with("--jwt-issuer (JWT_ISSUER) is for tokens that are checked by key"),
            "{text}"
        );
        let text = complaint(Told { jwt_audience: issuer(), auth_server: url(), ..told() });
        assert!(text.starts_with("--jwt-audience (JWT_AUDIENCE)"), "{text}");
    }

    #[test]
    fn what_can_not_be_used_is_named() {
        let text = complaint(Told { jwt_key_file: Some("/nowhere/key.pem".into()), ..told() });
        assert!(text.starts_with("JWT_KEY_FILE: can't read /nowhere/key.pem"), "{text}");
        let text = complaint(Told { auth_server: url(), ca: Some("/nowhere/ca.pem".into()), ..told() });
        assert!(text.starts_with("ACCOUNTS_CA: can't read /nowhere/ca.pem"), "{text}");
        let text = complaint(Told { jwt_secret: secret("hunter2"), ..told() });
        assert_eq!(text, "JWT_SECRET must be at least 32 bytes long");
    }
}
