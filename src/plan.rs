//! The link plan: how an environment is made from layers.
//!
//! Where one layer alone provides a directory, the environment has one symbolic link to it; where
//! several do (`site-packages`, `bin`, a namespace package), it has a real directory with links inside.
//! Two layers that have one path with different contents are refused, by name, unless both only declare
//! a namespace package there.

mod files;
mod merge;
mod namespaces;

use std::collections::{BTreeMap, BTreeSet};

use coil_bootstrap::format::manifest::{Environment, Program};
use coil_bootstrap::format::path::TreePath;
use serde::{Deserialize, Serialize};

pub use self::files::Files;

use self::merge::merge;
use crate::error::Result;
use crate::needs::Needs;
use crate::wheel::namespace::Initial;

/// What a layer holds, as far as a plan has to know.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Listing {
    /// Who provides it, in words a user understands.
    pub origin: String,
    /// Every file and link by its path in the layer, with the checksum of its content.
    pub files: Files,
    /// Those whose first line names the interpreter.
    pub scripts: Vec<TreePath>,
    /// Directories whose libraries look for others outside the layer: never behind a link.
    pub reaching: Vec<TreePath>,
    /// Programs with room for the paths of a runtime. No plan depends on them.
    #[serde(default)]
    pub programs: BTreeMap<TreePath, Program>,
    /// What its ELF files need of other layers. No plan depends on it.
    #[serde(default)]
    pub needs: Needs,
    /// Each `__init__.py` that only declares a namespace, or has nothing but comments in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub initials: BTreeMap<TreePath, Initial>,
}

/// An environment, planned.
#[derive(Debug)]
pub struct Plan {
    /// The environment.
    pub environment: Environment,
    /// What was decided where layers overlap, in sentences.
    pub notes: Vec<String>,
}

/// Directories that the launcher makes itself; what they hold is linked one by one.
const REAL: [&str; 2] = ["bin", "run"];

/// Plans the environment. `layers[0]` is the runtime's place and not looked at; `site_packages` is a
/// directory of the environment.
pub fn plan(layers: &[Listing], site_packages: &str) -> Result<Plan> {
    let mut real = Real::default();
    REAL.into_iter().chain([site_packages]).for_each(|directory| real.add(directory));
    for layer in layers.iter().skip(1) {
        layer.reaching.iter().for_each(|directory| real.add(place(directory)));
        // A script's copy cannot lie behind a link to the layer.
        layer
            .scripts
            .iter()
            .filter_map(|path| place(path).rsplit_once('/'))
            .for_each(|(above, _)| real.add(above));
    }
    merge(layers, &real)
}

/// Where something in a layer belongs in the environment: what a wheel puts below its prefix is there
/// under the same name, and a source tree is in `app`.
fn place(path: &TreePath) -> &str {
    path.below("venv").unwrap_or(path)
}

/// The directories of an environment that are no links, with all above them.
#[derive(Default)]
struct Real<'a>(BTreeSet<&'a str>);

impl<'a> Real<'a> {
    fn add(&mut self, directory: &'a str) {
        let mut rest = directory;
        while self.0.insert(rest) {
            rest = rest.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }
}

#[cfg(test)]
mod tests {
    use coil_bootstrap::format::checksum::Checksum;
    use coil_bootstrap::format::manifest::Source;

    use super::*;

    const SITE: &str = "lib/python3.12/site-packages";

    fn listing(origin: &str, files: &[(&str, &str)], scripts: &[&str]) -> Listing {
        let path = |text: &str| TreePath::new(text.replace("SITE", &format!("venv/{SITE}"))).unwrap();
        let files = files.iter().map(|(name, content)| (path(name), Checksum::of(content.as_bytes())));
        Listing {
            origin: origin.into(),
            files: files.collect(),
            scripts: scripts.iter().map(|name| path(name)).collect(),
            reaching: Vec::new(),
            programs: BTreeMap::new(),
            needs: Needs::default(),
            initials: BTreeMap::new(),
        }
    }

    fn links(Plan { environment, .. }: &Plan) -> Vec<String> {
        let show =
            |(place, source): (&TreePath, &Source)| format!("{place} -> {}:{}", source.layer, source.path);
        environment.links.iter().map(show).map(|line| line.replace(SITE, "SITE")).collect()
    }

    #[test]
    fn a_directory_of_one_layer_is_one_link_and_a_shared_one_is_real() {
        let layers = [
            Listing::default(),
            listing(
                "a",
                &[
                    ("SITE/a/x.py", "1"),
                    ("SITE/a/b/y.py", "2"),
                    ("SITE/ns/a.py", "3"),
                    ("venv/share/man/a.1", "4"),
                ],
                &[],
            ),
            listing("b", &[("SITE/ns/b.py", "5"), ("SITE/six.py", "6"), ("app/manage.py", "7")], &[]),
        ];
        let planned = plan(&layers, SITE).unwrap();
        assert_eq!(
            links(&planned),
            [
                "app -> 2:app",
                "SITE/a -> 1:venv/SITE/a",
                "SITE/ns/a.py -> 1:venv/SITE/ns/a.py",
                "SITE/ns/b.py -> 2:venv/SITE/ns/b.py",
                "SITE/six.py -> 2:venv/SITE/six.py",
                "share -> 1:venv/share",
            ]
        );
    }

