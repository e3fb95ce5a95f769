//! Tokens for members, signed here: a JWT by HS256 with a secret that the server has too, so that users cost no password hash.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

/// A token with these claims.
pub fn signed(secret: &str, claims: &Value) -> String {
    let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_what_others_sign_too() {
        // What PyJWT makes of the same: `jwt.encode({"sub": "ann"}, "a secret", "HS256")`.
        let theirs = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4ifQ._YXXlQxmjDgbZxO9xkTtesaUsn-OmJQwo2fUhAYQv3k";
        assert_eq!(signed("a secret", &json!({"sub": "ann"})), theirs);
    }
}
