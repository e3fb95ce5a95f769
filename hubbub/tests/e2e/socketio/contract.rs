//! The seed's contract, event by event and callback by callback.

use futures_util::future::join_all;
use hubbub_testkit::{Hubbub, Person, eventually};
use serde_json::{Value, json};

use super::clients::{Carried, Client, Kind, Library};
use crate::common::{Room, program, server};
use crate::peer::Peer;

/// A client that polls and changes over, and one that does not.
const OLD: Kind = Kind { library: Library::Js2, transports: &["polling", "websocket"] };
const NEW: Kind = Kind { library: Library::Js4, transports: &["websocket"] };

#[tokio::test]
async fn every_client_by_every_transport_has_the_whole_contract() {
    // Two event loops: a session's requests come to either.
    let server = Hubbub::start(program().with("--instances=2")).await.unwrap();
    let old = Room::with_owner(&server, "ann").await;
    // Three at once: each is a process of its own.
    for (n, kinds) in Kind::all().chunks(3).enumerate() {
        join_all(kinds.iter().enumerate().map(|(m, kind)| talk(&server, &old, *kind, n * 3 + m))).await;
    }
}

/// A user of this client and one of the native protocol, in a room of their own.
async fn talk(server: &Hubbub, old: &Room, kind: Kind, number: usize) {
    let bob = Person::register(server, &format!("bob{number}")).await.unwrap();
    let cyd = Person::register(server, &format!("cyd{number}")).await.unwrap();
    let carried = if kind.library == Library::Js4 { Carried::Auth } else { Carried::Query };
    let mut client = Client::start(server, kind, &bob.token, carried);
    client.event("connect").await;
    let authentication = client.event("authentication").await;
    assert_eq!(
        authentication,
        json!({"user": bob.id, "name": bob.name, "type": 1, "roles": ["user"]}),
        "{kind:?}"
    );
    let shown = client.event_like("chatroom", |room| room["id"] == old.id.as_str()).await;
    assert_eq!((&shown["name"], &shown["isUser"]), (&json!("the room"), &json!(false)), "{kind:?} {shown}");

    let made = client.call("chatroom", json!({"name": "tea", "topic": "hot"})).await;
    let room = made["id"].as_str().unwrap_or_else(|| panic!("{kind:?} {made}")).to_owned();
    assert_eq!(made, json!({"error": 0, "id": room}));
    client.find("the transport", |said| said["transport"] == kind.settles_on()).await;
    let told = client.event_like("chatroom", |one| one["id"] == room.as_str()).await;
    let owner =
        json!({"id": room, "name": "tea", "topic": "hot", "owner": bob.id, "count": 1, "isUser": true});
    assert_eq!(told, owner, "{kind:?}");

    // The other door.
    let mut peer = Peer::hello(&cyd).await;
    assert_eq!(peer.ask(json!({"type": "join", "room": room})).await["type"], "ok");
    let joined = client.event_like("join", |join| join["user"] == cyd.id.as_str()).await;
    assert_eq!(joined, json!({"user": cyd.id, "chatroom": room}), "{kind:?}");

    let said = client.call("message", json!({"chatroom": room, "message": "hällo €😀"})).await;
    assert_eq!(said, json!({"error": 0, "id": format!("{room}-3")}), "{kind:?}");
    let heard = client.event_like("message", |said| said["chatroom"] == room.as_str()).await;
    let at = heard["msg"]["createdAt"].clone();
    assert!(at.as_str().is_some_and(|at| at.len() == 24 && at.ends_with('Z')), "{heard}");
    let first = json!({"id": format!("{room}-3"), "owner": bob.id, "chatroom": room, "type": 1,
        "message": "hällo €😀", "createdAt": at, "updatedAt": at});
    assert_eq!(heard, json!({"error": 0, "chatroom": room, "msg": first}), "{kind:?}");
    assert_eq!(peer.next_of("message").await["text"], "hällo €😀");
    let sent = peer.ask(json!({"type": "send", "room": room, "text": "https://example.org"})).await;
    assert_eq!(sent["seq"], 4);
    let link = client.event_like("message", |said| said["msg"]["type"] == 2).await;
    assert_eq!(
        (&link["msg"]["message"], &link["msg"]["owner"]),
        (&json!("https://example.org"), &json!(cyd.id))
    );
    let image = "data:image/png;base64,iVBORw0KGgo=";
    client.call("message", json!({"chatroom": room, "image": image})).await;
    assert_eq!(client.event_like("message", |said| said["msg"]["type"] == 3).await["msg"]["message"], image);

    peer.tell(json!({"type": "typing", "room": room})).await;
    let writing = client.event("writing").await;
    assert_eq!(writing, json!({"chatroom": room, "source": cyd.id, "status": 1}), "{kind:?}");
    assert_eq!(client.call("writing", json!({"chatroom": room, "status": 1})).await, json!({"error": 0}));
    assert_eq!(peer.next_of("typing").await["user"]["id"], bob.id.as_str());

    let switched = client.call("switch", json!({"chatroom": room, "limit": 2})).await;
    let users = switched["data"]["users"].as_array().unwrap();
    assert!(users.contains(&json!({"user": cyd.id, "name": cyd.name, "status": 1})), "{switched}");
    assert_eq!((&switched["error"], &switched["data"]["name"], users.len()), (&json!(0), &json!("tea"), 2));
    assert_eq!(texts(&switched), [image, "https://example.org"], "the newest first");
    let history = client.call("history", json!({"chatroom": room, "skip": 2, "limit": 5})).await;
    assert_eq!(history, json!({"error": 0, "messages": [first]}), "{kind:?}");
    let rooms = client.call("chatrooms", json!({})).await;
    let listed =
        |id: &str| rooms["chatrooms"].as_array().unwrap().iter().find(|one| one["id"] == id).cloned();
    let tea = json!({"id": room, "name": "tea", "topic": "hot", "owner": bob.id, "present": true});
    assert_eq!((listed(&room).unwrap(), &listed(old.id.as_str()).unwrap()["present"]), (tea, &json!(false)));

    for (event, fields, error) in [
        ("history", json!({"chatroom": "nowhere"}), 604),
        ("history", json!({"chatroom": room, "limit": 0}), 604),
        ("switch", json!({"chatroom": "nowhere"}), 600),
        ("switch", json!({"chatroom": "no id"}), 600),
        ("message", json!({"chatroom": old.id, "message": "let me in"}), 602),
        ("message", json!({"chatroom": room, "message": " "}), 602),
        ("message", json!({"chatroom": "nowhere", "message": "x"}), 600),
        ("writing", json!({"chatroom": old.id}), 500),
        ("chatroom", json!({"name": ""}), 500),
        ("shout", json!({}), 500),
    ] {
        let refused = client.call(event, fields.clone()).await;
        assert_eq!(refused["error"], error, "{kind:?} {event} {fields} {refused}");
        assert!(refused["message"].as_str().is_some_and(|why| !why.is_empty()), "{refused}");
    }
    let binary = client.call_binary("message", json!({"chatroom": room})).await;
    assert!(binary["message"].as_str().unwrap().contains("binary"), "{kind:?} {binary}");

    // In and out of a room that was there before; and what it did after the bytes is done.
    assert_eq!(client.call("join", json!({"chatroom": old.id})).await, json!({"error": 0, "id": old.id}));
    client.event_like("join", |join| *join == json!({"user": bob.id, "chatroom": old.id})).await;
    assert_eq!(client.call("leave", json!({"chatroom": old.id})).await, json!({"error": 0, "id": old.id}));
    client.event_like("leave", |leave| *leave == json!({"user": bob.id, "chatroom": old.id})).await;

    client.close();
    let gone = peer_sees(&mut peer, &bob).await;
    assert_eq!(gone, json!(false), "{kind:?}");
}

