//! Which libraries belong to glibc, which to the compiler, and where they go.
//!
//! glibc's own libraries and its loader belong together to the byte, so they have a directory of their
//! own that can be searched or left aside as a whole.

use crate::elf::Machine;

/// Where glibc goes.
pub const DIRECTORY: &str = "python/libc";

/// Where the compiler's libraries go.
pub const COMPILER: &str = "python/libgcc";

/// The C++ library.
pub const CXX: &str = "libstdc++.so.6";

/// The libraries of the compiler that wheels expect on every host (PEP 600, "manylinux").
pub const COMPILER_LIBRARIES: [&str; 2] = ["libgcc_s.so.1", CXX];

/// A library of the compiler that is no part of what wheels may expect, and that programs in some expect all the
/// same (Node.js). Carried where it exists.
pub const COMPILER_OPTIONAL: &str = "libatomic.so.1";

/// Carried where they exist. Since 2.34 the threads, `dlopen` and others are in libc itself and their
/// libraries are empty, but older wheels still name them; name services (`libnss_*`) are opened by name.
pub const OPTIONAL: [&str; 10] = [
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "libutil.so.1",
    "libresolv.so.2",
    "libanl.so.1",
    "libnss_files.so.2",
    "libnss_dns.so.2",
    "libnss_compat.so.2",
    // Wheels with codecs name it (PyAV, soundfile).
    "libmvec.so.1",
];

/// Other libraries of glibc: carried only where something needs them.
const ON_DEMAND: [&str; 4] =
    ["libnsl.so.1", "libBrokenLocale.so.1", "libthread_db.so.1", "libnss_hesiod.so.2"];

/// What no process starts without.
pub fn required(machine: &Machine) -> [&'static str; 3] {
    ["libc.so.6", "libm.so.6", machine.loader]
}

/// The directory for a library of glibc or of the compiler; `None` for all others.
pub fn place(name: &str, machine: &Machine) -> Option<&'static str> {
    if COMPILER_LIBRARIES.contains(&name) || name == COMPILER_OPTIONAL {
        return Some(COMPILER);
    }
    let known = required(machine).contains(&name) || OPTIONAL.contains(&name) || ON_DEMAND.contains(&name);
    known.then_some(DIRECTORY)
}
