//! Bringing a blob into a repository ("Pushing blobs" of the distribution specification).
//!
//! First the registry is asked whether it has the blob, then to take it over from another repository. Only then is
//! it sent, in one piece; where the connection breaks, the registry is asked how much it got, and gets the rest.

use std::io::{self, Read};
use std::thread;

use ureq::Body;
use ureq::http::{Response, StatusCode};

use coil_bootstrap::format::digest::Digest;

use super::patience::{self, TRIES};
use super::{Ask, Registry, header};
use crate::error::{Context, Failure, Result};

/// How many bytes have to arrive before a connection breaks, so that that does not count as a failure.
const MUCH: u64 = 16 << 20;

/// How a blob came to be in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It was there.
    There,
    /// It was taken over from another repository.
    Mounted,
    /// It was sent.
    Sent,
}

/// A blob to bring there.
pub struct Upload<'a> {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// A repository of the same registry that may have it.
    pub from: Option<&'a str>,
    /// Begins to read it.
    pub open: &'a dyn Fn() -> io::Result<Box<dyn Read + Send>>,
    /// Is told how many bytes of it are on their way.
    pub sent: &'a dyn Fn(u64),
}

/// What became of one try to send a blob.
enum Try {
    /// All of it is there; where the upload goes on.
    All(String),
    /// It may go well the next time.
    Broken(Failure),
}

/// Counts what is read.
struct Counted<'a, R> {
    inner: R,
    at: u64,
    tell: &'a dyn Fn(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.at += count as u64;
        (self.tell)(self.at);
        Ok(count)
    }
}

impl Registry {
    /// Sees to it that the repository has the blob.
    pub fn upload(&self, upload: &Upload) -> Result<Arrival> {
        if self.has(&upload.digest)? {
            return Ok(Arrival::There);
        }
        let what = || format!("cannot push {} to {}/{}", upload.digest, self.host(), self.repository());
        let mut url = self.url("blobs/uploads/");
        if let Some(from) = upload.from.filter(|from| *from != self.repository()) {
            url += &format!("?mount={}&from={from}", upload.digest);
        }
        let response = self.send(&Ask { method: "POST", url: &url, headers: &[] }, &what)?;
        match response.status() {
            StatusCode::CREATED => return Ok(Arrival::Mounted),
            StatusCode::ACCEPTED => {}
            _ => return Err(self.refused(response, &what())),
        }
        let mut place = self.location(&response, &what)?;
        let mut tries = 0;
        let mut there = 0;
        while there < upload.size {
            tries += 1;
            match self.send_rest(upload, &place, there, tries, &what)? {
                Try::All(next) => {
                    place = next;
                    break;
                }
                Try::Broken(failure) if tries >= TRIES => return Err(failure),
                Try::Broken(failure) => {
                    let before = there;
                    (there, place) = self.progress(&place, &what).ok_or(failure)?;
                    match there.saturating_sub(before) {
                        0 => thread::sleep(patience::pause(tries)),
                        // A line that breaks now and then brings even the largest blob there.
                        MUCH.. => tries = 0,
                        _ => {}
                    }
                }
            }
        }
        let separator = if place.contains('?') { '&' } else { '?' };
        let url = format!("{place}{separator}digest={}", upload.digest);
        let response = self.send(&Ask { method: "PUT", url: &url, headers: &[] }, &what)?;
        match response.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT => {}
            _ => return Err(self.refused(response, &what())),
        }
        match header(response.headers(), "docker-content-digest")
            .filter(|stored| *stored != upload.digest.to_string())
        {
            Some(stored) => Err(self.lies(&what(), &upload.digest.to_string(), &stored)),
            None => Ok(Arrival::Sent),
        }
    }

    /// Sends what comes after the first `there` bytes. Where that breaks off, waits before the next of all the `tries`.
    fn send_rest(
        &self,
        upload: &Upload,
        place: &str,
        there: u64,
        tries: u32,
        what: &dyn Fn() -> String,
    ) -> Result<Try> {
        let rest = upload.size - there;
        let mut headers = vec![("content-type", "application/octet-stream".to_owned())];
        // What was thought to be lost may arrive yet: then the registry refuses to have it twice.
        if tries > 1 {
            headers.push(("content-range", format!("{there}-{}", upload.size - 1)));
        }
        let ask = Ask { method: "PATCH", url: place, headers: &headers };
        let open = || -> Result<Box<dyn Read>> {
            let mut reader = (upload.open)().context(what)?;
            let passed = io::copy(&mut (&mut reader).take(there), &mut io::sink()).context(what)?;
            match passed == there {
                true => Ok(Box::new(Counted { inner: reader, at: there, tell: upload.sent })),
                false => Err(Failure::new(format!("{}: the layer has become shorter", what()))),
            }
        };
        // Not tried again as it is: what arrived of it has to be known first.
        let response = match self.once_let_in(&ask, what, &mut { open }, rest)? {
            Ok(response) => response,
            Err(error) => {
                let failure = Failure::new(format!("{}: the upload was broken off", what()));
                return Ok(Try::Broken(failure.because(error).hint("try again: what arrived whole is kept")));
            }
        };
        let wait = patience::before_next(response.status(), response.headers(), tries);
        match (response.status(), wait) {
            (StatusCode::ACCEPTED | StatusCode::CREATED | StatusCode::NO_CONTENT, _) => {
                self.location(&response, what).map(Try::All)
            }
            (_, Some(wait)) => {
                thread::sleep(wait);
                Ok(Try::Broken(self.refused(response, &what())))
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, _) if tries > 1 => {
                Ok(Try::Broken(self.refused(response, &what())))
            }
            _ => Err(self.refused(response, &what())),
        }
    }

    /// How many bytes of an upload arrived, and where it goes on; `None` where the registry has forgotten it.
    fn progress(&self, place: &str, what: &dyn Fn() -> String) -> Option<(u64, String)> {
        let response = self.send(&Ask { method: "GET", url: place, headers: &[] }, what).ok()?;
        if response.status() != StatusCode::NO_CONTENT {
            return None;
        }
        let range = header(response.headers(), "range");
        let last = range.as_deref().and_then(|range| range.rsplit('-').next()?.parse::<u64>().ok());
        // "0-0" is what nothing looks like, and one byte as well: that is sent again, from the beginning.
        let there = last.filter(|last| *last > 0).map_or(0, |last| last + 1);
        Some((there, self.location(&response, what).unwrap_or_else(|_| place.to_owned())))
    }

    /// Where an upload goes on: absolute, or relative to the registry.
    fn location(&self, response: &Response<Body>, what: &dyn Fn() -> String) -> Result<String> {
        match header(response.headers(), "location") {
            Some(place) if place.starts_with('/') => Ok(format!("{}{place}", self.base)),
            Some(place) if place.starts_with("http://") || place.starts_with("https://") => Ok(place),
            _ => Err(Failure::new(format!("{}: {} does not say where to send it", what(), self.host()))
                .hint("is this the address of a registry?")),
        }
    }
}
