//! From what is needed to a lock and wheels, with the resolvers of this machine and without a network:
//! the wheels are made here, and the index is a directory.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use coil::error::{Failure, Result};
use coil::find_python;
use coil::interpreter::Interpreter;
use coil::lock::Lock;
use coil::probes::Probes;
use coil::project::requirement::Requirement;
use coil::project::{Build, Project, Words};
use coil::report::{Loudness, Report};
use coil::resolve::build::{Workshop, build_wheel};
use coil::resolve::pin::FetchedWheel;
use coil::resolve::shelf::Shelf;
use coil::resolve::{Built, Options, Request, Resolver, decide, fetch, lock_of};
use coil_bootstrap::format::digest::Digest;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A build backend in the tree: it needs nothing, and packs `code.py` with what `metadata` says.
const BACKEND: &str = r#"
import os, zipfile
def build_wheel(directory, config=None, metadata=None):
    print("noise on standard output")
    name = "tool-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.write("code.py", "tool.py")
        wheel.write("metadata", "tool-1.0.dist-info/METADATA")
        wheel.writestr("tool-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tool-1.0.dist-info/RECORD", "")
    return name
"#;

/// A directory with wheels, and somewhere to work.
struct Kit {
    directory: tempfile::TempDir,
    interpreter: Interpreter,
}

impl Kit {
    fn new() -> Kit {
        let directory = tempfile::tempdir().unwrap();
        for name in ["links", "project/backend", "cache", "scratch"] {
            std::fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        let report = Report::new(Loudness::Quiet);
        let interpreter = find_python::find(None, Probes::forgotten(), &report).unwrap();
        Kit { directory, interpreter }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A pure wheel in the directory that stands for an index; the digest is that of the file.
    fn wheel(&self, file: &str, more: &str) -> Digest {
        let mut parts = file.split('-');
        let (name, version) = (parts.next().unwrap(), parts.next().unwrap());
        let path = self.path("links").join(file);
        let mut archive = ZipWriter::new(File::create(&path).unwrap());
        let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}");
        let wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
        for (place, text) in [("METADATA", metadata.as_str()), ("WHEEL", wheel), ("RECORD", "")] {
            let place = format!("{name}-{version}.dist-info/{place}");
            archive.start_file(place, SimpleFileOptions::default()).unwrap();
            archive.write_all(text.as_bytes()).unwrap();
        }
        archive.finish().unwrap();
        Digest::of(&std::fs::read(path).unwrap())
    }

    /// A source tree with its own backend.
    fn project(&self, requires: &str) -> Build {
        let write = |name: &str, text: &str| std::fs::write(self.path("project").join(name), text).unwrap();
        let system = "[build-system]\nrequires = []\nbuild-backend = \"own\"\nbackend-path = [\"backend\"]\n";
        write("pyproject.toml", system);
        write("backend/own.py", BACKEND);
        write("code.py", "print(1)\n");
        write(
            "metadata",
            &format!("Metadata-Version: 2.1\nName: tool\nVersion: 1.0\n{requires}\nWhat it is.\n"),
        );
        Build { directory: self.path("project"), extras: Vec::new(), date: None }
    }

    fn build(&self, build: &Build) -> Result<Built> {
        let (options, cache, scratch) = (self.options(None), self.path("cache"), self.path("scratch"));
        let interpreter = &self.interpreter;
        let report = Report::new(Loudness::Quiet);
        let workshop = Workshop {
            interpreter,
            options: &options,
            cache: &cache,
            scratch: &scratch,
            refresh: false,
            report: &report,
        };
        build_wheel(build, &workshop)
    }

    fn options(&self, resolver: Option<Resolver>) -> Options {
        let find_links = vec![self.path("links").to_str().unwrap().to_owned()];
        Options { resolver, no_index: true, find_links, ..Options::default() }
    }

    fn request(&self, resolver: Resolver, requirements: &[&str]) -> Request {
        let requirements =
            requirements.iter().map(|text| Requirement::parse(text, "a test").unwrap()).collect();
        Request { requirements, options: self.options(Some(resolver)), ..Request::default() }
    }

    fn resolve(&self, request: &Request) -> Result<Resolution> {
        let scratch = tempfile::tempdir_in(self.path("scratch")).unwrap().keep();
        let cache = self.path("cache");
        let (interpreter, options) = (&self.interpreter, &request.options);
        let report = Report::new(Loudness::Quiet);
        let (cache, scratch, report) = (&cache, &scratch, &report);
        let workshop = Workshop { interpreter, options, cache, scratch, refresh: false, report };
        let pins = decide(request, &self.interpreter, scratch)?.pins;
        let wheels = fetch(&pins, request, &workshop, &Bare)?;
        let lock = lock_of(&pins, &wheels, &self.interpreter);
        Ok(Resolution { lock, wheels: wheels.into_iter().map(|wheel| wheel.path).collect() })
    }
}

/// What a request comes to.
#[derive(Debug)]
struct Resolution {
    lock: Lock,
    /// A wheel for each of the lock's packages, in its order.
    wheels: Vec<PathBuf>,
}

/// A shelf with nothing on it.
struct Bare;

impl Shelf for Bare {
    fn wheel(&self, _: &Digest, _: &str) -> Option<FetchedWheel> {
        None
    }

