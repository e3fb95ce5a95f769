//! Quotes of a service: one GET each, with a bound on its time, its size and how many run at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::aws_lc_rs as provider;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::prices::{BadPrices, Price};

/// A whole call, from waiting for a place to the last byte.
const TIME_MAX: Duration = Duration::from_secs(3);
const BODY_BYTES_MAX: usize = 64 * 1_024;
/// Calls at once.
const CALLS_MAX: usize = 16;
/// How long a connection is kept without a call: less than servers usually do.
const IDLE_MAX: Duration = Duration::from_secs(4);
const CODE: &str = "{code}";

/// Asks one service.
#[derive(Debug)]
pub struct Quotes {
    url: String,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    places: Semaphore,
}

/// Why there is no quote. Says nothing of the URL, which may have a key in it.
#[derive(Debug, thiserror::Error)]
pub enum QuoteError {
    #[error("no answer in time")]
    TimedOut,
    #[error("the service can't be reached: {0}")]
    Unreachable(String),
    #[error("the service answered {0}")]
    Refused(StatusCode),
    #[error("the answer broke off or is too large")]
    Broken,
    #[error("the answer has no price that can be read")]
    Unreadable,
}

impl Quotes {
    pub fn at(url: &str) -> Result<Self, BadPrices> {
        let bad = |what: &str| Err(BadPrices(format!("the quote URL {what}")));
        let with = |code| filled(url, code).parse::<Uri>();
        let (Ok(one), Ok(other)) = (with("1"), with("2")) else { return bad("is not a URL") };
        if !matches!(one.scheme_str(), Some("http" | "https")) {
            return bad("must begin with http:// or https://");
        }
        if one.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return bad("must not have a user or a password");
        }
        // Who writes a command must not choose the host that is asked.
        if one.authority() != other.authority() || one.path_and_query() == other.path_and_query() {
            return bad("must have {code} behind its host");
        }
        let https = url.starts_with("https:");
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(trust(https)?).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(CALLS_MAX)
            .build(connector.wrap_connector(tcp));
        Ok(Self { url: url.into(), client, places: Semaphore::new(CALLS_MAX) })
    }

    pub async fn of(&self, code: &str) -> Result<Option<Price>, QuoteError> {
        timeout(TIME_MAX, self.ask(code)).await.map_err(|_| QuoteError::TimedOut)?
    }

    async fn ask(&self, code: &str) -> Result<Option<Price>, QuoteError> {
        let _place = self.places.acquire().await;
        let url = filled(&self.url, code).parse().map_err(|_| QuoteError::Unreadable)?;
        let response = self.client.get(url).await.map_err(|error| QuoteError::Unreachable(causes(&error)))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            other => return Err(QuoteError::Refused(other)),
        }
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
        read(&body.map_err(|_| QuoteError::Broken)?.to_bytes())
    }
}

/// The URL of a code, of which everything but letters, digits, `-`, `.`, `_` and `~` is percent-encoded.
fn filled(url: &str, code: &str) -> String {
    let encoded: String = code
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect();
    url.replace(CODE, &encoded)
}

