//! What of an offered file this machine has already: in bundles that were installed, in transfers that broke off, in the
//! launcher that is running.
//!
//! Nothing is believed: whatever is found has been compared with the checksum that is wanted, but for the beginning of a
//! piece, which is compared when its end has arrived.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::cut::{self, Part};
use super::offer::Offer;
use super::partial::{OFFER, PART};
use super::wire::MAX_MESSAGE;
use crate::bundle::Bundle;
use crate::format::checksum::{Checksum, Summing};

/// Where a piece, or the beginning of one, can be copied from.
#[derive(Debug, Clone)]
pub struct Place {
    /// The open file.
    pub file: Rc<File>,
    /// Where in it the piece begins, in bytes.
    pub offset: u64,
    /// How much of it is there, in bytes.
    pub length: u64,
}

/// A search for the pieces of an offer.
pub struct Search {
    /// What is looked for, in order of the checksums. A list, and not a map: it is short, and a map is much code.
    wanted: Vec<Wanted>,
}

struct Wanted {
    checksum: Checksum,
    length: u64,
    /// Where it is, or the beginning of it.
    place: Option<Place>,
}

impl Wanted {
    fn is_found(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.length == self.length)
    }
}

impl Search {
    /// A search for everything in `offer` that has a checksum.
    pub fn of(offer: &Offer) -> Self {
        let items = offer.items.iter().filter_map(|item| Some((item.checksum?, &item.range)));
        let layers = offer.layers.iter().map(|layer| (layer.checksum, &layer.range));
        let mut wanted: Vec<Wanted> = Vec::with_capacity(offer.items.len() + offer.layers.len());
        for (checksum, range) in items.chain(layers) {
            if let Err(place) = wanted.binary_search_by(|known| known.checksum.cmp(&checksum)) {
                wanted.insert(place, Wanted { checksum, length: range.end - range.start, place: None });
            }
        }
        Search { wanted }
    }

    /// Looks into the bundles below `state`, where each app has its releases: `APP/releases/ID/APP`.
    pub fn in_releases(&mut self, state: &Path, app: &str) {
        let own = state.join(app);
        let others = entries(state).into_iter().filter(|other| *other != own);
        for app in [own.clone()].into_iter().chain(others) {
            for file in entries(&app.join("releases")).iter().flat_map(|release| entries(release)) {
                if self.wanted.iter().all(Wanted::is_found) {
                    return;
                }
                if is_ours(&file)
                    && let Ok(bundle) = Bundle::open(&file)
                {
                    self.in_bundle(&bundle);
                }
            }
        }
    }

    /// Looks into one bundle. Layers are called by their checksums; of a layer that is not wanted as it is, the frames
    /// may be.
    fn in_bundle(&mut self, bundle: &Bundle) {
        let Ok(file) = bundle.file().try_clone().map(Rc::new) else { return };
        for (range, part) in cut::parts(bundle) {
            let length = range.end - range.start;
            match part {
                Part::Changing => {}
                Part::Fixed => self.sum(&file, range.start, length),
                Part::Layer(layer) if self.find(&layer.checksum).is_some() => {
                    self.compare(&file, range.start, length, layer.checksum);
                }
                Part::Layer(layer) => {
                    for (frame, worth) in cut::frames(bundle, layer) {
                        if worth {
                            self.sum(&file, frame.start, frame.end - frame.start);
                        }
                    }
                }
            }
        }
    }

    /// Looks into `file` for every piece at the place that it has in the offered file.
    pub fn at_the_same_place(&mut self, file: File, offer: &Offer) {
        let end = file.metadata().map_or(0, |there| there.len());
        let file = Rc::new(file);
        for item in offer.items.iter().filter(|item| item.range.end <= end) {
            if let Some(checksum) = item.checksum {
                self.compare(&file, item.range.start, item.range.end - item.range.start, checksum);
            }
        }
    }

