//! `RECORD`: every file of a distribution with its hash and its size.
//!
//! Recording installed projects specification: CSV as Python's `csv` module reads and writes it by
//! default; a hash is `ALGORITHM=DIGEST`, the digest in URL-safe base64 without padding.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// What RECORD says of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its hash. Only RECORD itself and its signatures go without in a wheel.
    pub hash: Option<Hash>,
    /// Its length in bytes.
    pub size: Option<u64>,
}

/// A hash and how it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hash {
    /// How it was made.
    pub algorithm: Algorithm,
    /// The digest in URL-safe base64 without padding.
    pub text: String,
}

/// The algorithms that are accepted: "sha256 or better; specifically md5, sha1 and sha224 are not permitted".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads RECORD: claims by path; the error is the end of a sentence about the file.
pub fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Claim>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
    let mut claims = BTreeMap::new();
    for row in rows(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text))? {
        let mut fields = row.into_iter();
        let path = fields.next().unwrap_or_default();
        let (hash, size) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        if fields.next().is_some() {
            return Err(format!("has more than three fields for {path:?}"));
        }
        // Some builders list directories, as empty files; what is in them is listed anyway.
        if path.ends_with('/') {
            continue;
        }
        let claim = Claim { hash: parse_hash(&path, &hash)?, size: parse_size(&path, &size)? };
        if claims.get(&path).is_some_and(|other| *other != claim) {
            return Err(format!("has {path:?} twice, with different hashes or sizes"));
        }
        claims.insert(path, claim);
    }
    Ok(claims)
}

/// Writes RECORD with one line for each of `claims`, sorted by path.
pub fn write(claims: &BTreeMap<String, Claim>) -> String {
    let mut text = String::new();
    for (path, claim) in claims {
        let hash = claim.hash.as_ref().map(|hash| format!("{}={}", hash.algorithm.name(), hash.text));
        let size = claim.size.map(|size| size.to_string());
        text.push_str(&format!(
            "{},{},{}\n",
            quoted(path),
            hash.unwrap_or_default(),
            size.unwrap_or_default()
        ));
    }
    text
}

/// A hash in the making.
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-384.
    Sha384(Sha384),
    /// SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// The hash of nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha384 => Hasher::Sha384(Sha384::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha384(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The hash of all that was added.
    pub fn finish(self) -> Hash {
        let (algorithm, text) = match self {
            Hasher::Sha256(hasher) => (Algorithm::Sha256, base64(&hasher.finalize())),
            Hasher::Sha384(hasher) => (Algorithm::Sha384, base64(&hasher.finalize())),
            Hasher::Sha512(hasher) => (Algorithm::Sha512, base64(&hasher.finalize())),
        };
        Hash { algorithm, text }
    }
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        }
    }
}

fn parse_hash(path: &str, field: &str) -> Result<Option<Hash>, String> {
    if field.is_empty() {
        return Ok(None);
    }
    let (name, text) =
        field.split_once('=').ok_or_else(|| format!("has a strange hash for {path:?}: {field:?}"))?;
    let algorithms = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];
    let algorithm =
        algorithms.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name)).ok_or_else(
            || format!("has a {name} hash for {path:?}, and only sha256, sha384 and sha512 are accepted"),
        )?;
    Ok(Some(Hash { algorithm, text: text.trim_end_matches('=').to_owned() }))
}

fn parse_size(path: &str, field: &str) -> Result<Option<u64>, String> {
    if field.is_empty() {
        return Ok(None);
    }
    field.parse().map(Some).map_err(|_| format!("has a strange size for {path:?}: {field:?}"))
}

/// The rows of a CSV text: fields separated by commas, quoted with `"`, a quote doubled inside.
fn rows(text: &str) -> Result<Vec<Vec<String>>, String> {
    let mut rows = Vec::new();
    let mut row = vec![String::new()];
    let mut characters = text.chars().peekable();
    let mut quoted = false;
    while let Some(character) = characters.next() {
        let field = row.last_mut().ok_or("is empty")?;
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            _ if quoted => field.push(character),
            ',' => row.push(String::new()),
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' => rows.push(std::mem::replace(&mut row, vec![String::new()])),
            other => field.push(other),
        }
    }
    if quoted {
        return Err("ends inside a quoted field".to_owned());
    }
    rows.push(row);
    rows.retain(|row| row.iter().any(|field| !field.is_empty()));
    Ok(rows)
}

/// A field as it is written. Quoted is also what would be taken for the mark of a byte order, at the beginning of the file.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\r', '\n']) || field.starts_with(BYTE_ORDER_MARK) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// URL-safe base64 without padding (RFC 4648, section 5).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(char::from(letter));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(algorithm: Algorithm, bytes: &[u8]) -> Hash {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    #[test]
    fn base64_is_url_safe_and_unpadded() {
        assert_eq!(base64(b""), "");
        assert_eq!(base64(&[0xfb]), "-w");
        assert_eq!(base64(&[0xff, 0xef]), "_-8");
        assert_eq!(base64(b"coil"), "Y29pbA");
        assert_eq!(hash(Algorithm::Sha256, b"").text, "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let claim = Claim { hash: Some(hash(Algorithm::Sha512, b"x")), size: Some(1) };
        let none = Claim { hash: None, size: None };
        let claims: BTreeMap<_, _> =
            [("a,b", &claim), ("a\"b", &claim), ("a\nb", &claim), ("../../../bin/x", &none), ("é", &claim)]
                .map(|(path, claim)| (path.to_owned(), claim.clone()))
                .into();
        assert_eq!(parse(write(&claims).as_bytes()), Ok(claims));
        let first: BTreeMap<_, _> = [("\u{feff}a".to_owned(), claim)].into();
        assert_eq!(parse(write(&first).as_bytes()), Ok(first), "it stands at the beginning of the file");
    }

    #[test]
    fn lines_may_end_as_on_windows_and_hashes_may_be_padded() {
        let claims = parse(b"a,sha256=YQ==,1\r\n\"b,c\",SHA384=Yg,\r\n\r\nRECORD,,").unwrap();
        assert_eq!(claims["a"].hash.as_ref().unwrap().text, "YQ");
        assert_eq!(claims["b,c"].size, None);
        assert_eq!(claims["RECORD"], Claim { hash: None, size: None });
    }

    #[test]
    fn records_that_say_nothing_certain_are_refused() {
        for text in [
            "a,sha256=x,1\na,sha256=y,1",
            "a,md5=x,1",
            "a,sha1=x,1",
            "a,sha256,1",
            "a,sha256=x,-1",
            "a,sha256=x,99999999999999999999",
            "a,sha256=x,1,2",
            "\"a,sha256=x,1",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(parse(b"\xff").is_err());
    }
}
