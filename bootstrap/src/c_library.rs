//! Which C library an app runs with: the newer one of the host's and the carried one.
//!
//! A newer C library runs what was built for an older one, never the other way round. Where the host's is
//! as new as the carried one it is used, so that name services, GPU drivers and whatever else the host brings keep
//! working; on an older host, one with musl and one with nothing, the carried one is. The compiler's
//! libraries (libstdc++, libgcc_s) follow the same rule by themselves.
//!
//! A cache may be shared by hosts that differ (a home directory on a network), and a host may change: so
//! an environment remembers the loader it was made for, and what is settled for another choice has another
//! name in the cache.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use object::LittleEndian;
use object::elf::FileHeader64;
use object::read::ReadCache;
use object::read::elf::{FileHeader, SectionTable};

use crate::error::{Error, Result};
use crate::format::frames::FrameRange;
use crate::format::manifest::{CLibraryRule, Layer, Manifest};
use crate::format::path::TreePath;

/// The choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The carried C library, loader and compiler's libraries.
    Carried,
    /// The host's C library and loader, and the carried compiler's libraries.
    Host,
    /// The host's, all of them.
    HostWithCompiler,
}

/// What the user says (`COIL_LIBC`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Nothing: the bundle's rule holds.
    None,
    /// A rule in place of the bundle's.
    Rule(CLibraryRule),
}

impl Order {
    /// The order in this variable's value.
    pub fn of(value: Option<&OsStr>) -> Result<Order> {
        let rules =
            [("auto", CLibraryRule::Auto), ("bundled", CLibraryRule::Bundled), ("host", CLibraryRule::Host)];
        let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(Order::None) };
        let rule = rules.iter().find(|(name, _)| value == *name);
        rule.map(|(_, rule)| Order::Rule(*rule)).ok_or_else(|| Error::NoRule(value.to_string_lossy().into()))
    }

    /// The choices it allows, the one that costs the least to look for first.
    pub fn allowed(self) -> &'static [Choice] {
        match self {
            Order::None | Order::Rule(CLibraryRule::Auto) => {
                &[Choice::HostWithCompiler, Choice::Carried, Choice::Host]
            }
            Order::Rule(CLibraryRule::Bundled) => &[Choice::Carried],
            Order::Rule(CLibraryRule::Host) => &[Choice::HostWithCompiler, Choice::Host],
        }
    }
}

impl Choice {
    /// What is behind the digest in the names of what is settled for this choice.
    pub fn suffix(self) -> &'static str {
        match self {
            Choice::Carried => "",
            Choice::Host => "-host",
            Choice::HostWithCompiler => "-host-gcc",
        }
    }

    /// The choice in words.
    pub fn told(self) -> &'static str {
        match self {
            Choice::Carried => "the carried C library is used",
            Choice::Host => "the host's C library is used, with the carried libraries of the compiler",
            Choice::HostWithCompiler => {
                "the host's C library is used, with the host's libraries of the compiler"
            }
        }
    }

    /// How many of the runtime's three directories of libraries are searched: the first ones.
    pub fn searched(self) -> usize {
        match self {
            Choice::HostWithCompiler => 1,
            Choice::Host => 2,
            Choice::Carried => 3,
        }
    }

    /// The directories of `layer` that nothing searches with this choice, and the frames that hold them alone: a cache does
    /// without them.
    pub fn left_packed<'a>(self, manifest: &Manifest, layer: &'a Layer) -> Vec<(&'a TreePath, FrameRange)> {
        let (searched, left) = manifest.python.search_path.split_at(self.searched());
        let left = left.iter().filter(|path| !searched.contains(path));
        let found = left.filter_map(|path| layer.apart.get_key_value(path));
        found.map(|(path, frames)| (path, *frames)).collect()
    }

    /// Whether the host's loader starts the interpreter.
    pub fn is_host(self) -> bool {
        self != Choice::Carried
    }
}

/// The host's C library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLibrary {
    version: Version,
    /// The newest `GLIBCXX` version of its libstdc++.
    compiler: Option<Version>,
}

/// A version, as numbers.
type Version = Vec<u32>;

