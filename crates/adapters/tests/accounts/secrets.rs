//! No token is in a log, an error or a metric, whatever the service does with it.

use std::io::Write;
use std::sync::{Arc, Mutex};

use hubbub_adapters::accounts::{Jwt, JwtKeys, JwtOptions};
use tracing_subscriber::fmt::MakeWriter;

use super::server::Doing;
use super::*;

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn capture() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone());
    (log, tracing::subscriber::set_default(subscriber.finish()))
}

#[tokio::test]
async fn no_token_is_printed_by_the_adapter_that_asks() {
    let token = "hunter2hunter2";
    let (log, _capturing) = capture();
    let server = Server::start(Doing::Echo(200)).await;
    let options = AuthServerOptions { breaker_failures: 2, ..Default::default() };
    let (accounts, metrics) = counted(|| asking(&server, options));
    let mut printed = vec![format!("{:?}", secret(token))];
    let doings = [200, 302, 400, 404].map(Doing::Echo).into_iter();
    let more = [
        Doing::Answer(200, format!("{token}{}", " ".repeat(100_000))),
        Doing::Answer(200, format!(r#"{{"user":"{token}!","name":"{token}","roles":["{token}"]}}"#)),
        Doing::Echo(500),
        Doing::Close,
        // The breaker is open by now.
        Doing::Hang,
    ];
    for doing in doings.chain(more) {
        server.doing(doing);
        let error = validate(&accounts, token).await.unwrap_err();
        printed.push(format!("{error} {error:?}"));
    }
    printed.push(metrics.render());
    printed.push(log.text());
    assert!(log.text().contains("the account service fails"), "the log was not captured: {}", log.text());
    assert_eq!(log.text().matches("says nothing of the token").count(), 1, "not for each: {}", log.text());
    assert!(log.text().contains("TRACE") || log.text().contains("DEBUG"), "only what is loud was captured");
    for text in printed {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn no_token_is_printed_by_the_adapter_that_checks() {
    let (log, _capturing) = capture();
    let server = Server::start(Doing::Answer(500, String::new())).await;
    let of = |keys| Jwt::new(keys, JwtOptions::default()).unwrap();
    let with_secret = of(JwtKeys::Secret(secret(&"hunter2".repeat(6))));
    let with_set = of(JwtKeys::Jwks(server.url.clone()));
    // {"alg":"hunter2"}, {"alg":"ES256","kid":"hunter2"}, and claims {"sub":"hunter2 hunter2"}
    let tokens =
        ["hunter2", "eyJhbGciOiJodW50ZXIyIn0.e30.x", "eyJhbGciOiJFUzI1NiIsImtpZCI6Imh1bnRlcjIifQ.e30.x"];
    let signed = jsonwebtoken::encode(
        &jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256),
        &serde_json::json!({"sub": "hunter2 hunter2", "exp": u64::MAX}),
        &jsonwebtoken::EncodingKey::from_secret("hunter2".repeat(6).as_bytes()),
    );
    let signed = signed.unwrap();
    let mut printed = vec![format!("{:?}", JwtKeys::Secret(secret("hunter2")))];
    for token in tokens.into_iter().chain([&*signed]) {
        for accounts in [&with_secret, &with_set] {
            let error = validate(accounts, token).await.unwrap_err();
            printed.push(format!("{error} {error:?}"));
        }
    }
    assert!(
        log.text().contains("a token was refused") && log.text().contains("the key set could not be fetched")
    );
    printed.push(log.text());
    for text in printed {
        assert!(!text.contains("hunter2") && !text.contains(&signed), "{text}");
    }
}
