//! Markers: for which environments, extras and groups something is (PyPA, "Dependency specifiers", and
//! the names that PEP 751 adds to them).
//!
//! A marker that cannot be parsed, or that compares what cannot be compared, is an error: nothing is
//! guessed about what an environment needs.

use std::collections::{BTreeMap, BTreeSet};

use super::normal_name;
use super::specifier::{Specifiers, Version};

/// What markers ask about.
#[derive(Debug, Clone, Copy)]
pub struct Environment<'a> {
    /// The interpreter's answers, by name (`sys_platform`).
    pub markers: &'a BTreeMap<String, String>,
    /// `extra`: the one extra that a wheel's dependency is looked at for; empty for none.
    pub extra: &'a str,
    /// `extras`: those that are installed from a lock, in normal form.
    pub extras: &'a BTreeSet<String>,
    /// `dependency_groups`: those that are installed from a lock, in normal form.
    pub groups: &'a BTreeSet<String>,
}

/// A marker, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker(Expression);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expression {
    Any(Vec<Expression>),
    All(Vec<Expression>),
    Compare(Value, String, Value),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    /// One of [`NAMES`].
    Name(&'static str),
    Text(String),
}

/// The names that markers know, and their spellings of old (PEP 345).
const NAMES: [(&str, &str); 20] = [
    ("os_name", "os_name"),
    ("sys_platform", "sys_platform"),
    ("platform_machine", "platform_machine"),
    ("platform_python_implementation", "platform_python_implementation"),
    ("platform_release", "platform_release"),
    ("platform_system", "platform_system"),
    ("platform_version", "platform_version"),
    ("python_version", "python_version"),
    ("python_full_version", "python_full_version"),
    ("implementation_name", "implementation_name"),
    ("implementation_version", "implementation_version"),
    ("extra", "extra"),
    ("extras", "extras"),
    ("dependency_groups", "dependency_groups"),
    ("os.name", "os_name"),
    ("sys.platform", "sys_platform"),
    ("platform.version", "platform_version"),
    ("platform.machine", "platform_machine"),
    ("platform.python_implementation", "platform_python_implementation"),
    ("python_implementation", "platform_python_implementation"),
];

/// How deep parentheses may be nested.
const DEPTH: usize = 64;

impl Marker {
    /// Parses a marker; the error says what is wrong where.
    pub fn parse(text: &str) -> Result<Marker, String> {
        let mut parser = Parser { words: words(text)?, at: 0 };
        let expression = parser.any(0)?;
        match parser.words.get(parser.at) {
            None => Ok(Marker(expression)),
            Some(word) => Err(format!("{} stands where `and`, `or` or the end is expected", word.shown())),
        }
    }

    /// Whether it holds; the error says what cannot be compared.
    pub fn holds(&self, environment: &Environment) -> Result<bool, String> {
        self.0.holds(environment)
    }
}

impl Expression {
    fn holds(&self, environment: &Environment) -> Result<bool, String> {
        match self {
            Expression::Any(parts) => {
                parts.iter().try_fold(false, |any, part| Ok(part.holds(environment)? || any))
            }
            Expression::All(parts) => {
                parts.iter().try_fold(true, |all, part| Ok(part.holds(environment)? && all))
            }
            Expression::Compare(left, operator, right) => compare(left, operator, right, environment),
        }
    }
}

