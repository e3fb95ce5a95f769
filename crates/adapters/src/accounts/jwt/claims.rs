//! What a token that is a JWT says, once its signature and its claims are found to be good. Pure: time is an argument.

use std::time::Duration;

use hubbub_core::ids::{Millis, User, UserId};
use hubbub_core::ports::accounts::{Account, Role, Secret};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;

use super::super::foreign::{NumericDate, shown_name};
use super::key::Key;

#[derive(Deserialize)]
struct Claims {
    sub: UserId,
    name: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    exp: NumericDate,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
}

/// What every token must keep to, whatever its key.
pub struct Rules {
    validation: Validation,
    /// By how much longer a token counts.
    pub leeway: Millis,
}

impl Rules {
    pub fn new(issuer: Option<&str>, audience: Option<&str>, leeway: Duration) -> Self {
        let mut validation = Validation::default();
        let mut required = vec!["exp", "sub"];
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        // Without an audience of ours a token that names one is not for us: RFC 7519, section 4.1.3.
        if let Some(audience) = audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        // Checked below, against the time that is passed in.
        validation.validate_exp = false;
        validation.leeway = 0;
        Self { validation, leeway: Millis(u64::try_from(leeway.as_millis()).unwrap_or(u64::MAX)) }
    }

    /// The account of a token that this key signed.
    ///
    /// # Errors
    /// What is wrong, in words that have nothing of the token in them.
    pub fn check(&self, token: &Secret, key: &Key, now: Millis) -> Result<Account, &'static str> {
        let mut validation = self.validation.clone();
        validation.algorithms = vec![key.algorithm];
        let decoded = jsonwebtoken::decode::<Claims>(token.reveal(), &key.decodes, &validation);
        let token = decoded.map_err(|error| in_words(error.kind()))?;
        // RFC 7515, section 4.1.11: who does not understand what is critical must refuse. We understand none.
        if token.header.crit.is_some() {
            return Err("has a critical header");
        }
        let claims = token.claims;
        let (end, latest) = (claims.exp.millis(), now.0.saturating_add(self.leeway.0));
        if end.0.saturating_add(self.leeway.0) <= now.0 {
            return Err("has expired");
        }
        if [claims.nbf, claims.iat].into_iter().flatten().any(|from| from.millis().0 > latest) {
            return Err("is not valid yet");
        }
        let user = User { name: shown_name(claims.name.as_deref(), &claims.sub), id: claims.sub };
        Ok(Account { user, roles: roles(&claims.roles), expires_at: end })
    }
}

/// Of the key that a token asks for, and of the algorithm that it claims.
pub struct Header {
    pub kid: Option<String>,
    pub algorithm: Algorithm,
}

/// The header of a token that nobody has checked yet.
pub fn header(token: &Secret) -> Option<Header> {
    let header = jsonwebtoken::decode_header(token.reveal()).ok()?;
    Some(Header { kid: header.kid, algorithm: header.alg })
}

/// The roles that mean something here.
fn roles(named: &[String]) -> Vec<Role> {
    let known = [("user", Role::User), ("bot", Role::Bot)];
    known
        .into_iter()
        .filter(|(name, _)| named.iter().any(|named| named == name))
        .map(|(_, role)| role)
        .collect()
}

/// The library's errors may quote the token.
fn in_words(error: &ErrorKind) -> &'static str {
    match error {
        ErrorKind::InvalidSignature => "has a signature of another key",
        ErrorKind::InvalidAlgorithm => "has another algorithm than its key",
        ErrorKind::InvalidIssuer => "is of another issuer",
        ErrorKind::InvalidAudience => "is for another audience",
        ErrorKind::MissingRequiredClaim(_) => "lacks a claim",
        _ => "can't be read",
    }
}

#[cfg(test)]
mod tests;