    #[test]
    fn a_directory_whose_libraries_look_into_another_layer_is_real_down_to_them() {
        let files = [("SITE/torch/lib/a.so", "1"), ("SITE/torch/lib/b.so", "2"), ("SITE/torch/nn/x.py", "3")];
        let mut torch = listing("torch", &files, &[]);
        torch.reaching = vec![TreePath::new(format!("venv/{SITE}/torch/lib")).unwrap()];
        assert_eq!(
            links(&plan(&[Listing::default(), torch], SITE).unwrap()),
            [
                "SITE/torch/lib/a.so -> 1:venv/SITE/torch/lib/a.so",
                "SITE/torch/lib/b.so -> 1:venv/SITE/torch/lib/b.so",
                "SITE/torch/nn -> 1:venv/SITE/torch/nn",
            ]
        );
    }

    #[test]
    fn scripts_are_listed_apart_and_programs_are_linked() {
        let layers = [
            Listing::default(),
            listing("a", &[("venv/bin/a", "1"), ("venv/bin/native", "2")], &["venv/bin/a"]),
        ];
        let planned = plan(&layers, SITE).unwrap();
        assert_eq!(links(&planned), ["bin/native -> 1:venv/bin/native"]);
        assert_eq!(
            planned.environment.scripts.keys().map(|path| path.as_str()).collect::<Vec<_>>(),
            ["bin/a"]
        );
    }

    #[test]
    fn the_same_file_in_two_wheels_is_one_and_different_ones_name_both() {
        let same = [
            Listing::default(),
            listing("a", &[("SITE/ns/__init__.py", "same")], &[]),
            listing("b", &[("SITE/ns/__init__.py", "same")], &[]),
        ];
        assert_eq!(plan(&same, SITE).unwrap().environment.links.len(), 1);
        let compiled = [
            Listing::default(),
            listing(
                "a",
                &[("SITE/ns/__init__.py", "same"), ("SITE/ns/__pycache__/__init__.x.pyc", "1")],
                &[],
            ),
            listing(
                "b",
                &[("SITE/ns/__init__.py", "same"), ("SITE/ns/__pycache__/__init__.x.pyc", "2")],
                &[],
            ),
        ];
        assert!(plan(&compiled, SITE).is_ok());
        let different = [
            Listing::default(),
            listing("a-1.whl", &[("SITE/x.py", "1")], &[]),
            listing("b-2.whl", &[("SITE/x.py", "2")], &[]),
        ];
        let message = plan(&different, SITE).unwrap_err().to_string();
        assert_eq!(message, format!("a-1.whl and b-2.whl both install {SITE}/x.py, with different content"));
        let file_and_directory = [
            Listing::default(),
            listing("a", &[("SITE/x", "1")], &[]),
            listing("b", &[("SITE/x/y", "2")], &[]),
        ];
        assert!(plan(&file_and_directory, SITE).is_err());
    }

    #[test]
    fn a_listing_that_names_no_path_is_an_error_and_no_link() {
        let digits = files::digits(&Checksum::of(b""));
        let text = format!("\"12 {digits} venv/bin/..x;\"");
        let mut layer = Listing { files: serde_json::from_str(&text).unwrap(), ..Listing::default() };
        assert!(plan(&[Listing::default(), layer.clone()], SITE).is_ok());
        layer.files = serde_json::from_str(&text.replace("12 ", "11 ").replace("..x", "..")).unwrap();
        let message = plan(&[Listing::default(), layer], SITE).unwrap_err().to_string();
        assert_eq!(message, "a listing in the cache is damaged");
    }

    #[test]
    fn of_two_declarations_of_a_namespace_one_is_taken_whatever_the_order() {
        let part = |origin: &str, content: &str, initial: Option<Initial>| {
            let mut part = listing(
                origin,
                &[
                    ("SITE/ns/__init__.py", content),
                    ("SITE/ns/__pycache__/__init__.x.pyc", content),
                    (&format!("SITE/ns/{origin}.py"), ""),
                ],
                &[],
            );
            let path = TreePath::new(format!("venv/{SITE}/ns/__init__.py")).unwrap();
            part.initials.extend(initial.map(|initial| (path, initial)));
            part
        };
        let taken = |one: &Listing, two: &Listing| {
            let layers = [Listing::default(), one.clone(), two.clone()];
            let Plan { environment, notes } = plan(&layers, SITE).unwrap();
            let layer = |name: &str| {
                let place = TreePath::new(format!("{SITE}/ns/{name}")).unwrap();
                let link = environment.links.get(&place);
                let link = link.unwrap_or_else(|| &environment.links[&place.parent().unwrap()]);
                layers[link.layer].origin.clone()
            };
            assert_eq!(layer("__init__.py"), layer("__pycache__/__init__.x.pyc"));
            assert_eq!(notes.len(), 1, "{notes:?}");
            assert!(notes[0].starts_with(&format!("{SITE}/ns/__init__.py of {} is", layer("__init__.py"))));
            layer("__init__.py")
        };
        let one = part("one", "declares", Some(Initial::Namespace));
        let two = part("two", "declares otherwise", Some(Initial::Namespace));
        let blank = part("blank", "# a comment", Some(Initial::Blank));
        let empty = part("empty", "", None);
        assert_eq!(taken(&one, &two), taken(&two, &one));
        for worse in [&blank, &empty] {
            assert_eq!((taken(&one, worse), taken(worse, &one)), ("one".into(), "one".into()));
        }
        assert_eq!(taken(&blank, &empty), taken(&empty, &blank));
        let ordinary = part("ordinary", "x = 1", None);
        for other in [&one, &blank, &empty] {
            assert!(plan(&[Listing::default(), other.clone(), ordinary.clone()], SITE).is_err());
            assert!(plan(&[Listing::default(), ordinary.clone(), other.clone()], SITE).is_err());
        }
    }
}
