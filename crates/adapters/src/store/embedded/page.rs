//! What of a page of an SQLite file holds nothing: there old bytes of rows may lie that were moved, shortened or deleted.
//!
//! SQLite never reads those parts, so what is zeroed in them changes nothing; but whoever reads the file does. The format is that of
//! SQLite's page on its file format, section 1. A page that does not look as it says is left as it is.

use std::ops::Range;

/// Page numbers from here on could make an overflow page look like one of a tree: 256 GiB with our pages.
pub(super) const PAGES_MAX: u32 = 0x0200_0000;

const FILE_HEADER_BYTES: usize = 100;

/// Zeroes a part; whether anything else was there.
fn zero(page: &mut [u8], part: Range<usize>) -> bool {
    let part = &mut page[part];
    let changed = part.iter().any(|byte| *byte != 0);
    part.fill(0);
    changed
}

fn u16_at(page: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(page.get(at..at + 2)?.try_into().ok()?)))
}

pub(super) fn u32_at(page: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(page.get(at..at + 4)?.try_into().ok()?))
}

/// Where the header of a tree's page begins, and how long it is.
fn tree_header(page: &[u8], number: u32) -> Option<(usize, usize)> {
    let at = if number == 1 { FILE_HEADER_BYTES } else { 0 };
    match page.get(at)? {
        0x02 | 0x05 => Some((at, 12)),
        0x0a | 0x0d => Some((at, 8)),
        _ => None,
    }
}

/// Zeroes what is unused in a page of a tree: between the cells' pointers and the cells, and in the blocks that are free. Whether
/// anything was there. `None` for a page that is of no tree.
pub(super) fn clear_tree_page(page: &mut [u8], number: u32) -> Option<bool> {
    let (at, header) = tree_header(page, number)?;
    let pointers_end = at + header + 2 * u16_at(page, at + 3)?;
    let cells = match u16_at(page, at + 5)? {
        // 0 stands for 65,536.
        0 => 65_536,
        cells => cells,
    };
    // All is looked at before anything is changed.
    let mut unused = Vec::from([Range { start: pointers_end, end: cells }]);
    let mut block = u16_at(page, at + 1)?;
    while block != 0 {
        let (next, size) = (u16_at(page, block)?, u16_at(page, block + 2)?);
        // The first four bytes of a block say where the next is and how long it is. They ascend.
        unused.push(block + 4..block + size);
        if block < cells || (next != 0 && next < block + size) {
            return None;
        }
        block = next;
    }
    if unused.iter().any(|part| part.start > part.end || part.end > page.len()) {
        return None;
    }
    // One flipped bit in where the cells begin, or in a block's length, must not cost what is in use.
    let mut pointers = (at + header..pointers_end).step_by(2).map(|pointer| u16_at(page, pointer));
    if !pointers.all(|cell| cell.is_some_and(|cell| !unused.iter().any(|part| part.contains(&cell)))) {
        return None;
    }
    // All of them, not only up to the first that had something.
    Some(unused.into_iter().filter(|part| zero(page, part.clone())).count() > 0)
}

/// Of a page that is a leaf of a table: where the rest of each long row begins, and how many bytes that has.
pub(super) fn rests_of_rows(page: &[u8], number: u32) -> Vec<(u32, usize)> {
    let Some((at, _)) = tree_header(page, number).filter(|(at, _)| page[*at] == 0x0d) else {
        return Vec::new();
    };
    let count = u16_at(page, at + 3).unwrap_or(0);
    let rest = |cell: usize| -> Option<(u32, usize)> {
        let cell = u16_at(page, at + 8 + 2 * cell)?;
        let (payload, from) = varint(page, cell)?;
        let (_rowid, from) = varint(page, from)?;
        let payload = usize::try_from(payload).ok()?;
        let usable = page.len();
        if payload <= usable - 35 {
            return None;
        }
        let least = (usable - 12) * 32 / 255 - 23;
        let local = least + (payload - least) % (usable - 4);
        let local = if local <= usable - 35 { local } else { least };
        Some((u32_at(page, from + local)?, payload - local))
    };
    (0..count).filter_map(rest).collect()
}

fn varint(page: &[u8], mut at: usize) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for n in 0..9 {
        let byte = *page.get(at)?;
        at += 1;
        if n == 8 {
            return Some(((value << 8) | u64::from(byte), at));
        }
        value = (value << 7) | u64::from(byte & 0x7f);
        if byte < 0x80 {
            break;
        }
    }
    Some((value, at))
}

/// Zeroes what is behind the last bytes of a row, in the last page of its rest. Whether anything was there.
pub(super) fn clear_behind(page: &mut [u8], bytes: usize) -> bool {
    let end = (4 + bytes).min(page.len());
    zero(page, end..page.len())
}

/// The next page of the list of free pages, and the free pages that this one names.
pub(super) fn free_list(page: &[u8]) -> Option<(u32, Vec<u32>)> {
    let (next, count) = (u32_at(page, 0)?, usize::try_from(u32_at(page, 4)?).ok()?);
    let leaves: Option<Vec<_>> = (0..count).map(|n| u32_at(page, 8 + 4 * n)).collect();
    Some((next, leaves?))
}

/// Zeroes what a page of the list of free pages does not need.
pub(super) fn clear_free_list(page: &mut [u8]) -> bool {
    let Some(count) = u32_at(page, 4).and_then(|count| usize::try_from(count).ok()) else { return false };
    let end = (8 + 4 * count.min(page.len())).min(page.len());
    zero(page, end..page.len())
}
