//! The contract of the `Store` port: what it lets go of, erased messages and the beginnings of logs.

use super::store::{ALL, Open, append, entries, entry, id, later, made, read};
use crate::entry::{Entry, Kept, Retention};
use crate::ids::{Epoch, Seq};
use crate::ports::store::{Append, Projection, Store, Trim};

fn erased(room: &str, entries: &[Entry]) -> Vec<Entry> {
    entries.iter().map(|entry| entry.erased(&id(room)).expect("a message")).collect()
}

/// What was erased is not served again: not by a read after it, whether the entry came just now, in a small write or a large one; not
/// when its first write is repeated, in part or whole; not of another store of the same data. All else is as it was.
pub async fn what_was_erased_is_gone(open: Open<'_>) {
    let large = entry("r", 7, &"x".repeat(4_000));
    let mut all = entries("r", 1..=6);
    all.push(large);
    all.extend((8..=30).map(|seq| entry("r", seq, &"long ".repeat(800))));
    let mut expected = all.clone();
    {
        let store = open();
        append(&*store, "r", 3, all[..6].to_vec()).await;
        append(&*store, "r", 4, all[..6].to_vec()).await;
        for gone in [1..4, 4..5] {
            let left = erased("r", &all[gone.clone()]);
            expected[gone].clone_from_slice(&left);
            for _ in 0..2 {
                let left = Append { room: id("r"), epoch: Epoch(3), entries: left.clone() };
                store.erase(left).await.expect("erased");
            }
            assert_eq!(read(&*store, "r", 3, 1..=6).await, expected[..6]);
        }
        assert_eq!(read(&*store, "r", 4, 1..=6).await, all[..6], "another epoch's rows are others");
        // The large ones come at once, and the small ones once more with them.
        append(&*store, "r", 3, all.clone()).await;
        append(&*store, "r", 3, all[2..3].to_vec()).await;
        assert_eq!(read(&*store, "r", 3, 1..=u64::MAX).await, expected);
        let left = erased("r", &all[6..9]);
        expected[6..9].clone_from_slice(&left);
        store.erase(Append { room: id("r"), epoch: Epoch(3), entries: left }).await.expect("erased");
        append(&*store, "r", 3, all[5..8].to_vec()).await;
        append(&*store, "r", 3, entries("r", 31..=32)).await;
        expected.extend(entries("r", 31..=32));
        assert_eq!(read(&*store, "r", 3, 1..=u64::MAX).await, expected);
    }
    let store = open();
    assert_eq!(read(&*store, "r", 3, 1..=u64::MAX).await, expected);
    for (seq, entry) in (1..).zip(&expected) {
        assert_eq!(read(&*store, "r", 3, seq..=seq).await, std::slice::from_ref(entry));
    }
}

/// Where messages were erased is kept with the mark, by order of the log.
pub async fn the_last_erasure_is_projected(store: &dyn Store) {
    let erased_of = async || store.room(id("r")).await.expect("a room").expect("is there").erased;
    store.project(made("r", 1, 1)).await.expect("projected");
    assert_eq!(erased_of().await, Seq(0));
    for (mark, erased, expected) in [(9, Some(8), 8), (12, None, 8), (7, Some(5), 8), (20, Some(19), 19)] {
        let projection = Projection { erased: erased.map(Seq), ..later("r", mark, vec![]) };
        store.project(projection).await.expect("projected");
        assert_eq!(erased_of().await, Seq(expected));
    }
    store.project(made("other", 1, 1)).await.expect("projected");
    let listed = store.directory(None, ALL).await.expect("directory");
    let listed: Vec<_> = listed.into_iter().map(|row| (row.room, row.erased)).collect();
    assert_eq!(listed, [(id("r"), Seq(19)), (id("other"), Seq(0))]);
}

/// Trims as often as it takes. Rows that came just now may have to become others first.
async fn trim(store: &dyn Store, room: &str, epochs: &[u64], seqs: std::ops::Range<u64>) {
    let mut from = seqs.start;
    while from < seqs.end {
        let epochs = epochs.iter().copied().map(Epoch).collect();
        let asked = Trim { room: id(room), epochs, seqs: Seq(from)..Seq(seqs.end) };
        let Ok(reached) = store.trim(asked).await else { continue };
        assert!(Seq(from) < reached && reached <= Seq(seqs.end), "{reached} of {from} to {}", seqs.end);
        from = reached.0;
    }
}

