//! What the account service's answer means. Pure.
//!
//! | status | body | means |
//! |---|---|---|
//! | 200 | `user`, `name`, `type`, `roles` | the account |
//! | 200, 400, 403 | `error` that is not 0, false, empty or null | the token is refused |
//! | 404 | `error` that is a number and not 0 | the token is refused |
//! | 401 | any | the token is refused |
//! | all else | | trouble: nothing was said of the token |
//!
//! The seed's services number their errors. A text in a 404 is what a web server says of a wrong address: a base address with a
//! slip in it must not look as if each token were wrong.

use http::StatusCode;
use hubbub_core::ids::{User, UserId};
use hubbub_core::ports::accounts::Role;
use serde::Deserialize;
use serde_json::Value;

use super::super::foreign::{NumericDate, shown_name};

/// The `type` of an account that is a program.
const BOT: u64 = 3;

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The token stands for this user.
    Valid {
        user: User,
        roles: Vec<Role>,
        /// When it ends, if the service says so: `exp` as in RFC 7662.
        end: Option<NumericDate>,
    },
    /// The token is not valid.
    Refused,
    /// Nothing about the token.
    Trouble(String),
}

#[derive(Deserialize)]
struct Complaint {
    #[serde(default)]
    error: Value,
}

#[derive(Deserialize)]
struct Valid {
    user: UserId,
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<u64>,
    roles: Option<Vec<String>>,
    exp: Option<NumericDate>,
}

/// Reads an answer. What is in it gets into no text of ours, for it might repeat the token.
pub fn read(status: StatusCode, body: &[u8]) -> Verdict {
    let error =
        serde_json::from_slice::<Complaint>(body).map(|complaint| complaint.error).unwrap_or_default();
    match status.as_u16() {
        401 => Verdict::Refused,
        200 | 400 | 403 if is_set(&error) => Verdict::Refused,
        404 if error.is_number() && is_set(&error) => Verdict::Refused,
        200 => match serde_json::from_slice::<Valid>(body) {
            Ok(valid) => of_account(valid),
            Err(_) => Verdict::Trouble("status 200 with a body that is no account".into()),
        },
        other => Verdict::Trouble(format!("status {other}")),
    }
}

fn is_set(error: &Value) -> bool {
    match error {
        Value::Null | Value::Bool(false) => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

fn of_account(valid: Valid) -> Verdict {
    // The seed asks a person for the role `user` and a bot for the role `bot`; the other one helps neither.
    let (name, role) = match valid.kind {
        Some(BOT) => ("bot", Role::Bot),
        _ => ("user", Role::User),
    };
    let has_it = valid.roles.iter().flatten().any(|given| given == name);
    let user = User { name: shown_name(valid.name.as_deref(), &valid.user), id: valid.user };
    Verdict::Valid { user, roles: if has_it { vec![role] } else { Vec::new() }, end: valid.exp }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Verdict {
        read(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    fn roles(body: &str) -> Vec<Role> {
        match of(200, body) {
            Verdict::Valid { roles, .. } => roles,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_account_is_read_as_the_seed_read_it() {
        let body = r#"{"user":"5f0c9a7e","name":"Ana","type":1,"roles":["user","admin"],"other":{}}"#;
        let user = User { id: UserId::parse("5f0c9a7e").unwrap(), name: "Ana".into() };
        assert_eq!(of(200, body), Verdict::Valid { user, roles: vec![Role::User], end: None });
        assert_eq!(roles(r#"{"error":0,"user":"u","type":3,"roles":["user","bot"]}"#), [Role::Bot]);
        assert_eq!(roles(r#"{"user":"u","type":3,"roles":["user"]}"#), []);
        assert_eq!(roles(r#"{"user":"u","type":1,"roles":["bot"]}"#), []);
        assert_eq!(roles(r#"{"user":"u"}"#), []);
        assert_eq!(roles(r#"{"user":"u","type":1,"roles":null}"#), []);
        let said = of(200, r#"{"user":"u","exp":1800000000}"#);
        assert!(matches!(said, Verdict::Valid { end: Some(end), .. } if end.millis().0 == 1_800_000_000_000));
    }

    #[test]
    fn a_body_with_an_error_is_a_refusal() {
        for (status, body) in [
            (200, r#"{"error":1000}"#),
            (200, r#"{"error":1000,"user":"u","roles":["user"]}"#),
            (400, r#"{"error":{"code":3},"data":[]}"#),
            (403, r#"{"error":"invalid_token"}"#),
            (404, r#"{"error":604}"#),
            (401, ""),
            (401, "<html>"),
        ] {
            assert_eq!(of(status, body), Verdict::Refused, "{status} {body}");
        }
    }

    #[test]
    fn a_service_in_trouble_refuses_nobody_and_lets_nobody_in() {
        for (status, body) in [
            (200, ""),
            (200, "<html>"),
            (200, "{}"),
            (200, "[]"),
            (200, "null"),
            (200, r#"{"user":"../../etc","roles":["user"]}"#),
            (200, r#"{"user":7,"roles":["user"]}"#),
            (200, r#"{"user":"u","roles":"user"}"#),
            (200, r#"{"user":"u","type":1,"roles":["user"]"#),
            (201, r#"{"user":"u","type":1,"roles":["user"]}"#),
            (302, r#"{"user":"u","type":1,"roles":["user"]}"#),
            (400, "{}"),
            (403, "<html>"),
            (404, r#"{"error":"Not Found","statusCode":404}"#),
            (429, r#"{"error":429}"#),
            (500, r#"{"error":500}"#),
            (503, ""),
        ] {
            assert!(matches!(of(status, body), Verdict::Trouble(_)), "{status} {body}");
        }
    }
}
