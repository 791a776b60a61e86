//! Where distributions are looked for: coil's options, and what the user configured for uv or pip.
//!
//! Each tool reads its own configuration. But coil uses two tools together, uv to resolve and pip to
//! fetch and build, and a user has configured one of them: what is configured for one only is passed to
//! the other. Nothing else of the configuration is interpreted.

use std::path::{Path, PathBuf};

use super::Options;
use super::project_indexes::indexes;
use crate::lock::url;
use crate::project::declared::UvIndex;

/// Indexes and pages of files, as one tool has them configured.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Places {
    index_url: Option<String>,
    extra_index_urls: Vec<String>,
    find_links: Vec<String>,
    no_index: bool,
    trusted_hosts: Vec<String>,
    certificates: Option<String>,
}

/// Where each of the two tools looks, besides what it knows itself.
#[derive(Debug, Default, Clone)]
pub struct Indexes {
    options: Options,
    of_uv: Places,
    of_pip: Places,
    /// The indexes that projects name for uv.
    of_projects: Vec<UvIndex>,
    /// Whether a file names the index for uv: it is not read any further.
    uv_has_index: bool,
}

impl Indexes {
    /// Collects coil's options, the variables of both tools, and pip's configuration files.
    ///
    /// `named_in_file` says that a file of requirements names the index: for uv, what is passed to it would
    /// win over that, and with pip the file wins.
    pub fn collect(options: &Options, named_in_file: bool) -> Indexes {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let mut of_pip = Places::default();
        for file in pip_files(&variable) {
            of_pip.read_pip_file(&std::fs::read_to_string(file).unwrap_or_default());
        }
        of_pip.read_pip_variables(&variable);
        let of_uv = Places::of_uv_variables(&variable);
        let uv_has_index = named_in_file || uv_files(&variable).iter().any(|file| names_index(file));
        let mut options = options.clone();
        // uv may be started elsewhere.
        let places = options.find_links.iter_mut().filter(|place| !place.contains("://"));
        places.for_each(|place| {
            if let Ok(absolute) = std::path::absolute(&*place) {
                *place = absolute.to_string_lossy().into_owned();
            }
        });
        Indexes { options, of_uv, of_pip, of_projects: Vec::new(), uv_has_index }
    }

    /// Learns the indexes that these projects name for uv, and the credentials for them.
    pub fn learn(&mut self, projects: &[PathBuf]) {
        let variable = |name: &str| std::env::var(name).ok();
        self.of_projects = indexes(projects, &variable);
    }

