//! Putting a file together from what is here and what is sent.
//!
//! It is written from its beginning to its end, so that its length tells how far it has come. Each piece that was sent is
//! compared with its checksum at once, and in the end the whole file with its own.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::found::{Place, sum};
use super::offer::Offer;
use super::partial::Partial;
use super::sent::{Sent, nonsense};
use crate::error::{Error, Result};

/// What is done for one item.
struct Step {
    range: Range<u64>,
    /// Where its beginning is copied from; `None` where it is in place.
    place: Option<Place>,
    /// How long the beginning is that is here, in bytes.
    have: u64,
}

/// A file that is being put together.
pub struct Assembly<'a> {
    offer: &'a Offer,
    partial: &'a Partial,
    steps: Vec<Step>,
}

impl<'a> Assembly<'a> {
    /// One that takes each item from its place in `places` (one per item), as far as it goes.
    pub fn of(offer: &'a Offer, partial: &'a Partial, places: Vec<Option<Place>>) -> Self {
        let step = |(item, place): (&super::offer::Item, Option<Place>)| {
            let range = item.range.clone();
            let length = range.end - range.start;
            let arrived = partial.good.clamp(range.start, range.end) - range.start;
            let copied = place.as_ref().map_or(0, |place| place.length.min(length));
            let (place, have) = if arrived >= copied { (None, arrived) } else { (place, copied) };
            Step { range, place, have }
        };
        Assembly { offer, partial, steps: offer.items.iter().zip(places).map(step).collect() }
    }

    /// The ranges that are not here, in order.
    pub fn lacking(&self) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for Step { range, have, .. } in &self.steps {
            let lacking = range.start + have..range.end;
            match ranges.last_mut() {
                _ if lacking.is_empty() => {}
                Some(last) if last.end == lacking.start => last.end = lacking.end,
                _ => ranges.push(lacking),
            }
        }
        ranges
    }

    /// Writes all that is not in place, taking from `sent` what is not here. What was begun by an earlier transfer and proves
    /// wrong is lacking afterwards; what was sent now and is wrong is an error.
    pub fn fill(&mut self, sent: &mut Sent<impl Read>) -> Result<()> {
        let (file, path) = (&self.partial.file, self.partial.path());
        for (step, item) in self.steps.iter_mut().zip(&self.offer.items) {
            let Step { range, place, have } = step;
            let (start, length) = (range.start, range.end - range.start);
            if let Some(place) = place.take() {
                copy(&place, file, start, *have).map_err(Error::at("write", &path))?;
            }
            if *have == length {
                continue;
            }
            sent.write_to(file, start + *have..range.end, &path)?;
            let right = item.checksum.is_none() || sum(file, start, length) == item.checksum;
            match (right, *have) {
                (true, _) => *have = length,
                (false, 0) => {
                    // Not to be gone on from.
                    let _ = file.set_len(start);
                    let message = format!(
                        "{length} bytes at {start} arrived with another checksum than they were sent with"
                    );
                    return Err(Error::Release(message));
                }
                (false, _) => *have = 0,
            }
        }
        if sent.is_used_up() { Ok(()) } else { Err(nonsense()) }
    }

    /// Whether the whole file is what was offered.
    pub fn is_whole(&self) -> bool {
        let length = self.partial.file.metadata().map_or(0, |there| there.len());
        length == self.offer.size && sum(&self.partial.file, 0, length) == Some(self.offer.checksum)
    }
}

/// Copies the beginning of a piece: by reference where the file system can.
fn copy(place: &Place, to: &File, at: u64, length: u64) -> std::io::Result<()> {
    const STEP: u64 = 1 << 20;
    let (mut from, mut at, end) = (place.offset, at, place.offset + length);
    while from < end {
        let step = (end - from) as usize;
        match rustix::fs::copy_file_range(&place.file, Some(&mut from), to, Some(&mut at), step) {
            Ok(1..) => continue,
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Err(rustix::io::Errno::NOSPC) => return Err(rustix::io::Errno::NOSPC.into()),
            // Between file systems of different kinds, and in old kernels.
            Err(_) => {}
        }
        let mut buffer = vec![0; (end - from).min(STEP) as usize];
        place.file.read_exact_at(&mut buffer, from)?;
        to.write_all_at(&buffer, at)?;
        (from, at) = (from + buffer.len() as u64, at + buffer.len() as u64);
    }
    Ok(())
}
