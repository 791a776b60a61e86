//! `coil image`: the layers of a bundle as an OCI image.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::Path;

use coil_bootstrap::bundle::Bundle;
use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::format::image::ImageSettings;

use super::inspect::size;
use crate::bundle;
use crate::cli;
use crate::error::{Context, Failure, Result, Writing};
use crate::image::below::Below;
use crate::image::push::push;
use crate::image::registry::{Pushed, Registry};
use crate::image::shell::Shell;
use crate::image::{
    Around, Compression, Encoded, Format, Reference, Settings, archive, check, created, platform_of, write,
};
use crate::layer::BlobPlace;
use crate::pack::{Parts, pack};
use crate::project::image;
use crate::report::{Loudness, Report};
use crate::store::Store;

/// Makes an image and writes it, or checks one.
pub fn run(options: &cli::Image) -> Result<()> {
    let report = Report::new(options.volume.or(Loudness::Normal));
    if let Some(archive) = &options.check {
        return check_archive(archive, options.since.as_deref(), &report);
    }
    let output = options.output.as_deref().filter(|output| *output != Path::new("-"));
    let target = options.push.as_deref().map(Reference::to_push).transpose()?;
    if target.is_none() {
        output.map_or_else(check_standard_output, check_output)?;
    }
    let settings = settings(&options.start)?;
    let store = super::open_store()?;
    let compression = match options.format {
        Format::Docker => Compression::None,
        Format::Oci => options.compression,
    };
    let parts = parts(options, &store, &report)?;
    let around = parts.iter().map(|parts| around(options, parts, &report)).collect::<Result<Vec<_>>>()?;
    report.doing("making the image");
    let created = created()?;
    let encoded = |(parts, around): (&Parts, &Around)| {
        let image = around.image(&parts.manifest, &parts.blobs, &settings, created.as_deref())?;
        Encoded::new(&image, compression)
    };
    let images = parts.iter().zip(&around).map(encoded).collect::<Result<Vec<_>>>()?;
    if let Some(target) = target {
        let bases: Vec<&Below> = around.iter().filter_map(|around| around.base.as_ref()).collect();
        return push_to(&target, &images, &bases, options.insecure, &report);
    }
    let reference = match &options.tag {
        Some(tag) => Reference::parse(tag)?,
        None => Reference::of_app(&parts[0].manifest.name, parts[0].manifest.version.as_deref()),
    };
    let old = options.since.as_deref();
    let old = old.map_or(Ok(Vec::new()), |old| layers_of(old, &around[0], compression))?;
    let left_out = images.iter().flat_map(|image| in_common(image, &old)).collect();
    report.doing("writing the image");
    let put = |out: &mut dyn Write, cannot: &dyn Fn() -> String| {
        write(&images, &reference, options.format, &left_out, out, cannot)
    };
    let place = match output {
        Some(output) => to_file(output, put)?,
        None => {
            let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
            put(&mut out, &|| "cannot write the image to standard output".to_owned())?;
            "standard output".to_owned()
        }
    };
    report.done(&format!("wrote {place}: {}", summary(&images, &reference, &left_out)));
    Ok(())
}

/// What the images are made of, one for each platform: of bundles, or of a project that is packed.
fn parts(options: &cli::Image, store: &Store, report: &Report) -> Result<Vec<Parts>> {
    let bundles = bundles(&options.project)?;
    if bundles.is_empty() {
        return Ok(vec![pack(&options.project, None, store, report)?]);
    }
    let mut platforms = BTreeMap::new();
    for bundle in &bundles {
        let platform = &bundle.manifest().platform;
        let platform = format!("{}/{}", platform.os, platform.architecture);
        if let Some(other) = platforms.insert(platform.clone(), bundle.path()) {
            let (one, other) = (other.display(), bundle.path().display());
            return Err(Failure::new(format!("{one} and {other} are both for {platform}"))
                .hint("give one bundle for each platform, or make an image of each"));
        }
    }
    Ok(bundles.iter().map(of_bundle).collect())
}

/// What an image has beside this bundle.
fn around(options: &cli::Image, parts: &Parts, report: &Report) -> Result<Around> {
    let platform = platform_of(&parts.manifest);
    // As in a Dockerfile.
    let base = options.base.as_deref().filter(|base| *base != "scratch");
    let base = base.map(|base| Below::open(base, &platform, options.insecure, report)).transpose()?;
    let shell = options.debug.as_ref().map(|named| Shell::find(named.as_deref())).transpose()?;
    Ok(Around { base, shell })
}

