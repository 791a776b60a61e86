//! Fetching the blobs of a base ("Pulling blobs" of the distribution specification).
//!
//! A blob goes to a file without a name; where the connection breaks, what is missing is asked for. Its digest is
//! compared by whoever reads the file, which happens before anything of it is used.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use ureq::http::StatusCode;

use super::{Ask, Registry, TRIES};
use crate::error::{Context, Failure, Result, Writing};
use crate::image::oci::Descriptor;

impl Registry {
    /// Fetches a blob of any size to a temporary file of the length that the descriptor says.
    pub fn fetch(&self, descriptor: &Descriptor) -> Result<File> {
        let what = || format!("cannot fetch {} of {}/{}", descriptor.digest, self.host(), self.repository());
        let directory = std::env::temp_dir();
        let elsewhere = "set TMPDIR to a directory on another disk";
        let mut file = tempfile::tempfile_in(&directory).writing(&directory, elsewhere, what)?;
        let mut tries = 0;
        loop {
            tries += 1;
            let there = file.stream_position().context(what)?;
            match self.fetch_rest(descriptor, there, &mut file, &what)? {
                Ok(()) => {}
                Err(error) if tries >= TRIES => {
                    return Err(Failure::new(format!("{}: it was broken off", what()))
                        .because(error)
                        .hint("try again"));
                }
                Err(error) if is_full(&error) => {
                    return Err(error).writing(&directory, elsewhere, what);
                }
                Err(_) => continue,
            }
            let there = file.stream_position().context(what)?;
            if there == descriptor.size {
                return Ok(file);
            }
            if there > descriptor.size || tries >= TRIES {
                let message = format!("{}: it has {there} bytes, not {}", what(), descriptor.size);
                return Err(Failure::new(message).hint(
                    "something between here and the registry changes what passes; nothing was used of it",
                ));
            }
        }
    }

    /// Appends what comes after the first `there` bytes; the inner error is one that may not come again.
    fn fetch_rest(
        &self,
        descriptor: &Descriptor,
        there: u64,
        file: &mut File,
        what: &dyn Fn() -> String,
    ) -> Result<io::Result<()>> {
        let url = self.url(&format!("blobs/{}", descriptor.digest));
        let range = [("range", format!("bytes={there}-"))];
        let headers = if there > 0 { &range[..] } else { &[] };
        let mut response = self.send(&Ask { method: "GET", url: &url, headers }, what)?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if there > 0 => {}
            // It knows nothing of ranges, and begins anew.
            StatusCode::OK => {
                file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).context(what)?;
            }
            _ => return Err(self.refused(response, &what())),
        }
        let rest = descriptor.size.saturating_add(1);
        let mut body = response.body_mut().as_reader().take(rest);
        Ok(io::copy(&mut body, file).map(drop))
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
