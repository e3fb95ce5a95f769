//! Access tokens: JWT signed by HMAC-SHA-256 with a key that all nodes share. Checked without I/O, in some 2.3 µs (optimised, a
//! token of 244 bytes, a core with SHA instructions). Pure: time is an argument.

use std::sync::Arc;
use std::time::Duration;

use hubbub_core::ids::{Millis, RoomId, User, UserId};
use hubbub_core::ports::accounts::{Account, CommandRight, Role, Secret};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// Length of a key, in bytes: that of the hash, as RFC 7518, section 3.2, wants it at least.
pub const KEY_BYTES: usize = 32;
/// Longest token that is looked at, in bytes. Ours have some 400.
const TOKEN_BYTES_MAX: usize = 2_048;
/// Who gives our tokens, and for whom.
const NAME: &str = "hubbub";
/// For whom those are that say who gave a command. By this they are no access tokens.
const FOR_BOTS: &str = "hubbub-bots";
/// How long such a one is good.
const COMMAND_TTL: Duration = Duration::from_secs(300);

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: UserId,
    name: Arc<str>,
    roles: Vec<Role>,
    iat: u64,
    exp: u64,
    iss: String,
    aud: String,
    /// Another one in each, or who logs in twice within a second has one token, and calls back both. Nobody reads it.
    #[serde(skip_deserializing)]
    jti: String,
}

#[derive(Serialize, Deserialize)]
struct CommandClaims {
    sub: UserId,
    name: Arc<str>,
    room: RoomId,
    command: String,
    exp: u64,
    iss: String,
    aud: String,
}

/// Gives and checks tokens.
pub struct Tokens {
    signs: EncodingKey,
    checks: DecodingKey,
    rules: Validation,
    command_rules: Validation,
    ttl: Duration,
}

impl Tokens {
    /// With this key, valid for `ttl`.
    pub fn new(key: &[u8], ttl: Duration) -> Self {
        Self {
            signs: EncodingKey::from_secret(key),
            checks: DecodingKey::from_secret(key),
            rules: rules(NAME),
            command_rules: rules(FOR_BOTS),
            ttl,
        }
    }

    /// A token for a user. It ends on a whole second, up to one before its time.
    ///
    /// # Errors
    /// What the library says; not known to happen.
    pub fn issue(&self, user: User, roles: Vec<Role>, now: Millis) -> Result<Secret, String> {
        let claims = Claims {
            sub: user.id,
            name: user.name,
            roles,
            iat: now.0 / 1_000,
            exp: end(now, self.ttl),
            iss: NAME.into(),
            aud: NAME.into(),
            jti: uuid::Uuid::new_v4().simple().to_string(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signs)
            .map(Secret::new)
            .map_err(|error| error.to_string())
    }

    /// The account of a token, if it is one of ours and not over.
    pub fn check(&self, token: &Secret, now: Millis) -> Option<Account> {
        let token = token.reveal();
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.checks, &self.rules).ok()?.claims;
        let expires_at = Millis(claims.exp.saturating_mul(1_000));
        let user = User { id: claims.sub, name: claims.name };
        (expires_at > now).then_some(Account { user, roles: claims.roles, expires_at })
    }

    /// A token that says who gave a command.
    ///
    /// # Errors
    /// What the library says; not known to happen.
    pub fn issue_command(&self, right: CommandRight, now: Millis) -> Result<Secret, String> {
        let claims = CommandClaims {
            sub: right.user.id,
            name: right.user.name,
            room: right.room,
            command: right.command,
            exp: end(now, COMMAND_TTL),
            iss: NAME.into(),
            aud: FOR_BOTS.into(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signs)
            .map(Secret::new)
            .map_err(|error| error.to_string())
    }

    /// What a token for bots says, if it is one of ours and not over.
    pub fn check_command(&self, token: &Secret, now: Millis) -> Option<CommandRight> {
        let token = token.reveal();
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let claims =
            jsonwebtoken::decode::<CommandClaims>(token, &self.checks, &self.command_rules).ok()?.claims;
        let user = User { id: claims.sub, name: claims.name };
        let right = CommandRight { user, room: claims.room, command: claims.command };
        (claims.exp.saturating_mul(1_000) > now.0).then_some(right)
    }
}

/// The last whole second of a token's time.
fn end(now: Millis, ttl: Duration) -> u64 {
    now.0.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)) / 1_000
}

