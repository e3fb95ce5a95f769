use rsa::pkcs8::EncodePublicKey;
use rsa::traits::PublicKeyParts;
use serde_json::json;

use super::*;

fn pem(algorithm: &'static rcgen::SignatureAlgorithm) -> String {
    rcgen::KeyPair::generate_for(algorithm).unwrap().public_key_pem()
}

fn rsa_key(bits: usize) -> rsa::RsaPublicKey {
    rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits).unwrap().to_public_key()
}

fn jwk(value: serde_json::Value) -> Option<Key> {
    Key::of_jwk(&serde_json::from_value(value).unwrap())
}

fn algorithm(key: Option<Key>) -> Option<Algorithm> {
    key.map(|key| key.algorithm)
}

#[test]
fn the_kind_of_a_file_says_the_algorithm() {
    let of = |pem: &str| Key::of_pem(pem).map(|key| key.algorithm);
    assert_eq!(of(&pem(&rcgen::PKCS_ECDSA_P256_SHA256)), Ok(Algorithm::ES256));
    assert_eq!(of(&pem(&rcgen::PKCS_ED25519)), Ok(Algorithm::EdDSA));
    let rsa = rsa_key(2_048).to_public_key_pem(rsa::pkcs8::LineEnding::LF).unwrap();
    assert_eq!(of(&rsa), Ok(Algorithm::RS256));
    assert_eq!(of(&format!("\n{}\n", rsa.replace('\n', "\r\n"))), Ok(Algorithm::RS256));
}

#[test]
fn other_files_are_refused_and_not_quoted() {
    let private = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    let short = rsa_key(1_024).to_public_key_pem(rsa::pkcs8::LineEnding::LF).unwrap();
    let p384 = pem(&rcgen::PKCS_ECDSA_P384_SHA384);
    for bad in ["", "hunter2", &private, &short, &p384, &pem(&rcgen::PKCS_ED25519).replace("MC", "MD")] {
        assert!(Key::of_pem(bad).unwrap_err().starts_with("must be "), "{bad}");
    }
}

#[test]
fn a_short_secret_is_refused_and_a_key_is_not_printed() {
    assert!(Key::of_secret(&Secret::new("x".repeat(31))).is_err());
    assert!(Key::of_secret(&Secret::new(format!("-----BEGIN PUBLIC KEY-----\n{}", "x".repeat(64)))).is_err());
    let key = Key::of_secret(&Secret::new("hunter2".repeat(5))).unwrap();
    assert_eq!(key.algorithm, Algorithm::HS256);
    assert_eq!(format!("{key:?}"), "Key { algorithm: HS256, .. }");
}

#[test]
fn the_kind_of_a_key_of_a_set_says_the_algorithm() {
    // RFC 7517, appendix A.1, and RFC 8037, appendix A.2.
    let (x, y) =
        ("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM");
    let ec = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "1", "use": "sig"});
    assert_eq!(algorithm(jwk(ec.clone())), Some(Algorithm::ES256));
    let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    assert_eq!(algorithm(jwk(ed.clone())), Some(Algorithm::EdDSA));
    let public = rsa_key(2_048);
    let (n, e) = (public.n().to_bytes_be(), public.e().to_bytes_be());
    let rsa =
        json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e), "alg": "RS256"});
    assert_eq!(algorithm(jwk(rsa.clone())), Some(Algorithm::RS256));

    let with = |key: &serde_json::Value, field: &str, value: serde_json::Value| {
        let mut key = key.clone();
        key[field] = value;
        jwk(key)
    };
    for (key, field, value) in [
        (&ec, "use", json!("enc")),
        (&ec, "key_ops", json!(["sign"])),
        (&ec, "alg", json!("ES384")),
        (&ec, "alg", json!("HS256")),
        (&ec, "crv", json!("P-384")),
        (&ec, "x", json!(y)),
        (&ec, "y", json!("AAAA")),
        (&rsa, "alg", json!("HS256")),
        (&rsa, "n", json!("AQAB")),
        (&rsa, "n", json!(null)),
        (&rsa, "n", json!("!")),
        (&rsa, "kty", json!("oct")),
        (&ed, "x", json!("AAAA")),
        (&ed, "crv", json!("X25519")),
    ] {
        assert!(with(key, field, value.clone()).is_none(), "{field} {value}");
    }
    assert!(with(&ec, "key_ops", json!(["verify"])).is_some());
    assert!(jwk(json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ", "alg": "HS256"})).is_none());
}
