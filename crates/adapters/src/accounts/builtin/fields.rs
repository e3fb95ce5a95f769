//! What a registration may say.

use std::sync::Arc;

use hubbub_core::limits::{self, BadText};
use hubbub_core::ports::accounts::{AccountsError, Secret};

/// Longest address, in bytes: RFC 5321, section 4.5.3.1.3, less the angle brackets.
const EMAIL_BYTES_MAX: usize = 254;
/// Shortest and longest password, in bytes.
const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 8..=256;

/// The address as it is kept: without white space around it, in lower case. Whether mail arrives there is not asked.
pub fn check_email(text: &str) -> Result<String, AccountsError> {
    let email = text.trim().to_lowercase();
    let odd = |c: char| c.is_whitespace() || c.is_control();
    let has_parts = email
        .split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'));
    match has_parts && email.len() <= EMAIL_BYTES_MAX && !email.contains(odd) {
        true => Ok(email),
        false => Err(AccountsError::BadField {
            field: "email",
            what: "must be an address such as name@example.org, of up to 254 bytes",
            is_long: false,
        }),
    }
}

/// Any password that is not too short to hold or too long to hash.
pub fn check_password(password: &Secret) -> Result<(), AccountsError> {
    match PASSWORD_BYTES.contains(&password.reveal().len()) {
        true => Ok(()),
        false => Err(AccountsError::BadField {
            field: "password",
            what: "must be 8 to 256 bytes long",
            is_long: false,
        }),
    }
}

/// A name as of a room: one line of 1 to 80 characters.
pub fn check_name(text: &str) -> Result<Arc<str>, AccountsError> {
    limits::check_name(text).map_err(|bad| AccountsError::BadField {
        field: "name",
        is_long: matches!(bad, BadText::TooLong { .. }),
        what: match bad {
            BadText::Empty { .. } | BadText::NotAnImage => "must not be empty",
            BadText::TooLong { .. } => "must be up to 80 characters long",
            BadText::Control { .. } => "must not have control characters",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_in_one_form() {
        assert_eq!(check_email("  Ana@Example.ORG\n").as_deref(), Ok("ana@example.org"));
        assert_eq!(check_email("a@b").as_deref(), Ok("a@b"));
        let longest = format!("{}@b", "a".repeat(252));
        assert!(check_email(&longest).is_ok());
        for bad in ["", "ab", "@b", "a@", "a@b@c", "a b@c", "a\0@b", "a\u{a0}b@c", &format!("a{longest}")] {
            assert!(check_email(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_password_is_measured_in_bytes() {
        let check = |text: &str| check_password(&Secret::new(text.into())).is_ok();
        assert!(check("12345678") && check("🔑🔑") && check(&"x".repeat(256)));
        assert!(!check("1234567") && !check(&"x".repeat(257)));
    }
}
