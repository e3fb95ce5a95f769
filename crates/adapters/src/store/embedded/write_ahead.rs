//! Looks at SQLite's write-ahead log: before SQLite recovers it, and for the pages that commits write.
//!
//! SQLite ends the log at the first frame whose checksum is wrong. That is right for a commit that came to the disk in
//! part, and wrong for damage in the middle, for it gives up commits that were synced and acked, without a word. The two
//! can be told apart: a commit is synced before the next one is begun, so a *whole commit with another frame chained to
//! it* behind the broken place shows that the place was once good.
//!
//! What can't be found out: damage in the last two commits, and a log that was cut off between two commits.
//!
//! The format is the one of SQLite's page on its file format, section 4.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// The sums that chain the frames.
type Chain = (u32, u32);

struct Log {
    file: File,
    big_endian: bool,
    salts: [u8; 8],
    frame: Vec<u8>,
}

/// Whether the log of this data file has commits behind a broken place; where, if so.
pub(super) fn broken_place(data_file: &Path) -> std::io::Result<Option<String>> {
    let mut file = match File::open(log_of(data_file)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut header = [0; HEADER_BYTES];
    let mut first = [0; FRAME_HEADER_BYTES];
    if !fill(&mut file, &mut header)? || !fill(&mut file, &mut first)? {
        return Ok(None);
    }
    // SQLite has written the file before it makes its log, and wipes a log whose file is empty.
    if data_file.metadata()?.len() == 0 {
        return Ok(Some("it is empty or was missing, and the write-ahead log beside it is not".to_owned()));
    }
    let Some((big_endian, page_bytes, chain)) = read_header(&header) else {
        // A header that is being replaced has other salts than the frames, which are those of a log before.
        let mut mended = header;
        mended[16..24].copy_from_slice(&first[8..16]);
        let damaged = header[16..24] == first[8..16] || read_header(&mended).is_some();
        return Ok(damaged.then(|| "the header of the write-ahead log is damaged".to_owned()));
    };
    file.seek(SeekFrom::Start(HEADER_BYTES as u64))?;
    Log { file, big_endian, salts: salts_of(&header), frame: vec![0; FRAME_HEADER_BYTES + page_bytes] }
        .broken_frame(chain)
}

impl Log {
    fn broken_frame(&mut self, mut chain: Chain) -> std::io::Result<Option<String>> {
        let mut at = 0;
        // First the frames that hold together.
        loop {
            if !self.next()? {
                return Ok(None);
            }
            at += 1;
            if !self.is_of_this_log() || self.chained(chain) != self.stored_chain() {
                break;
            }
            chain = self.stored_chain();
        }
        // Then those behind the broken place: is there a commit that another frame follows?
        let broken = at;
        let mut commit = self.is_commit().then(|| self.stored_chain());
        while self.next()? {
            at += 1;
            let follows = commit.is_some_and(|commit| self.chained(commit) == self.stored_chain());
            if follows && self.is_of_this_log() {
                let what =
                    format!("frame {broken} of the write-ahead log is damaged: a commit ends at {}", at - 1);
                return Ok(Some(what));
            }
            commit = self.is_commit().then(|| self.stored_chain());
        }
        Ok(None)
    }

    /// Reads a frame; false at the end.
    fn next(&mut self) -> std::io::Result<bool> {
        fill(&mut self.file, &mut self.frame)
    }

    fn is_of_this_log(&self) -> bool {
        self.frame[8..16] == self.salts
    }

    /// The last frame of a commit says how large the database then is.
    fn is_commit(&self) -> bool {
        self.is_of_this_log() && self.frame[4..8] != [0; 4]
    }

    fn stored_chain(&self) -> Chain {
        (big_endian_at(&self.frame, 16), big_endian_at(&self.frame, 20))
    }

    /// What this frame's sums have to be after one with the sums `before`.
    fn chained(&self, before: Chain) -> Chain {
        let number_and_size = sums(self.big_endian, before, &self.frame[..8]);
        sums(self.big_endian, number_and_size, &self.frame[FRAME_HEADER_BYTES..])
    }
}

/// Says which pages were written, commit by commit, for whoever is told of each. The log is a file on which SQLite has no locks,
/// so that closing it here takes none away.
pub(super) struct Follower {
    file: File,
    salts: [u8; 8],
    page_bytes: usize,
    /// So many frames of the log were seen.
    seen: u32,
}

impl Follower {
    /// Begins at the log's end, which is behind so many frames.
    pub(super) fn new(data_file: &Path, frames: u32) -> std::io::Result<Self> {
        let mut follower =
            Self { file: File::open(log_of(data_file))?, salts: [0; 8], page_bytes: 0, seen: frames };
        // A log without a frame may have no header, or that of the one before.
        if frames > 0 {
            follower.read_header()?;
        }
        Ok(follower)
    }

    /// The pages that were written since. The log now ends behind so many frames; each commit was asked for, so that no log was
    /// begun and ended unseen.
    pub(super) fn written_up_to(&mut self, frames: u32) -> std::io::Result<Vec<u32>> {
        if frames == 0 {
            return Ok(Vec::new());
        }
        if self.read_header()? {
            self.seen = 0;
        }
        let mut pages = Vec::new();
        let mut header = [0; FRAME_HEADER_BYTES];
        let frame_bytes = (FRAME_HEADER_BYTES + self.page_bytes) as u64;
        for frame in self.seen..frames {
            let at = HEADER_BYTES as u64 + u64::from(frame) * frame_bytes;
            self.file.read_exact_at(&mut header, at)?;
            if header[8..16] != self.salts {
                return Err(std::io::Error::new(ErrorKind::InvalidData, "a frame is of another log"));
            }
            pages.push(big_endian_at(&header, 0));
        }
        self.seen = frames;
        Ok(pages)
    }

    /// Whether it is another log than before.
    fn read_header(&mut self) -> std::io::Result<bool> {
        let mut header = [0; HEADER_BYTES];
        self.file.read_exact_at(&mut header, 0)?;
        let (_, page_bytes, _) = read_header(&header)
            .ok_or_else(|| std::io::Error::new(ErrorKind::InvalidData, "the log's header is damaged"))?;
        let before = std::mem::replace(&mut self.salts, salts_of(&header));
        self.page_bytes = page_bytes;
        Ok(before != self.salts)
    }
}

fn log_of(data_file: &Path) -> PathBuf {
    let mut name = data_file.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn salts_of(header: &[u8; HEADER_BYTES]) -> [u8; 8] {
    let mut salts = [0; 8];
    salts.copy_from_slice(&header[16..24]);
    salts
}

/// Byte order, page size and sums of a header that is whole.
fn read_header(header: &[u8; HEADER_BYTES]) -> Option<(bool, usize, Chain)> {
    let big_endian = match big_endian_at(header, 0) {
        0x377f_0682 => false,
        0x377f_0683 => true,
        _ => return None,
    };
    let page_bytes = usize::try_from(big_endian_at(header, 8)).ok()?;
    let chain = (big_endian_at(header, 24), big_endian_at(header, 28));
    let whole = sums(big_endian, (0, 0), &header[..24]) == chain;
    (whole && (512..=65_536).contains(&page_bytes)).then_some((big_endian, page_bytes, chain))
}

fn big_endian_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(four)
}

fn sums(big_endian: bool, (mut first, mut second): Chain, bytes: &[u8]) -> Chain {
    let word = |four: [u8; 4]| if big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) };
    for [a, b, c, d, e, f, g, h] in bytes.as_chunks::<8>().0 {
        first = first.wrapping_add(word([*a, *b, *c, *d])).wrapping_add(second);
        second = second.wrapping_add(word([*e, *f, *g, *h])).wrapping_add(first);
    }
    (first, second)
}

/// Reads until `to` is full; false when there is not enough.
fn fill(file: &mut File, to: &mut [u8]) -> std::io::Result<bool> {
    match file.read_exact(to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
