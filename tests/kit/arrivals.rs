//! Counting what comes into a directory, however briefly it stays (inotify(7)).

use std::fs::File;
use std::io::Read;
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A directory that is watched.
pub struct Arrivals(File);

impl Arrivals {
    /// Watches `directory` from now on.
    pub fn watch(directory: &Path) -> Arrivals {
        let path = std::ffi::CString::new(directory.as_os_str().as_bytes()).expect("a path");
        // SAFETY: the path is a NUL-terminated string that outlives the call, and the descriptor is new and nobody
        // else's.
        let file = unsafe {
            let watch = libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK);
            assert!(watch >= 0 && libc::inotify_add_watch(watch, path.as_ptr(), libc::IN_CREATE) >= 0);
            File::from_raw_fd(watch)
        };
        Arrivals(file)
    }

    /// How many things have been created in it.
    pub fn count(mut self) -> usize {
        let mut buffer = vec![0; 1 << 16];
        let mut count = 0;
        while let Ok(length) = self.0.read(&mut buffer) {
            let mut rest = &buffer[..length];
            // A watch, a mask, a cookie, the length of a name, and the name.
            while let Some(size) = rest.get(12..16) {
                let name = u32::from_ne_bytes(size.try_into().expect("four bytes")) as usize;
                rest = &rest[16 + name..];
                count += 1;
            }
        }
        count
    }
}