/// Whom https calls trust: the machine's certificate authorities.
fn trust(https: bool) -> Result<ClientConfig, BadPrices> {
    let mut roots = RootCertStore::empty();
    if https {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(BadPrices(
                "a quote URL of https needs certificate authorities on this machine".into(),
            ));
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()));
    let builder =
        builder.with_safe_default_protocol_versions().map_err(|error| BadPrices(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The price in an answer; nothing when the service knows no such code.
fn read(body: &[u8]) -> Result<Option<Price>, QuoteError> {
    let text = std::str::from_utf8(body).map_err(|_| QuoteError::Unreadable)?.trim();
    let price = match text.starts_with('{') {
        true => from_json(text),
        false => from_csv(text),
    };
    match price.as_deref() {
        Some("N/D") => Ok(None),
        Some(price) => Price::read(price).map(Some).ok_or(QuoteError::Unreadable),
        None => Err(QuoteError::Unreadable),
    }
}

fn from_json(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        price: serde_json::Number,
    }
    Some(serde_json::from_str::<Answer>(text).ok()?.price.to_string())
}

fn from_csv(text: &str) -> Option<String> {
    let mut lines = text.lines();
    let column = fields(lines.next()?).iter().position(|name| name.eq_ignore_ascii_case("close"))?;
    fields(lines.next()?).into_iter().nth(column)
}

/// The fields of a line, of which those in double quotes may have commas.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for char in line.trim().chars() {
        match (char, fields.last_mut()) {
            ('"', _) => quoted = !quoted,
            (',', _) if !quoted => fields.push(String::new()),
            (other, Some(field)) => field.push(other),
            (_, None) => {}
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    fn shown(body: &str) -> Option<Option<String>> {
        read(body.as_bytes()).ok().map(|price| price.map(|price| price.to_string()))
    }

    #[test]
    fn a_price_is_read_from_csv_and_json() {
        let head = "Symbol,Date,Time,Open,High,Low,Close,Volume";
        for (body, price) in [
            (
                format!("{head}\r\nAAPL.US,2022-11-04,21:00:06,142.09,142.67,134.38,138.38,140814803\r\n"),
                "138.38",
            ),
            ("Name,Close\n\"Apple, Inc.\",\"93.4\"".into(), "93.40"),
            ("{\"price\": 93.42, \"at\": 1}".into(), "93.42"),
            (" {\"price\": 93}".into(), "93.00"),
        ] {
            assert_eq!(shown(&body), Some(Some(price.into())), "{body}");
        }
        assert_eq!(shown(&format!("{head}\nX,N/D,N/D,N/D,N/D,N/D,N/D,N/D")), Some(None));
        for bad in [
            "",
            head,
            "Close",
            "Close\nx",
            "a,b\n1,2",
            "{\"price\": \"1\"}",
            "{\"price\": -1}",
            "{}",
            "<html>",
        ] {
            assert_eq!(shown(bad), None, "{bad}");
        }
        assert!(read(b"\xff").is_err());
    }

    #[test]
    fn a_url_has_a_place_for_the_code_behind_its_host() {
        for good in ["http://a.example/q?s={code}&f=sd2t2ohlcv&h&e=csv", "https://a.example:8443/{code}"] {
            assert!(Quotes::at(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a.example/{code}",
            "ftp://a.example/{code}",
            "http://a.example/",
            "http://a.example/#{code}",
            "http://{code}.example/",
            "http://{code}/{code}",
            "http://user:hunter2@a.example/{code}",
            "http://a b/{code}",
        ] {
            let error = Quotes::at(bad).expect_err(bad).to_string();
            assert!(error.starts_with("the quote URL ") && !error.contains("hunter2"), "{error}");
        }
        assert_eq!(
            filled("http://a.example/?s={code}", "^A&B=/é"),
            "http://a.example/?s=%5EA%26B%3D%2F%C3%A9"
        );
    }

    /// A service that gives one answer and tells what it was asked.
    fn service(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/q?s={{code}}", listener.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1_024];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        (url, asked)
    }

    async fn ask(answer: &'static str) -> (Result<Option<Price>, QuoteError>, String) {
        let (url, asked) = service(answer);
        let quote = Quotes::at(&url).unwrap().of("A&B").await;
        (quote, asked.join().unwrap())
    }

    #[tokio::test]
    async fn a_service_is_asked_for_the_code() {
        let (quote, asked) = ask("HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"price\": 12}").await;
        assert_eq!(quote.unwrap(), Price::read("12"));
        assert!(asked.starts_with("GET /q?s=A%26B HTTP/1.1\r\n"), "{asked}");
        let (quote, _) = ask("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(quote.unwrap(), None);
        let (quote, _) = ask("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n").await;
        assert!(matches!(quote, Err(QuoteError::Refused(_))), "{quote:?}");
        let (quote, _) = ask("HTTP/1.1 302 Elsewhere\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n").await;
        assert!(matches!(quote, Err(QuoteError::Refused(_))), "{quote:?}");
        let (quote, _) = ask("HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n{").await;
        assert!(matches!(quote, Err(QuoteError::Broken)), "{quote:?}");
        let (quote, _) = ask("not HTTP\r\n\r\n").await;
        assert!(matches!(quote, Err(QuoteError::Unreachable(_))), "{quote:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_is_silent_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/{{code}}", listener.local_addr().unwrap());
        let quote = Quotes::at(&url).unwrap().of("A").await;
        assert!(matches!(quote, Err(QuoteError::TimedOut)), "{quote:?}");
    }
}
