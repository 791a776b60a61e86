//! Arguments that name variables: `0.0.0.0:${PORT:-8000}`, filled in when the app is started.
//!
//! An empty root has no shell to do it, and a script of ours would cost a second interpreter. The
//! packer reads what the user wrote, with a shell's rules for quotation marks; what is left is this:
//!
//! ```text
//! $$               a dollar
//! ${NAME}          the variable's value, nothing where it is unset
//! ${NAME-TEXT}     TEXT where it is unset
//! ${NAME:-TEXT}    TEXT where it is unset or empty
//! $={NAME...}      the same in one piece: what a shell does between quotation marks
//! ```
//! TEXT holds neither `$` nor `}`. As in a shell, a value that is not kept in one piece is split at white
//! space, and an argument that is made of nothing but empty values is none at all.

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Taken as it is.
    Text(&'a str),
    /// The value of a variable.
    Variable {
        /// Its name.
        name: &'a str,
        /// What stands for it where it is unset.
        default: Option<&'a str>,
        /// Whether the default also stands for an empty value.
        or_empty: bool,
        /// Whether the value stays in one piece.
        whole: bool,
    },
}

/// Reads a template; `None` for what is not one.
pub fn parse(template: &str) -> Option<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        if at > 0 {
            pieces.push(Piece::Text(&rest[..at]));
        }
        let after = &rest[at + 1..];
        if let Some(next) = after.strip_prefix('$') {
            pieces.push(Piece::Text(&rest[at..=at]));
            rest = next;
            continue;
        }
        let (whole, after) = after.strip_prefix('=').map_or((false, after), |after| (true, after));
        let (body, next) = after.strip_prefix('{')?.split_once('}')?;
        pieces.push(variable(body, whole)?);
        rest = next;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Some(pieces)
}

fn variable(body: &str, whole: bool) -> Option<Piece<'_>> {
    let end = body.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(body.len());
    let (name, rest) = body.split_at(end);
    let or_empty = rest.starts_with(":-");
    let default = match rest {
        "" => None,
        _ => Some(rest.strip_prefix(':').unwrap_or(rest).strip_prefix('-')?),
    };
    let is_name = is_name(name) && !default.is_some_and(|text| text.contains('$'));
    is_name.then_some(Piece::Variable { name, default, or_empty, whole })
}

/// Whether a template can name this variable: letters, digits and `_`, no digit in front.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

/// The arguments that a template comes to: none, one or several. What is no template is taken as it is.
pub fn expand<'v>(template: &str, value: impl Fn(&str) -> Option<&'v [u8]>) -> Vec<Vec<u8>> {
    let Some(pieces) = parse(template).filter(|pieces| !pieces.is_empty()) else {
        return vec![template.as_bytes().to_vec()];
    };
    let mut done: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<Vec<u8>> = None;
    for piece in &pieces {
        let (bytes, whole) = match piece {
            Piece::Text(text) => (text.as_bytes(), true),
            Piece::Variable { whole, .. } => (value_of(piece, &value), *whole),
        };
        if whole {
            open.get_or_insert_default().extend(bytes);
            continue;
        }
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n');
        for (index, word) in bytes.split(blank).enumerate() {
            if index > 0 {
                done.extend(open.take());
            }
            if !word.is_empty() {
                open.get_or_insert_default().extend(word);
            }
        }
    }
    done.extend(open);
    done
}

/// The one text that a template comes to: nothing is split, as where a shell sets a variable.
pub fn expand_whole<'v>(template: &str, value: impl Fn(&str) -> Option<&'v [u8]>) -> Vec<u8> {
    let pieces = parse(template).unwrap_or_else(|| vec![Piece::Text(template)]);
    let bytes = |piece: &Piece| match piece {
        Piece::Text(text) => text.as_bytes().to_vec(),
        Piece::Variable { .. } => value_of(piece, &value).to_vec(),
    };
    pieces.iter().flat_map(bytes).collect()
}

fn value_of<'a, 'v: 'a>(piece: &Piece<'a>, value: &impl Fn(&str) -> Option<&'v [u8]>) -> &'a [u8] {
    let Piece::Variable { name, default, or_empty, .. } = piece else { return &[] };
    let set = value(name).filter(|value| !(*or_empty && value.is_empty()));
    set.unwrap_or(default.unwrap_or_default().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(template: &str) -> Vec<String> {
        let value = |name: &str| match name {
            "PORT" => Some(b"80".as_slice()),
            "OPTIONS" => Some(b" --a  'b c' ".as_slice()),
            "EMPTY" => Some(b"".as_slice()),
            _ => None,
        };
        let words = expand(template, value).into_iter();
        words.map(|word| String::from_utf8(word).unwrap()).collect()
    }

    #[test]
    fn values_and_defaults_are_filled_in() {
        assert_eq!(expanded("0.0.0.0:${PORT}"), ["0.0.0.0:80"]);
        assert_eq!(expanded("${PORT:-8000}/${NONE:-x-y}/${EMPTY:-z}/${EMPTY-z}."), ["80/x-y/z/."]);
        assert_eq!(expanded("$$PORT costs $$1"), ["$PORT costs $1"]);
        assert_eq!(expanded("plain words"), ["plain words"]);
    }

    #[test]
    fn values_are_split_like_those_without_quotation_marks() {
        assert_eq!(expanded("${OPTIONS}"), ["--a", "'b", "c'"]);
        assert_eq!(expanded("x${OPTIONS}y"), ["x", "--a", "'b", "c'", "y"]);
        assert_eq!(expanded("$={OPTIONS}"), [" --a  'b c' "]);
        assert!(expanded("${EMPTY}${NONE}").is_empty());
        assert_eq!(expanded("$={NONE}"), [""]);
        assert_eq!(expanded(""), [""]);
    }

    #[test]
    fn a_variable_is_set_without_splitting() {
        let value = |_: &str| Some(b"a b".as_slice());
        assert_eq!(expand_whole("<${X}>", value), b"<a b>");
    }

    #[test]
    fn what_is_no_template_is_told_apart() {
        for text in ["$", "$x", "${", "${}", "${1}", "${A", "${A:x}", "${A:+x}", "${A-$}", "$=A", "${A B}"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
