//! Password hashes: argon2id with OWASP's parameters, on a bounded number of threads.
//!
//! A hash costs some 20 ms of a core and 19 MiB. So only so many run at once, so many wait, and the next one is refused; the
//! async threads do none of it.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error as HashError, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use hubbub_core::ports::accounts::Secret;
use tokio::sync::Semaphore;

/// OWASP Password Storage Cheat Sheet, 2025: argon2id, 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Why there is no hash.
#[derive(Debug, thiserror::Error)]
pub enum HashingError {
    /// As many wait as may.
    #[error("too many passwords are being checked")]
    Full,
    /// The work itself failed. Says nothing of the password.
    #[error("hashing failed: {0}")]
    Failed(String),
}

/// Hashes and checks passwords.
pub struct Hasher {
    argon2: Argon2<'static>,
    /// One for each that runs or waits.
    places: Arc<Semaphore>,
    /// One for each that runs.
    turns: Arc<Semaphore>,
    /// Checked in place of the hash of an account that does not exist, to take the same time.
    decoy: Secret,
}

impl Hasher {
    /// At most `running_max` at once, and `waiting_max` more in line.
    pub async fn start(running_max: usize, waiting_max: usize) -> Result<Self, HashingError> {
        let params =
            Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|e| HashingError::Failed(e.to_string()))?;
        let running_max = running_max.clamp(1, 1_024);
        let places = running_max.saturating_add(waiting_max).min(Semaphore::MAX_PERMITS);
        let mut hasher = Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            places: Arc::new(Semaphore::new(places)),
            turns: Arc::new(Semaphore::new(running_max)),
            decoy: Secret::new(String::new()),
        };
        hasher.decoy = hasher.hash(Secret::new("nobody's".into())).await?;
        Ok(hasher)
    }

    /// The hash of a new password, with a salt of its own: a PHC string.
    ///
    /// # Cancel safety
    /// A hash that has begun goes on when the future is dropped, and keeps its turn until then.
    pub async fn hash(&self, password: Secret) -> Result<Secret, HashingError> {
        let argon2 = self.argon2.clone();
        self.run(move || {
            let hash = argon2.hash_password(password.reveal().as_bytes());
            hash.map(|hash| Secret::new(hash.to_string())).map_err(|e| HashingError::Failed(e.to_string()))
        })
        .await
    }

    /// Whether the password is the one of the hash. Without a hash it is not, after the same work.
    ///
    /// # Cancel safety
    /// As of [`Hasher::hash`].
    pub async fn verify(&self, password: Secret, hash: Option<Secret>) -> Result<bool, HashingError> {
        let (argon2, is_known) = (self.argon2.clone(), hash.is_some());
        let hash = hash.unwrap_or_else(|| self.decoy.clone());
        self.run(move || {
            let failed = |what: &str, error: HashError| HashingError::Failed(format!("{what}: {error}"));
            let hash = PasswordHash::new(hash.reveal())
                .map_err(|error| HashingError::Failed(format!("the stored hash can't be read: {error}")))?;
            match argon2.verify_password(password.reveal().as_bytes(), &hash) {
                Ok(()) => Ok(is_known),
                Err(HashError::PasswordInvalid) => Ok(false),
                Err(error) => Err(failed("the stored hash can't be checked", error)),
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashingError> + Send + 'static,
    ) -> Result<T, HashingError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| HashingError::Full)?;
        // Nobody closes the semaphore.
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| HashingError::Full)?;
        let worked = tokio::task::spawn_blocking(move || {
            let _held = (place, turn);
            work()
        });
        worked.await.map_err(|error| HashingError::Failed(error.to_string()))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let hasher = Hasher::start(1, 10).await.unwrap();
        let hash = hasher.hash(secret("correct horse")).await.unwrap();
        assert!(hash.reveal().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.reveal());
        assert!(hasher.verify(secret("correct horse"), Some(hash.clone())).await.unwrap());
        assert!(!hasher.verify(secret("battery staple"), Some(hash.clone())).await.unwrap());
        assert_ne!(hasher.hash(secret("correct horse")).await.unwrap(), hash, "each has its own salt");
        assert!(!hasher.verify(secret("nobody's"), None).await.unwrap(), "the decoy is nobody's password");
        let broken = hasher.verify(secret("x"), Some(secret("$argon2id$rubbish"))).await;
        assert!(matches!(broken, Err(HashingError::Failed(what)) if what.contains("stored hash")));
    }

    #[tokio::test]
    async fn a_full_line_refuses_at_once_and_a_dropped_wait_makes_room() {
        let hasher = Hasher::start(1, 1).await.unwrap();
        let turn = hasher.turns.acquire().await.unwrap();
        let mut waits = Box::pin(hasher.hash(secret("a")));
        let mut waits_too = Box::pin(hasher.hash(secret("b")));
        for wait in [&mut waits, &mut waits_too] {
            tokio::select! { biased; _ = wait => panic!("ran without a turn"), () = std::future::ready(()) => {} }
        }
        assert!(matches!(hasher.hash(secret("c")).await, Err(HashingError::Full)));
        drop(waits);
        drop(turn);
        assert!(waits_too.await.is_ok());
        assert_eq!((hasher.places.available_permits(), hasher.turns.available_permits()), (2, 1));
    }
}
