//! One spelling for every version (PEP 440), so that a file name and METADATA can be compared.
//!
//! It knows nothing of order: which version is newer is the resolver's business.

/// The canonical spelling of `version`, trailing zeros of the release left out; `None` where it is not
/// a version in the sense of PEP 440, "Appendix B".
///
/// `1.0`, `1.0.0` and `v1` are one version, and so are `1.0rc1` and `1.0-RC.1`. In file names `-` is
/// written `_`, which this reads as well.
pub fn canonical(version: &str) -> Option<String> {
    let lower = version.trim().to_ascii_lowercase().replace('_', "-");
    let (public, local) = match lower.split_once('+') {
        Some((public, local)) => (public, Some(local)),
        None => (lower.as_str(), None),
    };
    let mut rest = Rest(public.strip_prefix('v').unwrap_or(public));
    let mut text = String::new();

    let first = rest.number()?;
    let mut release = vec![if rest.take("!") {
        if first != "0" {
            text.push_str(&format!("{first}!"));
        }
        rest.number()?
    } else {
        first
    }];
    while let Some(number) = rest.dotted_number() {
        release.push(number);
    }
    while release.len() > 1 && release.last().is_some_and(|number| number == "0") {
        release.pop();
    }
    text.push_str(&release.join("."));

    if let Some((label, number)) = rest.labelled(PRE) {
        text.push_str(&format!("{label}{number}"));
    }
    if let Some(number) = rest.implicit_post() {
        text.push_str(&format!(".post{number}"));
    } else if let Some((_, number)) = rest.labelled(POST) {
        text.push_str(&format!(".post{number}"));
    }
    if let Some((_, number)) = rest.labelled(DEV) {
        text.push_str(&format!(".dev{number}"));
    }
    if !rest.0.is_empty() {
        return None;
    }
    if let Some(local) = local {
        text.push('+');
        text.push_str(&canonical_local(local)?);
    }
    Some(text)
}

/// Spellings and what they mean; a longer spelling comes before its own beginning.
type Labels = &'static [(&'static str, &'static str)];

const PRE: Labels = &[
    ("alpha", "a"),
    ("a", "a"),
    ("beta", "b"),
    ("b", "b"),
    ("preview", "rc"),
    ("pre", "rc"),
    ("rc", "rc"),
    ("c", "rc"),
];
const POST: Labels = &[("post", "post"), ("rev", "post"), ("r", "post")];
const DEV: Labels = &[("dev", "dev")];

fn canonical_local(local: &str) -> Option<String> {
    let segments = local.split(['-', '.']).map(|segment| {
        let valid = !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let number = segment.bytes().all(|byte| byte.is_ascii_digit());
        valid.then(|| if number { without_zeros(segment) } else { segment.to_owned() })
    });
    Some(segments.collect::<Option<Vec<_>>>()?.join("."))
}

fn without_zeros(digits: &str) -> String {
    match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        number => number.to_owned(),
    }
}

/// What is still to be read.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn take(&mut self, text: &str) -> bool {
        match self.0.strip_prefix(text) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn number(&mut self) -> Option<String> {
        let end = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        (end > 0).then(|| without_zeros(digits))
    }

    fn dotted_number(&mut self) -> Option<String> {
        let mut ahead = Rest(self.0.strip_prefix('.')?);
        let number = ahead.number()?;
        self.0 = ahead.0;
        Some(number)
    }

    /// `1.0-1` is `1.0.post1`.
    fn implicit_post(&mut self) -> Option<String> {
        let mut ahead = Rest(self.0.strip_prefix('-')?);
        let number = ahead.number()?;
        self.0 = ahead.0;
        Some(number)
    }

    /// `[-_.]? LABEL [-_.]? NUMBER?`, a number that is left out being 0.
    fn labelled(&mut self, labels: Labels) -> Option<(&'static str, String)> {
        let ahead = self.0.strip_prefix(['-', '.']).unwrap_or(self.0);
        let (after, label) =
            labels.iter().find_map(|(spelling, label)| Some((ahead.strip_prefix(spelling)?, *label)))?;
        let mut numbered = Rest(after.strip_prefix(['-', '.']).unwrap_or(after));
        match numbered.number() {
            Some(number) => {
                self.0 = numbered.0;
                Some((label, number))
            }
            None => {
                self.0 = after;
                Some((label, "0".to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn spellings_of_one_version_are_equal() {
        for (one, other) in [
            ("1.0", "1.0.0"),
            ("v1", "1"),
            ("1.0-RC.1", "1rc1"),
            ("1.0_alpha", "1.0a0"),
            ("1.0.preview-2", "1.0c2"),
            ("1.0-1", "1.0.post1"),
            ("1.0_1", "1.0r1"),
            ("1.0dev", "1.0.dev0"),
            ("2011k", ""),
            ("0!1.0", "1.0"),
            ("2026.04.01", "2026.4.1"),
            ("1.0+Ubuntu_1", "1.0+ubuntu.1"),
            ("1.0a1.post2.dev3", "1a1-2dev3"),
        ] {
            let expected = if other.is_empty() { None } else { canonical(other) };
            assert_eq!(canonical(one), expected, "{one} {other}");
        }
    }

    #[test]
    fn different_versions_differ() {
        for (one, other) in
            [("1.0", "1.1"), ("1.0", "1.0rc1"), ("1.0", "1.0+cpu"), ("1!1.0", "1.0"), ("10", "1")]
        {
            assert_ne!(canonical(one).unwrap(), canonical(other).unwrap());
        }
    }

    #[test]
    fn what_is_not_a_version_has_no_spelling() {
        for version in ["", "1.0.", "1..0", "french toast", "1.0+", "1.0+a..b", "1.0+é", "!1", "1.0-", "../1"]
        {
            assert_eq!(canonical(version), None, "{version}");
        }
    }
}
