//! A runtime that was made before: from its file into the store, and unpacked, so that wheels can be
//! resolved and compiled with the very interpreter that will run them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::c_library::{Choice, Order, made_for};
use coil_bootstrap::cache::Candidate;
use coil_bootstrap::environment;
use coil_bootstrap::first_start;
use coil_bootstrap::format::checksum::Checksum;
use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::manifest::{CLibraryRule, Environment, Manifest, SCHEMA};
use coil_bootstrap::format::tar::{Entry, Kind, padding};
use coil_bootstrap::host::Host;

use super::runtime::Facts;
use crate::bundle::{self, Launcher};
use crate::checksums::checksum_of_reader;
use crate::error::{Context, Failure, Result};
use crate::interpreter::Interpreter;
use crate::last_use;
use crate::layer::{Blob, BlobPlace};
use crate::needs;
use crate::plan::Listing;
use crate::report::Report;
use crate::runtime::{Keep, Kept};
use crate::runtime_file::Runtime;
use crate::store::{Key, Store, StoredLayer};

/// The runtime in the file at `path` (a runtime file or a bundle), and the interpreter in it.
pub fn open(path: &Path, store: &Store, report: &Report) -> Result<(Interpreter, StoredLayer<Facts>)> {
    let (runtime, place) = Runtime::open(path)?;
    let blob = blob_of(&runtime);
    let kept = store.keep_blob(&blob, &place)?;
    let key = Key::new("packed runtime", &[blob.digest.as_bytes()]);
    let listing = match store.get::<Listing>(key) {
        Some(listing) => listing,
        None => {
            report.doing(&format!("reading {}", path.display()));
            let damaged = || format!("{} is damaged", path.display());
            let mut listing = listing(&runtime, &kept).context(damaged)?;
            listing.needs = needs::of_runtime(&kept, blob.size).context(damaged)?;
            store.put(key, &listing)?;
            listing
        }
    };
    let interpreter = interpreter(&runtime, kept, store)?;
    let facts = Facts {
        python: runtime.python,
        left_out: runtime.left_out,
        carried: runtime.carried,
        kept: runtime.kept,
        openssl: runtime.openssl,
    };
    Ok((interpreter, StoredLayer { blob, listing, facts }))
}

/// Refuses a runtime that was built without something that is to be kept.
pub fn check_kept(path: &Path, kept: Kept, wanted: Kept) -> Result<()> {
    let missing = wanted.less(kept);
    if missing.is_empty() {
        return Ok(());
    }
    let path = path.display();
    let message = if missing.has(Keep::Sourceless) {
        format!("the runtime {path} was built with the standard library's sources, which are to be left out")
    } else {
        format!("the runtime {path} was built without what is to be kept: {missing}")
    };
    Err(Failure::new(message).hint(format!("build one with `coil runtime build --keep {wanted}`")))
}

/// The layer of a runtime as a blob.
pub fn blob_of(runtime: &Runtime) -> Blob {
    let layer = &runtime.layer;
    Blob {
        digest: layer.digest,
        checksum: layer.checksum,
        size: layer.size,
        diff_id: layer.diff_id,
        unpacked_size: layer.unpacked_size,
        apart: layer.apart.clone(),
    }
}

/// Every file and link of the layer.
fn listing(runtime: &Runtime, place: &BlobPlace) -> io::Result<Listing> {
    let mut file = File::open(&place.file)?;
    file.seek(SeekFrom::Start(place.offset))?;
    let mut archive = zstd::Decoder::new(file.take(runtime.layer.size))?;
    let origin = format!("CPython {}", runtime.python.version);
    let mut files = BTreeMap::new();
    while let Some(Entry { path, kind }) = Entry::read(&mut archive)? {
        match kind {
            Kind::Directory => {}
            Kind::Symlink(target) => {
                files.insert(path, Checksum::of(format!("link to {target}").as_bytes()));
            }
            Kind::File { size, .. } => {
                files.insert(path, checksum_of_reader(&mut (&mut archive).take(size))?);
                archive.read_exact(&mut vec![0; padding(size)])?;
            }
        }
    }
    Ok(Listing { origin, files: files.into_iter().collect(), ..Listing::default() })
}

/// The interpreter, unpacked by the launcher's own code as it will be on the machine that runs the app.
fn interpreter(runtime: &Runtime, place: BlobPlace, store: &Store) -> Result<Interpreter> {
    let manifest = Manifest {
        schema: SCHEMA,
        name: "python".into(),
        version: None,
        platform: runtime.platform.clone(),
        python: runtime.python.clone(),
        layers: vec![runtime.layer.clone()],
        commands: Default::default(),
        default: None,
        c_library: CLibraryRule::Bundled,
        environment: Environment::default(),
        image: Default::default(),
        production: Default::default(),
        lock: None,
        source: None,
        recipe: None,
    };
    let candidate = Candidate::at(store.runtimes());
    let directory = candidate.environment(&Digest::of(&manifest.encode()), Choice::Carried);
    let directory = directory.canonicalize().unwrap_or(directory);
    if !environment::is_usable(&directory, &made_for(&manifest, Order::None)) {
        let scratch = tempfile::tempdir_in(store.scratch())
            .context(|| format!("cannot write to {}", store.scratch().display()))?;
        let path = scratch.path().join("python");
        bundle::write(&path, Launcher::ours()?, &manifest, &[place])?;
        let opened = Bundle::open(&path).map_err(unusable)?;
        let host = Host { candidates: vec![candidate], libc: None, ..Host::observe() };
        first_start::prepare(&opened, &host, false).map_err(unusable)?;
    }
    let layers = store.runtimes().join("layers");
    [&directory, &layers.join(runtime.layer.checksum.hex())]
        .into_iter()
        .for_each(|path| last_use::mark(path));
    store.probes().ask(&directory.join("bin/python"))
}

fn unusable(error: coil_bootstrap::error::Error) -> Failure {
    Failure::new("the runtime cannot be unpacked").because(error.to_string())
}
