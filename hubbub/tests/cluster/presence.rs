//! Who is online, and which token is one, is the same at every gateway.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hubbub_client::raw::{Frame, Raw};
use hubbub_client::{Entry, Event, Events, What};
use hubbub_core::ids::{RoomId, UserId};
use hubbub_testkit::{Hubbub, Person, Plan, end_of, eventually, in_time};
use serde_json::json;

use crate::world::{Quiet, connect, plan};

/// After the death of a gateway, how long its people may be shown: what silence takes to be believed and told is half of it.
const SHOWN_MAX: Duration = Duration::from_secs(10);
/// What another service signs its tokens with.
const JWT_SECRET: &str = "a secret of another service, of 32 bytes and more";

/// Two gateways, and no more of the rest than it takes.
async fn small() -> Plan {
    Plan { workers: 1, histories: 1, ..plan().await }
}

/// Waits until both gateways hear each other's signs of life.
async fn meet(gateways: &[Hubbub]) {
    for gateway in gateways {
        let hears = async || (gateway.metric("hubbub_gateway_peers").await.ok()? >= 1.0).then_some(());
        eventually("it hears the other gateway", hears).await;
    }
}

/// Waits until the person is told to have come or gone.
async fn sees(events: &mut Events, person: &Person, online: bool) {
    let what = format!("{} is told to be online: {online}", person.name);
    let told = async {
        loop {
            let event = events.next().await.expect("the watcher's connection stays");
            if let Event::Presence(presence) = event
                && presence.user.is_some_and(|user| user.id == person.id)
            {
                return presence.online;
            }
        }
    };
    assert_eq!(in_time(&what, told).await, Some(online), "{what}");
}

/// A Socket.IO client of the person, by hand: it is in their rooms once it is told who it is.
async fn socketio(gateway: &Hubbub, person: &Person) -> Raw {
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", gateway.address());
    let mut raw = Raw::connect(&url, None).await.unwrap();
    raw.send_text(format!("40/v1/channel,{{\"token\":\"{}\"}}", person.token)).await.unwrap();
    reads(&mut raw, "42/v1/channel,[\"authentication\"").await;
    raw
}

/// Reads up to the packet that begins so.
async fn reads(raw: &mut Raw, begins: &str) {
    loop {
        match in_time(begins, raw.next()).await {
            Frame::Text(text) if text.starts_with(begins) => return,
            Frame::Closed { code, reason } => panic!("{begins}: closed, {code:?} {reason}"),
            _ => {}
        }
    }
}

fn status(person: &Person, online: bool) -> String {
    format!("42/v1/channel,[\"status\",{{\"user\":\"{}\",\"status\":{}}}]", person.id, u8::from(online))
}

/// Whether the gateway's list of members shows the person online.
async fn shown(gateway: &Hubbub, asker: &Person, room: &RoomId, person: &Person) -> Option<bool> {
    let path = format!("/v1/chat/rooms/{room}/members");
    let list = gateway.get(&path, Some(&asker.token)).await.ok()?.json();
    let mut members = list["members"].as_array()?.iter();
    members.find(|member| member["id"] == person.id.as_str())?["online"].as_bool()
}

/// Waits until it shows them so.
async fn shows(gateway: &Hubbub, asker: &Person, room: &RoomId, person: &Person, online: bool) {
    let shown = async || (shown(gateway, asker, room, person).await? == online).then_some(());
    eventually(&format!("{} is shown online: {online}", person.name), shown).await;
}

