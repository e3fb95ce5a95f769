//! Equal reads in flight are one: many who come back at once ask for the same pages.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::Shared;

type Flight<V> = Shared<Pin<Box<dyn Future<Output = V> + Send>>>;

/// Reads in flight, by what they read. Only for what never changes: who joins a read gets what it found, and it may have begun
/// earlier.
pub(crate) struct Coalesce<K, V: Clone> {
    flights: Mutex<HashMap<K, Flight<V>>>,
}

impl<K: Hash + Eq + Clone, V: Clone> Coalesce<K, V> {
    pub(crate) fn new() -> Self {
        Self { flights: Mutex::new(HashMap::new()) }
    }

    /// The outcome of the read of `key` that is in flight, or of `read`; and whether it was another's.
    ///
    /// # Cancel safety
    /// The read goes on with the others who wait for it; who asks after that begins another.
    pub(crate) async fn get<F>(&self, key: K, read: impl FnOnce() -> F) -> (V, bool)
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (flight, joined) = {
            let mut flights = self.lock();
            match flights.get(&key) {
                Some(flight) => (flight.clone(), true),
                None => {
                    let flight = (Box::pin(read()) as Pin<Box<dyn Future<Output = V> + Send>>).shared();
                    flights.insert(key.clone(), flight.clone());
                    (flight, false)
                }
            }
        };
        let _leaves = Leaves { coalesce: self, key, flight: flight.clone() };
        (flight.await, joined)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Flight<V>>> {
        // Nothing that can panic happens under the lock.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a flight out of the table when one of those who wait for it is done, or gone: nobody may be left to drive it.
struct Leaves<'a, K: Hash + Eq + Clone, V: Clone> {
    coalesce: &'a Coalesce<K, V>,
    key: K,
    flight: Flight<V>,
}

impl<K: Hash + Eq + Clone, V: Clone> Drop for Leaves<'_, K, V> {
    fn drop(&mut self) {
        let mut flights = self.coalesce.lock();
        if flights.get(&self.key).is_some_and(|known| known.ptr_eq(&self.flight)) {
            flights.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn equal_reads_in_flight_are_one() {
        let (coalesce, reads, go) =
            (Coalesce::new(), Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let get = |key: u32| {
            let (reads, go) = (reads.clone(), go.clone());
            coalesce.get(key, move || async move {
                let nth = reads.fetch_add(1, Ordering::Relaxed);
                let _go = go.acquire().await;
                (key, nth)
            })
        };
        let all = join_all([1, 1, 2, 1].map(get));
        let (found, ()) = futures_util::future::join(all, async { go.add_permits(1) }).await;
        assert_eq!(found.iter().map(|(v, _)| v.0).collect::<Vec<_>>(), [1, 1, 2, 1]);
        assert_eq!(found.iter().filter(|(_, joined)| *joined).count(), 2);
        assert_eq!(reads.load(Ordering::Relaxed), 2);
        let ((_, nth), joined) = get(1).await;
        assert_eq!((nth, joined), (2, false), "a read that is over is not joined");
    }
}
