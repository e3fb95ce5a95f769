//! The contract of the `Accounts` port, and of the accounts that are built in.
//!
//! Each sentence takes accounts that nobody has used yet, and whose tokens last for minutes at least unless it says otherwise.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::ids::User;
use crate::ports::accounts::{Account, Accounts, AccountsError, BuiltInAccounts, Registration, Role, Secret};

const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const PASSWORD: &str = "correct horse battery";

fn built_in(accounts: &dyn Accounts) -> &dyn BuiltInAccounts {
    accounts.built_in().expect("built-in accounts")
}

fn secret(text: &str) -> Secret {
    Secret::new(text.into())
}

async fn register(accounts: &dyn Accounts, name: &str, email: &str) -> Result<User, AccountsError> {
    let registration = Registration { name: name.into(), email: email.into(), password: secret(PASSWORD) };
    built_in(accounts).register(registration, FROM).await
}

async fn log_in(accounts: &dyn Accounts, email: &str, password: &str) -> Result<Secret, AccountsError> {
    built_in(accounts).log_in(email.into(), secret(password), FROM).await
}

/// A user of the name Ana, and a token for her.
async fn ana(accounts: &dyn Accounts) -> (User, Secret) {
    let user = register(accounts, "Ana", "ana@example.org").await.expect("registered");
    (user, log_in(accounts, "ana@example.org", PASSWORD).await.expect("logged in"))
}

async fn validate(accounts: &dyn Accounts, token: &str) -> Result<Account, AccountsError> {
    accounts.validate(&secret(token)).await
}

/// Who registers can log in, in any spelling of the address, and the token stands for them.
pub async fn a_token_stands_for_who_logged_in(accounts: &dyn Accounts) {
    let (ana, token) = ana(accounts).await;
    let bea = register(accounts, "  Bea ", " Bea@Example.org ").await.expect("registered");
    assert_eq!(&*bea.name, "Bea");
    assert_ne!(ana.id, bea.id);
    let account = accounts.validate(&token).await.expect("valid");
    assert_eq!((account.user, account.roles), (ana, vec![Role::User]));
    let token = log_in(accounts, "BEA@example.ORG", PASSWORD).await.expect("logged in");
    assert_eq!(accounts.validate(&token).await.expect("valid").user, bea);
}

/// An address has one account, in whatever case it is written.
pub async fn an_address_is_taken_in_any_case(accounts: &dyn Accounts) {
    let (user, _) = ana(accounts).await;
    let again = register(accounts, "Other", "ANA@Example.org").await;
    assert_eq!(again, Err(AccountsError::AddressTaken));
    let token = log_in(accounts, "ana@example.org", PASSWORD).await.expect("logged in");
    assert_eq!(accounts.validate(&token).await.expect("valid").user, user);
}

/// A wrong password, an unknown address and no address at all get the same answer.
pub async fn wrong_credentials_do_not_say_what_is_wrong(accounts: &dyn Accounts) {
    ana(accounts).await;
    for (email, password) in [
        ("ana@example.org", "another password"),
        ("ana@example.org", "short"),
        ("bea@example.org", PASSWORD),
        ("not an address", PASSWORD),
    ] {
        assert_eq!(
            log_in(accounts, email, password).await,
            Err(AccountsError::InvalidCredentials),
            "{email}"
        );
    }
}

/// A field that is wrong is named, and makes no account.
pub async fn a_wrong_field_is_named(accounts: &dyn Accounts) {
    let long = "x".repeat(257);
    for (name, email, password, wrong) in [
        ("", "ana@example.org", PASSWORD, "name"),
        ("a\nb", "ana@example.org", PASSWORD, "name"),
        (&*"x".repeat(81), "ana@example.org", PASSWORD, "name"),
        ("Ana", "ana", PASSWORD, "email"),
        ("Ana", "ana@example@org", PASSWORD, "email"),
        ("Ana", "ana@example.org", "1234567", "password"),
        ("Ana", "ana@example.org", &long, "password"),
    ] {
        let registration =
            Registration { name: name.into(), email: email.into(), password: secret(password) };
        let answer = built_in(accounts).register(registration, FROM).await;
        assert!(matches!(answer, Err(AccountsError::BadField { field, .. }) if field == wrong), "{answer:?}");
    }
    ana(accounts).await;
}

