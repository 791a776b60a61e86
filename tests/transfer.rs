//! Promise: a bundle arrives on another machine byte for byte, or not at all; what is there already is not sent, what broke
//! off goes on; nothing half-written is ever where releases are.

mod kit;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use coil::deploy::{Offering, send};
use coil_bootstrap::error::Error;
use coil_bootstrap::receive::take;
use kit::{bundle_of, heavy, on_a_server, scratch};
use tempfile::TempDir;

/// A machine's `/var/lib`.
struct Machine {
    state: TempDir,
}

/// How a transfer ended.
struct Ended {
    /// The whole file, where it arrived.
    path: Result<PathBuf, Error>,
    /// What went to the machine, in bytes.
    sent: u64,
}

/// A stream to the machine that ends after so many bytes, as a connection does.
struct Wire<'a, W> {
    to: W,
    left: u64,
    sent: &'a AtomicU64,
    /// The byte with this number arrives as another.
    flipped: Option<u64>,
}

impl<W: Write> Write for Wire<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut bytes = bytes[..bytes.len().min(self.left as usize)].to_vec();
        let before = self.sent.load(Ordering::Relaxed);
        if let Some(byte) = self.flipped.and_then(|at| bytes.get_mut(at.checked_sub(before)? as usize)) {
            *byte ^= 1;
        }
        let count = self.to.write(&bytes)?;
        self.left -= count as u64;
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Machine {
    fn new() -> Self {
        Machine { state: scratch() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.state.path().join("small").join(name)
    }

    /// Sends the bundle, over a connection that lasts for so many bytes.
    fn send(&self, bundle: &Path, bytes: u64) -> Ended {
        self.send_from(&File::open(bundle).unwrap(), bundle, bytes, None)
    }

    fn send_from(&self, file: &File, bundle: &Path, bytes: u64, flipped: Option<u64>) -> Ended {
        let offering = Offering::of(bundle).unwrap();
        let (to, (mut from, mut back)) = {
            let (input, to) = io::pipe().unwrap();
            (to, (input, io::pipe().unwrap()))
        };
        let sent = AtomicU64::new(0);
        thread::scope(|scope| {
            let receiver =
                scope.spawn(move || take(self.state.path(), "small", None, &mut from, &mut back.1));
            let mut to = Wire { to, left: bytes, sent: &sent, flipped };
            let result = send(file, offering.offer(), &mut back.0, &mut to, &mut |_, _| ());
            drop(to);
            let path = receiver.join().unwrap();
            if path.is_ok() {
                result.unwrap();
            }
            Ended { path, sent: sent.load(Ordering::Relaxed) }
        })
    }

    /// What an installation does with the file.
    fn install(&self, bundle: &Path, ended: &Ended) {
        let arrived = ended.path.as_ref().unwrap();
        assert!(fs::read(arrived).unwrap() == fs::read(bundle).unwrap(), "the file arrived otherwise");
        assert_eq!(fs::metadata(arrived).unwrap().permissions().mode() & 0o777, 0o755);
        let release = Offering::of(bundle).unwrap().release().to_owned();
        let place = self.path("releases").join(release);
        fs::create_dir_all(&place).unwrap();
        fs::rename(arrived, place.join("small")).unwrap();
    }

    /// Where files arrive.
    fn arriving(&self) -> PathBuf {
        self.state.path().join("coil/incoming")
    }

    /// All that is there.
    fn incoming(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for directory in fs::read_dir(self.arriving()).into_iter().flatten() {
            let entries = fs::read_dir(directory.unwrap().path()).unwrap();
            names.extend(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
        }
        names.sort();
        names
    }
}

/// A bundle of this app, this runtime and this wheel.
fn bundle(version: &str, runtime: u64, wheel: u64) -> (TempDir, PathBuf) {
    let place = scratch();
    let path = bundle_of(place.path(), &heavy(version, runtime, wheel), on_a_server()).path().to_owned();
    (place, path)
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// The length of a frame of the app that does not compress, in bytes.
const FRAME: u64 = 4 << 20;

#[test]
fn only_what_the_machine_lacks_is_sent() {
    let machine = Machine::new();
    let (_one, first) = bundle("1", 1, 1);
    let ended = machine.send(&first, u64::MAX);
    machine.install(&first, &ended);
    assert!(ended.sent < size(&first) && ended.sent > size(&first) - (2 << 20), "{}", ended.sent);

    let again = machine.send(&first, u64::MAX);
    assert!(again.sent < 4096, "the same once more: {} bytes", again.sent);
    assert!(again.path.unwrap().starts_with(machine.path("releases")));

    let (_two, wheel) = bundle("1", 1, 2);
    let ended = machine.send(&wheel, u64::MAX);
    machine.install(&wheel, &ended);
    assert!((300 << 10..330 << 10).contains(&ended.sent), "another wheel: {} bytes", ended.sent);

    let (_three, runtime) = bundle("1", 2, 2);
    let ended = machine.send(&runtime, u64::MAX);
    machine.install(&runtime, &ended);
    assert!((6 << 20..(6 << 20) + (32 << 10)).contains(&ended.sent), "another runtime: {} bytes", ended.sent);

    // Of the app's frames the one with the changed file is sent.
    let (_four, app) = bundle("2", 2, 2);
    let ended = machine.send(&app, u64::MAX);
    machine.install(&app, &ended);
    assert!(ended.sent < FRAME, "a changed line: {} bytes", ended.sent);

    // And back to what no release has together any more, but all of them have in pieces.
    let (_five, back) = bundle("2", 1, 1);
    let ended = machine.send(&back, u64::MAX);
    machine.install(&back, &ended);
    assert!(ended.sent < 16 << 10, "nothing but the manifest is new: {} bytes", ended.sent);
    assert!(machine.incoming().is_empty(), "{:?}", machine.incoming());
}

#[test]
fn what_broke_off_goes_on_where_it_ended() {
    let machine = Machine::new();
    let (_one, path) = bundle("1", 1, 1);
    let mut sent = 0;
    let mut cuts = [700u64, 300_000, 1, 2_500_000, 4_000_001, 90, 5_000_000].into_iter();
    let ended = loop {
        let cut = cuts.next().unwrap_or(u64::MAX);
        let ended = machine.send(&path, cut);
        sent += ended.sent;
        match &ended.path {
            Ok(_) => break ended,
            Err(error) => {
                let message = error.to_string();
                assert!(
                    message.contains("connection ended") || message.contains("cannot write to"),
                    "{message}"
                );
            }
        }
        assert!(!machine.path("releases").exists());
    };
    assert_eq!(cuts.next(), None);
    machine.install(&path, &ended);
    // Each connection loses what of one message had arrived, at most.
    assert!(sent < size(&path) + (6 << 20), "{sent} bytes were sent for {}", size(&path));
}

#[test]
fn another_release_goes_on_with_what_arrived_of_one_that_broke_off() {
    let machine = Machine::new();
    let (_one, first) = bundle("1", 1, 1);
    let cut = machine.send(&first, 10 << 20);
    assert!(cut.path.is_err());
    let (_two, second) = bundle("2", 1, 2);
    let ended = machine.send(&second, u64::MAX);
    machine.install(&second, &ended);
    // The runtime of 6 MB and a frame of the app were there.
    assert!(
        ended.sent < size(&second) - (8 << 20) + (1 << 20),
        "{} of {} bytes were sent",
        ended.sent,
        size(&second)
    );
}

#[test]
fn what_arrived_and_was_changed_since_is_thrown_away() {
    let (_one, path) = bundle("1", 1, 1);
    for (at, what) in [(100_000, "a whole piece"), (9_000_000, "the piece that broke off")] {
        let machine = Machine::new();
        assert!(machine.send(&path, 10 << 20).path.is_err());
        let directory = fs::read_dir(machine.arriving()).unwrap().next().unwrap().unwrap().path();
        let part = File::options().write(true).open(directory.join("part")).unwrap();
        assert!(part.metadata().unwrap().len() > at, "{what}");
        part.write_all_at(b"spoilt", at).unwrap();
        let ended = machine.send(&path, u64::MAX);
        machine.install(&path, &ended);
    }
}

#[test]
fn bytes_that_arrive_otherwise_are_noticed_and_not_kept() {
    let machine = Machine::new();
    let (_one, path) = bundle("1", 1, 1);
    let file = File::open(&path).unwrap();
    let ended = machine.send_from(&file, &path, u64::MAX, Some(5 << 20));
    let message = ended.path.unwrap_err().to_string();
    assert!(message.contains("another checksum"), "{message}");
    let ended = machine.send(&path, u64::MAX);
    machine.install(&path, &ended);
    // What an installed release has lost since is sent again.
    let release = Offering::of(&path).unwrap().release().to_owned();
    let installed = machine.path("releases").join(release).join("small");
    let file = File::options().write(true).open(&installed).unwrap();
    file.write_all_at(b"spoilt", 3 << 20).unwrap();
    let ended = machine.send(&path, u64::MAX);
    assert!(ended.sent > FRAME && ended.sent < 2 * FRAME + (1 << 20), "{} bytes", ended.sent);
    machine.install(&path, &ended);
}

#[test]
fn two_that_send_the_same_at_once_both_arrive() {
    let machine = Machine::new();
    let (_one, first) = bundle("1", 1, 1);
    let (_two, second) = bundle("2", 1, 1);
    let paths = thread::scope(|scope| {
        let all: Vec<_> = [&first, &first, &second]
            .into_iter()
            .map(|path| scope.spawn(|| (path.clone(), machine.send(path, u64::MAX))))
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    for (bundle, ended) in &paths {
        // The last to be complete may have taken another's place: the file is the same.
        let arrived = ended.path.as_ref().unwrap();
        assert!(fs::read(arrived).unwrap() == fs::read(bundle).unwrap());
    }
}

#[test]
fn what_is_left_over_is_swept_when_it_is_old_or_over() {
    let machine = Machine::new();
    let (_one, first) = bundle("1", 1, 1);
    let (_two, second) = bundle("2", 1, 1);
    let installed = machine.send(&first, u64::MAX).path.unwrap();
    assert!(installed.exists());
    // Its lock went with the process that would install it; this test is that process, so it is held still.
    fs::create_dir_all(machine.arriving().join("0123")).unwrap();
    fs::write(machine.arriving().join("0123/part"), "old").unwrap();
    fs::create_dir_all(machine.arriving().join("4567")).unwrap();
    fs::write(machine.arriving().join("4567/part"), "new").unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(4 * 24 * 3600);
    File::options()
        .write(true)
        .open(machine.arriving().join("0123/part"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    machine.send(&second, u64::MAX).path.unwrap();
    assert!(!machine.arriving().join("0123").exists());
    assert!(machine.arriving().join("4567").exists());
    assert!(installed.exists(), "it is being installed");
}

#[test]
fn a_receiver_says_what_is_wrong_with_what_it_gets() {
    let machine = Machine::new();
    let told = |bytes: &[u8]| {
        let mut input = bytes;
        take(machine.state.path(), "small", None, &mut input, &mut io::sink()).unwrap_err().to_string()
    };
    assert!(told(b"").contains("connection ended"));
    assert!(told(b"\x01\x05\0\0\0off").contains("connection ended"));
    assert!(told(b"GET / HTTP/1.0\r\n\r\n").contains("not what `coil deploy` sends"));
    assert!(!machine.arriving().exists());
}
