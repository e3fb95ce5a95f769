//! Tokens that are checked by one key, and keys to sign with.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hubbub_adapters::accounts::{Jwt, JwtKeys, JwtOptions};
use hubbub_core::ports::accounts::Role;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::EncodePublicKey;
use serde_json::{Value, json};

use super::*;

/// Someone who gives tokens.
pub struct Issuer {
    pub algorithm: Algorithm,
    pub signs: EncodingKey,
    /// The public key in PEM.
    pub pem: String,
    /// Its bytes, if they are all that there is to it.
    ed25519: Option<Vec<u8>>,
}

impl Issuer {
    pub fn p256() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let signs = EncodingKey::from_ec_der(&key.serialize_der());
        Self { algorithm: Algorithm::ES256, signs, pem: key.public_key_pem(), ed25519: None }
    }

    pub fn ed25519() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let signs = EncodingKey::from_ed_der(&key.serialize_der());
        let ed25519 = Some(key.public_key_raw().to_vec());
        Self { algorithm: Algorithm::EdDSA, signs, pem: key.public_key_pem(), ed25519 }
    }

    pub fn rsa() -> Self {
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2_048).unwrap();
        let signs = EncodingKey::from_rsa_der(key.to_pkcs1_der().unwrap().as_bytes());
        let pem = key.to_public_key().to_public_key_pem(rsa::pkcs8::LineEnding::LF).unwrap();
        Self { algorithm: Algorithm::RS256, signs, pem, ed25519: None }
    }

    /// The key as one of a set.
    pub fn jwk(&self, kid: Option<&str>) -> Value {
        let mut jwk = match &self.ed25519 {
            Some(key) => json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(key)}),
            None => {
                let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&self.signs, self.algorithm).unwrap();
                serde_json::to_value(jwk).unwrap()
            }
        };
        if let Some(kid) = kid {
            jwk["kid"] = json!(kid);
        }
        jwk
    }

    pub fn token(&self, kid: Option<&str>) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = kid.map(str::to_owned);
        jsonwebtoken::encode(&header, &claims(), &self.signs).unwrap()
    }
}

pub fn claims() -> Value {
    json!({"sub": "ana", "name": "Ana", "roles": ["user"], "exp": since_1970() + 600})
}

fn by_pem(pem: &str) -> Jwt {
    Jwt::new(JwtKeys::PublicKeyPem(pem.into()), JwtOptions::default()).unwrap()
}

#[tokio::test]
async fn a_token_is_checked_by_a_public_key_of_each_kind() {
    let issuers = [Issuer::p256(), Issuer::ed25519(), Issuer::rsa(), Issuer::p256()];
    for (number, issuer) in issuers.iter().enumerate() {
        let accounts = by_pem(&issuer.pem);
        assert!(accounts.built_in().is_none());
        for (other, by) in issuers.iter().enumerate() {
            let answer = validate(&accounts, &by.token(Some("any"))).await;
            match number == other {
                true => assert_eq!(answer.unwrap().roles, [Role::User]),
                false => assert_eq!(answer, Err(AccountsError::InvalidToken)),
            }
        }
    }
}

#[tokio::test]
async fn a_public_key_is_no_secret_to_sign_with() {
    for issuer in [Issuer::p256(), Issuer::ed25519(), Issuer::rsa()] {
        let accounts = by_pem(&issuer.pem);
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            for secret in [issuer.pem.as_bytes(), issuer.pem.trim().as_bytes(), b""] {
                let forged = jsonwebtoken::encode(
                    &Header::new(algorithm),
                    &claims(),
                    &EncodingKey::from_secret(secret),
                );
                assert_eq!(validate(&accounts, &forged.unwrap()).await, Err(AccountsError::InvalidToken));
            }
        }
        // {"alg":"none"}
        let (_, rest) =
            issuer.token(None).split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        for unsigned in [rest.clone(), format!("{}.", rest.split('.').next().unwrap())] {
            let forged = format!("eyJhbGciOiJub25lIn0.{unsigned}");
            assert_eq!(validate(&accounts, &forged).await, Err(AccountsError::InvalidToken));
        }
    }
}

#[test]
fn a_key_that_can_not_be_used_is_told_without_quoting_it() {
    for keys in [
        JwtKeys::Secret(secret("hunter2")),
        JwtKeys::PublicKeyPem("hunter2".into()),
        JwtKeys::Jwks("https://ana:hunter2@accounts.example.org/keys".into()),
        JwtKeys::Jwks("hunter2".into()),
    ] {
        let error = Jwt::new(keys, JwtOptions::default()).err().unwrap();
        let text = format!("{error} {error:?}");
        assert!(text.contains(" must ") && !text.contains("hunter2"), "{text}");
    }
}
