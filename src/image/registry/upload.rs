//! Bringing a blob into a repository ("Pushing blobs" of the distribution specification).
//!
//! First the registry is asked whether it has the blob, then to take it over from another repository. Only then is
//! it sent, in one piece; where the connection breaks, the registry is asked how much it got, and gets the rest.

use std::io::{self, Read};

use ureq::Body;
use ureq::http::{Response, StatusCode};

use coil_bootstrap::format::digest::Digest;

use super::{Ask, Registry, TRIES, header};
use crate::error::{Context, Failure, Result};

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
            let sent = self.send_rest(upload, &place, there, &what);
            match sent {
                Ok(next) => {
                    place = next;
                    break;
                }
                Err(failure) if tries >= TRIES => return Err(failure),
                Err(failure) => (there, place) = self.progress(&place, &what).ok_or(failure)?,
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

    /// Sends what comes after the first `there` bytes; where the upload goes on afterwards.
    fn send_rest(
        &self,
        upload: &Upload,
        place: &str,
        there: u64,
        what: &dyn Fn() -> String,
    ) -> Result<String> {
        let rest = upload.size - there;
        let mut headers = vec![("content-type", "application/octet-stream".to_owned())];
        if there > 0 {
            headers.push(("content-range", format!("{there}-{}", upload.size - 1)));
        }
        let ask = Ask { method: "PATCH", url: place, headers: &headers };
        let open = || -> Result<Box<dyn Read>> {
            let mut reader = (upload.open)().context(what)?;
            let passed = io::copy(&mut (&mut reader).take(there), &mut io::sink()).context(what)?;
            match passed == there {
                true => Ok(reader),
                false => Err(Failure::new(format!("{}: the layer has become shorter", what()))),
            }
        };
        // Not tried again as it is: what arrived of it has to be known first.
        let response = self.once_let_in(&ask, what, &mut { open }, rest)?;
        let response = response.map_err(|error| {
            Failure::new(format!("{}: the upload was broken off", what()))
                .because(error)
                .hint("try again: what arrived is kept")
        })?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::CREATED | StatusCode::NO_CONTENT => {
                self.location(&response, what)
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