/// Rows that were trimmed are gone, of all epochs that were named, whether they came just now or long ago, small or large; no other row is, and how
/// far it came is kept.
pub async fn what_was_trimmed_is_gone(open: Open<'_>) {
    // More than any store lets go at once.
    let mut all: Vec<_> = (1..=12_000).map(|seq| entry("r", seq, &"some ".repeat(120))).collect();
    all.extend((12_001..=12_020).map(|seq| entry("r", seq, &"large ".repeat(600))));
    let trimmed = async |store: &dyn Store| store.room(id("r")).await.expect("read").expect("a room").trimmed;
    {
        let store = open();
        let store = &*store;
        store.project(made("r", 1, 1)).await.expect("projected");
        for batch in all.chunks(500) {
            append(store, "r", 3, batch.to_vec()).await;
        }
        for (room, epoch) in [("r", 4), ("r", 5), ("other", 3)] {
            append(store, room, epoch, entries(room, 1..=30)).await;
        }
        assert_eq!(trimmed(store).await, Seq(0));
        trim(store, "r", &[3, 4], 1..21).await;
        assert_eq!(trimmed(store).await, Seq(21));
        assert_eq!(read(store, "r", 3, 1..=40).await, all[20..40]);
        assert_eq!(read(store, "r", 4, 1..=40).await, entries("r", 21..=30));
        assert_eq!(read(store, "r", 5, 1..=40).await, entries("r", 1..=30), "an epoch that was not named");
        assert_eq!(read(store, "other", 3, 1..=40).await, entries("other", 1..=30));
        trim(store, "r", &[3, 4, 5, 77], 21..12_011).await;
        assert_eq!(read(store, "r", 3, 1..=12_010).await, []);
        assert_eq!(read(store, "r", 3, 12_005..=u64::MAX).await, all[12_010..]);
        assert_eq!(read(store, "r", 4, 1..=40).await, []);
        assert_eq!(read(store, "r", 5, 1..=40).await, entries("r", 1..=20));
        // What is trimmed again was trimmed.
        trim(store, "r", &[3], 1..30).await;
        assert_eq!(trimmed(store).await, Seq(12_011));
        append(store, "r", 3, entries("r", 12_021..=12_022)).await;
    }
    let store = open();
    all.extend(entries("r", 12_021..=12_022));
    assert_eq!(read(&*store, "r", 3, 12_005..=u64::MAX).await, all[12_010..]);
    assert_eq!(trimmed(&*store).await, Seq(12_011));
}

/// What is kept goes with the mark, by order of the log; and rooms of which not all is are found by it.
pub async fn what_is_kept_is_projected(store: &dyn Store) {
    let kept = |days, first| Kept { retention: Retention { entries: None, days }, first: Seq(first) };
    let kept_of = async |room| store.room(id(room)).await.expect("read").expect("a room").kept;
    store.project(made("r", 1, 1)).await.expect("projected");
    assert_eq!(kept_of("r").await, (Kept::default(), Seq(0)));
    let steps = [
        (9, Some((kept(Some(30), 0), 8)), (kept(Some(30), 0), 8)),
        (12, None, (kept(Some(30), 0), 8)),
        (20, Some((kept(Some(7), 15), 19)), (kept(Some(7), 15), 19)),
        (7, Some((kept(None, 0), 5)), (kept(Some(7), 15), 19)),
    ];
    for (mark, kept, (expected, said)) in steps {
        let kept = kept.map(|(kept, said)| (kept, Seq(said)));
        store.project(Projection { kept, ..later("r", mark, vec![]) }).await.expect("projected");
        assert_eq!(kept_of("r").await, (expected, Seq(said)), "at {mark}");
    }
    let rooms_with = async |limit| {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.rooms_with_retention(after.clone(), limit).await.expect("rooms");
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            found.extend(page);
        }
        found.sort();
        found
    };
    for room in ["a", "b", "c", "d"] {
        let entries = Retention { entries: Some(10_000), days: None };
        let kept = Some((Kept { retention: entries, first: Seq(0) }, Seq(2)));
        store.project(Projection { kept, ..made(room, 1, 2) }).await.expect("projected");
    }
    store.project(made("e", 1, 2)).await.expect("projected");
    // One that was bounded, and of which nothing ever went, has nothing to let go of.
    for (said, kept) in [(2, kept(Some(30), 0)), (3, kept(None, 0))] {
        store
            .project(Projection { kept: Some((kept, Seq(said))), ..made("f", 1, said) })
            .await
            .expect("projected");
    }
    let freed = Some((kept(None, 15), Seq(30)));
    store.project(Projection { kept: freed, ..later("r", 30, vec![]) }).await.expect("projected");
    for limit in [1, 2, ALL] {
        let expected = ["a", "b", "c", "d", "r"].map(id);
        assert_eq!(rooms_with(limit).await, expected, "with the one that has rows yet, in pages of {limit}");
    }
    trim(store, "r", &[], 1..15).await;
    for limit in [1, 2, ALL] {
        assert_eq!(rooms_with(limit).await, ["a", "b", "c", "d"].map(id), "in pages of {limit}");
    }
}
