//! Receiving a bundle over standard input: what `coil deploy` talks to on the other machine.
//!
//! The sender offers a file by its pieces, this side says which ranges of it are lacking, those are sent, and the file is
//! put together in the system's store and installed. Nothing is visible there before it is whole and compared; what
//! broke off goes on with the next transfer. It runs from any launcher, also from one without a payload, and must never do
//! more than write below `STATE/coil/incoming` and start what it has received.

mod assembly;
pub mod cut;
mod found;
pub mod offer;
mod partial;
mod sent;
pub mod wire;

use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::assembly::Assembly;
use self::found::{Search, sum};
use self::offer::Offer;
use self::partial::{Partial, sweep};
use self::sent::{Sent, broken, ended, nonsense};
use self::wire::{HELLO, Kind};
use crate::error::{Error, Result};
use crate::format::manifest::is_command_name;
use crate::host::Host;

/// Where apps are installed: each has its releases, and what arrives, in a directory of its own.
pub const STATE: &str = "/var/lib";

/// A connection on which nothing comes for so long is given up, in seconds.
const PATIENCE: i64 = 300;

/// `COIL=receive LAUNCHER APP`: receives a bundle of the app and returns its path. Without a name, says only which protocol
/// it speaks.
pub fn receive(host: &Host) -> Result<Option<PathBuf>> {
    let mut output = io::stdout().lock();
    let said = Error::at("write to", "standard output");
    let Some(app) = host.args.get(1) else {
        return writeln!(output, "{HELLO}").map_err(said).map(|()| None);
    };
    let app = app.to_str().filter(|app| is_command_name(app));
    let app = app.ok_or_else(|| Error::Release("COIL=receive takes the name of an app".into()))?;
    let state = Path::new(STATE);
    let current = current_release(state, app).unwrap_or_else(|| "-".into());
    writeln!(output, "{HELLO} {current}").and_then(|()| output.flush()).map_err(said)?;
    let own = host.own_file().and_then(|own| File::open(&own).map_err(Error::at("open", own))).ok();
    let mut input = BufReader::with_capacity(64 << 10, StandardInput);
    take(state, app, own, &mut input, &mut output).map(Some)
}

/// The release that is current, as the link says it.
fn current_release(state: &Path, app: &str) -> Option<String> {
    let link = fs::read_link(state.join(app).join("current")).ok()?;
    let name = link.file_name()?.to_str()?;
    offer::is_release(name).then(|| name.to_owned())
}

/// Receives a bundle of `app` below `state` and returns the path of the whole file. `own` is the running launcher.
pub fn take(
    state: &Path,
    app: &str,
    own: Option<File>,
    input: &mut impl Read,
    output: &mut impl Write,
) -> Result<PathBuf> {
    let mut message = Vec::new();
    let kind = wire::read(input, &mut message).map_err(broken)?.ok_or_else(ended)?;
    let offer = Offer::parse(&message).filter(|_| kind == Kind::Offer).ok_or_else(nonsense)?;
    let there = state.join(app).join("releases").join(&offer.release).join(app);
    let path = if is_offered(&there, &offer) {
        there
    } else {
        let incoming = Partial::place(state);
        sweep(&incoming, &offer);
        let partial = Partial::open(&incoming, app, &offer)?;
        let mut search = Search::of(&offer);
        if let Some(own) = own {
            search.at_the_same_place(own, &offer);
        }
        search.in_releases(state, app);
        search.in_transfers(&incoming, partial.directory());
        match put_together(&offer, &partial, &search, input, output) {
            Ok(()) => partial.complete()?,
            Err(error) => {
                if !is_worth_keeping(&error) {
                    partial.discard();
                }
                return Err(error);
            }
        }
    };
    say(output, Kind::Received, &[])?;
    Ok(path)
}

/// Whether the file at `path` is the offered one.
fn is_offered(path: &Path, offer: &Offer) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let length = file.metadata().map_or(0, |there| there.len());
    length == offer.size && sum(&file, 0, length) == Some(offer.checksum)
}

fn put_together(
    offer: &Offer,
    partial: &Partial,
    search: &Search,
    input: &mut impl Read,
    output: &mut impl Write,
) -> Result<()> {
    let mut assembly = Assembly::of(offer, partial, search.places(offer));
    check_room(partial.directory(), assembly.lacking().iter().map(|range| range.end - range.start).sum())?;
    let mut sent = Sent::from(input)?;
    // A second time for what was begun by an earlier transfer and proved wrong.
    for _ in 0..2 {
        let lacking = assembly.lacking();
        if !lacking.is_empty() {
            say(output, Kind::Want, &wire::encode_ranges(&lacking))?;
        }
        assembly.fill(&mut sent)?;
    }
    match assembly.is_whole() {
        true => Ok(()),
        false => Err(Error::Damaged {
            bundle: partial.path(),
            damage: crate::format::Damage::new(
                "put together it has another checksum than the one that was sent",
            ),
        }),
    }
}

/// Says so where the file system has less room than `needed` bytes. What is copied may take none.
fn check_room(directory: &Path, needed: u64) -> Result<()> {
    let Ok(system) = rustix::fs::statvfs(directory) else { return Ok(()) };
    let room = system.f_bavail.saturating_mul(system.f_frsize);
    if system.f_blocks == 0 || room >= needed {
        return Ok(());
    }
    let (room, needed) = (room >> 20, (needed >> 20) + 1);
    let message =
        format!("no space is left in {}: {room} MB are free and {needed} MB are needed", directory.display());
    Err(Error::Release(message))
}

/// Whether the next transfer can go on with what has arrived: not where it is wrong, and not where it fills the disk.
fn is_worth_keeping(error: &Error) -> bool {
    match error {
        Error::System { source, .. } => {
            !matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        }
        Error::Damaged { .. } => false,
        _ => true,
    }
}

fn say(output: &mut impl Write, kind: Kind, bytes: &[u8]) -> Result<()> {
    wire::write(output, kind, bytes).map_err(Error::at("write to", "standard output"))
}

/// Standard input, which fails where nothing comes for too long: the other side may be gone without a word.
struct StandardInput;

impl Read for StandardInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let input = rustix::stdio::stdin();
        let patience = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
        if poll(&mut [PollFd::new(&input, PollFlags::IN)], Some(&patience))? == 0 {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(rustix::io::read(input, buffer)?)
    }
}
