//! The store on CQL, against a real Cassandra.

#![expect(clippy::unwrap_used, reason = "a test that can't go on is to fail")]

use std::time::Duration;

use hubbub_adapters::store::{CqlOpenError, CqlOptions, CqlStore, CqlTls};
use hubbub_core::entry::{Entry, RoomFacts, Says};
use hubbub_core::ids::{Epoch, Key, Millis, Partition, RoomId, Seq, User, UserId};
use hubbub_core::limits::Content;
use hubbub_core::ports::accounts::Secret;
use hubbub_core::ports::store::{Append, Projection, Read, Store, StoreError};
use hubbub_testkit::{Cassandra, Folder, Keyspace, eventually, in_time, in_time_within};
use scylla::client::session_builder::SessionBuilder;
use tokio::task::JoinSet;

fn options_at(keyspace: Keyspace) -> CqlOptions {
    CqlOptions {
        nodes: vec![keyspace.database],
        keyspace: keyspace.name,
        replication: 1,
        datacenter: None,
        user: None,
        tls: None,
        // Making tables is slow on a busy machine.
        request_timeout: Duration::from_secs(20),
        cluster: "hub".into(),
    }
}

async fn options() -> CqlOptions {
    options_at(Keyspace::shared().await.unwrap())
}

fn options_of(own: &Cassandra) -> CqlOptions {
    options_at(Keyspace { database: own.address(), name: "hubbub".into() })
}

/// How long a keyspace may take to be made while others are: one after the other, each table some hundred milliseconds.
const MADE_MAX: Duration = Duration::from_secs(240);

async fn open(options: &CqlOptions) -> CqlStore {
    in_time_within(MADE_MAX, "a store", CqlStore::open(options)).await.unwrap()
}

fn open_now(options: &CqlOptions) -> CqlStore {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(open(options)))
}

