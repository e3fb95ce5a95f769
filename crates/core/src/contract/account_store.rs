//! The contract of the `AccountStore` port.

use crate::ids::{Millis, UserId};
use crate::ports::accounts::{AccountRow, AccountStore, AccountStoreError, Secret};

/// Opens the store under test: each call the same stored data, after what the call before returned was dropped.
pub type Open<'a> = &'a mut dyn FnMut() -> Box<dyn AccountStore>;

fn account(id: &str, email: &str) -> AccountRow {
    AccountRow {
        id: UserId::parse(id).expect("a user"),
        name: format!("Name of {id} \u{1f600}").into(),
        email: email.into(),
        password_hash: Secret::new(format!("$argon2id$v=19${id}")),
        created_at: Millis(1_234),
    }
}

/// An account is found by its address as it was kept, and no other is.
pub async fn an_account_is_found_by_its_address(store: &dyn AccountStore) {
    for n in 0..20 {
        store.insert(account(&format!("u{n}"), &format!("u{n}@example.org"))).await.expect("kept");
    }
    let found = store.by_email("u7@example.org".into()).await.expect("looked up");
    assert_eq!(found, Some(account("u7", "u7@example.org")));
    for unknown in ["u20@example.org", "u7@example.or", "", "%", "U7@example.org"] {
        assert_eq!(store.by_email(unknown.into()).await.expect("looked up"), None, "{unknown:?}");
    }
}

/// Of two accounts with one address, or one id, the first is kept.
pub async fn an_address_and_an_id_are_taken_once(store: &dyn AccountStore) {
    store.insert(account("u1", "a@example.org")).await.expect("kept");
    for again in [account("u2", "a@example.org"), account("u1", "b@example.org")] {
        assert!(matches!(store.insert(again).await, Err(AccountStoreError::Taken)));
    }
    let kept = store.by_email("a@example.org".into()).await.expect("looked up");
    assert_eq!(kept, Some(account("u1", "a@example.org")));
    assert_eq!(store.by_email("b@example.org".into()).await.expect("looked up"), None);
    let racing: Vec<_> =
        (0..10).map(|n| store.insert(account(&format!("r{n}"), "race@example.org"))).collect();
    let mut kept = 0;
    for insert in racing {
        match insert.await {
            Ok(()) => kept += 1,
            Err(AccountStoreError::Taken) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(kept, 1, "one of those who came at once");
}

/// A shared secret is the first candidate, for everyone; another name is another secret.
pub async fn a_shared_secret_is_the_first_candidate(store: &dyn AccountStore) {
    let candidates: Vec<_> = (0..10u8).map(|n| store.shared_secret("signing", vec![n; 32])).collect();
    let mut seen = Vec::new();
    for candidate in candidates {
        seen.push(candidate.await.expect("a secret"));
    }
    let kept = seen[0].clone();
    assert!(kept.len() == 32 && kept[0] < 10);
    assert!(seen.iter().all(|secret| *secret == kept), "one secret for all");
    assert_eq!(store.shared_secret("signing", vec![77]).await.expect("a secret"), kept);
    assert_eq!(store.shared_secret("other", vec![0, 255]).await.expect("a secret"), [0, 255]);
}

/// Accounts and secrets are there after the store was opened again.
pub async fn accounts_and_secrets_survive(open: Open<'_>) {
    {
        let store = open();
        store.insert(account("u1", "a@example.org")).await.expect("kept");
        assert_eq!(store.shared_secret("signing", vec![1, 2, 3]).await.expect("a secret"), [1, 2, 3]);
    }
    let store = open();
    let kept = store.by_email("a@example.org".into()).await.expect("looked up");
    assert_eq!(kept, Some(account("u1", "a@example.org")));
    assert!(matches!(store.insert(account("u2", "a@example.org")).await, Err(AccountStoreError::Taken)));
    assert_eq!(store.shared_secret("signing", vec![9]).await.expect("a secret"), [1, 2, 3]);
}
