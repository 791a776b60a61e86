//! The launcher: the static executable in front of every bundle.
//!
//! It has a C `main` because Rust's own start-up would change what the app inherits: it ignores
//! SIGPIPE and opens `/dev/null` where a standard descriptor is closed (and gives up where there is no
//! `/dev/null`).
#![no_main]

use coil_bootstrap::format::stamp;
use coil_bootstrap::launch::launch;

#[used]
#[unsafe(link_section = ".coil.stamp")]
static STAMP: [u8; stamp::SIZE] = stamp::BLANK;

/// The C library's entry into the program. Arguments and environment are read through `std::env`.
#[unsafe(no_mangle)]
pub extern "C" fn main(_argc: libc::c_int, _argv: *const *const libc::c_char) -> libc::c_int {
    // SAFETY: the reference is valid and aligned. The read is volatile because the packer changes
    // these bytes in the finished executable, which the compiler cannot know.
    let stamp = unsafe { std::ptr::read_volatile(&STAMP) };
    launch(&stamp)
}
