use jsonwebtoken::{DecodingKey, EncodingKey, Header as Written};
use serde_json::{Value, json};

use super::*;

const NOW: Millis = Millis(1_800_000_000_000);
const SECRET: &[u8] = &[7; 32];

fn rules() -> Rules {
    Rules::new(Some("us"), Some("chat"), Duration::from_secs(5))
}

fn key() -> Key {
    Key { algorithm: Algorithm::HS256, decodes: DecodingKey::from_secret(SECRET) }
}

fn good() -> Value {
    json!({"sub": "u1", "name": "Ana", "roles": ["user", "admin"], "exp": 1_800_000_060, "iss": "us", "aud": ["x", "chat"]})
}

fn with(field: &str, value: Value) -> Value {
    let mut claims = good();
    claims[field] = value;
    claims
}

fn without(field: &str) -> Value {
    let mut claims = good();
    claims.as_object_mut().unwrap().remove(field);
    claims
}

fn signed(header: &Written, claims: &Value) -> Secret {
    Secret::new(jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(SECRET)).unwrap())
}

fn check(claims: &Value) -> Result<Account, &'static str> {
    rules().check(&signed(&Written::new(Algorithm::HS256), claims), &key(), NOW)
}

#[test]
fn good_claims_are_an_account() {
    let user = User { id: UserId::parse("u1").unwrap(), name: "Ana".into() };
    let account = Account { user, roles: vec![Role::User], expires_at: Millis(1_800_000_060_000) };
    assert_eq!(check(&good()), Ok(account));
    assert_eq!(check(&with("roles", json!(["bot", "user"]))).unwrap().roles, [Role::User, Role::Bot]);
    assert_eq!(check(&without("roles")).unwrap().roles, []);
    assert_eq!(&*check(&without("name")).unwrap().user.name, "u1");
    assert!(check(&with("aud", json!("chat"))).is_ok());
    assert!(check(&with("exp", json!(1_800_000_060.5))).is_ok());
}

#[test]
fn other_claims_are_refused() {
    for (claims, why) in [
        (without("sub"), "can't be read"),
        (with("sub", json!("../etc")), "can't be read"),
        (with("sub", json!(7)), "can't be read"),
        (with("roles", json!("user")), "can't be read"),
        (without("exp"), "can't be read"),
        (with("exp", json!("1800000060")), "can't be read"),
        (with("exp", json!(-1)), "can't be read"),
        (with("nbf", json!("soon")), "can't be read"),
        (without("iss"), "lacks a claim"),
        (with("iss", json!("them")), "is of another issuer"),
        (with("iss", json!(7)), "lacks a claim"),
        (without("aud"), "lacks a claim"),
        (with("aud", json!("them")), "is for another audience"),
        (with("aud", json!([])), "is for another audience"),
        (with("aud", json!({"chat": 1})), "lacks a claim"),
    ] {
        assert_eq!(check(&claims), Err(why), "{claims}");
    }
}

#[test]
fn clocks_may_differ_by_the_leeway_and_no_more() {
    let seconds = |offset: i64| json!(1_800_000_000 + offset);
    assert_eq!(check(&with("exp", seconds(-4))).unwrap().expires_at, Millis(1_799_999_996_000));
    assert_eq!(check(&with("exp", seconds(-5))), Err("has expired"));
    for field in ["nbf", "iat"] {
        assert!(check(&with(field, seconds(5))).is_ok());
        assert_eq!(check(&with(field, seconds(6))), Err("is not valid yet"));
    }
    assert!(check(&with("exp", json!(u64::MAX))).is_ok(), "no overflow");
}

#[test]
fn without_rules_of_ours_any_issuer_is_taken_but_no_audience() {
    let rules = Rules::new(None, None, Duration::MAX);
    let check = |claims: &Value| rules.check(&signed(&Written::new(Algorithm::HS256), claims), &key(), NOW);
    assert!(check(&without("aud")).is_ok());
    assert_eq!(check(&good()), Err("is for another audience"));
}

#[test]
fn the_algorithm_is_the_keys() {
    for other in [Algorithm::HS384, Algorithm::HS512] {
        let token = signed(&Written::new(other), &good());
        assert_eq!(rules().check(&token, &key(), NOW), Err("has another algorithm than its key"));
    }
    let mut key = key();
    key.decodes = DecodingKey::from_secret(&[8; 32]);
    let token = signed(&Written::new(Algorithm::HS256), &good());
    assert_eq!(rules().check(&token, &key, NOW), Err("has a signature of another key"));
}

#[test]
fn what_is_critical_and_not_understood_is_refused() {
    let mut header = Written::new(Algorithm::HS256);
    header.crit = Some(vec!["b64".into()]);
    assert_eq!(rules().check(&signed(&header, &good()), &key(), NOW), Err("has a critical header"));
}