    /// Looks into what other transfers have left below `incoming`; not into `own`.
    pub fn in_transfers(&mut self, incoming: &Path, own: &Path) {
        for directory in entries(incoming).iter().filter(|directory| *directory != own) {
            let offer = directory.join(OFFER);
            let fits = fs::metadata(&offer).is_ok_and(|there| there.len() <= MAX_MESSAGE as u64);
            let offer = fs::read(&offer).ok().filter(|_| fits).and_then(|bytes| Offer::parse(&bytes));
            let (Some(offer), Ok(file)) = (offer, File::open(directory.join(PART))) else { continue };
            let end = file.metadata().map_or(0, |there| there.len());
            let file = Rc::new(file);
            let items = offer.items.iter().filter_map(|item| Some((&item.range, item.checksum?)));
            let layers = offer.layers.iter().map(|layer| (&layer.range, layer.checksum));
            for (range, checksum) in items.chain(layers) {
                if range.end <= end {
                    self.compare(&file, range.start, range.end - range.start, checksum);
                } else if range.start < end {
                    self.keep_beginning(&file, range, end, checksum);
                }
            }
        }
    }

    /// For each item of the offer, what there is of it.
    pub fn places(&self, offer: &Offer) -> Vec<Option<Place>> {
        let known = |checksum: &Checksum| self.wanted[self.find(checksum)?].place.clone();
        let mut places: Vec<_> =
            offer.items.iter().map(|item| item.checksum.as_ref().and_then(known)).collect();
        for layer in &offer.layers {
            let whole =
                self.find(&layer.checksum).map(|index| &self.wanted[index]).filter(|it| it.is_found());
            let Some(whole) = whole.and_then(|whole| whole.place.as_ref()) else { continue };
            for (item, place) in offer.items[layer.items.clone()].iter().zip(&mut places[layer.items.clone()])
            {
                let offset = whole.offset + (item.range.start - layer.range.start);
                let length = item.range.end - item.range.start;
                *place = Some(Place { file: Rc::clone(&whole.file), offset, length });
            }
        }
        places
    }

    fn find(&self, checksum: &Checksum) -> Option<usize> {
        self.wanted.binary_search_by(|known| known.checksum.cmp(checksum)).ok()
    }

    /// The one that is looked for under this checksum and has this length.
    fn lacking(&mut self, checksum: &Checksum, length: u64) -> Option<&mut Wanted> {
        let index = self.find(checksum)?;
        let wanted = &mut self.wanted[index];
        (wanted.length == length && !wanted.is_found()).then_some(wanted)
    }

    /// Keeps the piece if it is lacking under `checksum`, and is what that says.
    fn compare(&mut self, file: &Rc<File>, offset: u64, length: u64, checksum: Checksum) {
        if let Some(wanted) = self.lacking(&checksum, length)
            && sum(file, offset, length) == Some(checksum)
        {
            wanted.place = Some(Place { file: Rc::clone(file), offset, length });
        }
    }

    /// Sums the piece up if by its length it could be one that is lacking, and keeps it if it is.
    fn sum(&mut self, file: &Rc<File>, offset: u64, length: u64) {
        if self.wanted.iter().any(|wanted| wanted.length == length && !wanted.is_found())
            && let Some(checksum) = sum(file, offset, length)
            && let Some(wanted) = self.lacking(&checksum, length)
        {
            wanted.place = Some(Place { file: Rc::clone(file), offset, length });
        }
    }

    /// Keeps what there is of a piece that breaks off at `end`, unless there is more of it elsewhere.
    fn keep_beginning(&mut self, file: &Rc<File>, piece: &Range<u64>, end: u64, checksum: Checksum) {
        let length = end - piece.start;
        if let Some(wanted) = self.lacking(&checksum, piece.end - piece.start)
            && wanted.place.as_ref().is_none_or(|place| place.length < length)
        {
            wanted.place = Some(Place { file: Rc::clone(file), offset: piece.start, length });
        }
    }
}

/// The checksum of a range of the file; `None` where it cannot be read.
pub fn sum(file: &File, mut offset: u64, length: u64) -> Option<Checksum> {
    const STEP: u64 = 128 << 10;
    let mut buffer = vec![0; length.min(STEP) as usize];
    let mut summing = Summing::default();
    let end = offset.checked_add(length)?;
    while offset < end {
        let step = (end - offset).min(STEP) as usize;
        file.read_exact_at(&mut buffer[..step], offset).ok()?;
        summing.update(&buffer[..step]);
        offset += step as u64;
    }
    Some(summing.finish())
}

/// Whether this is a plain file that nobody else could have put there. What is in it is compared in any case.
fn is_ours(path: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(path).is_ok_and(|there| there.is_file() && [0, own].contains(&there.uid()))
}

/// What is in a directory; nothing where it cannot be read.
fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
