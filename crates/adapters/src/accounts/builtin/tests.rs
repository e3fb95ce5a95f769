//! What the contract suite can't see: the budgets of callers, the line for hashing, a store that is away.

use std::collections::HashMap;

use hubbub_core::ports::store::StoreError;

use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A store that can be away.
#[derive(Default)]
struct Rows {
    rows: Mutex<HashMap<String, AccountRow>>,
    is_away: std::sync::atomic::AtomicBool,
}

impl Rows {
    fn answer<T: Send + 'static>(
        &self,
        answer: impl FnOnce(&mut HashMap<String, AccountRow>) -> Result<T, AccountStoreError>,
    ) -> PortFuture<'_, Result<T, AccountStoreError>> {
        let is_away = self.is_away.load(std::sync::atomic::Ordering::Relaxed);
        let away = || Err(AccountStoreError::Store(StoreError::Unavailable { inside: "away".into() }));
        Box::pin(std::future::ready(if is_away { away() } else { answer(&mut self.rows.lock().unwrap()) }))
    }
}

impl AccountStore for Rows {
    fn insert(&self, account: AccountRow) -> PortFuture<'_, Result<(), AccountStoreError>> {
        self.answer(|rows| match rows.contains_key(&account.email) {
            true => Err(AccountStoreError::Taken),
            false => Ok(_ = rows.insert(account.email.clone(), account)),
        })
    }

    fn by_email(&self, email: String) -> PortFuture<'_, Result<Option<AccountRow>, AccountStoreError>> {
        self.answer(|rows| Ok(rows.get(&email).cloned()))
    }

    fn shared_secret(
        &self,
        _: &'static str,
        candidate: Vec<u8>,
    ) -> PortFuture<'_, Result<Vec<u8>, AccountStoreError>> {
        self.answer(|_| Ok(candidate))
    }
}

async fn open(options: BuiltInOptions) -> (Arc<Rows>, BuiltIn) {
    let store = Arc::new(Rows::default());
    (store.clone(), BuiltIn::open(store, options).await.unwrap())
}

fn registration(email: &str) -> Registration {
    Registration { name: "Ana".into(), email: email.into(), password: secret("a right password") }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.into())
}

async fn log_in(accounts: &BuiltIn, password: &str, from: IpAddr) -> Result<Secret, AccountsError> {
    accounts.log_in("ana@example.org".into(), secret(password), from).await
}

fn once_a_minute() -> Rate {
    Rate { burst: 1, interval: Duration::from_secs(60) }
}

#[tokio::test]
async fn a_caller_has_a_budget_of_logins_and_one_of_registrations() {
    let options =
        BuiltInOptions { logins: once_a_minute(), registrations: once_a_minute(), ..Default::default() };
    let (_, accounts) = open(options).await;
    accounts.register(registration("ana@example.org"), HERE).await.unwrap();
    let second = accounts.register(registration("bea@example.org"), HERE).await;
    assert!(matches!(second, Err(AccountsError::RateLimited { retry_after }) if retry_after.as_secs() >= 50));
    let bad = accounts.register(registration("no address"), HERE).await;
    assert!(matches!(bad, Err(AccountsError::BadField { .. })), "a slip in the form costs nothing");
    assert!(log_in(&accounts, "a right password", HERE).await.is_ok());
    assert!(matches!(
        log_in(&accounts, "a right password", HERE).await,
        Err(AccountsError::RateLimited { .. })
    ));
    let elsewhere: IpAddr = "2001:db8::1".parse().unwrap();
    assert!(log_in(&accounts, "a right password", elsewhere).await.is_ok());
    let beside: IpAddr = "2001:db8::ffff:2".parse().unwrap();
    assert!(matches!(
        log_in(&accounts, "a right password", beside).await,
        Err(AccountsError::RateLimited { .. })
    ));
}

#[tokio::test]
async fn many_guesses_at_once_find_no_more_than_the_budget() {
    let (_, accounts) = open(BuiltInOptions::default()).await;
    let accounts = Arc::new(accounts);
    let guesses: Vec<_> = (0..40)
        .map(|n| {
            let accounts = accounts.clone();
            tokio::spawn(async move { log_in(&accounts, &format!("guess number {n}"), HERE).await })
        })
        .collect();
    let mut checked = 0;
    for guess in guesses {
        checked += u32::from(guess.await.unwrap() == Err(AccountsError::InvalidCredentials));
    }
    assert_eq!(checked, BuiltInOptions::default().failures.burst);
}

#[tokio::test]
async fn who_keeps_failing_keeps_the_owner_out_only_if_they_are_many() {
    let (_, accounts) = open(BuiltInOptions { failures: once_a_minute(), ..Default::default() }).await;
    accounts.register(registration("ana@example.org"), HERE).await.unwrap();
    for caller in 1..=10 {
        let from = IpAddr::from([192, 0, 2, caller]);
        assert_eq!(log_in(&accounts, "a wrong password", from).await, Err(AccountsError::InvalidCredentials));
        let again = log_in(&accounts, "a wrong password", from).await;
        assert!(matches!(again, Err(AccountsError::RateLimited { .. })), "{again:?}");
        let owner = log_in(&accounts, "a right password", HERE).await;
        assert_eq!(owner.is_ok(), caller < 10, "after {caller}: {owner:?}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_refuses_nobody_and_costs_nobody() {
    let options = BuiltInOptions { failures: once_a_minute(), ..Default::default() };
    let (store, accounts) = open(options).await;
    accounts.register(registration("ana@example.org"), HERE).await.unwrap();
    let token = log_in(&accounts, "a right password", HERE).await.unwrap();
    store.is_away.store(true, std::sync::atomic::Ordering::Relaxed);
    for _ in 0..3 {
        let answer = log_in(&accounts, "a right password", HERE).await;
        assert!(matches!(answer, Err(AccountsError::Unavailable { .. })), "{answer:?}");
    }
    assert!(accounts.validate(&token).await.is_ok(), "a token needs no store");
    store.is_away.store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(log_in(&accounts, "a right password", HERE).await.is_ok());
}

#[tokio::test]
async fn a_full_line_for_hashing_is_a_limit_and_costs_the_account_nothing() {
    let options = BuiltInOptions {
        hashing_max: 1,
        hashing_waiting_max: 0,
        failures: once_a_minute(),
        ..Default::default()
    };
    let (_, accounts) = open(options).await;
    accounts.register(registration("ana@example.org"), HERE).await.unwrap();
    let mut hashing = Box::pin(accounts.register(registration("bea@example.org"), HERE));
    // Polled once, it has the only place.
    tokio::select! { biased; _ = &mut hashing => panic!("too quick"), () = std::future::ready(()) => {} }
    let refused = log_in(&accounts, "a right password", HERE).await;
    assert_eq!(refused, Err(AccountsError::RateLimited { retry_after: FULL_RETRY_AFTER }));
    hashing.await.unwrap();
    assert!(log_in(&accounts, "a right password", HERE).await.is_ok());
}

#[test]
fn a_user_id_is_32_hexadecimal_digits() {
    let id = uuid::Uuid::now_v7().simple().to_string();
    assert!(id.len() == 32 && UserId::parse(&id).is_ok());
}
