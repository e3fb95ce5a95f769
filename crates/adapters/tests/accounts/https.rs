//! The same over https.

use std::sync::Arc;

use hubbub_adapters::accounts::HttpOptions;
use rustls::ServerConfig;

use super::server::Doing;
use super::*;

/// A server with a certificate for a name, and that certificate in PEM.
async fn start(name: &str) -> (Server, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    (Server::start_with(Doing::Answer(200, ANA.into()), Some(tls)).await, made.cert.pem())
}

fn trusting(server: &Server, pem: &str) -> AuthServer {
    let http = HttpOptions { extra_roots_pem: Some(pem.into()), ..Default::default() };
    asking(server, AuthServerOptions { http, ..Default::default() })
}

#[tokio::test]
async fn a_service_with_a_trusted_certificate_is_asked() {
    let (server, pem) = start("localhost").await;
    assert_eq!(validate(&trusting(&server, &pem), "t").await.unwrap().user.id.as_str(), "ana");
}

#[tokio::test]
async fn another_service_never_sees_the_token() {
    let (server, _) = start("localhost").await;
    let (misnamed, misnamed_pem) = start("elsewhere.example").await;
    let (_, other_pem) = start("localhost").await;
    for (server, pem) in [(&server, &other_pem), (&misnamed, &misnamed_pem)] {
        let answer = validate(&trusting(server, pem), "t").await;
        let said =
            matches!(&answer, Err(AccountsError::Unavailable { inside }) if inside.contains("certificate"));
        assert!(said, "{answer:?}");
        assert_eq!(server.calls(), 0);
    }
}

#[tokio::test]
async fn certificates_that_can_not_be_read_are_told() {
    let (server, _) = start("localhost").await;
    for bad in ["", "hunter2", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let http = HttpOptions { extra_roots_pem: Some(bad.into()), ..Default::default() };
        let error =
            AuthServer::new(&server.url, AuthServerOptions { http, ..Default::default() }).err().unwrap();
        assert!(error.to_string().starts_with("ACCOUNTS_CA "), "{error}");
    }
}
