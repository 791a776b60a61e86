//! The cores of this machine, shared by everything that is compressed and compiled in one pack.
//!
//! Work comes in pieces that depend on nothing but themselves: a frame to be compressed, a chunk of
//! sources to be compiled. Which thread does one, and when, must never be seen in what comes of it;
//! [`Line`] hands results on in the order the pieces were put in. Only so many pieces exist at a time,
//! whoever made them: that is what bounds the memory of a pack.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// How many pieces may exist for each core: one in work, one that waits for the core, and two that wait
/// for their turn to be taken.
const PIECES: usize = 4;

/// Threads that do pieces of work, one for each core. They are started as they are needed.
#[derive(Debug)]
pub struct Pool {
    size: usize,
    places: Arc<Places>,
    jobs: Option<Sender<Job>>,
    queue: Arc<Mutex<Receiver<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
struct Places {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Pool {
    /// A pool for all cores that this process may use.
    pub fn for_this_machine() -> Pool {
        Pool::new(thread::available_parallelism().map_or(1, NonZero::get))
    }

    /// A pool of this many threads.
    pub fn new(size: usize) -> Pool {
        let size = size.max(1);
        let (jobs, queue) = channel();
        let places = Places { free: Mutex::new(PIECES * size), freed: Condvar::new() };
        let queue = Arc::new(Mutex::new(queue));
        Pool { size, places: Arc::new(places), jobs: Some(jobs), queue, threads: Mutex::default() }
    }

    /// How many pieces are done at a time.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Has `job` done as soon as a thread is free.
    fn run<T: Send + 'static>(&self, place: Place, job: impl FnOnce() -> T + Send + 'static) -> Pending<T> {
        let (sender, result) = channel();
        let job = move || {
            // A job that panics drops the sender, which whoever waits for the result finds out.
            let _ = sender.send(job());
        };
        let caught = move || {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
        };
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(Box::new(caught));
        }
        let mut threads = lock(&self.threads);
        if threads.len() < self.size {
            let queue = Arc::clone(&self.queue);
            threads.push(thread::spawn(move || {
                loop {
                    let job = lock(&queue).recv();
                    let Ok(job) = job else { return };
                    job();
                }
            }));
        }
        Pending { result, _place: place }
    }

    fn place_if_free(&self) -> Option<Place> {
        let mut free = lock(&self.places.free);
        *free = free.checked_sub(1)?;
        Some(Place(Arc::clone(&self.places)))
    }

    fn place(&self) -> Place {
        let mut free = lock(&self.places.free);
        while *free == 0 {
            free = self.places.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Place(Arc::clone(&self.places))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
    }
}

/// The right to one piece; given back when its result has been taken.
#[derive(Debug)]
struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.freed.notify_one();
    }
}

/// The result of a piece, now or later.
struct Pending<T> {
    result: Receiver<T>,
    _place: Place,
}

/// Pieces of one thing, whose results are wanted in the order in which they were put in.
pub struct Line<'a, T> {
    pool: &'a Pool,
    waiting: VecDeque<Pending<T>>,
}

/// A job of the pool panicked.
#[derive(Debug, thiserror::Error)]
#[error("one of the threads that compress and compile has failed")]
pub struct Failed;

impl<'a, T: Send + 'static> Line<'a, T> {
    /// An empty line.
    pub fn new(pool: &'a Pool) -> Self {
        Line { pool, waiting: VecDeque::new() }
    }

    /// Puts in a piece and returns the results that are due: those that are there, and more where there
    /// was no room for another piece.
    pub fn push(&mut self, job: impl FnOnce() -> T + Send + 'static) -> Result<Vec<T>, Failed> {
        let mut due = Vec::new();
        while let Some(first) = self.waiting.front() {
            match first.result.try_recv() {
                Ok(result) => due.push(result),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(Failed),
            }
            self.waiting.pop_front();
        }
        let place = loop {
            // Those who wait for a place hold none: somebody who holds some goes on, and gives one back.
            match self.pool.place_if_free() {
                Some(place) => break place,
                None => match self.next() {
                    Some(result) => due.push(result?),
                    None => break self.pool.place(),
                },
            }
        };
        self.waiting.push_back(self.pool.run(place, job));
        Ok(due)
    }
}

/// The results that are left, in order; waits for them.
impl<T: Send + 'static> Iterator for Line<'_, T> {
    type Item = Result<T, Failed>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.waiting.pop_front()?;
        Some(first.result.recv().map_err(|_| Failed))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_order_however_long_each_takes() {
        let pool = Pool::new(3);
        let mut line = Line::new(&pool);
        let mut got = Vec::new();
        for number in 0..50_u64 {
            let job = move || {
                thread::sleep(Duration::from_millis(number * 7 % 5));
                number
            };
            got.extend(line.push(job).unwrap());
        }
        got.extend(line.map(Result::unwrap));
        assert_eq!(got, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn many_lines_share_the_places_and_none_is_left_waiting() {
        let pool = Pool::new(2);
        let (alive, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        thread::scope(|scope| {
            for _ in 0..9 {
                scope.spawn(|| {
                    let mut line = Line::new(&pool);
                    let mut count = 0;
                    for _ in 0..40 {
                        let (alive, most) = (Arc::clone(&alive), Arc::clone(&most));
                        let job = move || {
                            most.fetch_max(alive.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            thread::sleep(Duration::from_micros(200));
                            alive.fetch_sub(1, Ordering::SeqCst);
                        };
                        count += line.push(job).unwrap().len();
                        assert!(line.waiting.len() <= PIECES * 2);
                    }
                    assert_eq!(count + line.count(), 40);
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 2, "two threads do one piece each at a time");
        assert_eq!(*lock(&pool.places.free), PIECES * 2);
    }

    #[test]
    fn a_piece_that_panics_is_an_error_and_the_pool_goes_on() {
        let pool = Pool::new(1);
        let mut line = Line::new(&pool);
        line.push(|| panic!("a mistake")).unwrap();
        assert!(line.next().unwrap().is_err());
        assert!(line.push(|| ()).unwrap().is_empty());
        assert!(line.next().unwrap().is_ok());
    }
}