mod contract {
    macro_rules! on_cql {
        ($suite:ident: fresh $($fresh:ident)*; reopened $($reopened:ident)*) => {
            mod $suite {
                use hubbub_core::contract::$suite;
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $fresh() {
                    $suite::$fresh(&crate::open(&crate::options().await).await).await;
                })*
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $reopened() {
                    let options = crate::options().await;
                    $suite::$reopened(&mut || Box::new(crate::open_now(&options))).await;
                })*
            }
        };
    }

    on_cql!(store:
        fresh
        the_number_of_partitions_is_the_first_one
        a_claim_is_higher_than_any_before
        entries_are_read_as_they_were_written
        each_room_and_epoch_has_its_own_rows
        a_write_may_be_repeated_in_any_order
        a_read_stops_when_its_bytes_are_reached
        a_read_sees_what_was_written_before_it
        segments_are_listed_by_epoch
        a_projection_is_seen_when_it_returned
        a_late_projection_changes_nothing_newer
        members_come_in_pages
        rooms_of_a_user_come_in_pages
        rooms_that_a_user_was_ever_in_come_in_pages
        the_directory_comes_in_pages_newest_first
        a_dropped_write_is_unknown_and_repeatable
        a_working_store_says_so;
        reopened
        a_claim_survives
        what_was_acked_survives
    );

    on_cql!(forgetting:
        fresh
        the_last_erasure_is_projected
        what_is_kept_is_projected;
        reopened
        what_was_erased_is_gone
        what_was_trimmed_is_gone
    );

    on_cql!(account_store:
        fresh
        an_account_is_found_by_its_address
        an_address_and_an_id_are_taken_once
        a_shared_secret_is_the_first_candidate;
        reopened
        accounts_and_secrets_survive
    );

    on_cql!(revocations:
        fresh
        what_is_called_back_is_read
        a_token_is_refused_until_the_latest_of_its_ends
        what_has_ended_takes_nothing_along;
        reopened
        revocations_survive
    );

    on_cql!(bans:
        fresh
        bans_are_listed_as_they_were_kept
        a_later_ban_takes_the_place_of_the_one_before
        a_lifted_ban_is_gone;
        reopened
        bans_survive
    );

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_store_is_shared() {
        let store = crate::open(&crate::options().await).await;
        hubbub_core::contract::store::a_store_is_shared(std::sync::Arc::new(store)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_store_has_one_log_id_for_ever() {
        let (one, another) = (crate::options().await, crate::options().await);
        hubbub_core::contract::store::a_store_has_one_log_id_for_ever(
            &mut || Box::new(crate::open_now(&one)),
            &mut || Box::new(crate::open_now(&another)),
        )
        .await;
    }
}

fn entry(seq: u64) -> Entry {
    let ann = User { id: UserId::parse("ann").unwrap(), name: "Ann".into() };
    let content = Content::text(format!("number {seq}")).unwrap();
    let key = Key::parse(&format!("key-{seq}")).unwrap();
    Entry::new(&room(), Seq(seq), Millis(seq), &ann, Some(key), Says::Message(&content))
}

fn room() -> RoomId {
    RoomId::parse("lobby").unwrap()
}

fn read(seqs: std::ops::RangeInclusive<u64>) -> Read {
    Read { room: room(), epoch: Epoch(1), seqs, bytes_max: usize::MAX }
}

async fn append(store: &CqlStore, seqs: std::ops::Range<u64>) {
    let entries: Vec<_> = seqs.map(entry).collect();
    store.append(Append { room: room(), epoch: Epoch(1), entries }).await.unwrap();
}

#[tokio::test]
async fn a_read_goes_over_the_ends_of_buckets() {
    let store = open(&options().await).await;
    // Buckets end at 4,999 and 9,999; the first one is not begun at its beginning.
    append(&store, 4_990..10_010).await;
    let found = store.read(read(4_990..=u64::MAX)).await.unwrap();
    assert!(found.iter().map(|entry| entry.seq.0).eq(4_990..10_010));
    let found = store.read(read(4_000..=5_001)).await.unwrap();
    assert!(found.iter().map(|entry| entry.seq.0).eq(4_990..5_002));
    let found = store.read(read(9_999..=10_000)).await.unwrap();
    assert_eq!(found, [entry(9_999), entry(10_000)]);
}

/// A holder that was fenced may have had it on its way for a while.
#[tokio::test]
async fn what_comes_after_a_bar_is_never_there() {
    let store = open(&options().await).await;
    append(&store, 4_990..5_003).await;
    store.bar(room(), Epoch(1), Seq(4_995)).await.unwrap();
    append(&store, 4_993..5_010).await;
    append(&store, 14_900..14_910).await;
    let found = store.read(read(4_990..=u64::MAX)).await.unwrap();
    assert!(found.iter().map(|entry| entry.seq.0).eq(4_990..4_995), "what is before it stays");
    assert_eq!(store.read(read(14_900..=14_909)).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_claim_at_once_each_gets_a_number_of_its_own() {
    let options = options().await;
    let mut claims = JoinSet::new();
    for _ in 0..4 {
        let store = std::sync::Arc::new(open(&options).await);
        for _ in 0..3 {
            let store = store.clone();
            claims.spawn(async move { store.claim(Partition(1)).await });
        }
    }
    let mut won: Vec<_> = claims.join_all().await.into_iter().flatten().collect();
    let before = won.len();
    won.sort();
    won.dedup();
    assert_eq!(won.len(), before, "two were told the same number");
    assert!(!won.is_empty());
    assert_eq!(open(&options).await.fence(Partition(1)).await.unwrap(), *won.last().unwrap());
}

/// A room's newest entries are kept for long, and what is small may have come with many pictures.
#[tokio::test]
async fn an_entry_that_was_read_does_not_keep_its_page_in_memory() {
    let store = open(&options().await).await;
    append(&store, 1..4).await;
    let found = store.read(read(1..=3)).await.unwrap();
    assert_eq!(found, [entry(1), entry(2), entry(3)]);
    assert!(found.iter().all(|entry| entry.json.is_unique()));
}

#[tokio::test]
async fn a_log_that_was_renewed_is_another_one_with_the_same_entries() {
    let options = options().await;
    let store = open(&options).await;
    append(&store, 1..3).await;
    assert_eq!(store.current_log().await.unwrap(), store.log_id());
    let renewed = store.renew_log().await.unwrap();
    let again = open(&options).await;
    assert_eq!(again.log_id(), renewed);
    assert_ne!(store.log_id(), renewed, "one that runs goes on with what it began with");
    assert_eq!(store.current_log().await.unwrap(), renewed, "and can see that it has to end");
    assert_eq!(again.read(read(1..=2)).await.unwrap(), [entry(1), entry(2)]);
}

#[tokio::test]
async fn a_keyspace_with_which_no_cluster_began_is_not_made_by_who_looks_for_one() {
    let options = options().await;
    let existing = async || in_time("an answer", CqlStore::open_existing(&options)).await.unwrap();
    assert!(existing().await.is_none());
    assert!(existing().await.is_none(), "the first look made it");
    let store = open(&options).await;
    assert_eq!(existing().await.unwrap().log_id(), store.log_id());
}

/// A room comes into the directory before it has its row: the lists go on behind it.
#[tokio::test]
async fn a_room_whose_first_projection_is_half_written_does_not_end_the_directory() {
    let options = options().await;
    let store = open(&options).await;
    for n in 1..=5 {
        let facts = RoomFacts { name: "r".into(), topic: "".into(), owner: UserId::parse("u").unwrap() };
        let projection = Projection {
            room: RoomId::parse(&format!("r{n}")).unwrap(),
            facts: Some(facts),
            created_at: Some(Millis(n)),
            members: Vec::new(),
            member_count: 1,
            mark: Seq(1),
            mark_at: Millis(n),
            erased: None,
            kept: None,
        };
        store.project(projection).await.unwrap();
    }
    let session = SessionBuilder::new().known_nodes(&options.nodes).build().await.unwrap();
    let half = format!(
        "INSERT INTO {}.directory (period, created_at, room) VALUES (0, 9, 'half')",
        options.keyspace
    );
    session.query_unpaged(half, ()).await.unwrap();
    let listed = store.directory(None, 3).await.unwrap();
    let rooms: Vec<_> = listed.iter().map(|row| row.room.as_str()).collect();
    assert_eq!(rooms, ["r5", "r4", "r3"]);
    assert_eq!(store.directory(None, 9).await.unwrap().len(), 5);
}

#[tokio::test]
async fn the_keyspace_of_another_cluster_is_refused() {
    let ours = options().await;
    let store = open(&ours).await;
    let theirs = CqlOptions { cluster: "other".into(), ..ours.clone() };
    let refused = in_time("an answer", CqlStore::open(&theirs)).await.err().unwrap();
    assert!(matches!(refused, CqlOpenError::Setting(_)), "{refused:?}");
    let said = refused.to_string();
    for word in ["\"hub\"", "\"other\"", "--cql-keyspace", "--cluster"] {
        assert!(said.contains(word) && !said.contains("damaged"), "{said}");
    }
    store.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acked_survives_a_kill_and_the_store_comes_back_by_itself() {
    let mut cassandra = Cassandra::start().await.unwrap();
    let options = CqlOptions { request_timeout: Duration::from_secs(2), ..options_of(&cassandra) };
    // The tables first, with the patience that they need.
    drop(open(&CqlOptions { request_timeout: Duration::from_secs(20), ..options.clone() }).await);
    let store = open(&options).await;
    append(&store, 1..50).await;
    let epoch = store.claim(Partition(3)).await.unwrap();
    cassandra.kill().unwrap();
    let refused = in_time(
        "an answer",
        store.append(Append { room: room(), epoch: Epoch(1), entries: vec![entry(50)] }),
    )
    .await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert!(in_time("an answer", store.check()).await.is_err());
    assert!(in_time("an answer", store.claim(Partition(3))).await.is_err());
    cassandra.start_again().await.unwrap();
    eventually("the store works again", async || store.check().await.ok()).await;
    let found = store.read(read(1..=49)).await.unwrap();
    assert_eq!(found.len(), 49);
    append(&store, 50..52).await;
    assert_eq!(store.fence(Partition(3)).await.unwrap(), epoch);
    assert!(store.claim(Partition(3)).await.unwrap() > epoch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_reached_by_user_and_password_over_tls() {
    let folder = Folder::temporary().unwrap();
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
    std::fs::write(folder.path().join("ca.pem"), &certificate).unwrap();
    std::fs::write(folder.path().join("node.pem"), format!("{key}{certificate}")).unwrap();
    let cassandra = Cassandra::start_in(
        folder,
        "authenticator: {class_name: org.apache.cassandra.auth.PasswordAuthenticator}\n\
         authorizer: {class_name: org.apache.cassandra.auth.CassandraAuthorizer}\n\
         role_manager: {class_name: org.apache.cassandra.auth.CassandraRoleManager}\n\
         client_encryption_options:\n  enabled: true\n  optional: false\n  keystore: FOLDER/node.pem\n  \
         ssl_context_factory:\n    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory\n",
    )
    .await
    .unwrap();
    let user = |password: &str| Some(("cassandra".to_owned(), Secret::new(password.into())));
    let tls = Some(CqlTls { ca: cassandra.folder().join("ca.pem"), identity: None });
    let right = CqlOptions { user: user("cassandra"), tls, ..options_of(&cassandra) };
    open(&right).await.check().await.unwrap();
    for wrong in [
        CqlOptions { user: user("guessed"), ..right.clone() },
        CqlOptions { user: None, ..right.clone() },
        CqlOptions { tls: None, ..right.clone() },
    ] {
        let opened = tokio::time::timeout(Duration::from_secs(5), CqlStore::open(&wrong)).await;
        assert!(opened.is_err(), "let in with {wrong:?}");
    }
}
