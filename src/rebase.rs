//! Another runtime under the same app: the manifest of a bundle whose first layer was exchanged.
//!
//! Everything else of the bundle stays as it is, byte for byte: the wheels' byte code is valid for every
//! CPython of the same X.Y, their extension modules for the same ABI. That this is so is checked here.

use std::collections::BTreeSet;

use coil_bootstrap::format::manifest::{CLibraryRule, Layer, Manifest, Python};

use crate::bundle::align;
use crate::error::{Failure, Result};
use crate::needs::{Layer as NeedyLayer, Missing, Needs, Pattern, TooNew, World};
use crate::runtime::{Keep, Kept};
use crate::runtime_file::Runtime;

/// What the layers of a rebased bundle need, with their names, the runtime's first.
pub type AllNeeds = Vec<(String, Needs)>;

/// The manifest of `bundle` with `runtime` in place of its own, which lacks the libraries `lost` that the old one
/// carried. Only for such a runtime, and for one with an older C library, are the files in all layers looked into:
/// that is what `read` is for.
///
/// Fails, naming what does not agree, where the app could not run on it.
pub fn with_runtime(
    bundle: &Manifest,
    runtime: &Runtime,
    lost: &BTreeSet<String>,
    read: impl FnOnce() -> Result<AllNeeds>,
) -> Result<Manifest> {
    let (old, new) = (&bundle.python, &runtime.python);
    let architectures = (&bundle.platform.architecture, &runtime.platform.architecture);
    let facts = [
        ("is for", architectures.0, architectures.1),
        ("needs the implementation", &old.implementation, &new.implementation),
        ("needs Python", &series(old), &series(new)),
        ("needs the ABI", &old.abi, &new.abi),
        ("has byte code with the magic number", &old.magic, &new.magic),
        ("has modules in", &old.site_packages.to_string(), &new.site_packages.to_string()),
    ];
    for (what, wanted, there) in facts {
        if wanted != there {
            let message =
                format!("{} cannot run on this runtime: it {what} {wanted}, not {there}", bundle.name);
            return Err(Failure::new(message).hint(format!(
                "take a runtime of CPython {}, or pack the project again with the new one",
                series(old)
            )));
        }
    }
    if is_older(new, old) || !lost.is_empty() {
        let needs = read()?;
        check_needs(bundle, &needs)?;
        check_libraries(bundle, &needs, lost)?;
    }
    check_kept(bundle, runtime)?;
    let mut rebased = bundle.clone();
    rebased.python = new.clone();
    if let Some(recipe) = &mut rebased.recipe {
        recipe.keep = runtime.kept.words();
    }
    let own = Layer { offset: 0, ..runtime.layer.clone() };
    let mut end = 0;
    for (index, layer) in rebased.layers.iter_mut().enumerate() {
        if index == 0 {
            *layer = own.clone();
        }
        layer.offset = align(end);
        end = layer.offset + layer.size;
    }
    Ok(rebased)
}

/// Whether a runtime may lack symbols that another one has, of libc or of libstdc++.
fn is_older(new: &Python, old: &Python) -> bool {
    let version = |text: &str| -> Option<Vec<u32>> {
        text.trim_start_matches("glibc-").split('.').map(|number| number.parse().ok()).collect()
    };
    let as_new = |new: Option<&str>, old: Option<&str>| match (new.and_then(version), old.and_then(version)) {
        (Some(new), Some(old)) => new >= old,
        (_, old) => old.is_none(),
    };
    !as_new(Some(&new.libc), Some(&old.libc)) || !as_new(new.libstdcxx.as_deref(), old.libstdcxx.as_deref())
}

