//! The contract of the `Bus` port.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;

use crate::ids::{Partition, RoomId};
use crate::ports::bus::{Bus, BusError, Message, PAYLOAD_BYTES_MAX, Payload, Reply, Subject, Whole};
use crate::trace::TraceContext;

const TIMEOUT: Duration = Duration::from_secs(5);

fn events(room: &str) -> Subject {
    Subject::Events(Partition(1), RoomId::parse(room).expect("a room"))
}

fn queue(name: &'static str) -> (crate::ports::bus::Listener, mpsc::Receiver<(&'static str, Bytes)>) {
    let (to, from) = mpsc::channel();
    (Arc::new(move |message: Message| _ = to.send((name, message.payload.into_bytes()))), from)
}

/// What one publisher publishes on one subject arrives once and in order, at every listener of that subject and no other.
pub async fn a_listener_hears_its_subject_in_order(bus: &dyn Bus) {
    let (here, heard_here) = queue("here");
    let (also, heard_also) = queue("also");
    let (there, heard_there) = queue("there");
    let _here = bus.listen(events("here"), here).await.expect("listens");
    let _also = bus.listen(events("here"), also).await.expect("listens");
    let _there = bus.listen(events("there"), there).await.expect("listens");
    for n in 0..100u8 {
        bus.publish(&events("here"), Bytes::from(vec![n]).into()).expect("published");
    }
    bus.publish(&events("there"), Bytes::from_static(b"end").into()).expect("published");
    assert_eq!(heard_there.recv_timeout(TIMEOUT).expect("heard").1, "end");
    for heard in [heard_here, heard_also] {
        for n in 0..100u8 {
            assert_eq!(heard.recv_timeout(TIMEOUT).expect("heard").1, vec![n]);
        }
        assert!(heard.try_recv().is_err(), "heard more than was published");
    }
    assert!(heard_there.try_recv().is_err(), "heard another subject");
}

/// A dropped subscription hears nothing more, and does not keep the others from hearing.
pub async fn a_dropped_subscription_is_over(bus: &dyn Bus) {
    let (stays, heard) = queue("stays");
    let (goes, heard_gone) = queue("goes");
    let _stays = bus.listen(Subject::Directory, stays).await.expect("listens");
    drop(bus.listen(Subject::Directory, goes).await.expect("listens"));
    bus.publish(&Subject::Directory, Bytes::from_static(b"x").into()).expect("published");
    heard.recv_timeout(TIMEOUT).expect("heard");
    assert!(heard_gone.try_recv().is_err(), "a dropped listener heard");
    drop(bus.serve(Subject::Query, Arc::new(|_, reply| reply.send(Bytes::new()))).await.expect("serves"));
    let answer = bus.request(&Subject::Query, Message::default(), TIMEOUT).await;
    assert_eq!(answer.map(drop), Err(BusError::NoResponders));
}

/// A request of a shared subject is heard by one server; requests arrive in the order in which they were made.
pub async fn a_request_is_answered_once_and_in_order(bus: &dyn Bus) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut servers = Vec::new();
    for _ in 0..2 {
        let seen = seen.clone();
        let serve = bus.serve(
            Subject::Query,
            Arc::new(move |message, reply| {
                seen.lock().expect("not poisoned").push(message.payload.clone().into_bytes());
                reply.send(message.payload);
            }),
        );
        servers.push(serve.await.expect("serves"));
    }
    let asked: Vec<Bytes> = (0..20u8).map(|n| vec![n].into()).collect();
    for payload in &asked {
        let answer = bus.request(&Subject::Query, payload.clone().into(), TIMEOUT).await;
        assert_eq!(answer.map(Payload::into_bytes).as_ref(), Ok(payload));
    }
    assert_eq!(*seen.lock().expect("not poisoned"), asked, "each request goes to one server");
    servers.pop();
    seen.lock().expect("not poisoned").clear();
    let answers: Vec<_> =
        asked.iter().map(|p| bus.request(&Subject::Query, p.clone().into(), TIMEOUT)).collect();
    for (answer, payload) in answers.into_iter().zip(&asked).rev() {
        assert_eq!(answer.await.map(Payload::into_bytes).as_ref(), Ok(payload));
    }
    assert_eq!(*seen.lock().expect("not poisoned"), asked, "in the order of the calls, not of the polls");
}

