//! What a message says, as the HTTP API and the seed's clients send it: `message` for a text, or `image` for a picture.

use hubbub_core::code::Code;
use hubbub_core::limits::{BadText, Content};
use hubbub_wire::native::request::BadRequest;

/// What is said: one of the two.
///
/// # Errors
/// When it is neither or both, or over its limit. The field is named as it is called here.
pub fn content(message: Option<String>, image: Option<String>) -> Result<Content, BadRequest> {
    match (message, image) {
        (Some(text), None) => Content::text(text).map_err(bad_text),
        (None, Some(image)) => Content::picture(image).map_err(bad_text),
        (None, None) => Err(bad_field("message", "message or image is missing")),
        (Some(_), Some(_)) => Err(bad_field("image", "a message is a text or an image, not both")),
    }
}

fn bad_field(field: &'static str, message: &str) -> BadRequest {
    BadRequest { code: Code::BadRequest, field: Some(field), message: message.into() }
}

/// What is called `text` over the WebSocket is called `message` here.
fn bad_text(bad: BadText) -> BadRequest {
    let field = "message";
    BadRequest::from(match bad {
        BadText::Empty { field: "text" } => BadText::Empty { field },
        BadText::TooLong { field: "text", max, unit } => BadText::TooLong { field, max, unit },
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use hubbub_core::limits::TEXT_CHARS_MAX;

    use super::*;

    fn said(message: Option<&str>, image: Option<&str>) -> Result<Content, Option<&'static str>> {
        content(message.map(Into::into), image.map(Into::into)).map_err(|bad| bad.field)
    }

    #[test]
    fn the_wrong_field_is_named_as_it_is_called_here() {
        let long = "x".repeat(TEXT_CHARS_MAX + 1);
        for (message, image, field) in [
            (None, None, "message"),
            (Some(" "), None, "message"),
            (Some(long.as_str()), None, "message"),
            (Some("x"), Some("y"), "image"),
            (None, Some("y"), "image"),
            (None, Some("data:image/svg+xml;base64,AAAA"), "image"),
        ] {
            assert_eq!(said(message, image), Err(Some(field)), "{message:?} {image:?}");
        }
    }

    #[test]
    fn a_picture_is_taken_as_plain_base64_and_as_data_url() {
        let pictures: [(&[u8], &str); 4] = [
            (b"\x89PNG\r\n\x1a\n0123456789", "png"),
            (b"\xff\xd8\xff\xe00123456789", "jpeg"),
            (b"GIF89a0123456789", "gif"),
            (b"RIFF1234WEBPVP8 0123", "webp"),
        ];
        for (bytes, kind) in pictures {
            let base64 = STANDARD.encode(bytes);
            let url = format!("data:image/{kind};base64,{base64}");
            let wrapped = format!("{}\n{}\r\n", &base64[..6], &base64[6..]);
            for form in [&base64, &wrapped, &url] {
                assert_eq!(said(None, Some(form)), Ok(Content::Image(url.clone())), "{form}");
            }
        }
        assert!(said(None, Some(&STANDARD.encode(b"<svg onload=alert(1)>"))).is_err());
        assert!(said(None, Some("ééééééééééééééééé")).is_err());
    }
}
