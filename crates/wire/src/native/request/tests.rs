use super::*;

fn refused(text: &str) -> BadRequest {
    parse(text).request.expect_err(text)
}

#[test]
fn a_send_is_read_with_all_its_fields() {
    let frame = parse(r#"{"type":"send","ref":7,"room":"r","text":"h\u0069","key":"k","after":3,"new":[1]}"#);
    assert_eq!(frame.reference.map(|r| r.get().to_owned()).as_deref(), Some("7"));
    let expected = Request::Send {
        room: RoomId::parse("r").unwrap(),
        content: Content::Text("hi".into()),
        key: Some(Key::parse("k").unwrap()),
        after: Some(Seq(3)),
    };
    assert_eq!(frame.request, Ok(expected));
}

#[test]
fn a_field_without_escapes_is_not_copied() {
    let borrowed = |text| matches!(serde_json::from_str(text).unwrap(), Some(Borrowed(Cow::Borrowed(_))));
    assert!(borrowed(r#""plain""#));
    assert!(!borrowed(r#""\u0061""#));
}

#[test]
fn a_wrong_request_keeps_its_ref() {
    for text in [
        r#"{"ref":"a","type":"nope"}"#,
        r#"{"ref":"a","type":"send","room":5}"#,
        r#"{"ref":"a","type":7}"#,
        r#"{"ref":"a"}"#,
    ] {
        let frame = parse(text);
        assert_eq!(frame.reference.map(|r| r.get().to_owned()).as_deref(), Some("\"a\""), "{text}");
        assert!(frame.request.is_err());
    }
}

#[test]
fn a_ref_is_a_short_string_or_an_integer() {
    let long = "x".repeat(1 << 20);
    for bad in ["1.5", "[1]", "{}", "true", &format!("\"{long}\""), &"9".repeat(30)] {
        assert_eq!(refused(&format!(r#"{{"type":"ping","ref":{bad}}}"#)).field, Some("ref"));
    }
    for good in ["-1", "18446744073709551615", "\"\"", &format!("\"{}\"", "\\u0041".repeat(64))] {
        let frame = parse(&format!(r#"{{"type":"ping","ref":{good}}}"#));
        assert_eq!(frame.request, Ok(Request::Ping), "{good}");
    }
    assert_eq!(refused(&format!(r#"{{"type":"ping","ref":"{}"}}"#, "x".repeat(65))).field, Some("ref"));
}

#[test]
fn junk_is_refused_and_never_more() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let deep_type = format!(r#"{{"type":{deep}}}"#);
    for text in ["", "null", "[]", "7", "{", "\"ping\"", &deep, &deep_type] {
        assert_eq!(refused(text).code, Code::BadRequest);
    }
    // An unknown field is passed over, however deep: that takes no stack.
    assert_eq!(parse(&format!(r#"{{"x":{deep},"type":"ping"}}"#)).request, Ok(Request::Ping));
}

#[test]
fn the_wrong_field_is_named() {
    let cases = [
        (r#"{"type":"join"}"#, "room"),
        (r#"{"type":"join","room":"a.b"}"#, "room"),
        (r#"{"type":"join","room":"😀"}"#, "room"),
        (r#"{"type":"create","name":" "}"#, "name"),
        (r#"{"type":"send","room":"r"}"#, "text"),
        (r#"{"type":"send","room":"r","text":"x","image":"y"}"#, "image"),
        (r#"{"type":"send","room":"r","image":"y"}"#, "image"),
        (r#"{"type":"history","room":"r"}"#, "before"),
        (r#"{"type":"history","room":"r","before":1,"after":1}"#, "after"),
        (r#"{"type":"history","room":"r","before":1,"limit":1001}"#, "limit"),
        (r#"{"type":"history","room":"r","before":1,"kinds":["x"]}"#, "kinds"),
        (r#"{"type":"open","room":"r","limit":0}"#, "limit"),
        (r#"{"type":"watch"}"#, "directory"),
        (r#"{"type":"hello","rooms":{"a.b":1}}"#, "rooms"),
    ];
    for (text, field) in cases {
        assert_eq!(refused(text).field, Some(field), "{text}");
    }
    for text in [r#"{"type":"history","room":"r","before":-1}"#, r#"{"type":"send","room":"r","after":1e40}"#]
    {
        assert_eq!(refused(text).code, Code::BadRequest);
    }
}

#[test]
fn a_token_is_not_in_what_is_printed() {
    let frame = parse(r#"{"type":"hello","token":"s3cret"}"#);
    assert!(!format!("{frame:?}").contains("s3cret"));
}