/// Of a subject that is not shared every server hears a request, and one that says nothing is in nobody's way.
pub async fn a_silent_server_does_not_keep_another_from_answering(bus: &dyn Bus) {
    let act = Subject::Act(Partition(5));
    let (silent, held) = mpsc::channel();
    let paused = Arc::new(move |_, reply| _ = silent.send(reply));
    let _paused = bus.serve(act.clone(), paused).await.expect("serves");
    let _other =
        bus.serve(act.clone(), Arc::new(|message, reply| reply.send(message.payload))).await.expect("serves");
    for n in 0..10u8 {
        let asked = Bytes::from(vec![n]);
        let answer = bus.request(&act, asked.clone().into(), TIMEOUT).await;
        assert_eq!(answer.map(Payload::into_bytes), Ok(asked));
    }
    for _ in 0..10 {
        // Perhaps later than the answer of the other one comes.
        held.recv_timeout(TIMEOUT).expect("it hears them all");
    }
}

/// Nobody there is known at once; somebody who never answers, after the timeout.
pub async fn an_unanswered_request_says_which(bus: &dyn Bus) {
    let act = Subject::Act(Partition(7));
    assert_eq!(bus.request(&act, Message::default(), TIMEOUT).await.map(drop), Err(BusError::NoResponders));
    let kept = Arc::new(Mutex::new(Vec::new()));
    let silent = kept.clone();
    let _server = bus
        .serve(act.clone(), Arc::new(move |_, reply| silent.lock().expect("not poisoned").push(reply)))
        .await
        .expect("serves");
    let answer = bus.request(&act, Message::default(), Duration::from_millis(50)).await;
    assert_eq!(answer.map(drop), Err(BusError::TimedOut));
}

/// What becomes of a request is told by one call, however many answer it and however late.
pub async fn an_answer_is_told_once(bus: &dyn Bus) {
    let act = Subject::Act(Partition(11));
    let (late, held) = mpsc::channel::<Reply>();
    let silent = bus.serve(act.clone(), Arc::new(move |_, reply| _ = late.send(reply)));
    let _silent = silent.await.expect("serves");
    let (to, told) = mpsc::channel();
    let ask = |timeout| {
        let to = to.clone();
        bus.ask(&act, Message::default(), timeout, Box::new(move |answer| _ = to.send(answer.map(drop))));
        held.recv_timeout(TIMEOUT).expect("it hears")
    };
    let too_late = ask(Duration::from_millis(50));
    let given_up = bus.request(&act, Message::default(), Duration::from_millis(100)).await;
    assert_eq!(given_up.map(drop), Err(BusError::TimedOut));
    drop(held.recv_timeout(TIMEOUT).expect("it hears"));
    assert_eq!(told.try_recv(), Ok(Err(BusError::TimedOut)));
    let in_time = ask(TIMEOUT);
    let quick = bus.serve(act.clone(), Arc::new(|message, reply| reply.send(message.payload)));
    let _quick = quick.await.expect("serves");
    let by_both = ask(TIMEOUT);
    for reply in [too_late, in_time, by_both] {
        reply.send(Bytes::new());
    }
    // Its answer comes behind those.
    let last = bus.request(&act, Message::default(), TIMEOUT);
    held.recv_timeout(TIMEOUT).expect("it hears").send(Bytes::new());
    last.await.expect("answered");
    assert_eq!([told.try_recv(), told.try_recv()], [Ok(Ok(())), Ok(Ok(()))]);
    assert!(told.try_recv().is_err(), "told more often than asked");
}