fn texts(answer: &Value) -> Vec<&str> {
    answer["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["message"].as_str().unwrap())
        .collect()
}

/// Whether someone is told to have come or gone.
async fn peer_sees(peer: &mut Peer, person: &Person) -> Value {
    loop {
        let presence = peer.next_of("presence").await;
        if presence["user"]["id"] == person.id.as_str() {
            return presence["online"].clone();
        }
    }
}

#[tokio::test]
async fn a_user_is_there_from_the_first_socket_to_the_last_and_their_sockets_enter_their_rooms() {
    let server = server().await;
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    let mut ann = Client::enter(&server, NEW, &room.ann.token).await;
    let is_bob = |on: u8| {
        let expected = json!({"user": bob.id, "status": on});
        move |status: &Value| *status == expected
    };
    let mut first = Client::enter(&server, OLD, &bob.token).await;
    ann.event_like("status", is_bob(1)).await;
    // That he had gone after he became a member may have been told only now.
    ann.so_far();
    let mut second = Client::enter(&server, NEW, &bob.token).await;
    first.close();
    first.event("disconnect").await;
    eventually("the first socket is gone", async || {
        (server.metric("hubbub_gateway_connections").await.ok()? == 3.0).then_some(())
    })
    .await;
    // Nobody is told in between: what is said now comes right behind the first status.
    room.send_many(1).await;
    assert_eq!(second.event("message").await["msg"]["message"], "message 0", "without joining again");
    ann.event("message").await;
    let told = ann.so_far();
    assert!(!told.iter().any(|said| said["args"][0]["user"] == bob.id.as_str()), "{told:?}");
    second.close();
    ann.event_like("status", is_bob(0)).await;
}

#[tokio::test]
async fn a_bad_token_is_disconnected_and_is_not_in_the_log() {
    let server = server().await;
    let secret = "a-bad-token-of-nobody";
    let kinds = Kind::all();
    let turned_away = kinds.iter().map(async |kind| {
        let mut client = Client::start(&server, *kind, secret, Carried::Query);
        let reason = client.event("disconnect").await;
        let by_server = ["io server disconnect", "server disconnect"];
        assert!(by_server.contains(&reason.as_str().unwrap()), "{kind:?} {reason}");
        let before = client.so_far();
        assert!(before.iter().all(|said| said["event"] != "authentication"), "{kind:?} {before:?}");
    });
    join_all(turned_away).await;
    assert!(!server.log().contains(secret), "a token is in the log");
}

#[tokio::test]
async fn clients_that_say_nothing_stay_by_their_pings_and_come_back_after_a_restart() {
    // A client that is not let run for as long would give up by itself.
    let quick = program().with("--heartbeat=2s").with("--drain-window=100ms");
    let mut server = Hubbub::start(quick).await.unwrap();
    let room = Room::with_owner(&server, "ann").await;
    let libraries = [Library::Js2, Library::Js4];
    let kinds: Vec<_> = Kind::all().into_iter().filter(|kind| libraries.contains(&kind.library)).collect();
    let enter = kinds.iter().map(|kind| Client::enter(&server, *kind, &room.ann.token));
    let mut clients = join_all(enter).await;
    for (client, kind) in clients.iter_mut().zip(&kinds) {
        for _ in 0..3 {
            client.find("a ping", |said| said["ping"] == true).await;
        }
        let so_far = client.so_far();
        assert!(so_far.iter().all(|said| said["event"] != "disconnect"), "{kind:?} {so_far:?}");
    }
    server.terminate().await.unwrap();
    server.restart().await.unwrap();
    for client in &mut clients {
        let reason = client.event("disconnect").await;
        assert_ne!(reason, "io server disconnect", "after that it would not connect again by itself");
        client.event("authentication").await;
    }
}
