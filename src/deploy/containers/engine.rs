//! What a container engine on a host says of itself: which one it is, and which images and layers it has.

use std::collections::BTreeSet;

use clap::ValueEnum;
use coil_bootstrap::format::digest::Digest;
use coil_bootstrap::receive::offer::is_release;

/// How many releases of an app a host keeps, beside the current one and the one before.
const KEPT: usize = 5;

/// The first version of Docker that reads layers compressed by zstd.
const DOCKER_WITH_ZSTD: u32 = 23;

/// The line that says which engine it is.
pub const ENGINE: &str = "coil-engine ";
/// A line for each image.
pub const IMAGE: &str = "coil-image ";
/// A line for each change that was noted.
pub const NOTED: &str = "coil-noted ";
/// The last line.
pub const END: &str = "coil-end";

/// A program that runs containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
}

impl Kind {
    /// Its command.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Docker => "docker",
            Kind::Podman => "podman",
        }
    }
}

/// How an engine takes images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// Docker's own: a layer is known by all that is below it. Before version 23 it reads no zstd.
    Docker {
        /// Whether it does.
        zstd: bool,
    },
    /// Those that know a layer by itself: podman's, and containerd's below Docker.
    ByDigest,
}

/// An engine and what it has.
#[derive(Debug)]
pub struct Engine {
    /// Which one it is.
    pub kind: Kind,
    /// How it takes images.
    pub store: Store,
    /// `linux/amd64`
    pub platform: String,
    /// The name that the app's images have there, without a tag.
    pub repository: String,
    images: Vec<Image>,
    noted: Vec<String>,
}

#[derive(Debug)]
struct Image {
    id: String,
    tags: Vec<String>,
    layers: Vec<Digest>,
}

impl Engine {
    /// Reads what a host said; `None` where it broke off or makes no sense.
    pub fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Option<Engine> {
        let (mut engine, mut ended) = (None, false);
        for line in lines {
            if let Some(said) = line.strip_prefix(ENGINE) {
                engine = Some(Engine::new(said)?);
            } else if let (Some(said), Some(engine)) = (line.strip_prefix(IMAGE), &mut engine) {
                // An engine may have images that are no images: of Windows, or half removed.
                engine.images.extend(Image::read(said));
            } else if let (Some(said), Some(engine)) = (line.strip_prefix(NOTED), &mut engine) {
                engine.noted.push(said.to_owned());
            } else if line == END {
                ended = true;
            }
        }
        engine.filter(|_| ended)
    }

    /// Of `docker 20.10.24 linux/amd64 own site`.
    fn new(said: &str) -> Option<Engine> {
        let words: Vec<&str> = said.split_whitespace().collect();
        let [kind, version, platform, store, repository] = words[..] else { return None };
        let kind = Kind::from_str(kind, false).ok()?;
        let major = version.split('.').next().and_then(|number| number.parse::<u32>().ok());
        let store = match (kind, store) {
            (Kind::Docker, "own") => Store::Docker { zstd: major.is_some_and(|it| it >= DOCKER_WITH_ZSTD) },
            _ => Store::ByDigest,
        };
        let (platform, repository) = (platform.to_owned(), repository.to_owned());
        Some(Engine { kind, store, platform, repository, images: Vec::new(), noted: Vec::new() })
    }

    /// Which layers of an image it lacks, bottom first: their numbers.
    pub fn lacks(&self, diff_ids: &[Digest]) -> Vec<usize> {
        match self.store {
            Store::Docker { .. } => {
                let shared = |image: &Image| {
                    image.layers.iter().zip(diff_ids).take_while(|(there, new)| there == new).count()
                };
                (self.images.iter().map(shared).max().unwrap_or(0)..diff_ids.len()).collect()
            }
            Store::ByDigest => {
                let there: BTreeSet<_> = self.images.iter().flat_map(|image| &image.layers).collect();
                (0..diff_ids.len()).filter(|number| !there.contains(&diff_ids[*number])).collect()
            }
        }
    }

    /// The id of an image that is one of these, where it has one.
    pub fn has(&self, ids: &[Digest]) -> Option<&str> {
        let ids: Vec<String> = ids.iter().map(Digest::hex).collect();
        self.images.iter().map(|image| image.id.as_str()).find(|id| ids.iter().any(|one| one == id))
    }

    /// The id of the image with this tag.
    pub fn tagged(&self, tag: &str) -> Option<&str> {
        let name = format!("{}:{tag}", self.repository);
        self.images.iter().find(|image| image.tags.contains(&name)).map(|image| image.id.as_str())
    }

    /// The release that is current, where that has the name of one.
    pub fn current(&self) -> Option<String> {
        let id = self.tagged("current")?;
        self.releases().find(|(_, image)| *image == id).map(|(release, _)| release.to_owned())
    }