fn compare(left: &Value, operator: &str, right: &Value, environment: &Environment) -> Result<bool, String> {
    // PEP 751: "extras" and "dependency_groups" are sets, asked with `in` and `not in`.
    if let Value::Name(name @ ("extras" | "dependency_groups")) = right {
        let set = if *name == "extras" { environment.extras } else { environment.groups };
        let member = set.contains(&normal_name(&left.of(environment)?));
        return match operator {
            "in" => Ok(member),
            "not in" => Ok(!member),
            _ => Err(format!("{name} is a set, and {operator} cannot be asked of it")),
        };
    }
    let (mut one, mut two) = (left.of(environment)?, right.of(environment)?);
    if [left, right].contains(&&Value::Name("extra")) {
        (one, two) = (normal_name(&one), normal_name(&two));
        return match operator {
            "==" => Ok(one == two),
            "!=" => Ok(one != two),
            _ => Err(format!("{operator} cannot be asked of an extra")),
        };
    }
    match operator {
        "in" => return Ok(two.contains(&one)),
        "not in" => return Ok(!two.contains(&one)),
        _ => {}
    }
    // "If both sides are valid versions, version comparison is used; otherwise strings are compared."
    if let (Some(version), Some(specifiers)) =
        (Version::parse(&one), Specifiers::parse(&format!("{operator}{two}")))
    {
        return Ok(specifiers.allow(&version));
    }
    match operator {
        "==" | "===" => Ok(one == two),
        "!=" => Ok(one != two),
        "<" => Ok(one < two),
        "<=" => Ok(one <= two),
        ">" => Ok(one > two),
        ">=" => Ok(one >= two),
        _ => Err(format!("{one:?} {operator} {two:?} compares what are no versions")),
    }
}

impl Value {
    fn of(&self, environment: &Environment) -> Result<String, String> {
        match self {
            Value::Text(text) => Ok(text.clone()),
            Value::Name("extra") => Ok(environment.extra.to_owned()),
            Value::Name(name @ ("extras" | "dependency_groups")) => {
                Err(format!("{name} is a set: write 'NAME' in {name}"))
            }
            Value::Name(name) => Ok(environment.markers.get(*name).cloned().unwrap_or_default()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Open,
    Close,
    Operator(String),
    Name(String),
    Text(String),
}

impl Word {
    fn shown(&self) -> String {
        match self {
            Word::Open => "`(`".to_owned(),
            Word::Close => "`)`".to_owned(),
            Word::Operator(text) | Word::Name(text) => format!("`{text}`"),
            Word::Text(text) => format!("{text:?}"),
        }
    }
}

fn words(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '(' | ')' => {
                words.push(if first == '(' { Word::Open } else { Word::Close });
                1
            }
            '"' | '\'' => {
                let end =
                    rest[1..].find(first).ok_or_else(|| format!("the quotation {rest} is not closed"))?;
                words.push(Word::Text(rest[1..=end].to_owned()));
                end + 2
            }
            '<' | '>' | '=' | '!' | '~' => {
                let end = rest.find(|c: char| !"<>=!~".contains(c)).unwrap_or(rest.len());
                words.push(Word::Operator(rest[..end].to_owned()));
                end
            }
            _ => {
                let inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
                let end = rest.find(|c: char| !inside(c)).unwrap_or(rest.len());
                if end == 0 {
                    return Err(format!("{first:?} has no meaning in a marker"));
                }
                words.push(Word::Name(rest[..end].to_owned()));
                end
            }
        };
        rest = rest[length..].trim_start();
    }
    Ok(words)
}

struct Parser {
    words: Vec<Word>,
    at: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Word> {
        self.at += 1;
        self.words.get(self.at - 1).cloned()
    }

    fn takes(&mut self, name: &str) -> bool {
        let is = matches!(self.words.get(self.at), Some(Word::Name(word)) if word == name);
        self.at += usize::from(is);
        is
    }

