//! Which trace something is part of, as W3C Trace Context says it: `traceparent`.
//!
//! `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`: version, trace, the span that what follows is part of, flags.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

/// A place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// Which trace.
    pub trace: NonZeroU128,
    /// Which span of it.
    pub span: NonZeroU64,
    /// Whether whoever began it wants it to be recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// The name of the header, over HTTP and over the bus.
    pub const HEADER: &str = "traceparent";
    /// Bytes of the text.
    pub const LEN: usize = 55;

    /// Reads the text of a header. Of a later version than ours it reads what is in all versions.
    pub fn parse(text: &str) -> Option<Self> {
        let (ours, more) = text.split_at_checked(Self::LEN)?;
        let mut parts = ours.split('-');
        let version = hex(parts.next()?, 2)?;
        let (trace, span, flags) = (parts.next()?, parts.next()?, hex(parts.next()?, 2)?);
        let is_whole = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with('-'),
        };
        if !is_whole || parts.next().is_some() {
            return None;
        }
        Some(Self {
            trace: NonZeroU128::new(hex(trace, 32)?)?,
            span: NonZeroU64::new(u64::try_from(hex(span, 16)?).ok()?)?,
            sampled: flags & 1 == 1,
        })
    }
}

/// A number of exactly so many digits, in lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() == digits && is_hex { u128::from_str_radix(text, 16).ok() } else { None }
}

/// As in the header.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_header_is_read_as_the_standard_says() {
        let context = TraceContext::parse(GOOD).unwrap();
        assert_eq!(context.trace.get(), 0x0af7651916cd43dd8448eb211c80319c);
        assert_eq!((context.span.get(), context.sampled), (0xb7ad6b7169203331, true));
        let unsampled = TraceContext::parse(&GOOD.replace("-01", "-02")).unwrap();
        assert!(!unsampled.sampled, "another flag");
        let later = GOOD.replacen("00", "cc", 1);
        assert_eq!(TraceContext::parse(&later), Some(context));
        assert_eq!(TraceContext::parse(&format!("{later}-what-it-says-more")), Some(context));
        for bad in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}-more"),
            &format!("{later}more"),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replace("0af7", "0AF7"),
            &GOOD.replace("0af7", "+af7"),
            &GOOD.replace('-', "_"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b71-9203331-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_again(trace in 1u128.., span in 1u64.., sampled: bool) {
            let (trace, span) = (NonZeroU128::new(trace).unwrap(), NonZeroU64::new(span).unwrap());
            let context = TraceContext { trace, span, sampled };
            prop_assert_eq!(context.to_string().len(), TraceContext::LEN);
            prop_assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
        }

        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,80}", at in 0usize..56, with in "\\PC{0,2}") {
            _ = TraceContext::parse(&text);
            // What is read is what is written, but for the version and flags that we don't know.
            let changed: String = GOOD.chars().take(at).chain(with.chars()).chain(GOOD.chars().skip(at + 1)).collect();
            if let Some(read) = TraceContext::parse(&changed) {
                prop_assert_eq!(&read.to_string()[3..53], &changed[3..53]);
            }
        }
    }
}
