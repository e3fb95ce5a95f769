//! Pages of logs.

use std::sync::atomic::{AtomicU64, Ordering};

use hubbub_core::entry::Entry;
use hubbub_core::ids::{Epoch, Seq};
use hubbub_core::ports::bus::{PAYLOAD_BYTES_MAX, Subject};
use hubbub_core::ports::store::{Append, Segment, Trim};
use hubbub_wire::tier::act::ReadTo;
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::query::{Found, PAGE_BYTES_MAX, Query, Range, Replay};
use proptest::prelude::*;

use crate::world::*;

/// A log as holders left it: the lengths of its segments, and how many rows nobody was told of lie above each one's end.
#[derive(Debug, Clone)]
struct Shape {
    segments: Vec<(u64, u64)>,
    limit: u32,
    from: u64,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let segments = proptest::collection::vec((0u64..130, 0u64..4), 1..6);
    (segments, 1u32..150, 0u64..700).prop_map(|(segments, limit, from)| Shape { segments, limit, from })
}

async fn check(world: &World, shape: Shape) -> Result<(), TestCaseError> {
    static ROOMS: AtomicU64 = AtomicU64::new(0);
    let room = room(&format!("room-{}", ROOMS.fetch_add(1, Ordering::Relaxed)));
    let (mut log, mut prev): (Vec<Entry>, _) = (Vec::new(), None);
    for (n, (length, above)) in shape.segments.iter().enumerate() {
        let (epoch, start) = (Epoch(2 * n as u64 + 1), log.len() as u64 + 1);
        let entry = |seq| match seq % 3 {
            0 => join(&room, seq),
            _ => text(&room, seq, &format!("{seq} of {epoch}")),
        };
        let entries: Vec<_> = (start..start + length + above).map(entry).collect();
        log.extend_from_slice(&entries[..*length as usize]);
        world.write(&room, Segment { epoch, start: Seq(start), prev }, entries).await;
        // And one of a holder that was fenced before it could tell anyone, in nobody's chain.
        let fenced = Segment { epoch: Epoch(epoch.0 + 1), start: Seq(start), prev };
        world.write(&room, fenced, vec![text(&room, start, "never told")]).await;
        prev = Some(epoch);
    }
    let to = read_to(2 * shape.segments.len() as u64 - 1, log.len() as u64);
    let from = shape.from.min(to.head.0);
    let ask = |range| replay(&room, range, shape.limit, Some(to));
    // Nobody serves the holder's subject: an asker who is at the head already has asked a holder anew.
    let _holder = world.holder(to).await;
    let (before, _) = world.walk(ask(Range::Before(Seq(from + 1)))).await;
    let (after, _) = world.walk(ask(Range::After(Seq(from)))).await;
    prop_assert_eq!(&before[..], &log[..from as usize]);
    prop_assert_eq!(&after[..], &log[from as usize..]);
    let joins = |range| Replay { kinds: vec!["join".into()], ..ask(range) };
    let (mut found, _) = world.walk(joins(Range::Before(Seq(from + 1)))).await;
    found.extend(world.walk(joins(Range::After(Seq(from)))).await.0);
    let expected: Vec<_> = log.into_iter().filter(|entry| entry.kind.is_named("join")).collect();
    prop_assert_eq!(found, expected);
    Ok(())
}

#[test]
fn pages_before_and_after_meet_without_gap_or_repeat() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new());
    let config = ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(shape in shapes())| runtime.block_on(check(&world, shape))?);
}

#[tokio::test]
async fn a_hole_in_a_committed_range_is_said() {
    let (world, lobby) = (World::new().await, room("lobby"));
    let entries = (1..=300).filter(|seq| *seq != 150).map(|seq| text(&lobby, seq, "x")).collect();
    world.log(&lobby, entries).await;
    let to = Some(read_to(1, 300));
    for range in [Range::Before(Seq(160)), Range::After(Seq(140)), Range::After(Seq(100))] {
        let found = world.page(replay(&lobby, range, 20, to)).await;
        assert!(matches!(found, Err(Found::Unavailable)), "{range:?}: {found:?}");
    }
    let whole = world.page(replay(&lobby, Range::Before(Seq(301)), 50, to)).await.expect("a page");
    assert_eq!(whole.0.len(), 50, "what is whole is served");
}

#[tokio::test]
async fn a_missing_segment_or_end_is_said() {
    let (world, lobby) = (World::new().await, room("lobby"));
    world.log(&lobby, (1..=10).map(|seq| text(&lobby, seq, "x")).collect()).await;
    for to in [read_to(1, 11), read_to(2, 5)] {
        let found = world.page(replay(&lobby, Range::Before(Seq(to.head.0 + 1)), 5, Some(to))).await;
        assert!(matches!(found, Err(Found::Unavailable)), "{to:?}: {found:?}");
    }
}

