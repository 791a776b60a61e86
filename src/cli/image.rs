//! The words of `coil image`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::{Project, Volume};
use crate::image::{Compression, Format};

/// `coil image`
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("registry").args(["push", "base"]).multiple(true)))]
pub struct Image {
    /// What to pack, and how; a bundle in its place is taken as it is, and bundles for several platforms together.
    #[command(flatten)]
    pub project: Project,
    /// The file to write [default: standard output, where that is no terminal].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What the image is called [default: the app's name and version].
    #[arg(short, long, value_name = "NAME:TAG")]
    pub tag: Option<String>,
    /// How layers are compressed; the image's id is the same. Docker before 23 reads gzip and none.
    #[arg(long, value_enum, default_value_t = Compression::Zstd, hide_possible_values = true, value_name = "zstd|gzip|none")]
    pub compression: Compression,
    /// The form of the archive: an OCI layout that Docker loads as well, or Docker's own, for tools that are old.
    #[arg(long, value_enum, default_value_t = Format::Oci, hide_possible_values = true, value_name = "oci|docker")]
    pub format: Format,
    /// Bring the image to a registry, under this name, instead of writing it: only what is missing there is sent.
    #[arg(long, value_name = "REF", conflicts_with_all = ["output", "tag", "format", "since", "check"])]
    pub push: Option<String>,
    /// Talk to registries without TLS, or with any certificate they have. Hosts of this machine are always talked to so.
    #[arg(long, requires = "registry")]
    pub insecure: bool,
    /// Put the layers on this image instead of scratch: one in a registry, a layout (a directory) or an archive of images, such as
    /// `docker save` writes.
    #[arg(long, value_name = "REF|DIR|FILE", conflicts_with = "check")]
    pub base: Option<String>,
    /// Add a static busybox, so that `docker exec -it CONTAINER sh` works [default: the busybox of this machine].
    #[arg(long, value_name = "BUSYBOX", num_args = 0..=1, require_equals = true, conflicts_with = "check")]
    pub debug: Option<Option<PathBuf>>,
    /// Leave out the layers that this archive has, or the image of this bundle: whoever loaded that one has them.
    #[arg(long, value_name = "OLD")]
    pub since: Option<PathBuf>,
    /// Check an archive instead of making one: every digest, size and annotation in it. With --since, the layers that are in OLD
    /// may be missing.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["projects", "output", "tag", "compression", "format"])]
    pub check: Option<PathBuf>,
    /// How containers of the image are started.
    #[command(flatten)]
    pub start: ImageStart,
    /// How much to say.
    #[command(flatten)]
    pub volume: Volume,
}

/// How containers of an image are started.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Image options")]
pub struct ImageStart {
    /// What a container always runs, words as in a shell [default: the bundle's default, where that is a program or
    /// the only command].
    #[arg(long, value_name = "WORDS")]
    pub entrypoint: Option<String>,
    /// What a container runs that is given no arguments, or the entry point's arguments then [default: the bundle's
    /// default, where there are other commands beside it].
    #[arg(long, value_name = "WORDS")]
    pub cmd: Option<String>,
    /// A variable of containers.
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// A label, which becomes an annotation as well.
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// A port that the app listens on, such as 8000 or 53/udp.
    #[arg(long, value_name = "PORT")]
    pub port: Vec<String>,
    /// The number of the user that containers run as, or of user and group [default: 65532:65532].
    #[arg(long, value_name = "UID[:GID]")]
    pub user: Option<String>,
    /// Where in the image containers run [default: /].
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// The signal that asks a container to end [default: SIGTERM].
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
}
