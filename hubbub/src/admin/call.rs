//! One call of the admin API, and what its failure means to a person.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hubbub_core::ports::accounts::Secret;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How long a call may take: longer than the server waits for others.
const CALL_MAX: Duration = Duration::from_secs(10);
/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where the admin API is, and who calls.
pub(super) struct Api {
    pub(super) url: String,
    pub(super) credential: Secret,
}

/// Why there is no answer.
pub(super) enum Failed {
    /// The server said no, or that it can't: its code and sentence.
    Refused(String),
    /// There was nobody to say anything.
    Unreached(String),
}

impl Failed {
    /// The same, and what to do about it.
    pub(super) fn and(self, more: &str) -> Self {
        match self {
            Self::Refused(why) => Self::Refused(why + more),
            Self::Unreached(why) => Self::Unreached(why + more),
        }
    }
}

impl Api {
    /// Calls `path` with a body if there is one. The answer as JSON; null if it has none.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Failed> {
        let unreached = |why: String| Failed::Unreached(format!("{}: {why}", self.url));
        let uri: Uri = format!("{}{}{path}", self.url, hubbub_wire::admin::PREFIX)
            .parse()
            .map_err(|_| unreached("is not an address; give --url as http://HOST:PORT".into()))?;
        let mut request =
            Request::new(Full::new(Bytes::from(body.map_or_else(String::new, |b| b.to_string()))));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", self.credential.reveal()))
            .map_err(|_| unreached("the credential has characters that can't be sent".into()))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let exchange = async {
            let tls = HttpsConnectorBuilder::new()
                .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())
                .map_err(|error| error.to_string())?;
            let client =
                Client::builder(TokioExecutor::new()).build(tls.https_or_http().enable_http1().build());
            let (head, body) = client.request(request).await.map_err(|error| chain(&error))?.into_parts();
            let body =
                Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| chain(&*error))?;
            Ok((head.status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(CALL_MAX, exchange)
            .await
            .map_err(|_| unreached(format!("no answer within {} s", CALL_MAX.as_secs())))?
            .map_err(|why: String| {
                unreached(format!(
                    "{why}\nis that where a gateway has its admin API? It listens on --admin-interface and --admin-port of a \
                     gateway, or the all-in-one, that was given an ADMIN_TOKEN"
                ))
            })?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        match status.is_success() {
            true => Ok(answer),
            false => Err(Failed::Refused(sentence(status.as_u16(), &answer))),
        }
    }

    /// The same, as what the server means by it.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<(T, Value), Failed> {
        understood(self.call(Method::GET, path, None).await?)
    }
}

/// An answer as what the server means by it, and as it came.
pub(super) fn understood<T: DeserializeOwned>(answer: Value) -> Result<(T, Value), Failed> {
    match T::deserialize(&answer) {
        Ok(meant) => Ok((meant, answer)),
        Err(error) => Err(Failed::Refused(format!(
            "the answer is of another version of Hubbub, or not Hubbub's ({error}); --json shows it as it is"
        ))),
    }
}

/// What a refusal says, and what to do about it where the server can't know.
fn sentence(status: u16, problem: &Value) -> String {
    let said = |name: &str| problem[name].as_str();
    let detail = said("detail").unwrap_or("the answer is not one of Hubbub's");
    let more = match (status, said("code")) {
        (401, _) => {
            "\nthe credential is not one that this deployment knows: compare --token-file or ADMIN_TOKEN with what the gateways were given"
        }
        (429, _) => {
            "\ntoo many wrong credentials came from this address; the right one is taken again in a moment"
        }
        (404, Some("bad_request")) => "\nis --url the admin API's address, and not the public door's?",
        _ => "",
    };
    let code = said("code").unwrap_or("no code");
    format!("{detail} ({code}, HTTP {status}){more}")
}

/// What an error says, and what is behind it.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