/// Brings the images to a registry. What their bases were fetched from there is there.
fn push_to(
    target: &Reference,
    images: &[Encoded],
    bases: &[&Below],
    insecure: bool,
    report: &Report,
) -> Result<()> {
    report.doing(&format!("pushing {}", target.familiar()));
    let registry = Registry::open(target, insecure)?;
    let pushed = Pushed::open(&super::cache_directory()?, target.host());
    for base in bases {
        if let Some((_, repository)) = base.origin.as_ref().filter(|(host, _)| host == target.host()) {
            base.layers.iter().for_each(|layer| pushed.remember(&layer.digest, repository));
        }
    }
    let (digest, moved) = push(images, target, &registry, &pushed, report)?;
    report.done(&format!(
        "pushed {}: {} of {} blobs sent ({}), {} mounted, {} were there; digest {digest}",
        target.familiar(),
        moved.sent.0,
        moved.sent.0 + moved.mounted + moved.there,
        size(moved.sent.1),
        moved.mounted,
        moved.there
    ));
    Ok(())
}

fn summary(images: &[Encoded], reference: &Reference, left_out: &BTreeSet<Digest>) -> String {
    let layers = images.iter().flat_map(|image| &image.layers).map(|layer| &layer.descriptor);
    let (out, there): (Vec<_>, Vec<_>) = layers.partition(|layer| left_out.contains(&layer.digest));
    let count = |count: usize| if count == 1 { "1 layer".to_owned() } else { format!("{count} layers") };
    let total = size(there.iter().map(|layer| layer.size).sum());
    let without = if out.is_empty() { String::new() } else { format!(", {} left out", out.len()) };
    let ids: Vec<String> = images.iter().map(|image| image.config_digest().to_string()).collect();
    format!("{}, {} of {total}{without}, id {}", reference.familiar(), count(there.len()), ids.join(", "))
}

/// Tells what differs in an archive.
fn check_archive(archive: &Path, since: Option<&Path>, report: &Report) -> Result<()> {
    report.doing(&format!("checking {}", archive.display()));
    let elsewhere = since.map_or(Ok(Vec::new()), archive::layers_of)?;
    let checked = check::check(archive, &elsewhere.into_iter().flatten().collect())?;
    if checked.mismatches.is_empty() {
        let ids: Vec<String> = checked.ids.iter().map(ToString::to_string).collect();
        report.done(&format!(
            "{} is what it says: {} layers, id {}",
            archive.display(),
            checked.layers,
            ids.join(", ")
        ));
        return Ok(());
    }
    checked.mismatches.iter().for_each(|what| report.warning(what));
    let count = match checked.mismatches.len() {
        1 => "1 mismatch".to_owned(),
        count => format!("{count} mismatches"),
    };
    Err(Failure::new(format!("{} is not what it says: {count}", archive.display()))
        .hint("copy it again, or make it again with `coil image`"))
}

/// The layers of the images in `old`, an archive, or of the image of `old`, a bundle, each bottom first.
///
/// A bundle's image is one on the same base.
fn layers_of(old: &Path, around: &Around, compression: Compression) -> Result<Vec<Vec<Digest>>> {
    if !is_elf(old) {
        return archive::layers_of(old);
    }
    let parts = of_bundle(&open(old)?);
    let image = around.image(&parts.manifest, &parts.blobs, &Settings::default(), None)?;
    Ok(vec![digests(&Encoded::new(&image, compression)?)])
}

fn digests(image: &Encoded) -> Vec<Digest> {
    image.layers.iter().map(|layer| layer.descriptor.digest).collect()
}

/// The layers that an image has in common with one of the old ones, from the bottom up to the first that differs: Docker
/// knows a layer by all that is below it.
fn in_common(image: &Encoded, old: &[Vec<Digest>]) -> Vec<Digest> {
    let layers = digests(image);
    let common = |old: &Vec<Digest>| old.iter().zip(&layers).take_while(|(old, new)| old == new).count();
    let count = old.iter().map(common).max().unwrap_or(0);
    layers.into_iter().take(count).collect()
}

/// What the user's options say of the image.
fn settings(options: &cli::ImageStart) -> Result<Settings> {
    let words = |option: &str, text: &Option<String>| {
        let place = format!("--{option}");
        text.as_deref().map(image::words).transpose().map_err(|failure| failure.within(&place))
    };
    let pairs = |option: &str, texts: &[String]| {
        let pair = |text: &String| {
            let none = || {
                Failure::new(format!("--{option} {text:?} has no name and value"))
                    .hint(format!("write --{option} NAME=VALUE"))
            };
            let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(none)?;
            image::name(name).map_err(|failure| failure.within(&format!("--{option}")))?;
            Ok((name.to_owned(), value.to_owned()))
        };
        texts.iter().map(pair).collect::<Result<_>>()
    };
    let entrypoint = words("entrypoint", &options.entrypoint)?;
    if entrypoint.as_ref().is_some_and(|words| words.first().is_none_or(String::is_empty)) {
        return Err(Failure::new("--entrypoint names no program").hint("name one, such as /venv/bin/python"));
    }
    Ok(Settings(ImageSettings {
        entrypoint,
        cmd: words("cmd", &options.cmd)?,
        env: pairs("env", &options.env)?,
        labels: pairs("label", &options.label)?,
        ports: options.port.iter().map(|text| image::port(text)).collect::<Result<_>>()?,
        user: options.user.as_deref().map(image::user).transpose()?,
        workdir: options.workdir.as_deref().map(image::directory).transpose()?,
        stop_signal: options.stop_signal.as_deref().map(image::signal).transpose()?,
    }))
}

