//! The messages between `coil deploy` and the launcher that receives.
//!
//! ```text
//! kind    u8   Offer, Want, Raw, Packed, Received
//! length  u32  of what follows, little-endian, at most MAX_MESSAGE
//! ```
//!
//! `docs/FORMAT.md` tells who says what when. Pure bytes; whatever comes is bounded before anything is allocated for it.

use std::io::{self, Read, Write};
use std::ops::Range;

/// The line a receiver begins with, before the id of the release that is current there, or `-`. The number changes with
/// everything that one of the two sides would not understand.
pub const HELLO: &str = "coil-receive 1";

/// The longest message, in bytes.
pub const MAX_MESSAGE: usize = 1 << 20;

/// How much of the file one message of data holds at most, in bytes: packed it may be a little longer.
pub const MAX_DATA: usize = MAX_MESSAGE - (MAX_MESSAGE >> 6);

/// How long one range is in a message.
const RANGE: usize = 16;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Of the sender: what the file is made of (`Offer`).
    Offer = 1,
    /// Of the receiver: the ranges of the file that it lacks, in order.
    Want = 2,
    /// Of the sender: what comes next of them.
    Raw = 3,
    /// The same, as one zstd frame that unpacks to at most [`MAX_DATA`] bytes.
    Packed = 4,
    /// Of the receiver: the file is there and whole; everything that follows is what installing it says.
    Received = 5,
}

const KINDS: [Kind; 5] = [Kind::Offer, Kind::Want, Kind::Raw, Kind::Packed, Kind::Received];

/// Reads one message into `buffer`; `None` where the other side is gone between two messages.
pub fn read(from: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Option<Kind>> {
    let mut head = [0; 5];
    loop {
        match from.read(&mut head[..1]) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    from.read_exact(&mut head[1..])?;
    let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let kind = KINDS.into_iter().find(|kind| *kind as u8 == head[0]);
    let kind = kind.filter(|_| length <= MAX_MESSAGE).ok_or(io::ErrorKind::InvalidData)?;
    buffer.resize(length, 0);
    from.read_exact(buffer)?;
    Ok(Some(kind))
}

/// Writes one message of at most [`MAX_MESSAGE`] bytes.
pub fn write(to: &mut impl Write, kind: Kind, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length as usize <= MAX_MESSAGE);
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    to.write_all(&[kind as u8])?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(bytes)?;
    to.flush()
}

/// Ranges as bytes: start and length of each, in 8 bytes.
pub fn encode_ranges(ranges: &[Range<u64>]) -> Vec<u8> {
    ranges
        .iter()
        .flat_map(|range| [range.start, range.end - range.start])
        .flat_map(|number: u64| number.to_le_bytes())
        .collect()
}

/// Reads ranges; `None` where one of them is empty, goes past `size`, or begins before the one before it ends.
pub fn parse_ranges(bytes: &[u8], size: u64) -> Option<Vec<Range<u64>>> {
    let mut end = 0;
    let mut range = |bytes: &[u8]| {
        let (start, length) = (le64(bytes)?, le64(&bytes[8..])?);
        let range = start..start.checked_add(length)?;
        let sound = range.start >= end && !range.is_empty() && range.end <= size;
        end = range.end;
        sound.then_some(range)
    };
    let chunks = bytes.chunks_exact(RANGE);
    if !chunks.remainder().is_empty() {
        return None;
    }
    chunks.map(&mut range).collect()
}

/// The first 8 bytes as a number.
pub(super) fn le64(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_back_and_a_cut_one_is_no_message() {
        let mut bytes = Vec::new();
        write(&mut bytes, Kind::Raw, b"coil").unwrap();
        let mut buffer = Vec::new();
        assert_eq!(read(&mut bytes.as_slice(), &mut buffer).unwrap(), Some(Kind::Raw));
        assert_eq!(buffer, b"coil");
        assert_eq!(read(&mut &b""[..], &mut buffer).unwrap(), None);
        for cut in 1..bytes.len() {
            assert!(read(&mut &bytes[..cut], &mut buffer).is_err(), "{cut}");
        }
        assert!(write(&mut bytes, Kind::Raw, &vec![0; MAX_MESSAGE + 1]).is_err());
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_before_it_is_held() {
        let mut buffer = Vec::new();
        assert!(read(&mut &b"\x03\xff\xff\xff\xff"[..], &mut buffer).is_err());
        assert!(read(&mut &b"\x09\0\0\0\0"[..], &mut buffer).is_err());
        assert_eq!(buffer.capacity(), 0);
    }

    #[test]
    fn ranges_read_back_and_are_in_order_inside_the_file() {
        let ranges = [0..64, 64..65, 100..1000];
        assert_eq!(parse_ranges(&encode_ranges(&ranges), 1000).as_deref(), Some(&ranges[..]));
        assert_eq!(parse_ranges(&encode_ranges(&ranges), 999), None);
        assert_eq!(parse_ranges(&encode_ranges(&ranges)[1..], 1000), None);
        assert_eq!(parse_ranges(&encode_ranges(&[64..70, 0..3]), 1000), None);
        assert_eq!(parse_ranges(&[5u64, 0].map(u64::to_le_bytes).concat(), 1000), None);
        assert_eq!(parse_ranges(&[255; 16], 1000), None);
        assert_eq!(parse_ranges(&[], 1000), Some(vec![]));
    }
}