    fn made_of(&self, _: &str) -> Option<FetchedWheel> {
        None
    }

    fn keep(&self, wheel: &Path, _: Option<&str>) -> Result<FetchedWheel> {
        let bytes = std::fs::read(wheel).unwrap();
        Ok(FetchedWheel { path: wheel.to_owned(), sha256: Digest::of(&bytes), size: bytes.len() as u64 })
    }
}

/// The resolvers of this machine: pip always, uv where it is installed.
fn resolvers() -> Vec<Resolver> {
    let uv = std::process::Command::new("uv").arg("--version").output();
    let has_uv = uv.is_ok_and(|output| output.status.success());
    [Resolver::Pip].into_iter().chain(has_uv.then_some(Resolver::Uv)).collect()
}

fn file_name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn cause(failure: &Failure) -> String {
    std::error::Error::source(failure).map(ToString::to_string).unwrap_or_default()
}

#[test]
fn every_resolver_comes_to_the_same_lock() {
    let kit = Kit::new();
    kit.wheel("lib_a-1.0-py3-none-any.whl", "");
    let digest = kit.wheel("lib_a-2.0-py3-none-any.whl", "");
    let needs = "Requires-Dist: Lib.A>=1\nProvides-Extra: x\nRequires-Dist: extra; extra == \"x\"\n";
    kit.wheel("app-1.0-py3-none-any.whl", needs);
    kit.wheel("extra-1.0-py3-none-any.whl", "");
    for resolver in resolvers() {
        let resolution = kit.resolve(&kit.request(resolver, &["app[x]"])).unwrap();
        let names: Vec<&str> = resolution.lock.packages.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["app", "extra", "lib-a"], "{resolver:?}");
        let files: Vec<&str> = resolution.wheels.iter().map(|path| file_name(path)).collect();
        assert_eq!(files[2], "lib_a-2.0-py3-none-any.whl");
        let wheel = &resolution.lock.packages[2].wheels[0];
        assert_eq!((wheel.path.as_deref(), wheel.hashes.sha256), (Some(files[2]), Some(digest)));
        let text = resolution.lock.to_toml();
        assert!(!text.contains(kit.directory.path().to_str().unwrap()), "{text}");
    }
}

#[test]
fn what_cannot_be_resolved_is_told_in_the_words_of_the_resolver() {
    let kit = Kit::new();
    kit.wheel("app-1.0-py3-none-any.whl", "Requires-Dist: missing\n");
    for resolver in resolvers() {
        let failure = kit.resolve(&kit.request(resolver, &["app"])).unwrap_err();
        assert_eq!(failure.to_string(), "the requirements cannot be resolved");
        assert!(cause(&failure).contains("missing"), "{}", cause(&failure));
        assert!(failure.advice().unwrap().starts_with("check the name"), "{:?}", failure.advice());
    }
}

