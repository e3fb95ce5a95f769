//! The contract of the `Revocations` port.

use std::collections::BTreeMap;

use crate::ids::Millis;
use crate::ports::revocations::{Revocation, Revocations, TokenId};

/// Opens the store under test: each call the same stored data, after what the call before returned was dropped.
pub type Open<'a> = &'a mut dyn FnMut() -> Box<dyn Revocations>;

/// In the year 2100.
const LATE: Millis = Millis(4_102_444_800_000);

async fn call_back(store: &dyn Revocations, token: u8, until: Millis) {
    let revocation = Revocation { token: TokenId([token; 16]), until };
    store.put_revocation(revocation).await.expect("kept");
}

/// Tokens that are refused, each with its end.
async fn refused(store: &dyn Revocations, since: Millis) -> BTreeMap<u8, Millis> {
    let mut refused = BTreeMap::new();
    for Revocation { token, until } in store.revocations(since).await.expect("read") {
        let end: &mut Millis = refused.entry(token.0[0]).or_default();
        *end = until.max(*end);
    }
    refused
}

/// What was called back is read by whoever begins, and by whoever asks what is new.
pub async fn what_is_called_back_is_read(store: &dyn Revocations) {
    assert_eq!(refused(store, Millis(0)).await, BTreeMap::new());
    let of_an_hour = Millis(now().0 + 3_600_000);
    call_back(store, 1, LATE).await;
    call_back(store, 2, of_an_hour).await;
    let both = BTreeMap::from([(1, LATE), (2, of_an_hour)]);
    assert_eq!(refused(store, Millis(0)).await, both);
    assert_eq!(refused(store, Millis(now().0 - 60_000)).await, both);
}

/// Of several ends of a token the latest counts, however late it is.
pub async fn a_token_is_refused_until_the_latest_of_its_ends(store: &dyn Revocations) {
    for until in [Millis(LATE.0 - 1), LATE, Millis(LATE.0 - 2)] {
        call_back(store, 1, until).await;
    }
    assert_eq!(refused(store, Millis(0)).await, BTreeMap::from([(1, LATE)]));
    call_back(store, 1, Millis(u64::MAX)).await;
    assert!(refused(store, Millis(0)).await[&1] > LATE);
}

/// What has ended is no hindrance, and takes nothing else along.
pub async fn what_has_ended_takes_nothing_along(store: &dyn Revocations) {
    call_back(store, 1, LATE).await;
    call_back(store, 2, Millis(1)).await;
    call_back(store, 3, LATE).await;
    let mut refused = refused(store, Millis(0)).await;
    // It may be there still.
    refused.remove(&2);
    assert_eq!(refused, BTreeMap::from([(1, LATE), (3, LATE)]));
}

/// What was called back is so after the store was opened again.
pub async fn revocations_survive(open: Open<'_>) {
    call_back(&*open(), 1, LATE).await;
    assert_eq!(refused(&*open(), Millis(0)).await, BTreeMap::from([(1, LATE)]));
}

fn now() -> Millis {
    std::time::SystemTime::now().into()
}