/// Extension modules may need symbols of the libc that was there when they were chosen; an older one may
/// not have them.
fn check_needs(bundle: &Manifest, needs: &AllNeeds) -> Result<()> {
    let layers: Vec<NeedyLayer> = needs.iter().map(|(origin, needs)| NeedyLayer { origin, needs }).collect();
    let of_host = |new: &TooNew| bundle.c_library == CLibraryRule::Host && new.wanted.what.family == "GLIBC";
    let too_new = World::new(&layers).too_new();
    let Some(new) = too_new.iter().find(|new| new.wanted.essential && !of_host(new)) else { return Ok(()) };
    let TooNew { origin, wanted, carried } = new;
    let carried = carried.as_ref().map_or("none".to_owned(), ToString::to_string);
    let message = format!(
        "{} cannot run on this runtime: {} of {origin} needs {} of {}, and the runtime carries {carried}",
        bundle.name,
        wanted.file,
        wanted.what,
        wanted.what.library()
    );
    Err(Failure::new(message).hint("take a runtime that was made on a newer system"))
}

/// A wheel may need a library that it found in the old runtime, and so did not bring.
fn check_libraries(bundle: &Manifest, needs: &AllNeeds, lost: &BTreeSet<String>) -> Result<()> {
    let layers: Vec<NeedyLayer> = needs.iter().map(|(origin, needs)| NeedyLayer { origin, needs }).collect();
    let hosts = Pattern::all(bundle.recipe.iter().flat_map(|recipe| &recipe.host_libraries));
    let of_host = |library: &str| hosts.iter().any(|pattern| pattern.matches(library));
    let missing = World::new(&layers).missing();
    let Some(missing) = missing.iter().find(|it| lost.contains(it.library) && !of_host(it.library)) else {
        return Ok(());
    };
    let Missing { origin, file, library, .. } = missing;
    let message = format!(
        "{} cannot run on this runtime: {file} of {origin} needs {library}, which only the old runtime carries",
        bundle.name
    );
    Err(Failure::new(message).hint(format!(
        "take a runtime that carries it, or pack the project again with the new one and \
         `--bring-library {library}`"
    )))
}

/// What was kept of the Python in a bundle that is left out otherwise.
pub fn kept(bundle: &Manifest) -> Result<Kept> {
    Kept::parse(bundle.recipe.iter().flat_map(|recipe| &recipe.keep))
}

/// What an app was packed with it may need, and what it was packed without is not to come back.
fn check_kept(bundle: &Manifest, runtime: &Runtime) -> Result<()> {
    let (kept, sources) = (kept(bundle)?, Keep::Sourceless);
    let missing = kept.less(runtime.kept).less(Kept::of(sources));
    let why = match (kept.has(sources), runtime.kept.has(sources)) {
        _ if !missing.is_empty() => format!("it was packed with what this one lacks: {missing}"),
        (false, true) => "it was packed with the standard library's sources, which this one lacks".to_owned(),
        (true, false) => {
            "it was packed without the standard library's sources, which this one has".to_owned()
        }
        _ => return Ok(()),
    };
    let words = kept.words().join(",");
    let keep = if words.is_empty() { String::new() } else { format!(" --keep {words}") };
    Err(Failure::new(format!("{} cannot run on this runtime: {why}", bundle.name))
        .hint(format!("build one with `coil runtime build{keep}`")))
}