/// A payload over the limit is refused on this side.
pub async fn a_payload_over_the_limit_is_refused(bus: &dyn Bus) {
    let (listener, _heard) = queue("large");
    let _listening = bus.listen(Subject::Memberships, listener).await.expect("listens");
    let most = Bytes::from(vec![0; PAYLOAD_BYTES_MAX]);
    assert_eq!(bus.publish(&Subject::Memberships, most.clone().into()), Ok(()));
    let over = Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1]);
    assert_eq!(bus.publish(&Subject::Memberships, over.clone().into()), Err(BusError::TooLarge));
    assert_eq!(bus.request(&Subject::Query, over.into(), TIMEOUT).await.map(drop), Err(BusError::TooLarge));
}

/// The traces of a message go with it, and are left out of one that would become too large by them.
pub async fn a_message_takes_its_traces_along(bus: &dyn Bus) {
    let trace = |n: u8| {
        TraceContext::parse(&format!("00-0af7651916cd43dd8448eb211c8031{n:02x}-b7ad6b71692033{n:02x}-01"))
            .expect("a trace")
    };
    let (to, heard) = mpsc::channel();
    let to_listener = to.clone();
    let listening = bus.listen(events("traced"), Arc::new(move |message| _ = to_listener.send(message)));
    let _listening = listening.await.expect("listens");
    let serving = bus.serve(
        Subject::Query,
        Arc::new(move |message, reply| {
            _ = to.send(message);
            reply.send(Bytes::new());
        }),
    );
    let _serving = serving.await.expect("serves");
    for count in [0, 1, 3] {
        let traces: Vec<_> = (1..=count).map(trace).collect();
        let message = Message { payload: Bytes::from_static(b"traced").into(), traces };
        bus.publish(&events("traced"), message.clone()).expect("published");
        assert_eq!(said(heard.recv_timeout(TIMEOUT).expect("heard")), said(message.clone()));
        bus.request(&Subject::Query, message.clone(), TIMEOUT).await.expect("answered");
        assert_eq!(said(heard.recv_timeout(TIMEOUT).expect("asked")), said(message));
    }
    let most = Bytes::from(vec![0; PAYLOAD_BYTES_MAX]);
    let message = Message { payload: most.clone().into(), traces: vec![trace(1)] };
    bus.publish(&events("traced"), message).expect("published");
    assert_eq!(said(heard.recv_timeout(TIMEOUT).expect("heard")), (most, Vec::new()));
}

fn said(message: Message) -> (Bytes, Vec<TraceContext>) {
    (message.payload.into_bytes(), message.traces)
}

/// A thing that is whole is heard as itself or as its bytes, as a message, a request and an answer.
pub async fn a_whole_thing_is_heard_as_itself_or_as_its_bytes(bus: &dyn Bus) {
    #[derive(Debug, Clone, PartialEq)]
    struct Thing(Bytes);
    impl Whole for Thing {
        fn to_bytes(&self) -> Bytes {
            self.0.clone()
        }
        fn size(&self) -> usize {
            self.0.len()
        }
    }
    let read = |mut payload: Payload| payload.take().unwrap_or_else(|| Thing(payload.into_bytes()));
    let thing = || Thing(Bytes::from_static(b"thing"));
    let (to, heard) = mpsc::channel();
    let listening = bus.listen(events("whole"), Arc::new(move |message| _ = to.send(message)));
    let _listening = listening.await.expect("listens");
    bus.publish(&events("whole"), Payload::whole(thing()).into()).expect("published");
    assert_eq!(read(heard.recv_timeout(TIMEOUT).expect("heard").payload), thing());

    let echo =
        Arc::new(move |message: Message, reply: Reply| reply.send(Payload::whole(read(message.payload))));
    let _serving = bus.serve(Subject::Query, echo).await.expect("serves");
    for _ in 0..2 {
        let answer = bus.request(&Subject::Query, Payload::whole(thing()).into(), TIMEOUT).await;
        assert_eq!(answer.map(read), Ok(thing()));
    }
    let over = Thing(Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1]));
    assert_eq!(bus.publish(&events("whole"), Payload::whole(over).into()), Err(BusError::TooLarge));
}
