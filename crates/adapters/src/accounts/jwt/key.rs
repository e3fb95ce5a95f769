//! Keys that check signatures. A key has one algorithm, by its kind, and the token has no say in it: a public key is never
//! taken for a secret, nor a token without a signature for a signed one. Pure.
//!
//! | kind | algorithm |
//! |---|---|
//! | secret of at least 32 bytes | HS256 |
//! | RSA, 2,048 to 4,096 bits | RS256 |
//! | elliptic curve, P-256 | ES256 |
//! | elliptic curve, Ed25519 | EdDSA |

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hubbub_core::ports::accounts::Secret;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use spki::der::asn1::{AnyRef, UintRef};
use spki::der::pem::PemLabel;
use spki::der::{Decode, Document, Reader, SliceReader};
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

/// Shortest secret, in bytes: RFC 7518, section 3.2, wants that of the hash.
const SECRET_BYTES_MIN: usize = 32;
/// Bytes of an RSA modulus. More than the upper one is not taken by the library.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
/// Algorithms that a key of a set may have.
pub const IN_SETS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// A key and its algorithm. `Debug` shows the algorithm.
#[derive(Clone)]
pub struct Key {
    pub algorithm: Algorithm,
    pub decodes: DecodingKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// A key of a set, as RFC 7517 writes it. Private parts are not even read.
#[derive(Deserialize)]
pub struct Jwk {
    pub kid: Option<String>,
    kty: String,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Key {
    /// A secret that both sides know.
    pub fn of_secret(secret: &Secret) -> Result<Self, &'static str> {
        let secret = secret.reveal();
        // A public key by mistake: with it as the secret, whoever knows it could sign.
        if secret.contains("-----BEGIN ") {
            return Err(
                "must be a secret, and is a key in PEM: give the file of a public key as JWT_KEY_FILE",
            );
        }
        match secret.len() >= SECRET_BYTES_MIN {
            true => {
                Ok(Self { algorithm: Algorithm::HS256, decodes: DecodingKey::from_secret(secret.as_bytes()) })
            }
            false => Err("must be at least 32 bytes long"),
        }
    }

    /// A public key file: PEM, `BEGIN PUBLIC KEY`.
    pub fn of_pem(pem: &str) -> Result<Self, &'static str> {
        const WANTED: &str = "must be a public key in PEM (BEGIN PUBLIC KEY)";
        let (label, document) = Document::from_pem(pem.trim()).map_err(|_| WANTED)?;
        SubjectPublicKeyInfoRef::validate_pem_label(label).map_err(|_| WANTED)?;
        let info: SubjectPublicKeyInfoRef<'_> = document.decode_msg().map_err(|_| WANTED)?;
        let key = info.subject_public_key.as_bytes().ok_or(WANTED)?;
        match info.algorithm.oid {
            RSA => {
                let parts = rsa_parts(key).map_err(|_| WANTED)?;
                Self::of_rsa(parts.0.as_bytes(), parts.1.as_bytes())
            }
            EC if curve(&info) == Some(P256) => Self::of_p256(key),
            ED25519 => Self::of_ed25519(key),
            _ => Err("must be an RSA key, or one of the curve P-256 or Ed25519"),
        }
    }

    /// A public key of a set; `None` if it is not one that we check signatures with. A secret in a set is none: what can be
    /// fetched by everyone proves nothing.
    pub fn of_jwk(jwk: &Jwk) -> Option<Self> {
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
        let is_for_signatures = jwk.r#use.as_deref().is_none_or(|what| what == "sig")
            && jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !is_for_signatures {
            return None;
        }
        let (key, name) = match (&*jwk.kty, jwk.crv.as_deref()) {
            ("RSA", _) => (Self::of_rsa(&bytes(&jwk.n)?, &bytes(&jwk.e)?), "RS256"),
            ("EC", Some("P-256")) => (Self::of_p256(&point(&bytes(&jwk.x)?, &bytes(&jwk.y)?)?), "ES256"),
            ("OKP", Some("Ed25519")) => (Self::of_ed25519(&bytes(&jwk.x)?), "EdDSA"),
            _ => return None,
        };
        match jwk.alg.as_deref().is_none_or(|alg| alg == name) {
            true => key.ok(),
            false => None,
        }
    }

    fn of_rsa(n: &[u8], e: &[u8]) -> Result<Self, &'static str> {
        let n = &n[n.iter().take_while(|byte| **byte == 0).count()..];
        match RSA_BYTES.contains(&n.len()) {
            true => {
                Ok(Self { algorithm: Algorithm::RS256, decodes: DecodingKey::from_rsa_raw_components(n, e) })
            }
            false => Err("must be an RSA key of 2,048 to 4,096 bits"),
        }
    }

    fn of_p256(point: &[u8]) -> Result<Self, &'static str> {
        check_point(&signature::ECDSA_P256_SHA256_FIXED, point)?;
        Ok(Self { algorithm: Algorithm::ES256, decodes: DecodingKey::from_ec_der(point) })
    }

    fn of_ed25519(key: &[u8]) -> Result<Self, &'static str> {
        check_point(&signature::ED25519, key)?;
        Ok(Self { algorithm: Algorithm::EdDSA, decodes: DecodingKey::from_ed_der(key) })
    }
}

/// Whether it is a point of its curve: the library would only say of each signature that it is none.
fn check_point(curve: &'static dyn VerificationAlgorithm, point: &[u8]) -> Result<(), &'static str> {
    ParsedPublicKey::new(curve, point).map(drop).map_err(|_| "is not a point of its curve")
}

fn curve(info: &SubjectPublicKeyInfoRef<'_>) -> Option<ObjectIdentifier> {
    info.algorithm.parameters.as_ref().and_then(|curve: &AnyRef<'_>| curve.decode_as().ok())
}

/// Modulus and exponent of RFC 8017, appendix A.1.1.
fn rsa_parts(der: &[u8]) -> spki::der::Result<(UintRef<'_>, UintRef<'_>)> {
    let mut reader = SliceReader::new(der)?;
    let parts = reader.sequence(|reader| Ok((UintRef::decode(reader)?, UintRef::decode(reader)?)))?;
    reader.finish(parts)
}

/// A point as SEC 1 writes it, not compressed.
fn point(x: &[u8], y: &[u8]) -> Option<Vec<u8>> {
    (x.len() == 32 && y.len() == 32).then(|| [&[4], x, y].concat())
}

#[cfg(test)]
mod tests;