/// What is kept in memory of a log's end is not in the way when it has grown.
#[tokio::test]
async fn a_log_that_grows_is_read_to_its_new_end() {
    let (world, lobby) = (World::new().await, room("lobby"));
    let log: Vec<_> = (1..=400).map(|seq| text(&lobby, seq, "x")).collect();
    for end in [40, 100, 150, 151, 399, 400] {
        world.log(&lobby, log[..end].to_vec()).await;
        let to = Some(read_to(1, end as u64));
        for range in [Range::After(Seq(0)), Range::Before(Seq(end as u64 + 1))] {
            assert_eq!(world.walk(replay(&lobby, range, 60, to)).await.0, log[..end]);
        }
    }
}

#[tokio::test]
async fn a_page_of_pictures_fits_the_bus() {
    let (world, lobby) = (World::new().await, room("lobby"));
    let log: Vec<_> = (1..=30)
        .map(|seq| match seq % 4 {
            0 => text(&lobby, seq, "small"),
            n => image(&lobby, seq, 110_000 * n as usize),
        })
        .collect();
    world.log(&lobby, log.clone()).await;
    let to = Some(read_to(1, 30));
    for range in [Range::After(Seq(0)), Range::Before(Seq(31))] {
        let first = world.ask(&Query::Replay(replay(&lobby, range, 100, to))).await.unwrap().1;
        // Beside entries of half of it and more there is a header.
        assert!(
            (PAGE_BYTES_MAX / 2..PAGE_BYTES_MAX + 4_096).contains(&first.size()),
            "{} bytes",
            first.size()
        );
        assert!(first.size() < PAYLOAD_BYTES_MAX);
        let (found, pages) = world.walk(replay(&lobby, range, 100, to)).await;
        assert_eq!(found, log);
        assert!(pages <= 15, "{pages} pages");
    }
}

/// A topic has the room's facts beside it, which are as long as itself.
#[tokio::test]
async fn a_page_of_topics_fits_the_bus() {
    let (world, lobby) = (World::new().await, room("lobby"));
    let log: Vec<_> = (1..=1_000).map(|seq| topic(&lobby, seq, &"\u{1f375}".repeat(256))).collect();
    world.log(&lobby, log.clone()).await;
    let ask = replay(&lobby, Range::After(Seq(0)), 1_000, Some(read_to(1, 1_000)));
    let first = world.ask(&Query::Replay(ask.clone())).await.unwrap().1;
    assert!(first.into_bytes().len() < PAYLOAD_BYTES_MAX);
    assert_eq!(world.walk(ask).await.0, log);
}

#[tokio::test]
async fn a_page_of_rare_kinds_ends_and_says_where_to_go_on() {
    let (world, lobby) = (World::new().await, room("lobby"));
    let mut log = vec![join(&lobby, 1)];
    log.extend((2..=12_000).map(|seq| text(&lobby, seq, "x")));
    world.log(&lobby, log).await;
    let ask = Replay {
        kinds: vec!["join".into()],
        ..replay(&lobby, Range::Before(Seq(12_001)), 10, Some(read_to(1, 12_000)))
    };
    assert_eq!(world.page(ask.clone()).await.expect("a page"), (vec![], Some(Seq(2_001))));
    assert_eq!(world.walk(ask).await, (vec![join(&lobby, 1)], 2));
}

#[tokio::test]
async fn the_holder_is_asked_where_the_asker_does_not_know() {
    let (world, lobby) = (World::new().await, room("lobby"));
    world.log(&lobby, (1..=8).map(|seq| text(&lobby, seq, "x")).collect()).await;
    let (asked, _holder) = world.holder(read_to(1, 8)).await;
    let seqs = async |range, to: Option<_>| {
        let (entries, _) = world.page(replay(&lobby, range, 3, to)).await.expect("a page");
        entries.iter().map(|e| e.seq.0).collect::<Vec<_>>()
    };
    assert_eq!(seqs(Range::After(Seq(2)), Some(read_to(1, 5))).await, [3, 4, 5], "as far as the asker knows");
    assert_eq!(seqs(Range::Before(Seq(6)), Some(read_to(1, 5))).await, [3, 4, 5]);
    assert_eq!(*asked.lock().unwrap(), 0);
    assert_eq!(seqs(Range::After(Seq(5)), Some(read_to(1, 5))).await, [6, 7, 8], "newer than the asker knew");
    assert_eq!(seqs(Range::Before(Seq(u64::MAX)), Some(read_to(1, 5))).await, [6, 7, 8]);
    assert_eq!(seqs(Range::Before(Seq(3)), None).await, [1, 2]);
    assert!(seqs(Range::After(Seq(8)), None).await.is_empty());
    assert!(seqs(Range::After(Seq(u64::MAX)), None).await.is_empty());
    assert!(seqs(Range::Before(Seq(0)), None).await.is_empty());
    assert_eq!(*asked.lock().unwrap(), 6);
    let nowhere = world.page(replay(&room("nobody-made-it"), Range::After(Seq(0)), 3, None)).await;
    assert!(matches!(nowhere, Err(Found::NoSuchRoom)), "{nowhere:?}");
}

