//! Splits a command line into words by a shell's rules, without a shell.
//!
//! Quotation marks and backslashes mean what they mean in POSIX, and so do `$NAME`, `${NAME}`, `${NAME-TEXT}`
//! and `${NAME:-TEXT}`, which become the templates that the launcher fills in. What only a shell can do
//! (`&&`, pipes, redirections, `$(...)`) is refused by name: a bundle starts one program.

use std::iter::Peekable;
use std::str::CharIndices;

use coil_bootstrap::format::template;

/// One word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Word {
    /// The word as a template.
    pub template: String,
    /// The word itself, if it names no variable.
    pub text: Option<String>,
}

/// Splits `line`; the error is the end of a sentence.
pub fn split(line: &str) -> Result<Vec<Word>, String> {
    let mut splitter =
        Splitter { line, letters: line.char_indices().peekable(), words: Vec::new(), open: None };
    splitter.run()?;
    Ok(splitter.words)
}

/// A word of which a part has been read.
#[derive(Default)]
struct Open {
    template: String,
    text: String,
    has_variable: bool,
}

struct Splitter<'a> {
    line: &'a str,
    letters: Peekable<CharIndices<'a>>,
    words: Vec<Word>,
    open: Option<Open>,
}

const NOT_CLOSED: &str = "a quotation mark is not closed";

impl Splitter<'_> {
    fn run(&mut self) -> Result<(), String> {
        while let Some((_, letter)) = self.letters.next() {
            match letter {
                '\n' | ' ' | '\t' | '\r' => self.close(),
                '#' if self.open.is_none() => {
                    while self.letters.next_if(|(_, letter)| *letter != '\n').is_some() {}
                }
                '\\' => match self.letters.next() {
                    Some((_, '\n')) => {}
                    Some((_, letter)) => self.add(letter),
                    None => return Err("nothing follows its last backslash".into()),
                },
                '\'' => self.single()?,
                '"' => self.double()?,
                '$' => self.dollar(false)?,
                '|' | '&' | ';' | '<' | '>' | '(' | ')' | '`' => return Err(self.needs_a_shell(letter)),
                letter => self.add(letter),
            }
        }
        self.close();
        Ok(())
    }

    fn single(&mut self) -> Result<(), String> {
        self.open.get_or_insert_default();
        loop {
            match self.letters.next() {
                Some((_, '\'')) => return Ok(()),
                Some((_, letter)) => self.add(letter),
                None => return Err(NOT_CLOSED.into()),
            }
        }
    }

    fn double(&mut self) -> Result<(), String> {
        self.open.get_or_insert_default();
        loop {
            match self.letters.next() {
                Some((_, '"')) => return Ok(()),
                Some((_, '\\')) => match self.letters.next_if(|(_, next)| "$`\"\\\n".contains(*next)) {
                    Some((_, '\n')) => {}
                    Some((_, letter)) => self.add(letter),
                    None => self.add('\\'),
                },
                Some((_, '$')) => self.dollar(true)?,
                Some((_, '`')) => return Err(self.needs_a_shell('`')),
                Some((_, letter)) => self.add(letter),
                None => return Err(NOT_CLOSED.into()),
            }
        }
    }

    /// What follows a `$`.
    fn dollar(&mut self, quoted: bool) -> Result<(), String> {
        let body = match self.letters.peek() {
            Some((start, '{')) => {
                let rest = &self.line[start + 1..];
                let body = rest.split_once('}').ok_or("a ${ is not closed")?.0;
                // The braces as well.
                self.skip(body.chars().count() + 2);
                body
            }
            Some((start, letter)) if *letter == '_' || letter.is_ascii_alphabetic() => {
                let rest = &self.line[*start..];
                let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
                self.skip(end);
                &rest[..end]
            }
            Some((_, '(')) => return Err("$(...) needs a shell, and a bundle has none".into()),
            Some((_, letter)) if letter.is_ascii_digit() || "@*#?!-$".contains(*letter) => {
                return Err(format!("${letter} has a meaning in scripts of a shell only"));
            }
            _ => {
                self.add('$');
                return Ok(());
            }
        };
        let reference = format!("${}{{{body}}}", if quoted { "=" } else { "" });
        if template::parse(&reference).is_none() {
            return Err(format!("${{{body}}} is more than ${{NAME}}, ${{NAME-TEXT}} and ${{NAME:-TEXT}}"));
        }
        let open = self.open.get_or_insert_default();
        open.template.push_str(&reference);
        open.has_variable = true;
        Ok(())
    }

    fn skip(&mut self, letters: usize) {
        (0..letters).for_each(|_| {
            self.letters.next();
        });
    }

    fn needs_a_shell(&mut self, letter: char) -> String {
        let twice = self.letters.next_if(|(_, next)| *next == letter && "|&<>".contains(letter)).is_some();
        let operator = if twice { format!("{letter}{letter}") } else { letter.to_string() };
        format!(
            "{operator} needs a shell, and a bundle has none (a letter that is meant as such is put in quotation marks)"
        )
    }

    fn add(&mut self, letter: char) {
        let open = self.open.get_or_insert_default();
        open.text.push(letter);
        open.template.push(letter);
        if letter == '$' {
            open.template.push('$');
        }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            let text = (!open.has_variable).then_some(open.text);
            self.words.push(Word { template: open.template, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn templates(line: &str) -> Vec<String> {
        split(line).unwrap().into_iter().map(|word| word.template).collect()
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert_eq!(
            templates(" a  'b c'\td\\ e \"f \\\" \\x\" '' # not this"),
            ["a", "b c", "d e", "f \" \\x", ""]
        );
        assert_eq!(templates("a#b x=1"), ["a#b", "x=1"]);
        assert!(split("# nothing").unwrap().is_empty());
    }

    #[test]
    fn variables_become_templates_and_quoted_dollars_do_not() {
        assert_eq!(
            templates("0:$PORT ${A:-b}c \"$A\" '$B' \\$C 5$ $"),
            ["0:${PORT}", "${A:-b}c", "$={A}", "$$B", "$$C", "5$$", "$$"]
        );
        let words = split("$A '$B'").unwrap();
        assert_eq!((words[0].text.as_deref(), words[1].text.as_deref()), (None, Some("$B")));
    }

    #[test]
    fn what_needs_a_shell_is_refused_by_name() {
        for (line, name) in [
            ("a && b", "&& "),
            ("a | b", "| "),
            ("a;b", "; "),
            ("a > b", "> "),
            ("a &", "& "),
            ("a $(b)", "$(...) "),
            ("a \"`b`\"", "` "),
            ("a $1", "$1 "),
            ("a ${b:?c}", "${b:?c} "),
        ] {
            let error = split(line).unwrap_err();
            assert!(error.starts_with(name), "{line}: {error}");
        }
        for line in ["'a", "\"a", "a\\", "${a"] {
            assert!(split(line).is_err(), "{line}");
        }
        assert_eq!(templates("'a && b' \"x|y\""), ["a && b", "x|y"]);
    }
}