/// The bundles that are named instead of a project.
fn bundles(project: &cli::Project) -> Result<Vec<Bundle>> {
    let paths = || project.projects.iter().map(Path::new);
    if !paths().all(is_elf) {
        return Ok(Vec::new());
    }
    let packs = !project.requirements.is_empty() || project.entry.is_some() || !project.commands.is_empty();
    let packs = packs || project.app.is_some() || project.venv.is_some();
    if let Some(first) = paths().next()
        && (packs || project.python.is_some() || project.runtime.is_some())
    {
        let message = format!("{} is a bundle, and there is nothing left to pack", first.display());
        return Err(Failure::new(message)
            .hint("leave out the options that say what to pack, or name the project instead of the bundle"));
    }
    paths().map(open).collect()
}

fn open(path: &Path) -> Result<Bundle> {
    let hint = "`coil pack` makes bundles; is this file one?";
    Bundle::open(path).map_err(|error| Failure::new(error.to_string()).hint(hint))
}

fn is_elf(path: &Path) -> bool {
    let mut start = [0; 4];
    let mut read = || File::open(path)?.read_exact(&mut start);
    read().is_ok() && &start == b"\x7fELF"
}

fn of_bundle(bundle: &Bundle) -> Parts {
    let place = |layer| BlobPlace { file: bundle.path().to_owned(), offset: bundle.layer_offset(layer) };
    let blobs = bundle.manifest().layers.iter().map(place).collect();
    Parts { manifest: bundle::Encoded::of(bundle.manifest().clone()), blobs }
}

/// The time that the user states for everything that is made, if he does.
pub(super) fn created() -> Result<Option<String>> {
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().filter(|text| !text.is_empty());
    epoch.as_deref().map(created::rfc3339).transpose()
}

fn check_standard_output() -> Result<()> {
    match io::stdout().is_terminal() {
        false => Ok(()),
        true => Err(Failure::new("an image is nothing for a terminal")
            .hint("write it to a file with -o FILE, or pipe it on: `coil image ... | docker load`")),
    }
}

fn check_output(output: &Path) -> Result<()> {
    let cannot = || format!("cannot write the image to {}", output.display());
    if output.is_dir() {
        return Err(
            Failure::new(format!("{}: it is a directory", cannot())).hint("name a file in it with -o")
        );
    }
    if !directory_of(output).is_dir() {
        let message = format!("{}: there is no directory {}", cannot(), directory_of(output).display());
        return Err(Failure::new(message).hint("create it, or name another file with -o"));
    }
    if output.symlink_metadata().is_ok_and(|there| !there.is_file() || there.len() > 0) && !is_archive(output)
    {
        return Err(Failure::new(format!("{}: what is there is no image", cannot()))
            .hint("remove it, or name another file with -o"));
    }
    Ok(())
}

/// The directory of a file that is named by itself, too.
fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn is_archive(path: &Path) -> bool {
    let mut magic = [0; 5];
    let mut read = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(257))?;
        file.read_exact(&mut magic)
    };
    read().is_ok() && &magic == b"ustar"
}

/// Writes a file that is there whole or not at all.
fn to_file(output: &Path, put: impl Fn(&mut dyn Write, &dyn Fn() -> String) -> Result<()>) -> Result<String> {
    let cannot = || format!("cannot write the image to {}", output.display());
    let directory = directory_of(output);
    let mut builder = tempfile::Builder::new();
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let builder = builder.prefix(".coil-").permissions(permissions);
    let elsewhere = "name a file on another disk with -o";
    let mut file = builder.tempfile_in(directory).writing(directory, elsewhere, cannot)?;
    let mut out = BufWriter::with_capacity(1 << 20, file.as_file_mut());
    put(&mut out, &cannot)?;
    out.into_inner().map_err(|error| error.into_error()).writing(directory, elsewhere, cannot)?;
    let length = file.as_file().metadata().context(cannot)?.len();
    file.persist(output).map_err(|error| error.error).context(cannot)?;
    Ok(format!("{} ({})", output.display(), size(length)))
}