/// Who guesses is made to wait, and told for how long, whether the address is known or not. Other accounts are not
/// concerned, nor is a user who never fails.
pub async fn guessing_is_limited_for_each_account(accounts: &dyn Accounts) {
    ana(accounts).await;
    register(accounts, "Bea", "bea@example.org").await.expect("registered");
    let mut tries = Vec::new();
    for email in ["ana@example.org", "nobody@example.org"] {
        let mut wrong = 0;
        let refused = loop {
            match log_in(accounts, email, "another password").await {
                Err(AccountsError::InvalidCredentials) if wrong < 100 => wrong += 1,
                other => break other,
            }
        };
        let told = matches!(refused, Err(AccountsError::RateLimited { retry_after }) if retry_after > Duration::ZERO);
        assert!(told, "{refused:?} after {wrong}");
        tries.push(wrong);
    }
    assert_eq!(tries[0], tries[1], "the limit tells the two apart");
    for _ in 0..tries[0] * 2 {
        log_in(accounts, "bea@example.org", PASSWORD).await.expect("logged in");
    }
}

/// A token is refused from its end on. `over_at_once`: accounts whose tokens last for no time at all.
pub async fn an_expired_token_is_refused(over_at_once: &dyn Accounts) {
    let (_, token) = ana(over_at_once).await;
    assert_eq!(over_at_once.validate(&token).await, Err(AccountsError::InvalidToken));
}

/// A token counts where it was given. `elsewhere`: accounts of another store.
pub async fn a_token_of_another_key_is_refused(here: &dyn Accounts, elsewhere: &dyn Accounts) {
    let ((_, token), _) = (ana(elsewhere).await, ana(here).await);
    assert!(elsewhere.validate(&token).await.is_ok());
    assert_eq!(here.validate(&token).await, Err(AccountsError::InvalidToken));
}

/// A token counts on every node. `one`, `other`: accounts of the same store.
pub async fn a_token_counts_on_every_node(one: &dyn Accounts, other: &dyn Accounts) {
    let (user, token) = ana(one).await;
    assert_eq!(other.validate(&token).await.expect("valid").user, user);
}

/// A token that claims to need no signature, or another algorithm, is refused.
pub async fn an_algorithm_of_the_callers_choice_is_refused(accounts: &dyn Accounts) {
    let (_, token) = ana(accounts).await;
    let (_, rest) = token.reveal().split_once('.').expect("a header");
    let (claims, signature) = rest.split_once('.').expect("claims");
    // {"alg":"none","typ":"JWT"}, {"alg":"None"}, {"alg":"HS512","typ":"JWT"}, {"alg":"RS256","typ":"JWT"}, {}
    for header in [
        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0",
        "eyJhbGciOiJOb25lIn0",
        "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9",
        "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9",
        "e30",
    ] {
        for signature in ["", signature] {
            let forged = format!("{header}.{claims}.{signature}");
            assert_eq!(validate(accounts, &forged).await, Err(AccountsError::InvalidToken), "{header}");
        }
    }
}

/// A token is whole or nothing: no character of it can be changed, added or left out.
pub async fn a_tampered_token_is_refused(accounts: &dyn Accounts) {
    let (_, token) = ana(accounts).await;
    let token = token.reveal();
    assert!(token.is_ascii());
    for at in 0..token.len() {
        let (before, after) = (&token[..at], &token[at + 1..]);
        let other = if token.as_bytes()[at] == b'A' { 'B' } else { 'A' };
        for forged in [format!("{before}{other}{after}"), format!("{before}{after}"), before.into()] {
            assert_eq!(validate(accounts, &forged).await, Err(AccountsError::InvalidToken), "at {at}");
        }
    }
    for forged in [format!("{token}A"), format!("{token}."), format!("{token}="), format!(" {token}")] {
        assert_eq!(validate(accounts, &forged).await, Err(AccountsError::InvalidToken));
    }
}

/// Neither a password nor a token is in anything that can be printed.
pub async fn nothing_secret_is_printed(accounts: &dyn Accounts) {
    let (_, token) = ana(accounts).await;
    let registration =
        Registration { name: "Ana".into(), email: "ana@example.org".into(), password: secret(PASSWORD) };
    let mut printed = vec![format!("{registration:?} {token:?}")];
    let tampered = format!("{}A", token.reveal());
    let refused = [
        built_in(accounts).register(registration, FROM).await.map(|_| ()),
        log_in(accounts, "bea@example.org", PASSWORD).await.map(|_| ()),
        validate(accounts, &tampered).await.map(|_| ()),
    ];
    for answer in refused {
        let error = answer.expect_err("refused");
        printed.push(format!("{error} {error:?}"));
    }
    for text in printed {
        assert!(!text.contains(PASSWORD) && !text.contains(token.reveal()), "{text}");
    }
}