    /// The options and variables to start uv with.
    pub fn for_uv(&self) -> (Vec<String>, Vec<(&'static str, String)>) {
        let mut places = self.of_pip.besides(&self.of_uv, self.uv_has_index);
        // uv fails on a directory that is not there; pip only warns.
        places.find_links.retain(|place| place.contains("://") || Path::new(place).is_dir());
        let (mut words, mut variables) =
            self.said(&places, "--default-index", ["UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL"]);
        for host in &places.trusted_hosts {
            words.extend(["--allow-insecure-host".to_owned(), host.clone()]);
        }
        let certificates = self.of_pip.certificates.clone().map(|file| ("SSL_CERT_FILE", file));
        variables.extend(certificates.filter(|(name, _)| std::env::var_os(name).is_none()));
        (words, variables)
    }

    /// The options and variables to start pip with.
    pub fn for_pip(&self) -> (Vec<String>, Vec<(&'static str, String)>) {
        let mut places = self.of_uv.besides(&self.of_pip, false);
        for index in self.of_projects.iter().filter(|index| !index.is_explicit) {
            match index.is_default {
                // What the user has configured wins over what the project says, as with uv.
                true if places.index_url.is_none() && self.of_pip.index_url.is_none() => {
                    places.index_url = Some(index.url.clone());
                }
                true => {}
                false => places.extra_index_urls.push(index.url.clone()),
            }
        }
        if !places.extra_index_urls.is_empty() {
            // A variable would take their place.
            places.extra_index_urls.extend(self.of_pip.extra_index_urls.iter().cloned());
        }
        let (mut words, mut variables) =
            self.said(&places, "--index-url", ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"]);
        for host in &places.trusted_hosts {
            words.extend(["--trusted-host".to_owned(), host.clone()]);
        }
        if self.of_pip.certificates.is_none() {
            variables.extend(std::env::var("SSL_CERT_FILE").ok().map(|file| ("PIP_CERT", file)));
        }
        (words, variables)
    }

    /// The places that the tools' own variables and pip's files name, where coil's options do not say it all.
    pub fn stated(&self) -> Vec<String> {
        if self.options.no_index || self.options.index_url.is_some() {
            return Vec::new();
        }
        self.of_uv.all().chain(self.of_pip.all()).cloned().collect()
    }

    /// Credentials by host, from everywhere they may be written, `more` addresses included.
    pub fn logins<'a>(&'a self, more: &'a [String]) -> impl Iterator<Item = (&'a str, &'a str)> {
        let options = &self.options;
        let mine = options.index_url.iter().chain(&options.extra_index_urls).chain(&options.find_links);
        let all = mine
            .chain(more)
            .chain(self.of_projects.iter().map(|index| &index.url))
            .chain(self.of_uv.all())
            .chain(self.of_pip.all());
        all.filter_map(|address| Some((url::host(address)?, url::credentials(address)?)))
    }

    /// coil's own options, and `places` where they leave room: beside a stated index, no other is passed on.
    ///
    /// Addresses with credentials are said in `variables`: everybody on the machine can read the words that
    /// a program is started with.
    fn said(
        &self,
        places: &Places,
        index: &str,
        variables: [&'static str; 2],
    ) -> (Vec<String>, Vec<(&'static str, String)>) {
        let (options, mut words, mut secrets) = (&self.options, Vec::new(), Vec::new());
        let stated = options.no_index || options.index_url.is_some();
        let mut say = |name: &str, variable: Option<&'static str>, values: Vec<&String>| match variable {
            Some(variable) if values.iter().any(|value| url::credentials(value).is_some()) => {
                secrets.push((
                    variable,
                    values.iter().map(|value| value.as_str()).collect::<Vec<_>>().join(" "),
                ));
            }
            _ => values.into_iter().for_each(|value| words.extend([name.to_owned(), value.clone()])),
        };
        if !options.no_index {
            let configured = places.index_url.as_ref().filter(|_| !stated);
            say(index, Some(variables[0]), options.index_url.as_ref().or(configured).into_iter().collect());
            let configured = places.extra_index_urls.iter().filter(|_| !stated);
            let extra = options.extra_index_urls.iter().chain(configured).collect();
            say("--extra-index-url", Some(variables[1]), extra);
        }
        say("--find-links", None, options.find_links.iter().chain(&places.find_links).collect());
        if options.no_index || (places.no_index && !stated) {
            words.push("--no-index".to_owned());
        }
        (words, secrets)
    }
}

impl Places {
    fn all(&self) -> impl Iterator<Item = &String> {
        self.index_url.iter().chain(&self.extra_index_urls).chain(&self.find_links)
    }

    fn has_index(&self) -> bool {
        self.no_index || self.index_url.is_some() || !self.extra_index_urls.is_empty()
    }

    /// What there is to pass to a tool that has places of its `own`: those win, kind by kind.
    fn besides(&self, own: &Places, own_index: bool) -> Places {
        let mut rest = self.clone();
        if own_index || own.has_index() {
            rest = Places {
                find_links: rest.find_links,
                trusted_hosts: rest.trusted_hosts,
                ..Places::default()
            };
        }
        if !own.find_links.is_empty() {
            rest.find_links.clear();
        }
        rest
    }

    /// uv's variables. An index may be written `name=address`.
    fn of_uv_variables(variable: &dyn Fn(&str) -> Option<String>) -> Places {
        let bare = |text: &str| match text.split_once('=') {
            Some((name, address)) if !name.contains(':') => address.to_owned(),
            _ => text.to_owned(),
        };
        let list = |name: &str| -> Vec<String> {
            variable(name).iter().flat_map(|value| value.split_whitespace()).map(bare).collect()
        };
        let mut extra = list("UV_INDEX");
        extra.extend(list("UV_EXTRA_INDEX_URL"));
        let links = variable("UV_FIND_LINKS").unwrap_or_default();
        Places {
            index_url: variable("UV_DEFAULT_INDEX")
                .or_else(|| variable("UV_INDEX_URL"))
                .map(|text| bare(&text)),
            extra_index_urls: extra,
            find_links: links.split([',', ' ']).filter(|link| !link.is_empty()).map(str::to_owned).collect(),
            no_index: variable("UV_NO_INDEX").is_some_and(|value| is_true(&value)),
            trusted_hosts: list("UV_INSECURE_HOST"),
            certificates: None,
        }
    }

    fn read_pip_variables(&mut self, variable: &dyn Fn(&str) -> Option<String>) {
        for key in ["index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert"] {
            let name = format!("PIP_{}", key.to_uppercase().replace('-', "_"));
            if let Some(value) = variable(&name) {
                self.set(key, &value);
            }
        }
    }

    /// pip's configuration: sections and keys, a value may go on in indented lines.
    fn read_pip_file(&mut self, text: &str) {
        let (mut section, mut key, mut value) = (String::new(), String::new(), String::new());
        for line in text.lines().chain(["["]) {
            if line.trim_start().starts_with(['#', ';']) {
                continue;
            }
            if line.starts_with([' ', '\t']) && !key.is_empty() {
                value.push(' ');
                value.push_str(line.trim());
                continue;
            }
            if matches!(section.as_str(), "global" | "install" | "wheel" | "download") {
                self.set(&key.replace('_', "-"), value.trim());
            }
            (key, value) = (String::new(), String::new());
            if let Some(name) = line.trim().strip_prefix('[') {
                section = name.trim_end_matches(']').to_owned();
            } else if let Some((name, rest)) = line.split_once(['=', ':']) {
                (key, value) = (name.trim().to_lowercase(), rest.trim().to_owned());
            }
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        let list = || value.split_whitespace().map(str::to_owned).collect();
        match key {
            "index-url" => self.index_url = Some(value.to_owned()).filter(|value| !value.is_empty()),
            "extra-index-url" => self.extra_index_urls = list(),
            "find-links" => self.find_links = list(),
            "trusted-host" => self.trusted_hosts = list(),
            "no-index" => self.no_index = is_true(value),
            "cert" => self.certificates = Some(value.to_owned()).filter(|value| !value.is_empty()),
            _ => {}
        }
    }
}

fn is_true(value: &str) -> bool {
    matches!(value.trim().to_lowercase().as_str(), "1" | "true" | "yes" | "on" | "y" | "t")
}

/// pip's configuration files, those that win last (pip, "Configuration").
pub fn pip_files(variable: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let own = variable("PIP_CONFIG_FILE");
    // "PIP_CONFIG_FILE=/dev/null: pip will not load any configuration file".
    if own.as_deref() == Some("/dev/null") {
        return Vec::new();
    }
    let under = |name: &str, below: &str| variable(name).map(|directory| Path::new(&directory).join(below));
    let mut files = vec![PathBuf::from("/etc/pip.conf"), PathBuf::from("/etc/xdg/pip/pip.conf")];
    files.extend(under("HOME", ".pip/pip.conf"));
    files.extend(under("XDG_CONFIG_HOME", "pip/pip.conf").or_else(|| under("HOME", ".config/pip/pip.conf")));
    files.extend(under("VIRTUAL_ENV", "pip.conf"));
    files.extend(own.map(PathBuf::from));
    files
}

/// The files that uv may read its indexes from, besides those of a project.
pub fn uv_files(variable: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let under = |name: &str, below: &str| variable(name).map(|directory| Path::new(&directory).join(below));
    let mut files =
        vec![PathBuf::from("/etc/uv/uv.toml"), PathBuf::from("uv.toml"), PathBuf::from("pyproject.toml")];
    files.extend(under("XDG_CONFIG_HOME", "uv/uv.toml").or_else(|| under("HOME", ".config/uv/uv.toml")));
    files.extend(variable("UV_CONFIG_FILE").map(PathBuf::from));
    files
}

/// Whether a file configures uv with an index or a directory of wheels.
fn names_index(file: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(file) else { return false };
    let Ok(table) = text.parse::<toml::Table>() else { return false };
    let table = match file.file_name().is_some_and(|name| name == "pyproject.toml") {
        true => table.get("tool").and_then(|tool| tool.get("uv")).and_then(toml::Value::as_table).cloned(),
        false => Some(table),
    };
    let keys = ["index", "index-url", "extra-index-url", "find-links", "no-index"];
    let has = |table: &toml::Table| keys.iter().any(|key| table.contains_key(*key));
    table
        .is_some_and(|table| has(&table) || table.get("pip").and_then(toml::Value::as_table).is_some_and(has))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn pips_configuration_is_read_and_passed_to_uv() {
        let mut of_pip = Places::default();
        of_pip.read_pip_file(
            "[global]\nindex-url = https://me:pw@host/simple\n# x\nfind_links =\n    https://a/\n    https://b/\n[list]\nformat = x\n[search]\nindex-url = no\n",
        );
        assert_eq!(of_pip.index_url.as_deref(), Some("https://me:pw@host/simple"));
        let indexes = Indexes { of_pip, ..Indexes::default() };
        let (words, variables) = indexes.for_uv();
        assert_eq!(words.join(" "), "--find-links https://a/ --find-links https://b/");
        assert_eq!(variables, [("UV_DEFAULT_INDEX", "https://me:pw@host/simple".to_owned())]);
        assert!(indexes.for_pip().0.is_empty(), "pip reads it by itself");
        let of_uv = Places { index_url: Some("https://own".into()), ..Places::default() };
        let (words, _) = Indexes { of_uv, ..indexes.clone() }.for_uv();
        assert_eq!(words.join(" "), "--find-links https://a/ --find-links https://b/", "uv has an index");
        assert_eq!(indexes.logins(&[]).next(), Some(("host", "me:pw")));
    }

    #[test]
    fn variables_win_over_files_and_uvs_are_passed_to_pip() {
        let mut of_pip = Places { index_url: Some("https://file".into()), ..Places::default() };
        of_pip.read_pip_variables(&|name| (name == "PIP_INDEX_URL").then(|| "https://variable".into()));
        assert_eq!(of_pip.index_url.as_deref(), Some("https://variable"));
        let of_uv = Places::of_uv_variables(&|name| match name {
            "UV_INDEX" => Some("mine=https://me:pw@a/simple https://b/simple?x=1".into()),
            _ => None,
        });
        let indexes = Indexes { of_uv, ..Indexes::default() };
        let (_, variables) = indexes.for_pip();
        let both = "https://me:pw@a/simple https://b/simple?x=1".to_owned();
        assert!(variables.contains(&("PIP_EXTRA_INDEX_URL", both)), "{variables:?}");
        assert_eq!(Places::of_uv_variables(&none), Places::default());
    }

    #[test]
    fn pip_gets_the_indexes_that_a_project_names_for_uv() {
        let index = |url: &str| UvIndex {
            name: "mine".into(),
            url: url.into(),
            is_default: url.contains("default"),
            is_explicit: url.contains("explicit"),
        };
        let of_projects = ["https://default", "https://more", "https://explicit"].map(index).into();
        let indexes = Indexes { of_projects, ..Indexes::default() };
        let (words, _) = indexes.for_pip();
        assert_eq!(words.join(" "), "--index-url https://default --extra-index-url https://more");
        let of_pip = Places {
            index_url: Some("https://mirror".into()),
            extra_index_urls: vec!["https://me:pw@own".into()],
            ..Places::default()
        };
        let (words, variables) = Indexes { of_pip, ..indexes }.for_pip();
        assert!(words.is_empty(), "{words:?}");
        assert_eq!(variables[0], ("PIP_EXTRA_INDEX_URL", "https://more https://me:pw@own".to_owned()));
    }

    #[test]
    fn a_stated_index_is_passed_on_alone() {
        let of_pip = Places {
            index_url: Some("https://file".into()),
            extra_index_urls: vec!["https://x".into()],
            ..Places::default()
        };
        let options = Options { index_url: Some("https://stated".into()), ..Options::default() };
        let indexes = Indexes { options, of_pip, ..Indexes::default() };
        assert_eq!(indexes.for_uv().0.join(" "), "--default-index https://stated");
        let options = Options { no_index: true, find_links: vec!["/w".into()], ..Options::default() };
        let indexes = Indexes { options, ..indexes };
        assert_eq!(indexes.for_uv().0.join(" "), "--find-links /w --no-index");
    }
}
