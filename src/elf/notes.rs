//! Notes: what a file says of the kernel and the processor it was made for.
//!
//! ```text
//! "GNU" NT_GNU_ABI_TAG          0 (Linux), then the oldest kernel as three numbers    4 x 4 bytes
//! "GNU" NT_GNU_PROPERTY_TYPE_0  properties: type, length, value, padding to 8 bytes
//! ```
//!
//! A file without notes says nothing: it may still contain instructions that it asks the processor for first.

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::ProgramHeader;

use super::ElfError;
use super::image::Image;

/// `GNU_PROPERTY_X86_ISA_1_NEEDED` (x86-64 psABI, "Program Property"): a bit for each level.
const ISA_NEEDED: u32 = 0xc000_8002;

/// No honest file has more segments with notes: a bound for what a damaged one can make us read.
const MAX_SEGMENTS: usize = 64;

/// What the notes of a file say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// The oldest kernel it runs on.
    pub kernel: Option<[u32; 3]>,
    /// The level of x86-64 it needs, 1 to 4; 0 where it says none.
    pub level: u8,
}

impl Notes {
    /// Reads the notes of the file that begins with `bytes`, of which those before its end are enough.
    pub fn read(bytes: &[u8]) -> Result<Notes, ElfError> {
        Image::parse(bytes).map(|image| Notes::of(&image))
    }

    /// Reads the notes of a file; those that cannot be read say nothing.
    pub fn of(image: &Image) -> Notes {
        let mut notes = Notes::default();
        let segments = image.segments.iter().filter(|segment| segment.p_type.get(LE) == elf::PT_NOTE);
        for segment in segments.take(MAX_SEGMENTS) {
            let Ok(Some(mut all)) = segment.notes(LE, image.bytes) else { continue };
            while let Ok(Some(note)) = all.next() {
                if note.name() != b"GNU" {
                    continue;
                }
                match note.n_type(LE) {
                    kind if kind == elf::NT_GNU_ABI_TAG => {
                        notes.kernel = notes.kernel.max(kernel(note.desc()))
                    }
                    kind if kind == elf::NT_GNU_PROPERTY_TYPE_0 => {
                        notes.level = notes.level.max(level(note.desc()));
                    }
                    _ => {}
                }
            }
        }
        notes
    }
}

fn kernel(tag: &[u8]) -> Option<[u32; 3]> {
    const LINUX: u32 = 0;
    (word(tag, 0)? == LINUX).then_some(())?;
    Some([word(tag, 4)?, word(tag, 8)?, word(tag, 12)?])
}

/// The highest level whose bit is set.
fn level(properties: &[u8]) -> u8 {
    let mut rest = properties;
    let mut level = 0;
    while let (Some(kind), Some(length)) = (word(rest, 0), word(rest, 4)) {
        let length = length as usize;
        if kind == ISA_NEEDED
            && let Some(bits) = word(rest, 8)
        {
            level = level.max((32 - (bits & 0xf).leading_zeros()) as u8);
        }
        let Some(next) = length.checked_next_multiple_of(8).and_then(|length| rest.get(8..)?.get(length..))
        else {
            break;
        };
        rest = next;
    }
    level
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::fixture;

    #[test]
    fn the_oldest_kernel_of_a_real_program_is_read() {
        let bytes = fixture::this_executable();
        let notes = Notes::of(&Image::parse(&bytes).unwrap());
        assert!(notes.kernel.is_some_and(|kernel| ([2, 6, 32]..[9, 0, 0]).contains(&kernel)), "{notes:?}");
    }

    #[test]
    fn the_highest_level_counts_and_other_properties_are_passed_over() {
        let property = |kind: u32, value: u32| [kind, 4, value, 0].map(u32::to_le_bytes).concat();
        assert_eq!(level(&property(ISA_NEEDED, 1)), 1);
        assert_eq!(level(&[property(0xc000_0002, 3), property(ISA_NEEDED, 0b111)].concat()), 3);
        assert_eq!(level(&property(0xc000_0002, 3)), 0);
    }

    #[test]
    fn damaged_notes_say_nothing() {
        let bytes = [ISA_NEEDED, u32::MAX, 1, 0].map(u32::to_le_bytes).concat();
        for length in 0..bytes.len() {
            level(&bytes[..length]);
            kernel(&bytes[..length]);
        }
        assert_eq!(kernel(&[1, 0, 0, 0].repeat(4)), None);
    }
}
