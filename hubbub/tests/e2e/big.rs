//! A room with a long log opens with its newest entries and can be read back to its first.

use hubbub_adapters::store::embedded::{EmbeddedStore, Options};
use hubbub_client::answer::Range;
use hubbub_core::entry::{Entry, Says};
use hubbub_core::ids::{Millis, Partition, Seq, User};
use hubbub_core::limits::Content;
use hubbub_core::ports::store::{Append, Segment, Store};

use crate::common::{Room, connect, server};

/// Entries of its log.
const ENTRIES: u64 = 100_000;
const AT_ONCE: u64 = 5_000;

#[tokio::test]
async fn a_room_with_100_000_entries_opens_and_pages_back_to_the_first() {
    let mut server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let before = *room.send_many(3).await.last().unwrap();
    assert!(server.terminate().await.unwrap().success());
    write_behind_its_back(&server, &room, before).await;
    server.restart().await.unwrap();

    let client = connect(&room.ann).await;
    let opened = client.open(&room.id, None).await.unwrap();
    assert_eq!(opened.room.head, Some(Seq(ENTRIES)));
    let newest: Vec<u64> = opened.entries.iter().map(|entry| entry.seq.0).collect();
    assert_eq!(newest, (ENTRIES - 49..=ENTRIES).collect::<Vec<_>>());

    let mut next = ENTRIES + 1;
    let mut before = Seq(next);
    while next > 1 {
        let page = client.history(&room.id, Range::Before(before), Some(1_000)).await.unwrap();
        for entry in page.entries.iter().rev() {
            next -= 1;
            assert_eq!(entry.seq.0, next);
        }
        assert_eq!(page.more, next > 1, "at {next}");
        before = Seq(next);
    }
    let sent = client.send_text(&room.id, "and on", None).await.unwrap();
    assert_eq!(sent.seq(), Some(Seq(ENTRIES + 1)));
}

/// As a holder would write them, but many at once.
async fn write_behind_its_back(server: &hubbub_testkit::Hubbub, room: &Room, head: u64) {
    let store = EmbeddedStore::open(&server.data(), Options::default()).unwrap();
    let epoch = store.claim(Partition(0)).await.unwrap();
    let prev = store.segments(room.id.clone()).await.unwrap().last().map(|segment| segment.epoch);
    store.put_segment(room.id.clone(), Segment { epoch, start: Seq(head + 1), prev }).await.unwrap();
    let ann = User { id: room.ann.id.clone(), name: room.ann.name.as_str().into() };
    for first in (head + 1..=ENTRIES).step_by(AT_ONCE as usize) {
        let last = (first + AT_ONCE - 1).min(ENTRIES);
        let entries = (first..=last).map(|seq| {
            let content = Content::text(format!("message {seq}")).unwrap();
            Entry::new(
                &room.id,
                Seq(seq),
                Millis(1_800_000_000_000 + seq),
                &ann,
                None,
                Says::Message(&content),
            )
        });
        let append = Append { room: room.id.clone(), epoch, entries: entries.collect() };
        store.append(append).await.unwrap();
    }
}
