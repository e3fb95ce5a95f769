//! Many requests, slow readers, what was dropped for us.

use std::time::Duration;

use hubbub_client::event::Behind;
use hubbub_client::{Client, Error, Event, Options};
use hubbub_core::ids::Seq;
use serde_json::json;
use tokio::time::timeout;

use super::connecting::{connect, room};
use super::server::{Server, message, soon};

#[tokio::test]
async fn answers_find_their_requests_in_any_order() {
    let mut server = Server::start().await;
    let (client, _events, mut connection) = connect(&mut server, false).await;
    let sends: Vec<_> = (0..50)
        .map(|i| {
            let client = client.clone();
            tokio::spawn(async move { client.send_text(&room(), &format!("{i}"), None).await })
        })
        .collect();
    let mut requests = Vec::new();
    for _ in 0..50 {
        requests.push(connection.hears().await);
    }
    for request in requests.iter().rev() {
        let said: u64 = request["text"].as_str().unwrap().parse().unwrap();
        connection.acks(request, json!({"seq": 100 + said, "at": 1, "durability": "disk"})).await;
    }
    for (i, send) in sends.into_iter().enumerate() {
        assert_eq!(soon("answer", send).await.unwrap().unwrap().seq(), Some(Seq(100 + i as u64)));
    }
}

/// Frames that the kernel and the client's queues can't hold: the server is stopped until events are taken.
#[tokio::test]
async fn who_takes_no_events_stops_the_server_and_loses_none() {
    const COUNT: u64 = 4_000;
    let mut server = Server::start().await;
    let options = Options { events_max: 4, ..Options::new(&server.url) };
    let (client, (mut connection, _)) = tokio::join!(Client::connect(options), server.accept_and_welcome());
    let (client, mut events) = client.unwrap();
    let mut writing = tokio::spawn(async move {
        for seq in 5..5 + COUNT {
            let mut long = message(seq);
            long["text"] = "x".repeat(20_000).into();
            connection.says(long).await;
        }
        connection
    });
    let finished = timeout(Duration::from_millis(500), &mut writing).await;
    assert!(finished.is_err(), "the client took what nobody takes from it");
    assert!(client.positions().await.is_ok(), "what needs no answer goes on");
    for seq in 5..5 + COUNT {
        assert_eq!(soon("entry", events.next_entry()).await.unwrap().unwrap().seq, Seq(seq));
    }
    soon("end of the writes", writing).await.unwrap();
}

#[tokio::test]
async fn what_was_dropped_is_fetched_whole_or_not_at_all() {
    let mut server = Server::start().await;
    let (client, mut events, mut connection) = connect(&mut server, false).await;
    connection.says(json!({"type": "behind", "room": "r", "after": 4, "head": 9})).await;
    let Some(Event::Behind(behind)) = soon("event", events.next()).await else { panic!("no behind") };
    assert_eq!(behind, Behind { room: room(), after: Seq(4), head: Seq(9) });

    let fetch = |client: Client, behind: Behind| tokio::spawn(async move { client.catch_up(&behind).await });
    let good = fetch(client.clone(), behind.clone());
    for (after, page, more) in [(4, 5..8, true), (7, 8..11, false)] {
        let request = connection.hears().await;
        assert_eq!((&request["after"], &request["limit"]), (&json!(after), &json!(1_000)));
        let entries: Vec<_> = page.map(message).collect();
        connection.acks(&request, json!({"entries": entries, "more": more})).await;
    }
    let seqs: Vec<_> =
        soon("entries", good).await.unwrap().unwrap().iter().map(|entry| entry.seq.0).collect();
    assert_eq!(seqs, [5, 6, 7, 8, 9]);

    for entries in [json!([message(5), message(7)]), json!([])] {
        let bad = fetch(client.clone(), behind.clone());
        let request = connection.hears().await;
        connection.acks(&request, json!({"entries": entries, "more": false})).await;
        assert!(matches!(soon("answer", bad).await.unwrap(), Err(Error::BadAnswer(_))));
    }
}

#[tokio::test]
async fn more_requests_than_allowed_wait_for_answers() {
    let mut server = Server::start().await;
    let options = Options { requests_max: 1, ..Options::new(&server.url) };
    let (client, (mut connection, _)) = tokio::join!(Client::connect(options), server.accept_and_welcome());
    let (client, _events) = client.unwrap();
    let ask = |client: &Client| {
        let client = client.clone();
        tokio::spawn(async move { client.members(&room(), None, None).await })
    };
    let (one, two) = (ask(&client), ask(&client));
    let request = connection.hears().await;
    // Were the second on its way, it would come before this.
    client.typing(&room(), false).await.unwrap();
    assert_eq!(connection.hears().await["type"], "typing");
    for (i, request) in [Some(request), None].into_iter().enumerate() {
        let request = match request {
            Some(request) => request,
            None => connection.hears().await,
        };
        let members = json!([{"id": format!("u{i}"), "name": "U", "online": true}]);
        connection.acks(&request, json!({"members": members})).await;
    }
    assert_eq!(soon("members", one).await.unwrap().unwrap().members.len(), 1);
    assert_eq!(soon("members", two).await.unwrap().unwrap().members[0].user.id.as_str(), "u1");
}