#[test]
fn hashes_in_a_file_of_requirements_are_obeyed() {
    let kit = Kit::new();
    let digest = kit.wheel("app-1.0-py3-none-any.whl", "");
    kit.wheel("other-1.0-py3-none-any.whl", "");
    let file = kit.path("requirements.txt");
    for resolver in resolvers() {
        let mut request = kit.request(resolver, &[]);
        request.requirement_files = vec![file.clone()];
        let with = |text: &str| {
            std::fs::write(&file, text).unwrap();
            kit.resolve(&request)
        };
        assert!(with(&format!("app==1.0 --hash=sha256:{}\n", digest.hex())).is_ok());
        let wrong = Digest::of(b"something else").hex();
        let failure = with(&format!("app==1.0 --hash=sha256:{wrong}\n")).unwrap_err();
        assert!(failure.advice().unwrap().contains("hashes anew"), "{resolver:?}: {failure}");
        let failure = with(&format!("app==1.0 --hash=sha256:{}\nother==1.0\n", digest.hex())).unwrap_err();
        assert!(failure.advice().unwrap().starts_with("add the hashes"), "{resolver:?}: {failure}");
    }
}

#[test]
fn a_project_is_built_and_what_it_needs_is_resolved() {
    let kit = Kit::new();
    kit.wheel("lib-1.0-py3-none-any.whl", "");
    let built = kit.build(&kit.project("Requires-Dist: lib\n")).unwrap();
    assert_eq!((built.name.as_str(), built.version.as_str()), ("tool", "1.0"));
    for resolver in resolvers() {
        let mut request = kit.request(resolver, &[]);
        request.built = vec![built.clone()];
        let resolution = kit.resolve(&request).unwrap();
        let tool = &resolution.lock.packages[1];
        assert_eq!(tool.directory.as_ref().unwrap().path, ".");
        assert_eq!(resolution.wheels[1], built.wheel, "the wheel itself, not what stood in for it");
    }
}

#[test]
fn a_changed_line_of_code_needs_no_new_resolution_and_changed_metadata_does() {
    let kit = Kit::new();
    let key = |built: Built| {
        let request = Request { built: vec![built], ..kit.request(Resolver::Pip, &[]) };
        request.key(&kit.interpreter).unwrap()
    };
    let build = kit.project("");
    let first = kit.build(&build).unwrap();
    std::fs::write(kit.path("project/code.py"), "print(2)\n").unwrap();
    let second = kit.build(&build).unwrap();
    assert_ne!(std::fs::read(&first.wheel).unwrap(), std::fs::read(&second.wheel).unwrap());
    assert_eq!(key(first.clone()), key(second));
    let third = kit.build(&kit.project("Requires-Dist: lib\n")).unwrap();
    assert_ne!(key(first), key(third));
}

#[test]
fn a_build_leaves_nothing_in_the_source_tree_and_its_failure_says_why() {
    let kit = Kit::new();
    let build = kit.project("");
    let listing = || {
        let names =
            |below: &str| std::fs::read_dir(kit.path(below)).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<PathBuf> = names("project").chain(names("project/backend")).collect();
        all.sort();
        all
    };
    let before = listing();
    kit.build(&build).unwrap();
    assert_eq!(listing(), before);
    std::fs::write(kit.path("project/backend/own.py"), "raise SystemExit('no compiler here')\n").unwrap();
    let failure = kit.build(&build).unwrap_err();
    assert!(failure.to_string().starts_with("no wheel can be built of "), "{failure}");
    assert_eq!(cause(&failure), "no compiler here");
}

#[test]
fn a_project_on_the_command_line_reaches_the_resolver() {
    let kit = Kit::new();
    kit.project("");
    let project = kit.path("project").to_str().unwrap().to_owned();
    let project = Project::read(&Words { projects: vec![project], ..Words::default() }).unwrap();
    assert_eq!(kit.build(&project.builds[0]).unwrap().name, "tool");
    let empty = kit.resolve(&Request::default()).unwrap();
    assert!(empty.lock.packages.is_empty() && empty.wheels.is_empty());
}
