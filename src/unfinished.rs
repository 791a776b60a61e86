//! A file that is not there until it is complete.
//!
//! Where the file system can (`O_TMPFILE`), it has no name while it is written, so that nothing is left of it
//! whatever ends the process. Elsewhere it has a temporary one beside its final name, and goes with an error,
//! but stays after a death by signal.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags, fallocate, linkat, open};
use rustix::io::Errno;
use tempfile::NamedTempFile;

/// What temporary names begin with.
const PREFIX: &str = ".coil-";

/// A program in the making, in the directory it is for.
pub enum Unfinished {
    /// Without a name.
    Unnamed(File),
    /// With a temporary one.
    Named(NamedTempFile),
}

impl Unfinished {
    /// An empty file in `directory`, which everybody may read and execute, less the user's umask.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        // Without /proc, what has no name cannot be given one.
        if Path::new("/proc/self/fd").exists() {
            match open(directory, flags, Mode::from_raw_mode(0o777)) {
                Ok(file) => return Ok(Unfinished::Unnamed(File::from(file))),
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(PREFIX).permissions(Permissions::from_mode(0o777));
        builder.tempfile_in(directory).map(Unfinished::Named)
    }

    /// The file, to be written.
    pub fn file(&mut self) -> &mut File {
        match self {
            Unfinished::Unnamed(file) => file,
            Unfinished::Named(file) => file.as_file_mut(),
        }
    }

    /// Has the file system set `size` bytes aside, from the beginning on, where it can: on ext4 each of them is then written in
    /// two thirds of the time. The file stays as long as it is; what is set aside behind its end goes with [`File::set_len`].
    pub fn set_aside(&mut self, size: u64) {
        // Where there is no room, writing says so.
        let _ = fallocate(self.file(), FallocateFlags::KEEP_SIZE, 0, size);
    }

    /// Gives the complete file the name `out`, in the directory it was made in, in place of what is there.
    pub fn publish(self, out: &Path) -> io::Result<()> {
        let file = match self {
            Unfinished::Named(file) => return Ok(file.persist(out).map(drop)?),
            Unfinished::Unnamed(file) => file,
        };
        let link = |path: &Path| -> io::Result<()> {
            let own = format!("/proc/self/fd/{}", file.as_raw_fd());
            Ok(linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
        };
        match link(out) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            done => return done,
        }
        // What is there is replaced by a rename: at no time is there nothing.
        let directory = out.parent().filter(|parent| !parent.as_os_str().is_empty());
        let named =
            tempfile::Builder::new().prefix(PREFIX).make_in(directory.unwrap_or(Path::new(".")), link)?;
        Ok(named.persist(out).map(drop)?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_appears_when_it_is_complete_and_replaces_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("app");
        for text in ["one", "two"] {
            let mut file = Unfinished::new(directory.path()).unwrap();
            file.file().write_all(text.as_bytes()).unwrap();
            file.publish(&out).unwrap();
            assert_eq!(std::fs::read_to_string(&out).unwrap(), text);
            assert_eq!(names(directory.path()), ["app"]);
        }
        assert!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o100 != 0);
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = Unfinished::new(directory.path()).unwrap();
        file.file().write_all(b"half").unwrap();
        if matches!(file, Unfinished::Unnamed(_)) {
            assert!(names(directory.path()).is_empty(), "a death by signal would leave nothing either");
        }
        drop(file);
        assert!(names(directory.path()).is_empty());
        assert!(Unfinished::new(&directory.path().join("missing")).is_err());
    }

    #[test]
    fn what_is_set_aside_is_no_part_of_the_file_and_goes_when_its_length_is_set() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let mut unfinished = Unfinished::new(directory.path()).unwrap();
        unfinished.set_aside(8 << 20);
        unfinished.file().write_all(b"complete").unwrap();
        assert_eq!(unfinished.file().metadata().unwrap().len(), 8);
        unfinished.file().set_len(8).unwrap();
        let out = directory.path().join("out");
        unfinished.publish(&out).unwrap();
        assert_eq!(std::fs::read(&out).unwrap(), b"complete");
        assert!(std::fs::metadata(&out).unwrap().blocks() * 512 < 1 << 20);
    }
}
