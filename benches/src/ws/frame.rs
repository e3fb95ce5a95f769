//! Frames of RFC 6455: encoding one, and splitting the next one off a buffer.

/// A whole text frame.
pub const TEXT: u8 = 0x1;
/// A close frame.
pub const CLOSE: u8 = 0x8;
/// A ping.
pub const PING: u8 = 0x9;
/// A pong.
pub const PONG: u8 = 0xA;

/// Longest payload that either side of the measurement takes.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// Any key does for a load generator: what matters is that the server has to unmask.
const MASK: [u8; 4] = [0x5A, 0xC3, 0x17, 0x9E];

/// A frame, its payload unmasked in the buffer that it came in.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// One of [`TEXT`], [`CLOSE`], [`PING`], [`PONG`], or what else the other side sent.
    pub opcode: u8,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Why what came is not taken for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// Reserved bits belong to extensions, and none was agreed on.
    #[error("a frame with reserved bits set")]
    Reserved,
    /// Nothing that is measured here sends fragments.
    #[error("a fragmented message, which the load generator doesn't join")]
    Fragment,
    /// More than [`PAYLOAD_BYTES_MAX`].
    #[error("a frame of {0} bytes")]
    TooLarge(u64),
}

/// Appends a frame as a server sends it.
pub fn encode_from_server(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    header(opcode, payload.len(), 0, out);
    out.extend_from_slice(payload);
}

/// Appends a frame as a client sends it: masked.
pub fn encode_from_client(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    header(opcode, payload.len(), 0x80, out);
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], MASK);
}

fn header(opcode: u8, len: usize, mask_bit: u8, out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match len {
        0..=125 => out.push(mask_bit | len as u8),
        126..=0xFFFF => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// Splits the first frame off `buffer`: it and the bytes it took, or `None` while it isn't whole.
pub fn split(buffer: &mut [u8]) -> Result<Option<(Frame<'_>, usize)>, BadFrame> {
    let [first, second, ..] = *buffer else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(BadFrame::Reserved);
    }
    if first & 0x80 == 0 || first & 0x0F == 0 {
        return Err(BadFrame::Fragment);
    }
    let (len, mut at) = match second & 0x7F {
        126 => match buffer.get(2..4) {
            Some(&[a, b]) => (u64::from(u16::from_be_bytes([a, b])), 4),
            _ => return Ok(None),
        },
        127 => match buffer.get(2..10).and_then(|bytes| bytes.first_chunk()) {
            Some(bytes) => (u64::from_be_bytes(*bytes), 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 2),
    };
    if len > PAYLOAD_BYTES_MAX as u64 {
        return Err(BadFrame::TooLarge(len));
    }
    let mut mask = None;
    if second & 0x80 != 0 {
        let Some(key) = buffer.get(at..at + 4).and_then(|bytes| bytes.first_chunk()) else { return Ok(None) };
        mask = Some(*key);
        at += 4;
    }
    let end = at + len as usize;
    let Some(payload) = buffer.get_mut(at..end) else { return Ok(None) };
    if let Some(key) = mask {
        unmask(payload, key);
    }
    Ok(Some((Frame { opcode: first & 0x0F, payload }, end)))
}

fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let mut words = payload.chunks_exact_mut(4);
    for word in &mut words {
        for (byte, mask) in word.iter_mut().zip(key) {
            *byte ^= mask;
        }
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(key) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_split_again_at_every_length_class() {
        for len in [0, 1, 125, 126, 200, 65_535, 65_536, 70_000] {
            let payload: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            for encode in [encode_from_server, encode_from_client] {
                let mut bytes = Vec::new();
                encode(TEXT, &payload, &mut bytes);
                let whole = bytes.len();
                bytes.extend_from_slice(&[0x81]);
                let (frame, used) = split(&mut bytes).expect("a good frame").expect("a whole frame");
                assert_eq!((frame.opcode, frame.payload, used), (TEXT, payload.as_slice(), whole));
            }
        }
    }

    #[test]
    fn a_frame_cut_anywhere_waits_for_the_rest() {
        let mut bytes = Vec::new();
        encode_from_client(TEXT, &[7; 300], &mut bytes);
        for cut in 0..bytes.len() {
            assert_eq!(split(&mut bytes[..cut].to_vec()), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn what_nobody_here_sends_is_refused() {
        assert_eq!(split(&mut [0xC1, 0x00]), Err(BadFrame::Reserved));
        assert_eq!(split(&mut [0x01, 0x00]), Err(BadFrame::Fragment));
        let mut huge = vec![0x81, 127];
        huge.extend_from_slice(&u64::MAX.to_be_bytes());
        assert_eq!(split(&mut huge), Err(BadFrame::TooLarge(u64::MAX)));
    }
}