fn rules(audience: &str) -> Validation {
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_issuer(&[NAME]);
    rules.set_audience(&[audience]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // Checked by us, against the time that is passed in and without leeway: we gave the token ourselves.
    rules.validate_exp = false;
    rules.leeway = 0;
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_800_000_000_000);
    const TTL: Duration = Duration::from_secs(3_600);

    fn user() -> User {
        User { id: UserId::parse("u1").unwrap(), name: "Ana \"the\" Ünique".into() }
    }

    fn tokens() -> Tokens {
        Tokens::new(&[7; KEY_BYTES], TTL)
    }

    /// A token with other claims or another algorithm, under the right key.
    fn forged(algorithm: Algorithm, issuer: &str, audience: &str) -> Secret {
        let (sub, name, roles) = (user().id, user().name, vec![Role::User]);
        let (iss, aud) = (issuer.into(), audience.into());
        let claims = Claims {
            sub,
            name,
            roles,
            iat: NOW.0 / 1_000,
            exp: NOW.0 / 1_000 + 60,
            iss,
            aud,
            jti: String::new(),
        };
        let key = EncodingKey::from_secret(&[7; KEY_BYTES]);
        Secret::new(jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).unwrap())
    }

    #[test]
    fn a_token_stands_for_its_user_until_its_end() {
        let token = tokens().issue(user(), vec![Role::User, Role::Bot], NOW).unwrap();
        let end = Millis(NOW.0 + 3_600_000);
        let account = Account { user: user(), roles: vec![Role::User, Role::Bot], expires_at: end };
        assert_eq!(tokens().check(&token, NOW), Some(account.clone()));
        assert_eq!(tokens().check(&token, Millis(end.0 - 1)), Some(account));
        assert_eq!(tokens().check(&token, end), None);
        assert_eq!(tokens().check(&token, Millis(u64::MAX)), None);
    }

    #[test]
    fn no_two_tokens_are_the_same() {
        let token = || tokens().issue(user(), vec![Role::User], NOW).unwrap();
        assert_ne!(token().reveal(), token().reveal());
    }

    #[test]
    fn issuer_audience_and_algorithm_are_pinned() {
        assert!(tokens().check(&forged(Algorithm::HS256, NAME, NAME), NOW).is_some());
        assert!(tokens().check(&forged(Algorithm::HS512, NAME, NAME), NOW).is_none());
        assert!(tokens().check(&forged(Algorithm::HS256, "other", NAME), NOW).is_none());
        assert!(tokens().check(&forged(Algorithm::HS256, NAME, "other"), NOW).is_none());
    }

    #[test]
    fn a_token_for_bots_is_good_for_one_command_and_for_nothing_else() {
        let right = CommandRight { user: user(), room: RoomId::parse("r1").unwrap(), command: "c1".into() };
        let token = tokens().issue_command(right.clone(), NOW).unwrap();
        assert_eq!(tokens().check_command(&token, NOW), Some(right));
        assert_eq!(tokens().check_command(&token, Millis(NOW.0 + 300_000)), None);
        assert_eq!(tokens().check(&token, NOW), None, "it is no access token");
        let access = tokens().issue(user(), vec![Role::User], NOW).unwrap();
        assert_eq!(tokens().check_command(&access, NOW), None);
    }

    #[test]
    fn rubbish_is_no_token() {
        for rubbish in ["", ".", "..", "a.b.c", "eyJ.eyJ.", "\0", &"a".repeat(TOKEN_BYTES_MAX + 1)] {
            assert!(tokens().check(&Secret::new(rubbish.into()), NOW).is_none());
        }
    }

    #[test]
    fn the_longest_token_of_ours_is_looked_at() {
        let longest = "\u{1F600}".repeat(hubbub_core::limits::NAME_CHARS_MAX);
        let user = User { id: UserId::parse(&"u".repeat(64)).unwrap(), name: longest.into() };
        let token = tokens().issue(user, vec![Role::User, Role::Bot], NOW).unwrap();
        assert!(tokens().check(&token, NOW).is_some(), "{} bytes", token.reveal().len());
    }
}
