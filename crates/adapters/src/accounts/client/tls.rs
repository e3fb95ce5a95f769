//! Whom an https call trusts: the machine's certificate authorities, and those of an option.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::super::option::BadOption;

const EXTRA: &str = "ACCOUNTS_CA";

/// Rules for https: TLS 1.2 and 1.3 by a provider that is named, so that it does not matter what another part of the process
/// made the default. Reads the machine's certificates from disk, which may take some 10 ms.
pub fn https(extra_roots_pem: Option<&str>) -> Result<ClientConfig, BadOption> {
    let mut roots = RootCertStore::empty();
    // What can't be read is left out: if the one that matters is among them, the calls say so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = extra_roots_pem {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|_| BadOption::new(EXTRA, "is not PEM"))?;
            let added = roots.add(certificate);
            added.map_err(|_| BadOption::new(EXTRA, "has a certificate that can't be read"))?;
        }
        if roots.len() == before {
            return Err(BadOption::new(EXTRA, "has no certificate"));
        }
    }
    if roots.is_empty() {
        return Err(BadOption::new(EXTRA, "is needed, for this machine has no certificate authorities"));
    }
    build(roots)
}

/// Rules for a client that only calls by http, where they are not used.
pub fn none() -> Result<ClientConfig, BadOption> {
    build(RootCertStore::empty())
}

fn build(roots: RootCertStore) -> Result<ClientConfig, BadOption> {
    let provider = Arc::new(provider::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| BadOption::new(EXTRA, error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
