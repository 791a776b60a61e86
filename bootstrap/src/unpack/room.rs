//! Room for a frame, in huge pages where the kernel has some.
//!
//! A frame is decoded by copying from anywhere in the megabytes that came before. In pages of 4 KiB that is a thousand
//! faults for each buffer, and then an address to be looked up for almost every copy.

/// How long a huge page is, in bytes: on x86-64, and on AArch64 with pages of 4 KiB. Elsewhere the kernel rounds or refuses.
const HUGE_PAGE: usize = 2 << 20;

/// A buffer that begins where a huge page begins. No memory is taken before it is written to.
pub struct Room {
    bytes: Vec<u8>,
    start: usize,
}

impl Room {
    /// Room for `size` bytes.
    pub fn new(size: usize) -> Self {
        // A page of which less than half is used costs more than it gives.
        let pages = (size + HUGE_PAGE / 2) / HUGE_PAGE;
        let mut bytes = vec![0; size.max(pages * HUGE_PAGE) + HUGE_PAGE];
        let start = bytes.as_ptr().align_offset(HUGE_PAGE).min(HUGE_PAGE);
        let huge = &mut bytes[start..][..pages * HUGE_PAGE];
        // SAFETY: the range is memory of ours that nobody else knows, and the advice changes nothing in it. A kernel without huge
        // pages refuses, and all that is lost is time.
        unsafe { libc::madvise(huge.as_mut_ptr().cast(), huge.len(), libc::MADV_HUGEPAGE) };
        Room { bytes, start }
    }

    /// Its first `length` bytes: as many as it was made for, at most. They hold what they held before.
    pub fn first(&mut self, length: usize) -> &mut [u8] {
        &mut self.bytes[self.start..][..length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_begins_with_a_huge_page_and_is_as_large_as_was_asked_for() {
        for size in [0, 1, 4096, HUGE_PAGE / 2, HUGE_PAGE - 1, HUGE_PAGE, 3 * HUGE_PAGE + 5] {
            let mut room = Room::new(size);
            let whole = room.first(size);
            assert_eq!(whole.len(), size);
            assert_eq!(whole.as_ptr() as usize % HUGE_PAGE, 0);
            whole.fill(7);
            assert!(room.first(size).iter().all(|byte| *byte == 7), "what was written stays");
        }
    }
}
