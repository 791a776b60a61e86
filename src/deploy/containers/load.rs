//! One host gets the image: what its engine lacks, and all of it where the engine does not take that.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use super::engine::{Engine, Kind};
use super::offer::{Archive, Offer};
use super::script::{BUSY, LOADED, NO_ANSWER, NO_ENGINE, Place, REFUSED};
use crate::deploy::process::{Ended, Host, Ssh};
use crate::deploy::transfer::Transfer;
use crate::error::{Failure, Result};
use crate::report::{Report, Task};

/// How often a connection that breaks is made again.
const TRIES: u32 = 3;

/// How long the first pause before that is.
const PAUSE: Duration = Duration::from_secs(1);

/// One host, and what it is to get.
pub struct Loading<'a> {
    /// How it is reached.
    pub ssh: &'a Ssh,
    /// The host.
    pub host: &'a Host,
    /// The app's images there.
    pub place: &'a Place,
    /// The image.
    pub offer: &'a Offer,
    /// Who is told how far it is.
    pub report: &'a Report,
}

/// How a command ended that brought something: the inner error is one that did not end well.
type Brought = Result<Result<(), Ended>>;

impl Loading<'_> {
    /// Brings the image there and says what was there before; what is known by then is in `transfer`, whatever happens.
    pub fn load(&self, transfer: &mut Transfer) -> Result<Engine> {
        let mut pause = PAUSE;
        for left in (0..TRIES).rev() {
            let engine = self.ask()?;
            transfer.before = engine.current();
            let (there, meant) = (&engine.platform, self.offer.platform());
            if *there != meant {
                return Err(Failure::new(format!("it runs {there}, and the bundle is for {meant}"))
                    .hint("pack the app on a machine of that kind"));
            }
            let Err(ended) = self.bring(&engine, transfer)? else { return Ok(engine) };
            if !ended.is_broken() || left == 0 {
                return Err(failure(&ended, Some(engine.kind), self.host));
            }
            thread::sleep(pause);
            pause *= 2;
        }
        Err(Failure::new("the connection breaks again and again").hint("deploy again"))
    }

    /// Brings what an engine lacks, and all of it where it does not take that.
    fn bring(&self, engine: &Engine, transfer: &mut Transfer) -> Brought {
        let release = self.offer.release();
        if let Some(id) = engine.has(&self.offer.ids()) {
            if engine.tagged(release) == Some(id) {
                return Ok(Ok(()));
            }
            return self.checked(self.ssh.run(self.host, &self.place.tag(id, release))?);
        }
        let archive = self.offer.archive(engine, false)?;
        let ended = self.stream(&archive, transfer)?;
        if ended.code != Some(REFUSED) || !archive.is_thin() || is_full(&ended) {
            return self.checked(ended);
        }
        self.report.detail(&format!("{}: {} wants the whole image", self.host, engine.kind.word()));
        let archive = self.offer.archive(engine, true)?;
        self.checked(self.stream(&archive, transfer)?)
    }

    /// Asks for the engine, and what that has.
    fn ask(&self) -> Result<Engine> {
        let mut remote = self.ssh.start(self.host, &self.place.ask())?;
        remote.say_no_more();
        let lines: Vec<String> = std::iter::from_fn(|| remote.line()).collect();
        let ended = remote.end()?;
        if ended.code != Some(0) {
            return Err(failure(&ended, self.place.engine, self.host));
        }
        Engine::read(lines.iter().map(String::as_str)).ok_or_else(|| {
            Failure::new("what it says of its images makes no sense")
                .hint("does the login's shell run commands? `ssh HOST true` should say nothing")
        })
    }

    /// Sends an archive to an engine that loads it.
    fn stream(&self, archive: &Archive, transfer: &mut Transfer) -> Result<Ended> {
        let mut remote = self.ssh.start(self.host, &self.place.load(self.offer.release()))?;
        let written = {
            let task = self.report.measured(&self.host.to_string(), archive.size);
            let mut out = Meter { task, done: 0, broke: false, out: remote.streams().1 };
            let written = archive.write(&mut out);
            if out.broke { Ok(()) } else { written }
        };
        transfer.sent += remote.sent();
        // What is wrong with the bundle is nothing that the host could tell.
        written?;
        remote.end()
    }

    /// Compares what a command has loaded with what was meant.
    fn checked(&self, ended: Ended) -> Brought {
        if ended.code != Some(0) {
            return Ok(Err(ended));
        }
        let loaded = ended.output.lines().find_map(|line| line.strip_prefix(LOADED));
        let (loaded, ids) = (loaded.unwrap_or_default().trim(), self.offer.ids());
        if ids.iter().any(|id| id.hex() == loaded) {
            return Ok(Ok(()));
        }
        // It has no business under this name; that it is there under its own is no harm.
        let _ = self.ssh.run(self.host, &self.place.untag(self.offer.release()));
        Err(Failure::new(format!("it has loaded the image {loaded:?}, and {} was meant", ids[0]))
            .hint("`coil verify` tells whether the bundle is sound; then deploy again"))
    }
}

/// Why a command of an engine failed, and what to type next.
pub fn failure(ended: &Ended, engine: Option<Kind>, host: &Host) -> Failure {
    let said = ended.failure("");
    let name = engine.map_or("docker", Kind::word);
    match ended.code {
        Some(NO_ENGINE) => match engine {
            None => Failure::new("it has neither docker nor podman").hint(format!(
                "install one there, such as `apt install podman`; `ssh {host} docker version` tells"
            )),
            Some(_) => Failure::new(format!("it has no {name}"))
                .hint(format!("install it there, or leave out --engine; `ssh {host} {name} version` tells")),
        },
        Some(NO_ANSWER) if ended.errors.contains("permission denied") => {
            Failure::new(format!("the login may not use {name}: {said}"))
                .hint("become root with --sudo, or add the login to the group docker there")
        }
        Some(NO_ANSWER) => Failure::new(format!("{name} does not answer there: {said}"))
            .hint(format!("`ssh {host} systemctl start {name}` starts it; --engine chooses another")),
        Some(REFUSED) if is_full(ended) => Failure::new(format!("no space is left for its images: {said}"))
            .hint(format!("make room there: `ssh {host} {name} image prune` removes images without a name")),
        Some(BUSY) => Failure::new("somebody else is making a release current there".to_owned())
            .hint("do the same again when that has ended"),
        Some(REFUSED) => Failure::new(format!("{name} did not load the image: {said}")),
        _ => said,
    }
}

fn is_full(ended: &Ended) -> bool {
    ["no space left on device", "disk quota exceeded"].iter().any(|words| ended.errors.contains(words))
}

/// Tells how far an archive is, and remembers whether it was the other side that did not want it.
struct Meter<W> {
    out: W,
    task: Task,
    done: u64,
    broke: bool,
}

impl<W: Write> Write for Meter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.broke |= written.is_err();
        self.done += *written.as_ref().unwrap_or(&0) as u64;
        self.task.bytes(self.done);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
