//! To connect, to lose the connection, to come back, to end.

use hubbub_client::{Client, Error, Event, Events, Options};
use hubbub_core::code::Code;
use hubbub_core::ids::{Key, RoomId, Seq};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::server::{Connection, Heard, Server, message, soon};

fn options(server: &Server, reconnect: bool) -> Options {
    Options { token: "t".into(), reconnect, ..Options::new(&server.url) }
}

pub async fn connect(server: &mut Server, reconnect: bool) -> (Client, Events, Connection) {
    let options = options(server, reconnect);
    let (client, (connection, _)) = tokio::join!(Client::connect(options), server.accept_and_welcome());
    let (client, mut events) = client.expect("a welcome");
    assert!(matches!(soon("event", events.next()).await, Some(Event::Connected(_))));
    (client, events, connection)
}

pub fn room() -> RoomId {
    RoomId::parse("r").expect("an id")
}

#[tokio::test]
async fn a_message_whose_answer_was_lost_is_sent_again_and_acked_once() {
    let mut server = Server::start().await;
    let (client, mut events, mut connection) = connect(&mut server, true).await;
    connection.says(message(5)).await;
    assert_eq!(soon("entry", events.next_entry()).await.unwrap().unwrap().seq, Seq(5));

    let sending = tokio::spawn(async move { (client.send_text(&room(), "mine", None).await, client) });
    let first = connection.hears().await;
    assert_eq!((&first["text"], &first["after"]), (&json!("mine"), &json!(5)));
    assert!(first["key"].as_str().is_some_and(|key| !key.is_empty()));
    drop(connection);

    let (mut connection, hello) = server.accept_and_welcome().await;
    assert_eq!(hello["rooms"], json!({"r": 5}));
    let again = connection.hears().await;
    assert_eq!(again, first);
    connection.says(message(6)).await;
    connection.acks(&again, json!({"seq": 6, "at": 1, "durability": "disk"})).await;
    let (sent, _client) = soon("answer", sending).await.unwrap();
    assert_eq!(sent.unwrap().seq(), Some(Seq(6)));
    assert!(matches!(events.next().await, Some(Event::Disconnected(lost)) if lost.retry_in.is_some()));
    assert!(matches!(events.next().await, Some(Event::Connected(_))));
    assert_eq!(soon("entry", events.next_entry()).await.unwrap().unwrap().seq, Seq(6));
}

#[tokio::test]
async fn a_key_of_the_callers_own_is_looked_for_wherever_it_was_first_sent() {
    let mut server = Server::start().await;
    let (client, mut events, mut connection) = connect(&mut server, true).await;
    connection.says(message(5)).await;
    assert_eq!(soon("entry", events.next_entry()).await.unwrap().unwrap().seq, Seq(5));
    let key = Key::parse("sent-before").unwrap();
    let sending = tokio::spawn(async move { client.send_text(&room(), "mine", Some(&key)).await });
    let request = connection.hears().await;
    assert_eq!((&request["key"], request.get("after")), (&json!("sent-before"), None));
    connection.acks(&request, json!({"seq": 3, "at": 1, "durability": "disk"})).await;
    assert_eq!(soon("answer", sending).await.unwrap().unwrap().seq(), Some(Seq(3)));
}

#[tokio::test]
async fn without_reconnect_the_close_is_the_answer_and_the_end() {
    let mut server = Server::start().await;
    let (client, mut events, mut connection) = connect(&mut server, false).await;
    let asking = tokio::spawn(async move { (client.ping().await, client) });
    connection.hears().await;
    connection.closes(4413, "slow_consumer").await;
    let closed = Error::Closed { code: Some(4413), reason: "slow_consumer".into() };
    let (answer, client) = soon("answer", asking).await.unwrap();
    assert_eq!(answer, Err(closed.clone()));
    assert!(matches!(events.next().await, Some(Event::Disconnected(lost)) if lost.code == Some(4413)));
    assert_eq!(events.next().await, None);
    assert_eq!(client.ping().await, Err(closed));
}

#[tokio::test]
async fn a_refused_token_is_the_callers() {
    let mut server = Server::start().await;
    let options = options(&server, true);
    let script = async {
        let mut connection = server.accept().await;
        assert_eq!(connection.hears().await["token"], "t");
        connection.says(json!({"type": "error", "ref": 0, "code": "unauthorized", "message": "no"})).await;
        connection.next().await
    };
    let (client, goodbye) = tokio::join!(Client::connect(options), script);
    assert_eq!(client.unwrap_err().code(), Some(Code::Unauthorized));
    assert_eq!(goodbye, Heard::Close(Some(1000)));
}

#[tokio::test]
async fn a_status_instead_of_an_upgrade_is_told() {
    let server = Server::answering(StatusCode::TOO_MANY_REQUESTS).await;
    let error = Client::connect(options(&server, true)).await.unwrap_err();
    assert!(matches!(error, Error::Connect { status: Some(429), .. }), "{error:?}");
    let nobody = Client::connect(Options::new("ws://127.0.0.1:1/")).await.unwrap_err();
    assert!(matches!(nobody, Error::Connect { status: None, .. }), "{nobody:?}");
    let nowhere = Client::connect(Options::new("wss://a/")).await.unwrap_err();
    assert!(matches!(nowhere, Error::Connect { status: None, .. }), "{nowhere:?}");
}

#[tokio::test]
async fn closing_says_goodbye_and_waits_for_it() {
    let mut server = Server::start().await;
    let (client, mut events, mut connection) = connect(&mut server, true).await;
    client.typing(&room(), true).await.unwrap();
    let closing = tokio::spawn(client.close());
    let typing: Value = connection.hears().await;
    assert_eq!(typing, json!({"type": "typing", "room": "r", "on": true}));
    assert_eq!(connection.next().await, Heard::Close(Some(1000)));
    connection.closes(1000, "normal").await;
    soon("end", closing).await.unwrap();
    assert!(matches!(events.next().await, Some(Event::Disconnected(lost)) if lost.retry_in.is_none()));
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn the_last_handle_closes_the_connection() {
    let mut server = Server::start().await;
    let (client, _events, mut connection) = connect(&mut server, true).await;
    let clone = client.clone();
    drop(client);
    let asking = tokio::spawn(async move { clone.ping().await.map(drop) });
    let ping = connection.hears().await;
    connection.says(json!({"type": "pong", "ref": ping["ref"]})).await;
    assert_eq!(soon("pong", asking).await.unwrap(), Ok(()));
    assert_eq!(connection.next().await, Heard::Close(Some(1000)));
}

#[tokio::test]
async fn positions_of_one_client_resume_another() {
    let mut server = Server::start().await;
    let (client, mut events, mut connection) = connect(&mut server, false).await;
    connection.says(message(5)).await;
    soon("entry", events.next_entry()).await.unwrap();
    let resume = client.positions().await.unwrap();
    let options = Options { resume, ..options(&server, false) };
    let (second, (_connection, hello)) = tokio::join!(Client::connect(options), server.accept_and_welcome());
    assert!(second.is_ok());
    assert_eq!(hello["rooms"], json!({"r": 5}));
}
