//! A steady, bounded load: so many clients, so many requests in a second between them, no more.
//!
//! A server that is slow is not asked faster afterwards, so that one pause does not become a storm.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use super::client::Address;
use super::client::{Answer, Connection, Failed};

/// How much is asked.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Clients, each with one request at a time.
    pub clients: u32,
    /// Requests in a second, of all clients.
    pub per_second: u32,
    /// Whether clients use their connections again.
    pub keep_alive: bool,
    /// What they ask for.
    pub path: &'static str,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that were begun.
    pub requests: u64,
    /// Answers with status 200, by their first line: the release that gave them.
    pub answers: BTreeMap<String, u64>,
    /// Everything else, by kind.
    pub errors: BTreeMap<String, u64>,
    /// Connections that the server had closed, without a byte of an answer, when their next request came: it was
    /// repeated on a new one, as RFC 9112 (9.3.1) says for what can be repeated. Not errors.
    pub closed_while_idle: u64,
    /// The longest time from a request to its answer or error.
    pub longest: Duration,
}

/// A load that goes on until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Tally>>,
}

impl Load {
    /// Begins, in the network of this thread.
    pub fn start(address: Address, pace: Pace) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let gap = Duration::from_secs(1) * pace.clients / pace.per_second;
        let client = |number: u32| {
            let (stop, address, pace) = (stop.clone(), address.clone(), pace.clone());
            thread::spawn(move || {
                // Not all at once.
                thread::sleep(gap * number / pace.clients);
                ask(&address, &pace, gap, &stop)
            })
        };
        let clients = (0..pace.clients).map(client).collect();
        Load { stop, clients }
    }

    /// Lets every client finish what it has begun.
    pub fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for client in self.clients.drain(..) {
            all.add(client.join().expect("a client does not panic"));
        }
        all
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.requests += other.requests;
        self.closed_while_idle += other.closed_while_idle;
        self.longest = self.longest.max(other.longest);
        for (kind, count) in other.answers {
            *self.answers.entry(kind).or_default() += count;
        }
        for (kind, count) in other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
    }

    fn count(&mut self, outcome: Result<Answer, Failed>, took: Duration) {
        self.requests += 1;
        self.longest = self.longest.max(took);
        let (kinds, kind) = match outcome {
            Ok(answer) if answer.status == 200 => {
                (&mut self.answers, answer.body.lines().next().unwrap_or_default().to_owned())
            }
            Ok(answer) => (&mut self.errors, format!("status {}", answer.status)),
            Err(failed) => (&mut self.errors, format!("{failed:?}")),
        };
        *kinds.entry(kind).or_default() += 1;
    }

    /// How many failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests, {} failed {:?}", self.requests, self.failed(), self.errors)?;
        write!(f, ", longest {:.3} s, answers {:?}", self.longest.as_secs_f64(), self.answers)?;
        write!(f, ", {} connections closed while idle", self.closed_while_idle)
    }
}

/// One client, until it is stopped.
fn ask(address: &Address, pace: &Pace, gap: Duration, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let mut kept = None;
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let used = kept.is_some();
        let mut outcome = once(address, pace, &mut kept);
        if used && outcome == Err(Failed::ClosedBefore) {
            tally.closed_while_idle += 1;
            outcome = once(address, pace, &mut kept);
        }
        tally.count(outcome, start.elapsed());
        thread::sleep(gap.saturating_sub(start.elapsed()));
    }
    tally
}

/// One request, on the connection that is there or on a new one, which is kept if it can be.
fn once(address: &Address, pace: &Pace, kept: &mut Option<Connection>) -> Result<Answer, Failed> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::to(address)?,
    };
    let answer = connection.get(pace.path, pace.keep_alive)?;
    if !answer.last {
        *kept = Some(connection);
    }
    Ok(answer)
}
