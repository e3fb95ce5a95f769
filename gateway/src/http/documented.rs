//! Which problems each operation can end in, for its description: examples are made by the same table as the problems
//! themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use hubbub_core::ports::accounts::AccountsError;
use hubbub_core::room::Refusal;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use super::body::SMALL_BYTES_MAX;
use super::fault::{Attempt, Fault, bad_field, no_such_room};
use crate::error::Failure;

/// An operation's responses by status.
pub type Responses = BTreeMap<String, RefOr<Response>>;

/// Defines a type that stands for the problems of an operation.
macro_rules! problems {
    ($name:ident, $attempt:ident: $($faults:expr),+ $(,)?) => {
        #[doc = "The problems that the operation can end in."]
        pub struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> $crate::http::documented::Responses {
                let faults = [$(Vec::from($faults)),+].concat();
                $crate::http::documented::responses($crate::http::fault::Attempt::$attempt, &faults)
            }
        }
    };
}
pub(super) use problems;

/// What any operation that needs a token can end in, whoever's it is.
pub fn with_token() -> [Fault; 4] {
    let away = AccountsError::Unavailable { inside: String::new() };
    [
        Fault::NoToken,
        AccountsError::InvalidToken.into(),
        Failure::TooQuick(Duration::from_millis(1_500)).into(),
        away.into(),
    ]
}

/// What any operation can end in that needs the token of someone who may chat.
pub fn signed_in() -> Vec<Fault> {
    [&with_token()[..], &[Failure::RoleMissing.into(), Failure::Banned.into()]].concat()
}

/// What any operation on a room can end in.
pub fn in_room() -> [Fault; 2] {
    [no_such_room(), Failure::Unavailable.into()]
}

/// What any operation with a body can end in.
pub fn with_body(field: &'static str) -> [Fault; 4] {
    with_body_up_to(field, SMALL_BYTES_MAX)
}

/// What any operation with a body of up to so many bytes can end in.
pub fn with_body_up_to(field: &'static str, max: usize) -> [Fault; 4] {
    let missing = bad_field(field, format!("{field} is missing"));
    [missing, Fault::NotJson, Fault::BodyTooSlow, Fault::BodyTooLarge(max)]
}

/// What an operation for a room's owner can end in.
pub fn for_owner() -> [Fault; 1] {
    [Refusal::NotOwner.into()]
}

/// The responses that show these faults: one a status, with an example for each.
pub fn responses(attempt: Attempt, faults: &[Fault]) -> Responses {
    let mut by_status: BTreeMap<u16, Vec<&Fault>> = BTreeMap::new();
    for fault in faults {
        by_status.entry(fault.kind().status.as_u16()).or_default().push(fault);
    }
    by_status
        .into_iter()
        .map(|(status, faults)| (status.to_string(), response(attempt, &faults).into()))
        .collect()
}

fn response(attempt: Attempt, faults: &[&Fault]) -> Response {
    let mut titles: Vec<_> = faults.iter().map(|fault| fault.kind().title).collect();
    titles.dedup();
    let examples = faults.iter().enumerate().map(|(n, fault)| {
        let problem = fault.problem(attempt);
        let name = format!("{}_{}", fault.kind().name, n + 1);
        let example =
            ExampleBuilder::new().summary(&problem.detail).value(serde_json::to_value(&problem).ok());
        (name, RefOr::T(example.build()))
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .examples_from_iter(examples)
        .build();
    ResponseBuilder::new().description(titles.join("; ")).content("application/problem+json", content).build()
}