/// The place of the host's loader, which the ABI of each architecture fixes.
pub const HOST_LOADER: &str =
    if cfg!(target_arch = "aarch64") { "/lib/ld-linux-aarch64.so.1" } else { "/lib64/ld-linux-x86-64.so.2" };

/// What tells this host's loader from others, and from itself after an update. Looking costs one `stat`.
pub fn mark() -> String {
    match fs::metadata(HOST_LOADER) {
        Ok(file) => format!("{}:{}.{}", file.size(), file.mtime(), file.mtime_nsec()),
        Err(_) => "none".into(),
    }
}

/// The mark of an environment that fits every host: its bundle leaves no choice.
const ANY: &str = "any";

/// The mark of an environment whose C library was ordered by a user: it fits who orders the same.
const ORDERED: &str = "order";

/// What the launch record of an environment says of the host it is made for.
pub fn made_for(manifest: &Manifest, order: Order) -> String {
    match (order, manifest.c_library) {
        (Order::Rule(CLibraryRule::Auto), _) | (Order::None, CLibraryRule::Auto | CLibraryRule::Host) => {
            mark()
        }
        (Order::None, CLibraryRule::Bundled) => ANY.into(),
        (Order::Rule(_), _) => ORDERED.into(),
    }
}

/// Whether an environment with this mark may be started: on this host, or because the user orders it.
pub fn fits(mark_of_environment: &str, order: Order) -> bool {
    match mark_of_environment {
        ANY => true,
        // Where it was looked for is what was ordered.
        _ if matches!(order, Order::Rule(CLibraryRule::Bundled | CLibraryRule::Host)) => true,
        ORDERED => false,
        other => other == mark(),
    }
}

/// Chooses for this manifest on this host.
///
/// Fails where the host's is ordered and there is none.
pub fn choose(manifest: &Manifest, order: Order) -> Result<Choice> {
    let rule = match order {
        Order::None => manifest.c_library,
        Order::Rule(rule) => rule,
    };
    if rule == CLibraryRule::Bundled {
        return Ok(Choice::Carried);
    }
    let host = HostLibrary::look();
    decide(manifest, rule, host.as_ref())
}

fn decide(manifest: &Manifest, rule: CLibraryRule, host: Option<&HostLibrary>) -> Result<Choice> {
    let python = &manifest.python;
    let new_enough = |host: &&HostLibrary| {
        python.libc.strip_prefix("glibc-").and_then(version).is_some_and(|carried| host.version >= carried)
    };
    let host = match rule {
        CLibraryRule::Host => Some(host.ok_or(Error::NoHostLibrary)?),
        _ => host.filter(new_enough),
    };
    let Some(host) = host else { return Ok(Choice::Carried) };
    let carried = python.libstdcxx.as_deref().and_then(version);
    // `None` is less than everything: a host without is never chosen where one is carried.
    Ok(if host.compiler >= carried { Choice::HostWithCompiler } else { Choice::Host })
}

impl HostLibrary {
    /// The glibc beside the host's loader; `None` where there is no such thing: musl, an imitation, nothing.
    fn look() -> Option<HostLibrary> {
        let directories = host_directories();
        let version = newest(&directories.first()?.join("libc.so.6"), "GLIBC_")?;
        let compiler = directories.iter().find_map(|directory| {
            let complete = directory.join("libgcc_s.so.1").exists();
            newest(&directory.join("libstdc++.so.6"), "GLIBCXX_").filter(|_| complete)
        });
        Some(HostLibrary { version, compiler })
    }
}

/// Where the host's libraries are: the directory of its loader and C library, and its twin where `/lib` is no
/// link to `/usr/lib`.
pub fn host_directories() -> Vec<PathBuf> {
    let loader = fs::canonicalize(HOST_LOADER).unwrap_or_default();
    let Some(first) = loader.parent() else { return Vec::new() };
    let twin = match first.strip_prefix("/usr") {
        Ok(below) => Path::new("/").join(below),
        Err(_) => Path::new("/usr").join(first.strip_prefix("/").unwrap_or(first)),
    };
    let other = fs::canonicalize(&twin).is_ok_and(|real| real == twin);
    std::iter::once(first.to_owned()).chain(other.then_some(twin)).collect()
}

