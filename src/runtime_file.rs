//! A runtime as a file of its own: made once, named by the digest of its layer, used by many bundles.
//!
//! It is an uncompressed tar archive that any `tar` reads:
//!
//! ```text
//! runtime.json       what it is, as JSON
//! layer.tar.zst      the layer, the very bytes that a bundle and an image have
//! ```
//!
//! A bundle holds a runtime as well, and can be given wherever a runtime is asked for.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::format::checksum::Summing;
use coil_bootstrap::format::manifest::{Layer, LayerKind, Platform, Python};
use coil_bootstrap::format::path::TreePath;
use coil_bootstrap::format::tar::{self, Entry, Kind};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Failure, Result};
use crate::layer::BlobPlace;
use crate::rebase;
use crate::runtime::{Carried, Kept};
use crate::store::digest_of_reader;

/// The version of `runtime.json` that is written and read.
const SCHEMA: u32 = 1;

const FACTS: &str = "runtime.json";
const LAYER: &str = "layer.tar.zst";

/// The longest `runtime.json` that is read, in bytes.
const MAX_FACTS: u64 = 16 << 20;

/// What is known of a runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Runtime {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Where it runs.
    pub platform: Platform,
    /// What a manifest says of it.
    pub python: Python,
    /// Its layer; the offset is 0.
    pub layer: Layer,
    /// Its OpenSSL, in OpenSSL's own words, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openssl: Option<String>,
    /// The shared libraries it carries, and what else of the build machine; where each came from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<Carried>,
    /// What was kept that is left out otherwise.
    #[serde(default, skip_serializing_if = "Kept::is_empty")]
    pub kept: Kept,
    /// What was left out and why, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

impl Runtime {
    /// A runtime with this layer.
    pub fn new(platform: Platform, python: Python, layer: Layer) -> Self {
        let layer = Layer { offset: 0, ..layer };
        Runtime {
            schema: SCHEMA,
            platform,
            python,
            layer,
            openssl: None,
            carried: Vec::new(),
            kept: Kept::default(),
            left_out: Vec::new(),
        }
    }

    /// Writes the runtime file `out`, complete or not at all. What is there and no runtime stays.
    pub fn write(&self, blob: &BlobPlace, out: &Path) -> Result<()> {
        let cannot = || format!("cannot write the runtime to {}", out.display());
        if out.symlink_metadata().is_ok_and(|there| !there.is_file() || there.len() > 0)
            && of_file(out).is_err()
        {
            return Err(Failure::new(format!("{}: what is there is no runtime", cannot()))
                .hint("remove it, or name another file with -o"));
        }
        let directory = out.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut builder = tempfile::Builder::new();
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        let builder = builder.prefix(".coil-").permissions(permissions);
        let mut file = builder.tempfile_in(directory.unwrap_or(Path::new("."))).context(cannot)?;
        let json = serde_json::to_vec_pretty(self).context(cannot)?;
        let mut blob_file = File::open(&blob.file).context(cannot)?;
        blob_file.seek(io::SeekFrom::Start(blob.offset)).context(cannot)?;
        let mut write = || -> io::Result<()> {
            let file = file.as_file_mut();
            member(file, FACTS, json.len() as u64, &mut json.as_slice())?;
            member(file, LAYER, self.layer.size, &mut blob_file)?;
            file.write_all(&tar::END)
        };
        write().context(cannot)?;
        file.persist(out).map(drop).map_err(|error| error.error).context(cannot)
    }

    /// Opens a runtime file or a bundle: what it is, and where its layer is.
    ///
    /// Fails where the file is neither, and where its layer does not have the digest it claims.
    pub fn open(path: &Path) -> Result<(Runtime, BlobPlace)> {
        let mut start = [0; 4];
        let mut file = File::open(path).context(|| format!("cannot open {}", path.display()))?;
        let read = file.read(&mut start).context(|| format!("cannot read {}", path.display()))?;
        let (runtime, place) = if &start[..read] == b"\x7fELF" { of_bundle(path)? } else { of_file(path)? };
        check(path, &runtime, &place)?;
        Ok((runtime, place))
    }
}

fn member(out: &mut File, name: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
    let path = TreePath::new(name).map_err(io::Error::other)?;
    out.write_all(&Entry { path, kind: Kind::File { size, executable: false } }.encode())?;
    let copied = io::copy(&mut content.take(size), out)?;
    if copied != size {
        return Err(io::Error::other("the layer has changed its length"));
    }
    out.write_all(&[0; tar::BLOCK][..tar::padding(size)])
}

fn of_bundle(path: &Path) -> Result<(Runtime, BlobPlace)> {
    let bundle = Bundle::open(path)
        .map_err(|error| Failure::new(error.to_string()).hint("`coil runtime build` makes runtimes"))?;
    let manifest = bundle.manifest();
    let layer = manifest.layers[0].clone();
    let place = BlobPlace { file: path.to_owned(), offset: bundle.layer_offset(&layer) };
    let runtime = Runtime::new(manifest.platform.clone(), manifest.python.clone(), layer);
    Ok((Runtime { kept: rebase::kept(manifest)?, ..runtime }, place))
}

fn of_file(path: &Path) -> Result<(Runtime, BlobPlace)> {
    let unusable = |why: &str| {
        Failure::new(format!("{} cannot be used as a runtime: {why}", path.display()))
            .hint("`coil runtime build PYTHON -o FILE` makes one; a bundle will do as well")
    };
    let unreadable = |error: io::Error| unusable("it cannot be read as one").because(error);
    let mut file = File::open(path).context(|| format!("cannot open {}", path.display()))?;
    let next = |file: &mut File, wanted: &str| match Entry::read(file).map_err(unreadable)? {
        Some(Entry { path, kind: Kind::File { size, .. } }) if &*path == wanted => Ok(size),
        _ => Err(unusable(&format!("it has no {wanted} where that should be"))),
    };
    let size = next(&mut file, FACTS)?;
    if size > MAX_FACTS {
        return Err(unusable("what it says of itself is too long"));
    }
    let mut json = vec![0; size as usize + tar::padding(size)];
    file.read_exact(&mut json).map_err(unreadable)?;
    let runtime: Runtime = serde_json::from_slice(&json[..size as usize])
        .map_err(|error| unusable("what it says of itself cannot be read").because(error))?;
    let size = next(&mut file, LAYER)?;
    let offset = file.stream_position().map_err(unreadable)?;
    if runtime.schema != SCHEMA || runtime.layer.kind != LayerKind::Runtime || runtime.layer.size != size {
        return Err(unusable("what it says of itself does not fit what it holds"));
    }
    Ok((runtime, BlobPlace { file: path.to_owned(), offset }))
}

/// The layer's digest and checksum: nothing is made of a damaged runtime.
fn check(path: &Path, runtime: &Runtime, place: &BlobPlace) -> Result<()> {
    let unreadable = || format!("cannot read {}", path.display());
    let mut file = File::open(&place.file).context(unreadable)?;
    file.seek(io::SeekFrom::Start(place.offset)).context(unreadable)?;
    let mut blob = Summed { file: file.take(runtime.layer.size), sum: Summing::default() };
    let digest = digest_of_reader(&mut blob).context(unreadable)?;
    if (digest, blob.sum.finish()) != (runtime.layer.digest, runtime.layer.checksum) {
        return Err(Failure::new(format!("{} is damaged: its layer has another digest", path.display()))
            .hint("copy it again, or build it again"));
    }
    Ok(())
}

/// Sums up what is read.
struct Summed<R> {
    file: R,
    sum: Summing,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.sum.update(&buffer[..count]);
        Ok(count)
    }
}
