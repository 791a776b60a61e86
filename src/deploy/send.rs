//! The sender's side of a transfer: the offer, then whatever the other side says it lacks.

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use coil_bootstrap::receive::offer::Offer;
use coil_bootstrap::receive::wire::{self, Kind, MAX_DATA};
use zstd::bulk::Compressor;

/// What is sent in pieces of this length or longer is mostly compressed already, in bytes.
const LONG: usize = 256 << 10;

/// The levels for long pieces and for short ones, which are what a changed line comes to.
const LEVELS: (i32, i32) = (1, 19);

/// Offers `file` and sends what the other side lacks, until that has it all. `progress` is told what there is to be sent and
/// what was, in bytes of the file.
///
/// Fails where the other side goes away, and with `InvalidData` where it is no receiver.
pub fn send(
    file: &File,
    offer: &Offer,
    input: &mut impl Read,
    output: &mut impl Write,
    progress: &mut dyn FnMut(u64, u64),
) -> io::Result<()> {
    wire::write(output, Kind::Offer, &offer.encode())?;
    let mut message = Vec::new();
    loop {
        match wire::read(input, &mut message)? {
            Some(Kind::Received) => return Ok(()),
            Some(Kind::Want) => {
                let ranges = wire::parse_ranges(&message, offer.size).ok_or(io::ErrorKind::InvalidData)?;
                answer(file, &ranges, output, progress)?;
            }
            Some(_) => return Err(io::ErrorKind::InvalidData.into()),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Sends these ranges of the file, joined, in messages that are as long as they may be.
fn answer(
    file: &File,
    ranges: &[Range<u64>],
    output: &mut impl Write,
    progress: &mut dyn FnMut(u64, u64),
) -> io::Result<()> {
    let total = ranges.iter().map(|range| range.end - range.start).sum();
    let mut done = 0;
    let mut chunk = Vec::with_capacity(MAX_DATA);
    progress(done, total);
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let step = (range.end - at).min((MAX_DATA - chunk.len()) as u64) as usize;
            let before = chunk.len();
            chunk.resize(before + step, 0);
            file.read_exact_at(&mut chunk[before..], at)?;
            at += step as u64;
            done += step as u64;
            if chunk.len() == MAX_DATA || done == total {
                put(&chunk, output)?;
                chunk.clear();
                progress(done, total);
            }
        }
    }
    Ok(())
}

/// Sends a piece, packed where that makes it smaller.
fn put(chunk: &[u8], output: &mut impl Write) -> io::Result<()> {
    let level = if chunk.len() < LONG { LEVELS.1 } else { LEVELS.0 };
    let packed = Compressor::new(level)?.compress(chunk)?;
    match packed.len() < chunk.len() - chunk.len() / 32 {
        true => wire::write(output, Kind::Packed, &packed),
        false => wire::write(output, Kind::Raw, chunk),
    }
}