    fn any(&mut self, depth: usize) -> Result<Expression, String> {
        let mut parts = vec![self.all(depth)?];
        while self.takes("or") {
            parts.push(self.all(depth)?);
        }
        Ok(single(parts, Expression::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Expression, String> {
        let mut parts = vec![self.one(depth)?];
        while self.takes("and") {
            parts.push(self.one(depth)?);
        }
        Ok(single(parts, Expression::All))
    }

    fn one(&mut self, depth: usize) -> Result<Expression, String> {
        if self.words.get(self.at) == Some(&Word::Open) {
            if depth == DEPTH {
                return Err("its parentheses are nested too deeply".to_owned());
            }
            self.at += 1;
            let inside = self.any(depth + 1)?;
            return match self.next() {
                Some(Word::Close) => Ok(inside),
                _ => Err("a parenthesis is not closed".to_owned()),
            };
        }
        let left = self.value()?;
        let operator = self.operator()?;
        let right = self.value()?;
        if matches!((&left, &right), (Value::Text(_), Value::Text(_))) {
            return Err("it compares two texts, and no name".to_owned());
        }
        Ok(Expression::Compare(left, operator, right))
    }

    fn operator(&mut self) -> Result<String, String> {
        const OPERATORS: [&str; 8] = ["===", "~=", "==", "!=", "<=", ">=", "<", ">"];
        if self.takes("in") {
            return Ok("in".to_owned());
        }
        if self.takes("not") {
            return if self.takes("in") {
                Ok("not in".to_owned())
            } else {
                Err("`in` is missing after `not`".to_owned())
            };
        }
        match self.next() {
            Some(Word::Operator(text)) if OPERATORS.contains(&text.as_str()) => Ok(text),
            Some(other) => Err(format!("{} is no comparison", other.shown())),
            None => Err("it ends where a comparison is expected".to_owned()),
        }
    }

    fn value(&mut self) -> Result<Value, String> {
        match self.next() {
            Some(Word::Text(text)) => Ok(Value::Text(text)),
            Some(Word::Name(name)) => match NAMES.iter().find(|(spelling, _)| *spelling == name) {
                Some((_, known)) => Ok(Value::Name(known)),
                None => Err(format!("`{name}` is not a name that markers know")),
            },
            Some(other) => Err(format!("{} stands where a name or a text is expected", other.shown())),
            None => Err("it ends where a name or a text is expected".to_owned()),
        }
    }
}

fn single(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.remove(0),
        _ => join(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str) -> Result<bool, String> {
        let pairs = [
            ("python_version", "3.12"),
            ("python_full_version", "3.12.1"),
            ("sys_platform", "linux"),
            ("platform_release", "6.1.0-13-amd64"),
            ("platform_machine", "x86_64"),
        ];
        let markers = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let set = |name: &str| BTreeSet::from([name.to_owned()]);
        let (extras, groups) = (set("http-2"), set("dev"));
        let environment =
            Environment { markers: &markers, extra: "Http_2", extras: &extras, groups: &groups };
        Marker::parse(text)?.holds(&environment)
    }

    #[test]
    fn markers_hold_as_the_specification_says() {
        for yes in [
            "python_version >= '3.9'",
            "'3.9' <= python_version",
            "python_version < \"3.13\" and sys_platform == 'linux'",
            "sys_platform == 'win32' or python_full_version == '3.12.*'",
            "sys_platform == 'win32' and python_version > '3' or platform_machine == 'x86_64'",
            "(sys_platform=='linux')and(python_version~='3.8')",
            "sys.platform != 'darwin'",
            "'linux' in sys_platform",
            "python_version not in '2.7, 3.6'",
            "platform_machine in 'x86_64 AMD64'",
            "extra == 'http.2'",
            "'HTTP_2' in extras",
            "'test' not in dependency_groups and 'dev' in dependency_groups",
            "platform_release >= '4'",
        ] {
            assert_eq!(holds(yes), Ok(true), "{yes}");
        }
        for no in [
            "python_version < '3.12'",
            "python_version == '3.1'",
            "extra == 'socks'",
            "'x' in extras or 'x' in dependency_groups",
        ] {
            assert_eq!(holds(no), Ok(false), "{no}");
        }
    }

    #[test]
    fn what_is_no_marker_is_told_and_nothing_panics() {
        let deep = format!("{}python_version > '3'{}", "(".repeat(9999), ")".repeat(9999));
        for text in [
            "",
            "python_version",
            "python_version >",
            "> '3'",
            "python_version => '3'",
            "(python_version > '3'",
            "python_version > '3",
            "python_version > '3')",
            "nope == '1'",
            "'a' == 'b'",
            "python_version not '3'",
            "python_version > '3' sys_platform",
            "é == '1'",
            "extras == 'x'",
            "'x' > extras",
            "sys_platform ~= 'linux'",
            "extra < 'x'",
            deep.as_str(),
            "and",
            "not in",
        ] {
            assert!(holds(text).is_err(), "{text}");
        }
        assert_eq!(holds("nope == '1'").unwrap_err(), "`nope` is not a name that markers know");
    }
}
