//! Addresses of services, checked once. Pure.

use http::Uri;

use super::super::option::BadOption;

/// An absolute http or https address without user, password and fragment.
pub fn parse(option: &'static str, text: &str) -> Result<Uri, BadOption> {
    let bad = |what: &str| Err(BadOption::new(option, what));
    let Ok(url) = text.trim().parse::<Uri>() else {
        return bad("must be an address such as https://accounts.example.org");
    };
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return bad("must begin with http:// or https://");
    }
    match url.authority() {
        // It would be in the process list and in the settings that are printed.
        Some(authority) if authority.as_str().contains('@') => bad("must not have a user or a password"),
        Some(authority) if authority.host().is_empty() || authority.host().contains(',') => {
            bad("must have a host, and only one")
        }
        None => bad("must have a host"),
        Some(_) if text.contains('#') => bad("must not have a fragment"),
        Some(_) => Ok(url),
    }
}

/// An address under a base address, which may have a path of its own but no query.
pub fn under(option: &'static str, base: &str, path: &str) -> Result<Uri, BadOption> {
    let base = parse(option, base)?;
    if base.query().is_some() {
        return Err(BadOption::new(option, "must not have a query"));
    }
    parse(option, &format!("{}{path}", base.to_string().trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_goes_under_the_base() {
        for (base, url) in [
            ("https://a.example", "https://a.example/v1/x"),
            (" https://a.example/ ", "https://a.example/v1/x"),
            ("http://a.example:8080/accounts/", "http://a.example:8080/accounts/v1/x"),
            ("http://[::1]:3000", "http://[::1]:3000/v1/x"),
        ] {
            assert_eq!(under("AUTH_SERVER", base, "/v1/x").unwrap(), url);
        }
    }

    #[test]
    fn other_addresses_are_refused_and_not_quoted() {
        for bad in [
            "",
            "a.example",
            "/a",
            "ftp://a.example",
            "https://",
            "https://user:hunter2@a.example",
            "https:///a",
            "https://accounts.example,example.com",
            "https://a.example/#hunter2",
            "https://a.example/?hunter2",
            "https://a b",
        ] {
            let error = under("AUTH_SERVER", bad, "/v1/x").unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.starts_with("AUTH_SERVER ") && !text.contains("hunter2"), "{text}");
        }
        assert!(parse("JWKS_URL", "https://a.example/keys?p=x").is_ok());
    }
}
