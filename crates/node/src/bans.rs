//! Users who are banned, as a process that lets users in knows them: read from where they are kept before it serves, told by others
//! at once, and read again every few seconds, since what the bus says may be lost.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hubbub_core::ids::UserId;
use hubbub_core::ports::bans::Bans;
use hubbub_core::ports::store::Stored;

/// How often bans are read again.
const READ_EVERY: Duration = Duration::from_secs(5);

/// The users who are banned. Memory: an id each; each is the deed of an operator.
#[derive(Default)]
pub struct Banned {
    known: Mutex<Known>,
    /// So that as long as there is none nothing is locked.
    any: AtomicBool,
}

#[derive(Default)]
struct Known {
    users: HashSet<UserId>,
    /// Rises with each change that was told: what was read before it may be older.
    told: u64,
}

impl Banned {
    /// Those who are banned now.
    ///
    /// # Errors
    /// When they can't be read.
    pub async fn read(bans: &dyn Bans) -> Stored<Arc<Self>> {
        let banned = Arc::new(Self::default());
        banned.read_again(bans).await?;
        Ok(banned)
    }

    /// Whether the user is banned.
    pub fn has(&self, user: &UserId) -> bool {
        self.any.load(Ordering::Acquire) && self.lock().users.contains(user)
    }

    /// It was told that a user is banned.
    pub fn ban(&self, user: UserId) {
        self.change(|users| _ = users.insert(user));
    }

    /// It was told that a user's ban was lifted.
    pub fn lift(&self, user: &UserId) {
        self.change(|users| _ = users.remove(user));
    }

    fn change(&self, change: impl FnOnce(&mut HashSet<UserId>)) {
        let mut known = self.lock();
        known.told += 1;
        change(&mut known.users);
        self.any.store(!known.users.is_empty(), Ordering::Release);
    }

    /// Reads all of them. Those of whom that is news.
    async fn read_again(&self, bans: &dyn Bans) -> Stored<Vec<UserId>> {
        let told = self.lock().told;
        let users: HashSet<_> = bans.bans().await?.into_iter().map(|ban| ban.user).collect();
        let mut known = self.lock();
        if known.told != told {
            // What was told meanwhile may be newer; the next time is soon.
            return Ok(Vec::new());
        }
        let news = users.difference(&known.users).cloned().collect();
        known.users = users;
        self.any.store(!known.users.is_empty(), Ordering::Release);
        Ok(news)
    }

    /// Reads them again every few seconds, for ever. `found` is given those of whom nobody told.
    pub async fn keep_reading(&self, bans: &dyn Bans, found: impl Fn(Vec<UserId>)) {
        loop {
            tokio::time::sleep(READ_EVERY).await;
            match self.read_again(bans).await {
                Ok(news) if news.is_empty() => {}
                Ok(news) => found(news),
                // Those that are known count on; that the store is away is said elsewhere.
                Err(error) => tracing::debug!(%error, "bans can't be read again"),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // A panic elsewhere can at worst leave one change untold, and they are read again.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use hubbub_core::ids::Millis;
    use hubbub_core::ports::PortFuture;
    use hubbub_core::ports::bans::Ban;
    use tokio::sync::Semaphore;

    use super::*;

    /// Answers with one ban, once it is let.
    struct Slow(Semaphore);

    impl Bans for Slow {
        fn put_ban(&self, _: Ban) -> PortFuture<'_, Stored<()>> {
            unreachable!("nobody writes here")
        }
        fn lift_ban(&self, _: UserId) -> PortFuture<'_, Stored<()>> {
            unreachable!("nobody writes here")
        }
        fn bans(&self) -> PortFuture<'_, Stored<Vec<Ban>>> {
            Box::pin(async {
                self.0.acquire().await.unwrap().forget();
                Ok(vec![Ban { user: user("old"), at: Millis(1), by: "ops".into(), reason: String::new() }])
            })
        }
    }

    fn user(id: &str) -> UserId {
        UserId::parse(id).unwrap()
    }

    #[tokio::test]
    async fn what_was_told_meanwhile_is_not_undone_by_an_older_reading() {
        let (store, banned) = (Slow(Semaphore::new(0)), Banned::default());
        let read = banned.read_again(&store);
        let told = async {
            banned.ban(user("new"));
            store.0.add_permits(1);
        };
        assert_eq!(tokio::join!(read, told).0.unwrap(), []);
        assert!(banned.has(&user("new")) && !banned.has(&user("old")));
        store.0.add_permits(1);
        assert_eq!(banned.read_again(&store).await.unwrap(), [user("old")]);
        assert!(banned.has(&user("old")) && !banned.has(&user("new")));
        banned.lift(&user("old"));
        assert!(!banned.has(&user("old")));
    }
}
