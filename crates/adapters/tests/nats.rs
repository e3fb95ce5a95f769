//! The adapters on NATS, against a real nats-server.

#![expect(clippy::unwrap_used, reason = "a test that can't go on is to fail")]

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use hubbub_adapters::bus::{NatsBus, NatsOptions, NatsTls};
use hubbub_adapters::leases::NatsLeases;
use hubbub_core::ids::{NodeId, Partition};
use hubbub_core::ports::accounts::Secret;
use hubbub_core::ports::bus::{Bus, BusError, Message, Payload, Reply, Subject};
use hubbub_core::ports::leases::{LeaseError, Leases};
use hubbub_testkit::{Folder, Nats, eventually, in_time};

const TIMEOUT: Duration = Duration::from_secs(5);

fn options(nats: &Nats) -> NatsOptions {
    NatsOptions {
        servers: vec![nats.url()],
        user: None,
        tls: None,
        prefix: "hub".into(),
        lease_replicas: 1,
        name: "test".into(),
    }
}

async fn bus(options: &NatsOptions) -> NatsBus {
    in_time("a connection to NATS", NatsBus::connect(options)).await.unwrap()
}

mod contract {
    use hubbub_adapters::leases::NatsLeases;
    use hubbub_core::contract;
    use hubbub_testkit::Nats;

    macro_rules! of {
        ($port:ident on $nats:ident: $on:expr; $($sentence:ident)*) => {
            mod $port {
                use super::*;
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $sentence() {
                    let $nats = Nats::start().await.unwrap();
                    contract::$port::$sentence(&$on).await;
                })*
            }
        };
    }

    of!(bus on nats: crate::bus(&crate::options(&nats)).await;
        a_listener_hears_its_subject_in_order
        a_dropped_subscription_is_over
        a_request_is_answered_once_and_in_order
        a_silent_server_does_not_keep_another_from_answering
        an_answer_is_told_once
        an_unanswered_request_says_which
        a_payload_over_the_limit_is_refused
        a_message_takes_its_traces_along
        a_whole_thing_is_heard_as_itself_or_as_its_bytes
    );

    of!(leases on nats: NatsLeases::new(&crate::bus(&crate::options(&nats)).await);
        a_lease_is_taken_by_one
        a_released_lease_is_free_at_once
        each_partition_has_its_own
    );
}

