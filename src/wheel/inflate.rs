//! One decoder for all members of an archive.
//!
//! A decoder for each would be made and thrown away with the content it leaves behind: its memory is aligned,
//! and glibc before 2.38 finds no use for such holes again. A wheel of 70,000 members took a gigabyte.

use std::io::{self, Read, Write};

use flate2::{Crc, Decompress, FlushDecompress, Status};

/// How much is read and written at a time, in bytes.
const STEP: usize = 1 << 16;

/// Inflates one raw deflate stream after the other.
pub struct Inflater {
    state: Decompress,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Inflater {
    /// A decoder that has read nothing yet.
    pub fn new() -> Self {
        Inflater { state: Decompress::new(false), input: vec![0; STEP], output: vec![0; STEP] }
    }

    /// Inflates what `raw` holds into `sink`, up to `limit` bytes or a little more, and compares all of it
    /// with its CRC-32. Returns how many bytes there were.
    pub fn copy(
        &mut self,
        raw: &mut dyn Read,
        crc32: u32,
        limit: u64,
        sink: &mut dyn Write,
    ) -> io::Result<u64> {
        self.state.reset(false);
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut crc = Crc::new();
        let mut rest = 0..0;
        loop {
            if rest.is_empty() {
                rest = 0..read(raw, &mut self.input)?;
            }
            let (read_before, written_before) = (self.state.total_in(), self.state.total_out());
            let input = &self.input[rest.clone()];
            let flush = if input.is_empty() { FlushDecompress::Finish } else { FlushDecompress::None };
            let status = self.state.decompress(input, &mut self.output, flush);
            let status = status.map_err(|_| wrong("it is not a deflate stream"))?;
            let consumed = (self.state.total_in() - read_before) as usize;
            let written = (self.state.total_out() - written_before) as usize;
            let stuck = consumed == 0 && written == 0;
            rest.start += consumed;
            crc.update(&self.output[..written]);
            sink.write_all(&self.output[..written])?;
            match status {
                Status::StreamEnd if crc.sum() == crc32 => return Ok(self.state.total_out()),
                Status::StreamEnd => return Err(wrong("its checksum is wrong")),
                _ if self.state.total_out() > limit => return Ok(self.state.total_out()),
                _ if stuck => return Err(wrong("its deflate stream is cut short")),
                _ => {}
            }
        }
    }
}

fn read(raw: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match raw.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            count => return count,
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    use super::*;

    fn deflated(content: &[u8]) -> (Vec<u8>, u32) {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        let mut crc = Crc::new();
        crc.update(content);
        (encoder.finish().unwrap(), crc.sum())
    }

    #[test]
    fn one_decoder_inflates_one_stream_after_the_other() {
        let mut inflater = Inflater::new();
        let long: Vec<u8> = (0..1_000_000u32).flat_map(|number| number.to_le_bytes()).collect();
        for content in [b"".as_slice(), b"short", &long, b"again"] {
            let (raw, crc) = deflated(content);
            let mut copy = Vec::new();
            let length = inflater.copy(&mut raw.as_slice(), crc, u64::MAX, &mut copy).unwrap();
            assert!(copy == content && length == content.len() as u64);
            let refused = |raw: &[u8], crc| {
                Inflater::new().copy(&mut &raw[..], crc, u64::MAX, &mut io::sink()).is_err()
            };
            assert!(refused(&raw, crc ^ 1) && refused(&raw[..raw.len() - 1], crc) && refused(b"\xff", crc));
        }
        let (raw, crc) = deflated(&long);
        let length = inflater.copy(&mut raw.as_slice(), crc, 100, &mut io::sink()).unwrap();
        assert!((101..=100 + STEP as u64).contains(&length), "{length}");
    }
}