#[tokio::test]
async fn without_a_holder_the_answer_is_unavailable_in_time() {
    let world = World::with(|config| config.timeout = std::time::Duration::from_millis(150)).await;
    let found = world.page(replay(&room("lobby"), Range::After(Seq(0)), 3, None)).await;
    assert!(matches!(found, Err(Found::Unavailable)), "{found:?}");
}

#[tokio::test]
async fn a_full_service_says_so_at_once() {
    let world = World::with(|config| (config.reads_max, config.queue_max) = (1, 1)).await;
    // A holder that never answers: one read runs, one waits, and one may be on its way between.
    let kept = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let server = std::sync::Arc::new(move |_, reply| kept.lock().unwrap().push(reply));
    let _holder = world.bus.serve(Subject::Act(PARTITION), server).await.unwrap();
    let query = Query::Replay(replay(&room("lobby"), Range::After(Seq(0)), 3, None));
    let ask = || world.bus.request(&Subject::Query, parcel::pack(&query).into(), DEADLINE);
    let asked: Vec<_> = (0..10).map(|_| ask()).collect();
    let first = futures_util::future::select_all(asked).await.0;
    let found: Found = parcel::header(&mut first.unwrap()).unwrap();
    assert!(matches!(found, Found::Unavailable), "{found:?}");
}

#[tokio::test]
async fn what_was_kept_before_an_erasure_is_not_found_after_it() {
    let world = World::new().await;
    let lobby = room("lobby");
    let said: Vec<_> = (1..=300).map(|seq| text(&lobby, seq, &format!("a secret, {seq}"))).collect();
    world.log(&lobby, said.clone()).await;
    let before = ReadTo { erased: Seq(0), ..read_to(1, 300) };
    let ask = |to| replay(&lobby, Range::After(Seq(0)), 200, Some(to));
    let (found, _) = world.page(ask(before)).await.unwrap();
    assert_eq!(found, said[..200]);
    let left: Vec<_> = said.iter().map(|entry| entry.erased(&lobby).unwrap()).collect();
    let erased = Append { room: lobby.clone(), epoch: Epoch(1), entries: left.clone() };
    world.store.erase(erased).await.unwrap();
    // Who was told of the entry that says so asks as of that.
    let after = ReadTo { erased: Seq(301), ..before };
    assert_eq!(world.page(ask(after)).await.unwrap().0, left[..200]);
}

async fn trim(world: &World, seqs: std::ops::Range<u64>) {
    let mut from = Seq(seqs.start);
    while from.0 < seqs.end {
        let seqs = from..Seq(seqs.end);
        let trim = Trim { room: room("lobby"), epochs: vec![Epoch(1)], seqs };
        // What came just now has to become rows first.
        from = world.store.trim(trim).await.unwrap_or(from);
    }
}

async fn check_trimmed(cache_bytes_max: usize) {
    let world = World::with(|config| config.cache_bytes_max = cache_bytes_max).await;
    let lobby = room("lobby");
    let said: Vec<_> = (1..=400).map(|seq| text(&lobby, seq, &format!("{seq}"))).collect();
    world.log(&lobby, said.clone()).await;
    let before = read_to(1, 400);
    assert_eq!(world.walk(replay(&lobby, Range::After(Seq(0)), 100, Some(before))).await.0, said);
    let after = ReadTo { first: Seq(151), ..before };
    let (asked, _holder) = world.holder(after).await;
    // First the word, then the rows: both while they are there and when they are gone.
    for are_gone in [false, true] {
        if are_gone {
            trim(&world, 1..151).await;
        }
        for range in [Range::After(Seq(0)), Range::After(Seq(3)), Range::Before(Seq(401))] {
            for to in [None, Some(after)] {
                let found = world.walk(replay(&lobby, range, 40, to)).await.0;
                assert_eq!(found, said[150..], "{range:?} {to:?} {are_gone}");
            }
        }
        let query = Query::Replay(replay(&lobby, Range::Before(Seq(3)), 9, Some(after)));
        let (page, _) = world.ask(&query).await.unwrap();
        let Found::Page { more: false, next: None, first: Seq(151) } = page else { panic!("{page:?}") };
    }
    if cache_bytes_max > 0 {
        return;
    }
    // Who did not hear of it has it from the holder, and what is missing without a word is damage, as before.
    let asked_before = *asked.lock().unwrap();
    let found = world.page(replay(&lobby, Range::After(Seq(3)), 400, Some(before))).await.unwrap().0;
    assert_eq!((found, *asked.lock().unwrap()), (said[150..].to_vec(), asked_before + 1));
    trim(&world, 300..301).await;
    let found = world.page(replay(&lobby, Range::After(Seq(290)), 40, Some(after))).await;
    assert!(matches!(found, Err(Found::Unavailable)), "{found:?}");
}

#[tokio::test]
async fn a_log_that_was_trimmed_begins_later_whatever_the_asker_knew() {
    check_trimmed(0).await;
}

#[tokio::test]
async fn a_log_that_was_trimmed_begins_later_whatever_is_in_memory() {
    check_trimmed(64 * 1024 * 1024).await;
}
