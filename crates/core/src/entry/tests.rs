use proptest::prelude::*;

use super::*;

fn room() -> RoomId {
    RoomId::parse("lobby").unwrap()
}

fn user(id: &str) -> User {
    User { id: UserId::parse(id).unwrap(), name: "Ann \"A\"".into() }
}

#[test]
fn an_entry_shows_what_the_protocol_says() {
    let content = Content::text("hi \u{2028} <b>".into()).unwrap();
    let key = Key::parse("k").unwrap();
    let entry = Entry::new(&room(), Seq(7), Millis(9), &user("u1"), Some(key), Says::Message(&content));
    let shown: serde_json::Value = serde_json::from_slice(&entry.json).unwrap();
    let expected = serde_json::json!({"type": "message", "room": "lobby", "seq": 7, "kind": "text", "at": 9,
        "user": {"id": "u1", "name": "Ann \"A\""}, "text": "hi \u{2028} <b>"});
    assert_eq!(shown, expected);
}

#[test]
fn the_json_of_an_entry_is_the_same_to_the_byte_in_every_version() {
    let [ann, admin] = [user("ann"), user("admin")];
    let facts = RoomFacts { name: "n".into(), topic: "\"t\"".into(), owner: ann.id.clone() };
    let image = Content::Image("data:image/png;base64,AA==".into());
    let complaint = BotText::new("usage".into(), true).unwrap();
    let kept = Kept { retention: Retention { entries: Some(20_000), days: None }, first: Seq(5) };
    for (says, rest) in [
        (Says::Join(Some(&facts)), r#"{"type":"join"…}"#),
        (Says::Leave { by: Some(&admin) }, r#"{"type":"leave"…,"by":{"id":"admin","name":"Ann \"A\""}}"#),
        (Says::Topic(&facts), r#"{"type":"topic"…,"topic":"\"t\""}"#),
        (Says::Message(&image), r#"{"type":"message"…,"kind":"image","image":"data:image/png;base64,AA=="}"#),
        (Says::Bot(&complaint), r#"{"type":"message"…,"kind":"bot","text":"usage","error":true}"#),
        (
            Says::Erase { by: &admin, upto: Seq(3) },
            r#"{"type":"erase"…,"by":{"id":"admin","name":"Ann \"A\""},"upto":3}"#,
        ),
        (Says::Erased, r#"{"type":"message"…,"kind":"erased"}"#),
        (Says::Retention(kept), r#"{"type":"retention"…,"retention":{"entries":20000},"first":5}"#),
    ] {
        let entry = Entry::new(&room(), Seq(7), Millis(9), &ann, None, says);
        let who = r#","room":"lobby","seq":7,"user":{"id":"ann","name":"Ann \"A\""}"#;
        let expected = rest.replace('…', who).strip_suffix('}').unwrap().to_owned() + r#","at":9}"#;
        assert_eq!(std::str::from_utf8(&entry.json).unwrap(), expected);
    }
}

#[test]
fn a_bots_complaint_says_that_it_is_one() {
    let shown = |is_complaint| {
        let answer = BotText::new("usage".into(), is_complaint).unwrap();
        let entry = Entry::new(&room(), Seq(7), Millis(9), &user("b"), None, Says::Bot(&answer));
        serde_json::from_slice::<serde_json::Value>(&entry.json).unwrap()
    };
    assert_eq!((&shown(true)["kind"], &shown(true)["error"]), (&"bot".into(), &true.into()));
    assert_eq!(shown(false).get("error"), None);
}

#[test]
fn what_is_erased_keeps_its_place_and_nothing_that_was_said() {
    let content = Content::text("a secret".into()).unwrap();
    let key = Key::parse("k").ok();
    let said = Entry::new(&room(), Seq(7), Millis(9), &user("u1"), key.clone(), Says::Message(&content));
    let erased = said.erased(&room()).unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&erased.json).unwrap();
    let expected = serde_json::json!({"type": "message", "room": "lobby", "seq": 7, "kind": "erased", "at": 9,
        "user": {"id": "u1", "name": "Ann \"A\""}});
    assert_eq!(shown, expected);
    assert_eq!((erased.seq, erased.at, &erased.user, &erased.key), (Seq(7), Millis(9), &said.user, &key));
    assert_eq!(erased.erased(&room()), Some(erased.clone()), "the same bytes, however often");
    let joined = Entry::new(&room(), Seq(1), Millis(1), &user("u1"), None, Says::Join(None));
    assert_eq!(joined.erased(&room()), None);
}

#[test]
fn an_order_to_erase_is_obeyed_by_those_it_names() {
    let said = |user: &User, seq| {
        let content = Content::text("x".into()).unwrap();
        Entry::new(&room(), Seq(seq), Millis(9), user, None, Says::Message(&content))
    };
    let (ann, admin) = (user("ann"), user("admin"));
    let order = Entry::new(&room(), Seq(9), Millis(9), &ann, None, Says::Erase { by: &admin, upto: Seq(7) });
    let obeys = |mut entry: Entry| entry.obey(&room(), &order);
    assert!(obeys(said(&ann, 7)) && obeys(said(&ann, 1)));
    assert!(!obeys(said(&ann, 8)) && !obeys(said(&user("bob"), 7)) && !obeys(order.clone()));
    let shown: serde_json::Value = serde_json::from_slice(&order.json).unwrap();
    assert_eq!(
        (&shown["type"], &shown["upto"], &shown["by"]["id"]),
        (&"erase".into(), &7.into(), &"admin".into())
    );
}

#[test]
fn what_is_kept_is_said_whole() {
    let said = |kept| Entry::new(&room(), Seq(7), Millis(9), &user("admin"), None, Says::Retention(kept));
    let shown = |kept| serde_json::from_slice::<serde_json::Value>(&said(kept).json).unwrap();
    let retention = Retention { entries: Some(20_000), days: Some(30) };
    let kept = Kept { retention, first: Seq(5) };
    let expected = serde_json::json!({"type": "retention", "room": "lobby", "seq": 7, "at": 9,
        "user": {"id": "admin", "name": "Ann \"A\""}, "retention": {"entries": 20_000, "days": 30}, "first": 5});
    assert_eq!(shown(kept), expected);
    let all = shown(Kept::default());
    assert_eq!((&all["retention"], all.get("first")), (&serde_json::json!({}), None), "all is kept");
    for kept in [kept, Kept::default(), Kept { first: Seq(5), ..Kept::default() }] {
        assert_eq!(said(kept).kept(), Some(kept));
    }
    assert_eq!(Entry::new(&room(), Seq(1), Millis(1), &user("u1"), None, Says::Join(None)).kept(), None);
}

#[test]
fn an_entry_of_another_room_or_place_is_damage() {
    let entry = Entry::new(&room(), Seq(1), Millis(1), &user("u1"), None, Says::Join(None));
    let bytes = entry.encode(&room());
    assert_eq!(Entry::decode(&room(), Seq(1), bytes.clone()), Ok(entry));
    assert!(Entry::decode(&room(), Seq(2), bytes.clone()).is_err());
    assert!(Entry::decode(&RoomId::parse("other").unwrap(), Seq(1), bytes).is_err());
}

proptest! {
    #[test]
    fn what_was_encoded_is_read_again(
        seq in 1u64.., at: u64, text in "\\PC{1,200}", key in proptest::option::of("[a-z]{1,64}"),
        topic in "\\PC{0,64}",
    ) {
        prop_assume!(!text.trim().is_empty());
        let facts = RoomFacts { name: "n".into(), topic: topic.into(), owner: UserId::parse("o").unwrap() };
        let answer = BotText::new(text.clone(), seq % 2 == 0).unwrap();
        let content = Content::text(text).unwrap();
        let key = key.map(|k| Key::parse(&k).unwrap());
        for says in [Says::Join(Some(&facts)), Says::Topic(&facts), Says::Message(&content),
                     Says::Bot(&answer), Says::Leave { by: Some(&user("o")) },
                     Says::Erase { by: &user("o"), upto: Seq(seq - 1) }, Says::Erased,
                     Says::Retention(Kept::default())] {
            let entry = Entry::new(&room(), Seq(seq), Millis(at), &user("u"), key.clone(), says);
            prop_assert_eq!(Entry::decode(&room(), Seq(seq), entry.encode(&room())), Ok(entry));
        }
    }

    #[test]
    fn one_changed_or_missing_byte_is_found(at in 0usize..10_000, flip in 1u8..) {
        let entry = Entry::new(&room(), Seq(3), Millis(4), &user("u"), None, Says::Join(None));
        let bytes = entry.encode(&room());
        let at = at % bytes.len();
        let mut changed = bytes.to_vec();
        changed[at] ^= flip;
        prop_assert!(Entry::decode(&room(), Seq(3), changed.into()).is_err());
        prop_assert!(Entry::decode(&room(), Seq(3), bytes.slice(..at)).is_err());
    }
}

#[test]
fn a_text_is_escaped_as_serde_does_it() {
    let texts =
        (0..0x300).filter_map(char::from_u32).map(|char| format!("what is {char} said, at some length"));
    for text in texts.chain(["\u{2028}😀\"\\".to_owned(), String::new()]) {
        let mut json = b"{".to_vec();
        put_text(&mut json, "text", &text);
        assert_eq!(
            String::from_utf8(json).unwrap(),
            format!("{{\"text\":{}", serde_json::to_string(&text).unwrap())
        );
    }
}
