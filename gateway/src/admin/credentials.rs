//! Who may use the admin API: credentials of the form `NAME.SECRET`. The name is for the audit, the whole is the bearer token.

use hubbub_core::ports::accounts::Secret;
use sha2::{Digest, Sha256};

/// Shortest secret, in bytes: 32 hexadecimal digits are 128 bits.
pub const SECRET_BYTES_MIN: usize = 32;
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 32;
/// Characters of a secret: those of a bearer token.
const OF_SECRET: &[u8] = b"-._~+/=";

/// The credentials that count. They are kept as digests.
pub struct Credentials(Vec<(String, [u8; 32])>);

/// Why a text is no list of credentials. It quotes none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCredentials {
    /// No dot.
    #[error("must be NAME.SECRET, or several with commas: the name is what the audit calls you")]
    NoName,
    /// The name is not one.
    #[error("has a name that is not 1 to 32 of A-Z a-z 0-9 _ -")]
    Name,
    /// The secret is not one.
    #[error("has a secret that is not at least 32 of A-Z a-z 0-9 - . _ ~ + / =; take `openssl rand -hex 32`")]
    Secret,
    /// Two of a name.
    #[error("has a name twice")]
    Twice,
}

impl Credentials {
    /// Takes a list, separated by commas.
    ///
    /// # Errors
    /// When one is not well-formed; nothing of it is quoted.
    pub fn parse(list: &Secret) -> Result<Self, BadCredentials> {
        let mut known: Vec<(String, [u8; 32])> = Vec::new();
        for credential in list.reveal().split(',').map(str::trim) {
            let (name, secret) = credential.split_once('.').ok_or(BadCredentials::NoName)?;
            let of_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
            if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(of_name) {
                return Err(BadCredentials::Name);
            }
            let of_secret = |b: u8| b.is_ascii_alphanumeric() || OF_SECRET.contains(&b);
            if secret.len() < SECRET_BYTES_MIN || !secret.bytes().all(of_secret) {
                return Err(BadCredentials::Secret);
            }
            if known.iter().any(|(other, _)| other == name) {
                return Err(BadCredentials::Twice);
            }
            known.push((name.into(), digest(credential)));
        }
        Ok(Self(known))
    }

    /// The name of the credential that this is. How long it takes says nothing of how much of one was right.
    pub fn name_of(&self, credential: &Secret) -> Option<&str> {
        let said = digest(credential.reveal());
        let mut found = None;
        for (name, known) in &self.0 {
            let differing = known.iter().zip(said).fold(0, |all, (known, said)| all | (known ^ said));
            if differing == 0 {
                found = Some(name.as_str());
            }
        }
        found
    }
}

fn digest(credential: &str) -> [u8; 32] {
    Sha256::digest(credential).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &str) -> Result<Credentials, BadCredentials> {
        Credentials::parse(&Secret::new(list.into()))
    }

    #[test]
    fn a_credential_is_known_by_the_whole_of_it() {
        let secret = "0123456789abcdef0123456789abcdef";
        let known = parse(&format!("ann.{secret}, night-shift.{secret}.=")).unwrap();
        let name = |text: String| known.name_of(&Secret::new(text)).map(str::to_owned);
        assert_eq!(name(format!("ann.{secret}")), Some("ann".into()));
        assert_eq!(name(format!("night-shift.{secret}.=")), Some("night-shift".into()));
        for wrong in [secret.into(), format!("bob.{secret}"), format!("ann.{secret}0"), String::new()] {
            assert_eq!(name(wrong.clone()), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_credential_is_refused_and_not_quoted() {
        let secret = "0123456789abcdef0123456789abcdef";
        for (list, bad) in [
            ("hunter2".into(), BadCredentials::NoName),
            (String::new(), BadCredentials::NoName),
            (format!(".{secret}"), BadCredentials::Name),
            (format!("an n.{secret}"), BadCredentials::Name),
            ("ann.hunter2".into(), BadCredentials::Secret),
            (format!("ann.{secret}\u{e4}"), BadCredentials::Secret),
            (format!("ann.{secret},"), BadCredentials::NoName),
            (format!("ann.{secret},ann.{secret}"), BadCredentials::Twice),
        ] {
            assert_eq!(parse(&list).err(), Some(bad), "{list}");
        }
    }
}