/// `3.12`
fn series(python: &Python) -> String {
    python.version.split('.').take(2).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use coil_bootstrap::format::checksum::Checksum;
    use coil_bootstrap::format::digest::Digest;
    use coil_bootstrap::format::manifest::{
        CLibraryRule, Environment, LAYER_MEDIA_TYPE, LayerKind, Platform, SCHEMA, Slot,
    };
    use coil_bootstrap::format::path::TreePath;

    use super::*;
    use crate::needs::{SymbolVersion, Want, Wanted};

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    fn layer(kind: LayerKind, size: u64, offset: u64) -> Layer {
        Layer {
            kind,
            name: "x".into(),
            version: None,
            media_type: LAYER_MEDIA_TYPE.into(),
            digest: Digest::of(&size.to_le_bytes()),
            checksum: Checksum::of(&size.to_le_bytes()),
            size,
            diff_id: Digest::of(b"tar"),
            unpacked_size: 1000,
            offset,
            programs: BTreeMap::new(),
            apart: BTreeMap::new(),
        }
    }

    fn runtime() -> Runtime {
        let python = Python {
            implementation: "cpython".into(),
            version: "3.12.1".into(),
            abi: "cp312".into(),
            magic: "cb0d0d0a".into(),
            libc: "glibc-2.36".into(),
            libstdcxx: None,
            executable: path("python/bin/python3.12"),
            loader: path("python/libc/ld-linux-x86-64.so.2"),
            search_path: ["python/lib", "python/libgcc", "python/libc"].map(path),
            loader_slot: Slot { offset: 64, size: 4096 },
            search_path_slot: Slot { offset: 8192, size: 4096 },
            site_packages: path("lib/python3.12/site-packages"),
        };
        let platform = Platform { os: "linux".into(), architecture: "amd64".into() };
        Runtime::new(platform, python, layer(LayerKind::Runtime, 5000, 0))
    }

    pub(crate) fn bundle() -> Manifest {
        let Runtime { platform, python, layer: first, .. } = runtime();
        Manifest {
            schema: SCHEMA,
            name: "app".into(),
            version: None,
            platform,
            python,
            layers: vec![first, layer(LayerKind::App, 100, 8192)],
            commands: BTreeMap::new(),
            default: None,
            c_library: CLibraryRule::Auto,
            environment: Environment::default(),
            image: Default::default(),
            production: Default::default(),
            lock: None,
            source: None,
            recipe: None,
        }
    }

    fn none() -> BTreeSet<String> {
        BTreeSet::new()
    }

    fn unread() -> Result<AllNeeds> {
        panic!("nothing has to be read for a runtime that is as new")
    }

    #[test]
    fn a_runtime_with_an_older_libc_fits_what_needs_no_newer_one() {
        let version = |text: &str| SymbolVersion::parse(text).unwrap();
        let needs = |text: &str| {
            let mut carried = Needs::default();
            carried.defines.add(version("GLIBC_2.31"));
            let wanted = Wanted { what: version(text), file: path("venv/lib/x.so"), essential: true };
            let layer = Needs { versions: vec![wanted], ..Needs::default() };
            Ok(vec![("cpython".to_owned(), carried), ("x 1.0".to_owned(), layer)])
        };
        let mut new = runtime();
        new.python.libc = "glibc-2.31".into();
        assert!(with_runtime(&bundle(), &new, &none(), || needs("GLIBC_2.31")).is_ok());
        let failure = with_runtime(&bundle(), &new, &none(), || needs("GLIBC_2.34")).unwrap_err();
        let told = "venv/lib/x.so of x 1.0 needs GLIBC_2.34 of libc.so.6, and the runtime carries GLIBC_2.31";
        assert!(failure.to_string().ends_with(told), "{failure}");
        let of_host = Manifest { c_library: CLibraryRule::Host, ..bundle() };
        assert!(with_runtime(&of_host, &new, &none(), || needs("GLIBC_2.34")).is_ok());
    }

    #[test]
    fn a_library_that_only_the_old_runtime_carried_and_a_wheel_needs_is_named() {
        let lost = BTreeSet::from(["libxml2.so.2".to_owned(), "libz.so.1".to_owned()]);
        let (file, names) = (path("venv/lib/x.so"), BTreeSet::new());
        let want = Want { library: "libxml2.so.2".into(), file, essential: false, names };
        let wheel = Needs { wants: vec![want], ..Needs::default() };
        let brought = Needs { provides: lost.clone(), ..Needs::default() };
        let layers = |others: &[&Needs]| {
            let layers = [Needs::default()].into_iter().chain(others.iter().copied().cloned());
            Ok(layers.map(|needs| ("x 1.0".to_owned(), needs)).collect::<AllNeeds>())
        };
        let failure = with_runtime(&bundle(), &runtime(), &lost, || layers(&[&wheel])).unwrap_err();
        let told = "venv/lib/x.so of x 1.0 needs libxml2.so.2, which only the old runtime carries";
        assert!(failure.to_string().ends_with(told), "{failure}");
        assert!(failure.advice().unwrap().contains("--bring-library libxml2.so.2"));
        assert!(with_runtime(&bundle(), &runtime(), &lost, || layers(&[])).is_ok());
        assert!(with_runtime(&bundle(), &runtime(), &lost, || layers(&[&wheel, &brought])).is_ok());
        let other = BTreeSet::from(["libz.so.1".to_owned()]);
        assert!(with_runtime(&bundle(), &runtime(), &other, || layers(&[&wheel])).is_ok());
        let host_libraries = vec!["libxml*".to_owned()];
        let recipe = Some(coil_bootstrap::format::recipe::Recipe { host_libraries, ..Default::default() });
        let of_host = Manifest { recipe, ..bundle() };
        assert!(with_runtime(&of_host, &runtime(), &lost, || layers(&[&wheel])).is_ok());
    }

    #[test]
    fn a_longer_runtime_moves_the_other_layers_and_changes_nothing_else_of_them() {
        let mut new = runtime();
        new.layer.size = 9000;
        new.python.version = "3.12.9".into();
        let rebased = with_runtime(&bundle(), &new, &none(), unread).unwrap();
        assert_eq!((rebased.layers[0].offset, rebased.layers[1].offset), (0, 12288));
        assert_eq!(Layer { offset: 8192, ..rebased.layers[1].clone() }, bundle().layers[1]);
        assert!(Manifest::parse(&rebased.encode(), 12388).is_ok());
        assert_eq!(with_runtime(&rebased, &runtime(), &none(), unread).unwrap(), bundle());
    }

    #[test]
    fn a_runtime_that_does_not_fit_is_refused_saying_in_what() {
        type Change = fn(&mut Runtime);
        let changes: [(Change, &str); 6] = [
            (|new| new.platform.architecture = "arm64".into(), "is for amd64, not arm64"),
            (|new| new.python.implementation = "pypy".into(), "implementation cpython, not pypy"),
            (|new| new.python.version = "3.13.0".into(), "needs Python 3.12, not 3.13"),
            (|new| new.python.abi = "cp312d".into(), "ABI cp312, not cp312d"),
            (|new| new.python.magic = "00000d0a".into(), "number cb0d0d0a, not 00000d0a"),
            (|new| new.python.site_packages = path("lib64/x"), "not lib64/x"),
        ];
        for (change, reason) in changes {
            let mut new = runtime();
            change(&mut new);
            let failure = with_runtime(&bundle(), &new, &none(), unread).unwrap_err();
            assert!(failure.to_string().contains(reason), "{failure}");
            assert!(failure.advice().is_some());
        }
        let mut newer = runtime();
        newer.python.libc = "glibc-2.100".into();
        assert!(with_runtime(&bundle(), &newer, &none(), unread).is_ok());
    }

    #[test]
    fn what_an_app_was_packed_with_stays_or_is_named() {
        let recipe = |keep: &[&str]| {
            let keep = keep.iter().map(|word| (*word).to_owned()).collect();
            Some(coil_bootstrap::format::recipe::Recipe { keep, ..Default::default() })
        };
        let mut bundle = bundle();
        bundle.recipe = recipe(&["tests", "tkinter"]);
        let kept = |words: &[&str]| Runtime { kept: Kept::parse(words).unwrap(), ..runtime() };
        let failure = with_runtime(&bundle, &kept(&["tests"]), &none(), unread).unwrap_err();
        assert!(
            failure.to_string().ends_with("it was packed with what this one lacks: tkinter"),
            "{failure}"
        );
        let more = with_runtime(&bundle, &kept(&["headers", "tests", "tkinter"]), &none(), unread).unwrap();
        assert_eq!(more.recipe, recipe(&["headers", "tests", "tkinter"]));
        // Sources neither go nor come back.
        bundle.recipe = recipe(&["sourceless"]);
        let failure = with_runtime(&bundle, &kept(&[]), &none(), unread).unwrap_err();
        assert!(failure.to_string().ends_with("without the standard library's sources, which this one has"));
        assert_eq!(failure.advice(), Some("build one with `coil runtime build --keep sourceless`"));
        assert!(with_runtime(&bundle, &kept(&["sourceless"]), &none(), unread).is_ok());
        bundle.recipe = recipe(&[]);
        let failure = with_runtime(&bundle, &kept(&["sourceless"]), &none(), unread).unwrap_err();
        assert!(failure.to_string().ends_with("with the standard library's sources, which this one lacks"));
        assert_eq!(failure.advice(), Some("build one with `coil runtime build`"));
    }
}
