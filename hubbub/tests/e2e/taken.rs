//! Somebody removes the lock, and a second server begins on the data of one that runs.

use hubbub_client::entry::What;
use hubbub_testkit::checker::Outcome;
use hubbub_testkit::{Folder, Hubbub, Person, in_time};

use crate::common::{Load, Room, connect, program, server, whole_log};

#[tokio::test]
async fn a_server_whose_data_another_one_has_ends_and_nothing_acknowledged_is_lost() {
    with_these_removed(&["hubbub.lock"], "another hubbub began on this data after this one did").await;
    // Without the index that both share, neither would see what the other writes.
    with_these_removed(&["hubbub.lock", "hubbub.db-shm"], "hubbub.db-shm was moved, removed or replaced")
        .await;
}

async fn with_these_removed(files: &[&str], why: &str) {
    let mut first = server().await;
    let room = Room::with_owner(&first, "ann").await;
    let load = Load::begin(&room, 4).await;
    room.send_many(20).await;

    for file in files {
        std::fs::remove_file(first.data().join(file)).unwrap();
    }
    let folder = Folder::kept(first.data().parent().unwrap().to_owned()).unwrap();
    let second = Hubbub::start_in(program(), folder).await.unwrap();
    assert_eq!(in_time("the first ends", first.ended()).await.unwrap().code(), Some(1));
    assert!(first.log().contains(why), "{}", first.log());

    let sent = load.end().await;
    let bob = connect(&Person::register(&second, "bob").await.unwrap()).await;
    bob.join(&room.id).await.unwrap();
    let log = whole_log(&bob, &room.id).await;
    let acked = sent.iter().filter_map(|sent| match sent.outcome {
        Outcome::Acked { seq, .. } => Some((seq, &sent.text)),
        _ => None,
    });
    for (seq, text) in acked {
        assert_eq!(log[seq as usize - 1].what, What::Text(text.clone()), "{seq}");
    }
}

/// It may be told to end before it has looked.
#[tokio::test]
async fn a_server_that_ends_takes_nothing_of_one_that_began_on_its_data() {
    let mut first = server().await;
    let ann = Person::register(&first, "ann").await.unwrap();
    std::fs::remove_file(first.data().join("hubbub.lock")).unwrap();
    let folder = Folder::kept(first.data().parent().unwrap().to_owned()).unwrap();
    let mut second = Hubbub::start_in(program(), folder).await.unwrap();
    let there = Person::from_elsewhere(&second, ann.id.clone(), "ann", ann.token.clone());
    let room = connect(&there).await.create("the room", "").await.unwrap().id;
    first.terminate().await.unwrap();
    second.kill().await.unwrap();
    second.restart().await.unwrap();
    assert!(connect(&there).await.open(&room, Some(1)).await.is_ok());
}