    /// The releases of the app that are to go once `new` is there, the oldest last. Those that nobody noted are the oldest.
    pub fn superseded(&self, new: &str) -> Vec<String> {
        let mut recent: Vec<&str> = vec![new];
        let words = self.noted.iter().rev().filter_map(|line| line.split_whitespace().nth(3));
        for release in words.filter(|word| is_release(word)) {
            if !recent.contains(&release) && self.tagged(release).is_some() {
                recent.push(release);
            }
        }
        let mut others: Vec<&str> = self.releases().map(|(release, _)| release).collect();
        others.sort_unstable();
        others.retain(|release| !recent.contains(release));
        recent.extend(others);
        recent.into_iter().skip(KEPT).map(str::to_owned).collect()
    }

    /// The releases of the app, each with the id of its image.
    fn releases(&self) -> impl Iterator<Item = (&str, &str)> {
        let release = |name: &'_ str| {
            name.strip_prefix(self.repository.as_str())
                .and_then(|tag| tag.strip_prefix(':'))
                .is_some_and(is_release)
        };
        self.images.iter().flat_map(move |image| {
            let tags = image.tags.iter().filter(move |name| release(name));
            tags.filter_map(|name| Some((name.rsplit(':').next()?, image.id.as_str())))
        })
    }
}

impl Image {
    /// Of `sha256:ID ["site:1"] ["sha256:..."]`; podman leaves out the first word's beginning.
    fn read(said: &str) -> Option<Image> {
        let (id, rest) = said.split_once(' ')?;
        let mut lists = serde_json::Deserializer::from_str(rest).into_iter::<Option<Vec<String>>>();
        let (tags, layers) = (lists.next()?.ok()?, lists.next()?.ok()?);
        let layers = layers.unwrap_or_default();
        let layers = layers.iter().map(|layer| Digest::from_hex(layer.strip_prefix("sha256:")?));
        let id = id.strip_prefix("sha256:").unwrap_or(id).to_owned();
        Some(Image { id, tags: tags.unwrap_or_default(), layers: layers.collect::<Option<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(number: u8) -> Digest {
        Digest::of(&[number])
    }

    fn image(id: u8, tags: &str, layers: &[u8]) -> String {
        let layers: Vec<String> = layers.iter().map(|number| format!("\"{}\"", layer(*number))).collect();
        format!("{IMAGE}{} {tags} [{}]", Digest::of(&[100 + id]), layers.join(","))
    }

    fn engine(first: &str, lines: &[String]) -> Engine {
        let first = format!("{ENGINE}{first}");
        let lines = lines.iter().map(String::as_str);
        Engine::read([first.as_str()].into_iter().chain(lines).chain([END])).unwrap()
    }

    #[test]
    fn docker_knows_a_layer_by_what_is_below_it_and_others_by_itself() {
        let images =
            [image(1, "[\"site:0123456789ab\"]", &[1, 2, 3]), image(2, "[]", &[1, 5]), image(3, "null", &[])];
        let wanted = [1, 2, 4, 5].map(layer);
        let docker = engine("docker 20.10.24+dfsg1 linux/amd64 own site", &images);
        assert_eq!(docker.lacks(&wanted), [2, 3]);
        assert_eq!(docker.store, Store::Docker { zstd: false });
        for by_itself in
            ["podman 4.3.1 linux/amd64 own localhost/site", "docker 29.1.0 linux/amd64 containerd site"]
        {
            assert_eq!(engine(by_itself, &images).lacks(&wanted), [2], "{by_itself}");
        }
        assert_eq!(engine("docker 23.0.1 linux/arm64 own site", &[]).store, Store::Docker { zstd: true });
        assert_eq!(docker.has(&[Digest::of(&[101])]), docker.tagged("0123456789ab"));
    }

    #[test]
    fn the_last_five_releases_stay_in_the_order_they_were_noted_in() {
        let id = |number: u8| format!("{number:012x}");
        let images: Vec<String> = (0..9)
            .map(|number| image(number, &format!("[\"other:{0}\",\"site:{0}\"]", id(number)), &[1]))
            .collect();
        // 3 was activated last; 8 is known to nobody.
        let noted = [0, 1, 2, 3, 4, 5, 6, 7, 3];
        let noted = noted.map(|number| format!("{NOTED}2026-11-21T18:03:42Z docker loaded {}", id(number)));
        let docker = engine("docker 20.10.24 linux/amd64 own site", &[&images[..], &noted[..]].concat());
        assert_eq!(docker.superseded(&id(99)), [4, 2, 1, 0, 8].map(id));
        assert_eq!(docker.superseded(&id(0)), [4, 2, 1, 8].map(id));
    }

    #[test]
    fn what_breaks_off_or_is_something_else_is_no_engine() {
        assert!(Engine::read(["hello"]).is_none());
        assert!(Engine::read([format!("{ENGINE}docker 20.10 linux/amd64 own site").as_str()]).is_none());
        assert!(Engine::read([format!("{ENGINE}rkt 1 linux/amd64 own site").as_str(), END]).is_none());
        let odd =
            [format!("{IMAGE}sha256:12"), format!("{IMAGE}12 [\"a:b\"] [\"md5:12\"]"), IMAGE.to_owned()];
        assert!(engine("podman 4.3.1 linux/amd64 own localhost/site", &odd).images.is_empty());
    }
}
