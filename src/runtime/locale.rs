//! The locale C.UTF-8, for images: the carried C library reads it from a place of the host, and from scratch there is
//! none. Its form belongs to the version of that library, so both come from one machine.

use std::path::PathBuf;

/// Where the runtime has it, a directory.
pub const PLACE: &str = "python/share/locale/C.utf8";

/// Where a system has it; `None` where that has none.
pub fn source() -> Option<PathBuf> {
    let places = ["/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8"].map(PathBuf::from);
    places.into_iter().find(|path| path.join("LC_CTYPE").is_file())
}
