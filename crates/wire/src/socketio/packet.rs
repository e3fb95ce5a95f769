//! A Socket.IO packet: `<type>[<attachments>-][<namespace>,][<id>][JSON]`.

/// Most bytes of a packet's namespace.
const NAMESPACE_BYTES_MAX: usize = 8 * 1024;

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Enters a namespace.
    Connect,
    /// Leaves it.
    Disconnect,
    /// A name and arguments.
    Event,
    /// The answer to an event of the other side.
    Ack,
    /// Refuses an entrance: only a server says it.
    Error,
    /// An event whose bytes follow in so many frames.
    BinaryEvent(usize),
    /// An ack whose bytes follow in so many frames.
    BinaryAck(usize),
}

/// A packet taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it is.
    pub kind: Kind,
    /// Without what stands behind a question mark. `/` if none is named.
    pub namespace: &'a str,
    /// What stands behind a question mark of the namespace: generation 3 puts the handshake's query there.
    pub query: &'a str,
    /// The client's number for its callback.
    pub id: Option<u64>,
    /// JSON that nobody looked at yet; empty for none.
    pub data: &'a str,
}

impl<'a> Packet<'a> {
    /// Reads a packet. `None` if it is none.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (&kind, _) = text.as_bytes().split_first()?;
        let mut rest = text.get(1..)?;
        let kind = match kind {
            b'0' => Kind::Connect,
            b'1' => Kind::Disconnect,
            b'2' => Kind::Event,
            b'3' => Kind::Ack,
            b'4' => Kind::Error,
            b'5' | b'6' => {
                let (attachments, behind) = number(rest)?;
                rest = behind.strip_prefix('-')?;
                let attachments = usize::try_from(attachments).ok()?;
                if kind == b'5' { Kind::BinaryEvent(attachments) } else { Kind::BinaryAck(attachments) }
            }
            _ => return None,
        };
        let (mut namespace, mut query) = ("/", "");
        if rest.starts_with('/') {
            (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
            if namespace.len() > NAMESPACE_BYTES_MAX {
                return None;
            }
            (namespace, query) = namespace.split_once('?').unwrap_or((namespace, ""));
        }
        let (id, data) = match rest.starts_with(|first: char| first.is_ascii_digit()) {
            true => number(rest).map(|(id, rest)| (Some(id), rest))?,
            false => (None, rest),
        };
        Some(Self { kind, namespace, query, id, data })
    }
}

/// The digits that a text begins with; `None` if there are none, or more than a number has.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|other: char| !other.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_of_the_specification_are_read() {
        let packet = |kind, namespace, id, data| Packet { kind, namespace, query: "", id, data };
        for (text, expected) in [
            ("0", packet(Kind::Connect, "/", None, "")),
            ("0/admin,{\"sid\":\"x\"}", packet(Kind::Connect, "/admin", None, "{\"sid\":\"x\"}")),
            ("0/admin", packet(Kind::Connect, "/admin", None, "")),
            ("2[\"foo\"]", packet(Kind::Event, "/", None, "[\"foo\"]")),
            ("2/admin,[\"bar\"]", packet(Kind::Event, "/admin", None, "[\"bar\"]")),
            ("212[\"foo\"]", packet(Kind::Event, "/", Some(12), "[\"foo\"]")),
            ("2/a,7[\"x\",1]", packet(Kind::Event, "/a", Some(7), "[\"x\",1]")),
            ("3/admin,13[]", packet(Kind::Ack, "/admin", Some(13), "[]")),
            ("1/admin,", packet(Kind::Disconnect, "/admin", None, "")),
            (
                "51-[\"baz\",{\"_placeholder\":true,\"num\":0}]",
                packet(Kind::BinaryEvent(1), "/", None, "[\"baz\",{\"_placeholder\":true,\"num\":0}]"),
            ),
            ("61-/admin,456[1]", packet(Kind::BinaryAck(1), "/admin", Some(456), "[1]")),
        ] {
            assert_eq!(Packet::parse(text), Some(expected), "{text}");
        }
        let with_query = Packet::parse("0/a?token=x&b=c,").unwrap();
        assert_eq!((with_query.namespace, with_query.query), ("/a", "token=x&b=c"));
    }

    #[test]
    fn what_is_no_packet_is_none() {
        let long = format!("2/{},[]", "x".repeat(NAMESPACE_BYTES_MAX));
        for text in ["", "7", "x", "é", "5[]", "5-[]", "5x-[]", "299999999999999999999[]", long.as_str()] {
            assert_eq!(Packet::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_again(
            namespace in "/[a-z/]{0,12}", id in proptest::option::of(0u64..), data in "(\\[\\PC{0,20})?",
        ) {
            let shown = id.map_or(String::new(), |id| id.to_string());
            let text = format!("2{namespace},{shown}{data}");
            let packet = Packet { kind: Kind::Event, namespace: &namespace, query: "", id, data: &data };
            prop_assert_eq!(Packet::parse(&text), Some(packet));
        }

        #[test]
        fn junk_is_refused_and_nothing_worse(text in "\\PC{0,40}|[0-9/?,\\[\\]{}\"é-]{0,40}") {
            if let Some(packet) = Packet::parse(&text) {
                prop_assert!(text.ends_with(packet.data));
            }
        }
    }
}
