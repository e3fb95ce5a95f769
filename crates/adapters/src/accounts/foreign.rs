//! What a token or an account of another service says, in our terms. Pure.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hubbub_core::ids::{Millis, UserId};
use hubbub_core::limits::NAME_CHARS_MAX;
use hubbub_core::ports::accounts::Secret;
use serde::{Deserialize, Deserializer};

/// Longest token that is looked at, in bytes. It has to fit in a line of a request's head, and those servers bound from 8 KiB on.
const TOKEN_BYTES_MAX: usize = 6 * 1_024;

/// Whether this can be a token at all: visible ASCII of up to 6 KiB. So it can't end a header's line or begin another.
pub fn may_be_token(token: &Secret) -> bool {
    let bytes = token.reveal().as_bytes();
    !bytes.is_empty() && bytes.len() <= TOKEN_BYTES_MAX && bytes.iter().all(u8::is_ascii_graphic)
}

/// A moment as JWT writes it: seconds since 1970, perhaps with a fraction, which is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumericDate(u64);

impl NumericDate {
    /// In our unit.
    pub fn millis(self) -> Millis {
        Millis(self.0.saturating_mul(1_000))
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(from)?;
        let fraction = || number.as_f64().filter(|seconds| *seconds >= 0.0).map(|seconds| seconds as u64);
        let seconds = number.as_u64().or_else(fraction);
        seconds.map(Self).ok_or_else(|| serde::de::Error::custom("not a moment since 1970"))
    }
}

/// When a token says that it ends, if it is a JWT. Nobody has checked that it speaks the truth: good only for an earlier end.
pub fn end_by_itself(token: &Secret) -> Option<Millis> {
    #[derive(Deserialize)]
    struct End {
        exp: NumericDate,
    }
    let mut parts = token.reveal().split('.');
    let (_, claims, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    serde_json::from_slice::<End>(&claims).ok().map(|end| end.exp.millis())
}

/// A name as it is shown here. The other service has rules of its own, so a long one is cut rather than its owner kept out,
/// and who has none is called by the id.
pub fn shown_name(name: Option<&str>, id: &UserId) -> Arc<str> {
    let one_line: String = name.unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    let cut: String = one_line.trim().chars().take(NAME_CHARS_MAX).collect();
    match cut.trim() {
        "" => id.as_str().into(),
        name => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    #[test]
    fn a_token_is_visible_ascii() {
        assert!(may_be_token(&secret("a")) && may_be_token(&secret(&"~".repeat(TOKEN_BYTES_MAX))));
        let long = "a".repeat(TOKEN_BYTES_MAX + 1);
        for bad in ["", " ", "a b", "a\r\nHost: b", "a\0", "é", "a\u{7f}", &long] {
            assert!(!may_be_token(&secret(bad)), "{bad:?}");
        }
    }

    #[test]
    fn a_jwt_says_when_it_ends() {
        let jwt = |claims: &str| secret(&format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims)));
        assert_eq!(end_by_itself(&jwt(r#"{"sub":"a","exp":12}"#)), Some(Millis(12_000)));
        assert_eq!(end_by_itself(&jwt(r#"{"exp":12.9}"#)), Some(Millis(12_000)));
        assert_eq!(end_by_itself(&jwt(r#"{"exp":1e300}"#)), Some(Millis(u64::MAX)));
        for silent in [r#"{"exp":-1}"#, r#"{"exp":"12"}"#, "{}", "", "[]"] {
            assert_eq!(end_by_itself(&jwt(silent)), None, "{silent}");
        }
        for opaque in ["5f0c9a7e", "a.b", "a.b.c.d", "..", "a.!.c"] {
            assert_eq!(end_by_itself(&secret(opaque)), None, "{opaque}");
        }
    }

    #[test]
    fn a_name_is_made_to_fit() {
        let id = UserId::parse("u1").unwrap();
        assert_eq!(&*shown_name(Some("  Ana\n "), &id), "Ana");
        assert_eq!(&*shown_name(Some(&"é".repeat(200)), &id), "é".repeat(NAME_CHARS_MAX));
        for none in [None, Some(""), Some(" \n\0")] {
            assert_eq!(&*shown_name(none, &id), "u1");
        }
        let name = format!("{} b", "a".repeat(NAME_CHARS_MAX - 1));
        assert!(hubbub_core::limits::check_name(&shown_name(Some(&name), &id)).is_ok());
    }
}