/// Hears what is published of new rooms.
async fn listening(bus: &NatsBus) -> (mpsc::Receiver<Bytes>, hubbub_core::ports::bus::Subscription) {
    let (to, heard) = mpsc::channel();
    let subscription = bus.listen(
        Subject::Directory,
        Arc::new(move |message: Message| _ = to.send(message.payload.into_bytes())),
    );
    (heard, subscription.await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_server_died_all_is_as_before_and_losses_are_told() {
    let mut nats = Nats::start().await.unwrap();
    let options = options(&nats);
    let (here, there) = (bus(&options).await, bus(&options).await);
    let (heard, _listening) = listening(&here).await;
    let answers = Arc::new(|message: Message, reply: Reply| reply.send(message.payload));
    let _serving = here.serve(Subject::Query, answers).await.unwrap();
    let lost = Arc::new(AtomicBool::new(false));
    let told = lost.clone();
    let _watching = here.watch_losses(Arc::new(move || told.store(true, SeqCst)));
    // The first connection may be told of as well.
    let seen = |bus: &NatsBus| bus.is_connected().then_some(());
    eventually("connected", async || seen(&here)).await;

    nats.kill().unwrap();
    eventually("the loss is known", async || (!there.is_connected() && !here.is_connected()).then_some(()))
        .await;
    let away = there.publish(&Subject::Directory, Bytes::from_static(b"lost").into());
    assert!(matches!(away, Err(BusError::Unavailable { .. })), "{away:?}");
    let away = there.request(&Subject::Query, Message::default(), TIMEOUT).await;
    assert!(matches!(away, Err(BusError::Unavailable { .. })), "{away:?}");
    lost.store(false, SeqCst);
    nats.start_again(true).await.unwrap();

    eventually("losses are told", async || lost.load(SeqCst).then_some(())).await;
    eventually("both are back", async || seen(&there)).await;
    there.publish(&Subject::Directory, Bytes::from_static(b"after").into()).unwrap();
    assert_eq!(heard.recv_timeout(TIMEOUT).unwrap(), "after");
    let question = Bytes::from_static(b"?");
    let answer = there.request(&Subject::Query, question.clone().into(), TIMEOUT).await;
    assert_eq!(answer.map(Payload::into_bytes), Ok(question));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_is_too_slow_loses_messages_and_all_are_told() {
    let nats = Nats::start().await.unwrap();
    let options = options(&nats);
    let (here, there) = (bus(&options).await, bus(&options).await);
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let (to, heard) = mpsc::channel();
    let listener = Arc::new(move |message: Message| {
        let payload = message.payload.into_bytes();
        if payload.is_empty() {
            // Said to tokio, or what waits for this thread would wait as well.
            tokio::task::block_in_place(|| _ = gate.lock().unwrap().recv());
        }
        _ = to.send(payload);
    });
    let _listening = here.listen(Subject::Directory, listener).await.unwrap();
    let lost = Arc::new(AtomicBool::new(false));
    let told = lost.clone();
    let _watching = here.watch_losses(Arc::new(move || told.store(true, SeqCst)));
    there.publish(&Subject::Directory, Message::default()).unwrap();
    let mut sent = 0;
    eventually("messages are dropped and that is told", async || {
        for _ in 0..1_000 {
            sent += usize::from(there.publish(&Subject::Directory, Bytes::from_static(b"x").into()).is_ok());
        }
        lost.load(SeqCst).then_some(())
    })
    .await;
    go_on.send(()).unwrap();
    assert_eq!(heard.recv_timeout(TIMEOUT).unwrap(), "");
    let mut kept = 0;
    eventually("what is said after that is heard again", async || {
        // What was said meanwhile may be lost as well.
        _ = there.publish(&Subject::Directory, Bytes::from_static(b"after").into());
        heard
            .try_iter()
            .any(|payload| {
                kept += usize::from(payload == "x");
                payload == "after"
            })
            .then_some(())
    })
    .await;
    assert!(kept < sent, "{kept} of {sent}: nothing was lost, and a loss was told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clusters_on_one_nats_do_not_meet() {
    let nats = Nats::start().await.unwrap();
    let other = NatsOptions { prefix: "other".into(), ..options(&nats) };
    let (one, other) = (bus(&options(&nats)).await, bus(&other).await);
    let (heard, _listening) = listening(&one).await;
    other.publish(&Subject::Directory, Bytes::from_static(b"other's").into()).unwrap();
    let serving = one.serve(Subject::Query, Arc::new(|message, reply| reply.send(message.payload)));
    let _serving = serving.await.unwrap();
    let asked = other.request(&Subject::Query, Message::default(), TIMEOUT).await;
    assert_eq!(asked.map(drop), Err(BusError::NoResponders));
    one.publish(&Subject::Directory, Bytes::from_static(b"ours").into()).unwrap();
    assert_eq!(heard.recv_timeout(TIMEOUT).unwrap(), "ours");
    let (ann, bob) = (NodeId::parse("ann").unwrap(), NodeId::parse("bob").unwrap());
    let (here, there) = (NatsLeases::new(&one), NatsLeases::new(&other));
    here.take(Partition(1), ann, None).await.unwrap();
    there.take(Partition(1), bob, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_made_anew_when_nats_lost_its_data() {
    let mut nats = Nats::start().await.unwrap();
    let leases = NatsLeases::new(&bus(&options(&nats)).await);
    let bus = bus(&options(&nats)).await;
    let leases_of_bus = NatsLeases::new(&bus);
    let node = NodeId::parse("ann").unwrap();
    let held = leases_of_bus.take(Partition(1), node.clone(), None).await.unwrap();
    drop(leases);
    nats.kill().unwrap();
    let away = leases_of_bus.read(Partition(1)).await;
    assert!(matches!(away, Err(LeaseError::Unavailable { .. })), "{away:?}");
    nats.start_again(false).await.unwrap();
    eventually("leases can be read", async || leases_of_bus.read(Partition(1)).await.ok()).await;
    assert_eq!(leases_of_bus.renew(Partition(1), node.clone(), held).await, Err(LeaseError::Changed));
    assert_eq!(leases_of_bus.read(Partition(1)).await, Ok(None));
    leases_of_bus.take(Partition(1), node, None).await.unwrap();
}

/// How many servers keep the leases.
async fn replicas_of_leases(nats: &Nats) -> usize {
    let client = async_nats::connect(nats.url()).await.unwrap();
    let bucket = async_nats::jetstream::new(client).get_key_value("hub_leases").await.unwrap();
    bucket.stream.cached_info().config.num_replicas
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_that_are_there_are_kept_by_as_many_servers_as_is_said_now() {
    let cluster = Nats::start_cluster(3, |_| Folder::temporary()).await.unwrap();
    let nats = &cluster[0];
    let node = NodeId::parse("ann").unwrap();
    let before = NatsLeases::new(&bus(&options(nats)).await);
    let held = eventually("a lease", async || before.take(Partition(1), node.clone(), None).await.ok()).await;
    assert_eq!(replicas_of_leases(nats).await, 1);
    let three = NatsOptions { lease_replicas: 3, ..options(nats) };
    let after = NatsLeases::new(&bus(&three).await);
    // Who only reads may be a gateway, to which nobody said it.
    assert_eq!(after.read(Partition(1)).await.unwrap().unwrap().revision, held);
    assert_eq!(replicas_of_leases(nats).await, 1);
    after.renew(Partition(1), node, held).await.unwrap();
    eventually("three keep them", async || (replicas_of_leases(nats).await == 3).then_some(())).await;
    assert!(after.read(Partition(1)).await.unwrap().is_some());
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_nats_that_can_not_keep_leases_as_is_said_now_is_told_of_once_and_keeps_them_as_before() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || writer.clone())
        .finish();
    // Of this thread, on which all of this test runs.
    let _logging = tracing::subscriber::set_default(subscriber);
    let nats = Nats::start().await.unwrap();
    let node = NodeId::parse("ann").unwrap();
    let before = NatsLeases::new(&bus(&options(&nats)).await);
    let held = before.take(Partition(1), node.clone(), None).await.unwrap();
    let three = NatsOptions { lease_replicas: 3, ..options(&nats) };
    let after = NatsLeases::new(&bus(&three).await);
    let held = after.renew(Partition(1), node.clone(), held).await.unwrap();
    let written = || String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    eventually("it is told", async || written().contains("--nats-replicas (NATS_REPLICAS)").then_some(()))
        .await;
    after.renew(Partition(1), node, held).await.unwrap();
    after.read(Partition(1)).await.unwrap();
    assert_eq!(written().lines().count(), 1, "{}", written());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_and_password_are_asked_for_and_a_wrong_one_is_not_let_in() {
    let nats = Nats::start_with("authorization { user: hub, password: \"s3cret\" }").await.unwrap();
    let user = |password: &str| Some(("hub".to_owned(), Secret::new(password.into())));
    let right = bus(&NatsOptions { user: user("s3cret"), ..options(&nats) }).await;
    assert!(right.is_connected());
    let wrong = NatsOptions { user: user("guess"), ..options(&nats) };
    let connecting = NatsBus::connect(&wrong);
    let let_in =
        tokio::time::timeout(Duration::from_millis(300), connecting).await.is_ok_and(|bus| bus.is_ok());
    assert!(!let_in);
    assert!(!format!("{wrong:?}").contains("guess"), "a password is printed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_spoken_with_a_server_whose_certificate_is_trusted() {
    let folder = Folder::temporary().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("server.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let ca = Some(certificate);
    let tls = "tls { cert_file: \"FOLDER/server.pem\", key_file: \"FOLDER/key.pem\", timeout: 5 }";
    let nats = Nats::start_in(folder, tls).await.unwrap();
    let servers = vec![nats.url().replace("127.0.0.1", "localhost").replace("nats:", "tls:")];
    let trusting =
        NatsOptions { servers: servers.clone(), tls: Some(NatsTls { ca, identity: None }), ..options(&nats) };
    assert!(bus(&trusting).await.is_connected());
    let distrusting = NatsOptions { servers, tls: Some(NatsTls::default()), ..options(&nats) };
    let connecting = NatsBus::connect(&distrusting);
    let let_in =
        tokio::time::timeout(Duration::from_millis(500), connecting).await.is_ok_and(|bus| bus.is_ok());
    assert!(!let_in, "an unknown certificate was trusted");
}