/// The newest version with this prefix among those that a library defines.
fn newest(library: &Path, prefix: &str) -> Option<Version> {
    let file = File::open(library).ok()?;
    let data = &ReadCache::new(file);
    let header = FileHeader64::<LittleEndian>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let sections: SectionTable<FileHeader64<LittleEndian>, _> = header.sections(endian, data).ok()?;
    let (mut definitions, names) = sections.gnu_verdef(endian, data).ok()??;
    let names = sections.strings(endian, data, names).ok()?;
    let mut newest = None;
    while let Some((_, mut auxiliaries)) = definitions.next().ok()? {
        let Some(auxiliary) = auxiliaries.next().ok()? else { continue };
        let name = auxiliary.name(endian, names).ok().and_then(|name| std::str::from_utf8(name).ok());
        newest = newest.max(name.and_then(|name| version(name.strip_prefix(prefix)?)));
    }
    newest
}

/// `2.36` as numbers; `None` for what is none (`PRIVATE`).
fn version(text: &str) -> Option<Version> {
    text.split('.').map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::manifest::tests::manifest;

    fn host(version: &[u32], compiler: Option<&[u32]>) -> HostLibrary {
        HostLibrary { version: version.to_vec(), compiler: compiler.map(<[u32]>::to_vec) }
    }

    #[test]
    fn the_newer_one_wins_and_the_hosts_where_they_are_equally_new() {
        let new: &[u32] = &[3, 4, 32];
        let cases: [(Option<HostLibrary>, Choice); 7] = [
            (None, Choice::Carried),
            (Some(host(&[2, 31], Some(new))), Choice::Carried),
            (Some(host(&[2, 36], Some(&[3, 4, 30]))), Choice::HostWithCompiler),
            (Some(host(&[2, 36], Some(&[3, 4, 28]))), Choice::Host),
            (Some(host(&[2, 36], None)), Choice::Host),
            (Some(host(&[2, 41], Some(new))), Choice::HostWithCompiler),
            (Some(host(&[2, 100], Some(new))), Choice::HostWithCompiler),
        ];
        for (host, choice) in cases {
            assert_eq!(decide(&manifest(), CLibraryRule::Auto, host.as_ref()).unwrap(), choice, "{host:?}");
        }
        let old = host(&[2, 17], None);
        assert_eq!(decide(&manifest(), CLibraryRule::Host, Some(&old)).unwrap(), Choice::Host);
        assert!(decide(&manifest(), CLibraryRule::Host, None).is_err());
    }

    #[test]
    fn a_runtime_without_a_cxx_library_takes_the_hosts() {
        let mut manifest = manifest();
        manifest.python.libstdcxx = None;
        let host = host(&[2, 36], None);
        assert_eq!(decide(&manifest, CLibraryRule::Auto, Some(&host)).unwrap(), Choice::HostWithCompiler);
    }

    #[test]
    fn this_machines_own_are_read_and_what_is_no_library_is_none() {
        // Where the tests run on glibc it says so of itself; elsewhere there is nothing to read.
        if let Some(host) = HostLibrary::look() {
            assert!(host.version >= vec![2, 17], "{host:?}");
        }
        assert_eq!(newest(Path::new("/dev/null"), "GLIBC_"), None);
        assert_eq!(newest(&std::env::current_exe().unwrap(), "GLIBC_"), None);
        assert_eq!(newest(Path::new("/nowhere"), "GLIBC_"), None);
    }

    #[test]
    fn an_environment_fits_its_host_or_who_ordered_it() {
        let order = |word: &str| Order::of(Some(OsStr::new(word))).unwrap();
        let (none, auto, bundled) = (order(""), order("auto"), order("bundled"));
        assert!(fits(ANY, none) && fits(ANY, bundled));
        assert!(fits(&mark(), none) && fits(&mark(), auto) && fits(&mark(), bundled));
        assert!(!fits("1:2.3", none) && !fits("1:2.3", auto) && fits("1:2.3", bundled));
        assert!(!fits(ORDERED, none) && !fits(ORDERED, auto) && fits(ORDERED, order("host")));
        assert!(Order::of(Some(OsStr::new("musl"))).is_err());
    }
}