#[tokio::test]
async fn who_comes_and_goes_is_told_at_the_other_gateway_and_who_was_at_a_killed_one_goes() {
    let mut quiet = Quiet::of(small().await).await;
    let gateways = &mut quiet.cluster.gateways;
    meet(gateways).await;
    let (ann, bob) =
        (Person::register(&gateways[0], "ann").await, Person::register(&gateways[1], "bob").await);
    let (ann, bob) = (ann.unwrap(), bob.unwrap());
    let (bobs, mut bob_hears) = connect(&gateways[1], &bob).await;
    let room = bobs.create("tea", "").await.unwrap().id;
    let join = format!("/v1/chat/rooms/join/{room}");
    let joined = gateways[0].post(&join, Some(&ann.token), &json!({})).await.unwrap();
    assert_eq!(joined.status, 200, "{joined:?}");
    // Who joins is taken to be there.
    sees(&mut bob_hears, &ann, false).await;

    let mut bobs_socketio = socketio(&gateways[1], &bob).await;
    let (anns, mut ann_hears) = connect(&gateways[0], &ann).await;
    sees(&mut bob_hears, &ann, true).await;
    reads(&mut bobs_socketio, &status(&ann, true)).await;
    drop(bobs_socketio);
    for gateway in gateways.iter() {
        shows(gateway, &bob, &room, &ann, true).await;
        shows(gateway, &bob, &room, &bob, true).await;
    }
    bobs.close().await;
    sees(&mut ann_hears, &bob, false).await;
    shows(&gateways[0], &bob, &room, &bob, false).await;
    let (bobs, mut bob_hears) = connect(&gateways[1], &bob).await;
    sees(&mut ann_hears, &bob, true).await;
    let mut bobs_socketio = socketio(&gateways[1], &bob).await;

    let killed = Instant::now();
    gateways[0].kill().await.unwrap();
    sees(&mut bob_hears, &ann, false).await;
    assert!(killed.elapsed() < SHOWN_MAX, "{:?}", killed.elapsed());
    reads(&mut bobs_socketio, &status(&ann, false)).await;
    shows(&gateways[1], &bob, &room, &ann, false).await;
    shows(&gateways[1], &bob, &room, &bob, true).await;
    drop(anns);

    // Started again it is another one, which is ready when it was told who is there, and has read which tokens were called back.
    let cyd = Person::register(&gateways[1], "cyd").await.unwrap();
    let out = gateways[1].post("/v1/accounts/logout", Some(&cyd.token), &json!({})).await.unwrap();
    assert_eq!(out.status, 200, "{out:?}");
    gateways[0].restart().await.unwrap();
    assert_eq!(shown(&gateways[0], &ann, &room, &bob).await, Some(true));
    let asked = gateways[0].get("/v1/accounts/validate", Some(&cyd.token)).await.unwrap();
    assert_eq!(asked.status, 401, "{asked:?}");
    let (_anns, _) = connect(&gateways[0], &ann).await;
    sees(&mut bob_hears, &ann, true).await;
    // Ended in order it lets its people go.
    assert!(gateways[0].terminate().await.unwrap().success());
    sees(&mut bob_hears, &ann, false).await;
    bobs.ping().await.unwrap();
}

#[tokio::test]
async fn tokens_are_good_at_all_gateways_until_one_is_called_back() {
    let mut quiet = Quiet::of(small().await).await;
    for _ in 0..2 {
        let start = quiet.cluster.tier("gateway").with(&format!("--jwt-secret={JWT_SECRET}"));
        quiet.cluster.add_gateway(start).await.unwrap();
    }
    let [here, there, others_here, others_there] = &quiet.cluster.gateways[..] else { panic!("gateways") };
    those_of_another_service_are_good(others_here, others_there).await;
    let ann = Person::register(here, "ann").await.unwrap();
    let bob = Person::register(there, "bob").await.unwrap();
    let (_first, mut first) = connect(here, &ann).await;
    let (_second, mut second) = connect(there, &ann).await;
    let (bobs, _bob_hears) = connect(there, &bob).await;
    let out = here.post("/v1/accounts/logout", Some(&ann.token), &json!({})).await.unwrap();
    assert_eq!(out.status, 200, "{out:?}");
    for events in [&mut first, &mut second] {
        assert_eq!(end_of(events).await, ("revoked".to_owned(), Some(4401)));
    }
    for gateway in [here, there] {
        let asked = gateway.get("/v1/accounts/validate", Some(&ann.token)).await.unwrap();
        assert_eq!(asked.status, 401, "{asked:?}");
    }
    bobs.ping().await.unwrap();
}

async fn those_of_another_service_are_good(here: &Hubbub, there: &Hubbub) {
    let ann = from_elsewhere(here, "ann");
    let bob = from_elsewhere(there, "bob");
    let (anns, _ann_hears) = connect(here, &ann).await;
    let room = anns.create("tea", "").await.unwrap().id;
    let (bobs, mut bob_hears) = connect(there, &bob).await;
    bobs.join(&room).await.unwrap();
    anns.send_text(&room, "hello", None).await.unwrap();
    let told = async {
        loop {
            if let Some(Event::Entry(Entry { what: What::Text(text), user, .. })) = bob_hears.next().await {
                return (text, user.name);
            }
        }
    };
    assert_eq!(in_time("the message", told).await, ("hello".to_owned(), "ann".into()));
}

/// Someone with an account at the service whose secret the gateways have.
fn from_elsewhere(gateway: &Hubbub, name: &str) -> Person {
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 600;
    let claims = json!({"sub": name, "name": name, "roles": ["user"], "exp": end});
    let key = jsonwebtoken::EncodingKey::from_secret(JWT_SECRET.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    Person::from_elsewhere(gateway, UserId::parse(name).unwrap(), name, token)
}
