//! One host gets the file and installs it, over one connection.

use std::io;
use std::thread;
use std::time::Duration;

use coil_bootstrap::receive::offer::is_release;
use coil_bootstrap::receive::wire::HELLO;

use super::offering::Offering;
use super::process::{Host, Remote, Ssh};
use super::script::{self, SEND_LAUNCHER};
use super::send::send;
use crate::error::{Failure, Result};
use crate::report::{Report, Task};

/// How many lines a login may say before the host answers.
const NOISE: usize = 1000;

/// How often a connection that breaks is made again: what has arrived is not sent again.
const TRIES: u32 = 3;

/// How long the first pause before that is.
const PAUSE: Duration = Duration::from_secs(1);

/// How many digits of its checksum a transfer is called by.
const DIGITS: usize = 32;

/// What a host says of a transfer.
#[derive(Debug, Default)]
pub struct Transfer {
    /// The release that was current when it began, where there was one.
    pub before: Option<String>,
    /// How many bytes were sent in all, to however many connections.
    pub sent: u64,
}

/// Brings the offered file to `host` and installs it there. What is known by then is in `transfer`, whatever happens.
pub fn bring(
    ssh: &Ssh,
    host: &Host,
    offering: &Offering,
    report: &Report,
    transfer: &mut Transfer,
) -> Result<()> {
    let launcher = offering.launcher()?;
    let sum = &offering.offer().checksum.hex()[..DIGITS];
    let line = script::receive(offering.app(), offering.release(), launcher.len(), sum);
    let mut pause = PAUSE;
    for left in (0..TRIES).rev() {
        let mut remote = ssh.start(host, &line)?;
        let spoken = speak(&mut remote, offering, &launcher, host, report, transfer);
        transfer.sent += remote.sent();
        let began = spoken.began;
        let ended = remote.end()?;
        match spoken.result {
            Ok(()) if ended.code == Some(0) => return Ok(()),
            // What never came about is not tried again: the reason will be the same.
            _ if ended.is_broken() && began && left > 0 => {
                thread::sleep(pause);
                pause *= 2;
            }
            Err(_) if ended.code == Some(0) => return Err(strange()),
            _ => return Err(ended.failure(offering.app())),
        }
    }
    Err(Failure::new("the connection breaks again and again")
        .hint("deploy again: what has arrived is not sent again"))
}

/// How a conversation went.
struct Spoken {
    /// Whether the host answered at all.
    began: bool,
    result: io::Result<()>,
}

fn speak(
    remote: &mut Remote,
    offering: &Offering,
    launcher: &[u8],
    host: &Host,
    report: &Report,
    transfer: &mut Transfer,
) -> Spoken {
    let task = report.task(&host.to_string());
    let mut began = false;
    for _ in 0..NOISE {
        let Some(line) = remote.line() else { break };
        if line == SEND_LAUNCHER {
            began = true;
            task.now("launcher");
            if let Err(error) = io::Write::write_all(&mut remote.streams().1, launcher) {
                return Spoken { began, result: Err(error) };
            }
        } else if let Some(current) = line.strip_prefix(HELLO) {
            let current = current.trim();
            transfer.before = is_release(current).then(|| current.to_owned());
            drop(task);
            let (mut input, mut output) = remote.streams();
            let mut task: Option<Task> = None;
            let mut progress = |done, total| {
                let begin = || report.measured(&host.to_string(), total);
                task.get_or_insert_with(begin).bytes(done);
            };
            let result = send(offering.file(), offering.offer(), &mut input, &mut output, &mut progress);
            return Spoken { began: true, result };
        }
    }
    Spoken { began, result: Err(io::ErrorKind::InvalidData.into()) }
}

/// The failure of a host that ended well and did not speak as it should.
fn strange() -> Failure {
    Failure::new("it did not answer as a launcher of coil does")
        .hint("does the login's shell run commands? `ssh HOST true` should say nothing")
}
