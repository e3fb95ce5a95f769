//! The contract of the `Bans` port.

use crate::ids::{Millis, UserId};
use crate::ports::bans::{Ban, Bans};

/// Opens the store under test: each call the same stored data, after what the call before returned was dropped.
pub type Open<'a> = &'a mut dyn FnMut() -> Box<dyn Bans>;

fn ban(user: &str, reason: &str) -> Ban {
    let user = UserId::parse(user).expect("a user");
    Ban { user, at: Millis(1_234), by: "night-shift".into(), reason: reason.into() }
}

/// Bans are listed by ascending user, as they were kept.
pub async fn bans_are_listed_as_they_were_kept(store: &dyn Bans) {
    assert_eq!(store.bans().await.expect("read"), []);
    for user in ["c", "a", "b"] {
        store.put_ban(ban(user, "\u{1f600} \"why\"")).await.expect("kept");
    }
    let listed = store.bans().await.expect("read");
    assert_eq!(listed, ["a", "b", "c"].map(|user| ban(user, "\u{1f600} \"why\"")));
}

/// Of two bans of a user the later one counts.
pub async fn a_later_ban_takes_the_place_of_the_one_before(store: &dyn Bans) {
    store.put_ban(ban("a", "first")).await.expect("kept");
    store.put_ban(ban("a", "")).await.expect("kept");
    assert_eq!(store.bans().await.expect("read"), [ban("a", "")]);
}

/// A ban that was lifted is gone, and may come again.
pub async fn a_lifted_ban_is_gone(store: &dyn Bans) {
    let user = || UserId::parse("a").expect("a user");
    store.lift_ban(user()).await.expect("there is nothing to lift");
    store.put_ban(ban("a", "first")).await.expect("kept");
    store.put_ban(ban("b", "stays")).await.expect("kept");
    store.lift_ban(user()).await.expect("lifted");
    store.lift_ban(user()).await.expect("lifted before");
    assert_eq!(store.bans().await.expect("read"), [ban("b", "stays")]);
    store.put_ban(ban("a", "again")).await.expect("kept");
    assert_eq!(store.bans().await.expect("read"), [ban("a", "again"), ban("b", "stays")]);
}

/// Bans are there after the store was opened again, and those that were lifted are not.
pub async fn bans_survive(open: Open<'_>) {
    {
        let store = open();
        store.put_ban(ban("a", "stays")).await.expect("kept");
        store.put_ban(ban("b", "goes")).await.expect("kept");
        store.lift_ban(UserId::parse("b").expect("a user")).await.expect("lifted");
    }
    assert_eq!(open().bans().await.expect("read"), [ban("a", "stays")]);
}
