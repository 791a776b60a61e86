//! Promise: what a Python takes from its machine (certificates, time zones, libraries by name, its own place) is
//! the host's where the host has it, else what came along; a variable of the user's decides otherwise, and no
//! variable of ours does.

mod kit;

use std::fs;
use std::path::{Path, PathBuf};

use kit::empty_root::WRITABLE;
use kit::{Bench, EmptyRoot, Packed, Ran, WheelBuilder, probe, scratch, skip};
use tempfile::TempDir;

/// Prints how many certificates are trusted, and where they come from.
const CERTIFICATES: &str = "import ssl
print(ssl.create_default_context().cert_store_stats()['x509_ca'], ssl.get_default_verify_paths().cafile)";

/// Where hosts keep their certificates: Debian, Fedora, openSUSE, Alpine.
const PLACES: [&str; 4] = [
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/ca-bundle.pem",
    "etc/ssl/cert.pem",
];

fn root() -> Option<EmptyRoot> {
    if let Some(reason) = EmptyRoot::unavailable() {
        skip(&format!("no other root can be entered here: {reason}"));
        return None;
    }
    Some(empty().with_file("app", probe().path()))
}

fn empty() -> EmptyRoot {
    EmptyRoot::new().env("COIL_CACHE", WRITABLE).env("COIL_RUN", "do")
}

fn run(root: &EmptyRoot, code: &str) -> Ran {
    root.run(&["/app", code])
}

/// What the probe's runtime has at this place; `None`, with a word about it, where the machine that tests has no
/// such thing to carry.
fn carried(name: &str) -> Option<Vec<u8>> {
    let prefix = probe().python("import sys; print(sys.base_prefix)").run().printed();
    let bytes = fs::read(Path::new(&prefix).join("share").join(name)).ok();
    if bytes.is_none() {
        skip(&format!("there are no {name} on this machine to carry"));
    }
    bytes
}

/// A file with one certificate.
fn one_certificate() -> Option<(TempDir, PathBuf)> {
    let text = String::from_utf8(carried("certificates.pem")?).unwrap();
    let end = "-----END CERTIFICATE-----\n";
    let first = text.split_inclusive(end).next().unwrap();
    let directory = scratch();
    let path = directory.path().join("one.pem");
    fs::write(&path, first).unwrap();
    Some((directory, path))
}

/// A zone that is always this many hours east.
fn zone(hours: i32) -> Vec<u8> {
    // RFC 8536: magic, version, 15 unused; isutcnt, isstdcnt, leapcnt, timecnt, typecnt, charcnt; one type, its name.
    let counts = [0u32, 0, 0, 0, 1, 4].map(u32::to_be_bytes).concat();
    [b"TZif\0".as_slice(), &[0; 15], &counts, &(hours * 3600).to_be_bytes(), &[0, 0], b"XXX\0"].concat()
}

#[test]
fn certificates_come_from_where_the_host_keeps_them() {
    let (Some(_), Some((_directory, one))) = (root(), one_certificate()) else { return };
    for place in PLACES {
        let root = self::root().unwrap().with_file(place, &one);
        assert_eq!(run(&root, CERTIFICATES).printed(), format!("1 /{place}"));
    }
}

#[test]
fn certificates_came_along_for_hosts_without_and_the_user_is_obeyed() {
    let (Some(root), Some((_directory, one))) = (root(), one_certificate()) else { return };
    let said = run(&root, CERTIFICATES).printed();
    let (count, place) = said.split_once(' ').unwrap();
    assert!(
        count.parse::<u32>().unwrap() > 50 && place.ends_with("/python/share/certificates.pem"),
        "{said}"
    );
    // Without one variable, in a child.
    let child = format!(
        "import subprocess, sys
print(subprocess.check_output([sys.executable, '-c', {CERTIFICATES:?}], env={{}}, text=True))"
    );
    assert_eq!(run(&root, &child).printed().trim(), said);
    let root = root.with_file("etc/ssl/cert.pem", &one);
    let told = self::root().unwrap().with_file("mine.pem", &one).env("SSL_CERT_FILE", "/mine.pem");
    assert_eq!(run(&told, CERTIFICATES).printed(), "1 /mine.pem");
    let told = self::root().unwrap().env("SSL_CERT_DIR", "/nothing");
    assert!(run(&told, CERTIFICATES).printed().starts_with("0 "));
    assert_eq!(run(&root, CERTIFICATES).printed(), "1 /etc/ssl/cert.pem");
}

#[test]
fn time_zones_are_the_hosts_then_a_wheels_then_those_that_came_along() {
    let (Some(_), Some(_)) = (root(), carried("zoneinfo")) else { return };
    let code = "import datetime, zoneinfo
for name in ('Europe/Berlin', 'Asia/Tokyo'):
    print(datetime.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo(name)).utcoffset(), end=' ')
print('Europe/Berlin' in zoneinfo.available_timezones(), len(zoneinfo.available_timezones()) > 300)
try:
    zoneinfo.ZoneInfo('No/Where')
except zoneinfo.ZoneInfoNotFoundError as error:
    print(error)";
    let nowhere = "\n'No time zone found with key No/Where'";
    let said = run(&root().unwrap(), code).printed();
    assert_eq!(said, format!("1:00:00 9:00:00 True True{nowhere}"));
    let file = scratch();
    fs::write(file.path().join("zone"), zone(7)).unwrap();
    let root = root().unwrap().with_file("usr/share/zoneinfo/Europe/Berlin", &file.path().join("zone"));
    assert!(run(&root, code).printed().starts_with("7:00:00 9:00:00 True True"));

    // Whoever names other places means those and no others.
    let elsewhere = "import zoneinfo
print(sorted(zoneinfo.available_timezones()), zoneinfo.ZoneInfo('Europe/Berlin'))
zoneinfo.reset_tzpath(['/nothing'])
print(zoneinfo.available_timezones())
try:
    print(zoneinfo.ZoneInfo('Asia/Tokyo'))
except zoneinfo.ZoneInfoNotFoundError as error:
    print(error)
zoneinfo.reset_tzpath(zoneinfo_places)
print(len(zoneinfo.available_timezones()) > 300)";
    let elsewhere =
        elsewhere.replace("zoneinfo_places", "__import__('sysconfig').get_config_var('TZPATH').split(':')");
    let told = self::root().unwrap().with_file("mine/Europe/Berlin", &file.path().join("zone"));
    let said = run(&told.env("PYTHONTZPATH", "/mine"), &elsewhere).printed();
    let expected = "['Europe/Berlin'] Europe/Berlin\nset()\n'No time zone found with key Asia/Tokyo'\nTrue";
    assert_eq!(said, expected);

    let wheel = WheelBuilder::new("tzdata", "2099.1")
        .file("tzdata/__init__.py", "")
        .file("tzdata/zoneinfo/__init__.py", "")
        .file("tzdata/zoneinfo/Europe/__init__.py", "")
        .file("tzdata/zoneinfo/Europe/Berlin", zone(5))
        .file("tzdata/zones", "Europe/Berlin\n");
    let bench = Bench::new()
        .wheel(&wheel)
        .file("src/do.py", format!("if True:\n    {}", code.replace('\n', "\n    ")));
    let app = bench.pack(&["tzdata", "--app", "src", "-e", "do.py", "--command", "do=do.py"]);
    let with_wheel = empty().with_file("app", app.path());
    assert!(with_wheel.run(&["/app"]).printed().starts_with("5:00:00 9:00:00 True True"));
}

#[test]
fn libraries_that_came_along_are_found_by_name_and_load() {
    let Some(root) = root() else { return };
    let code = "import ctypes, ctypes.util
for name in ('c', 'm', 'ssl', 'crypto', 'sqlite3', 'z', 'stdc++', 'gcc_s'):
    found = ctypes.util.find_library(name)
    assert found and found.startswith('lib' + name + '.so'), (name, found)
    ctypes.CDLL(found)
print(ctypes.util.find_library('coil-none'), ctypes.util.find_library('.'))";
    assert_eq!(run(&root, code).printed(), "None None");
    assert_eq!(probe().start().env("COIL_RUN", "do").arg(code).run().printed(), "None None");
}

#[test]
fn names_users_and_locales_are_asked_for_without_a_trap() {
    let Some(root) = root() else { return };
    let code = "import getpass, locale, os, pwd, socket
print(socket.getaddrinfo('127.0.0.1', 80)[0][4], socket.getaddrinfo('::1', 80)[0][4][0], pwd.getpwall())
for ask in (lambda: socket.getaddrinfo('no.such.host.invalid', 80), lambda: pwd.getpwuid(os.getuid())):
    try:
        print('found', ask())
    except (OSError, KeyError) as error:
        print(type(error).__name__)
print(locale.setlocale(locale.LC_ALL, ''), locale.getpreferredencoding().lower(), os.fsencode('läuft'))";
    let said = run(&root, code).printed();
    assert_eq!(said, "('127.0.0.1', 80) ::1 []\ngaierror\nKeyError\nC utf-8 b'l\\xc3\\xa4uft'");
    let hosts = scratch();
    let write = |name: &str, text: &str| {
        fs::write(hosts.path().join(name), text).unwrap();
        hosts.path().join(name)
    };
    let root = root
        .with_file("etc/hosts", &write("hosts", "10.1.2.3 no.such.host.invalid\n"))
        .with_file("etc/passwd", &write("passwd", "somebody:x:0:0::/:/none\n"));
    let said = run(&root, code).printed();
    assert!(said.contains("('10.1.2.3', 80)") && said.contains("pw_name='somebody'"), "{said}");
}

#[test]
fn sysconfig_names_places_that_exist_and_are_the_bundles() {
    let code = "import os, sys, sysconfig
names = 'prefix exec_prefix BINDIR LIBDIR LIBDEST BINLIBDEST DESTSHARED MACHDESTLIB SCRIPTDIR'.split()
values = {name: sysconfig.get_config_var(name) for name in names}
values.update(stdlib=sysconfig.get_path('stdlib'), platstdlib=sysconfig.get_path('platstdlib'))
inside = lambda path: any((path + '/').startswith(prefix + '/') for prefix in (sys.prefix, sys.base_prefix))
print([(name, path) for name, path in values.items() if path and not (inside(path) and os.path.isdir(path))])
print(sysconfig.get_config_var('INCLUDEPY').startswith(sys.base_prefix + '/include/python'))
print([(name, value) for name, value in sysconfig.get_config_vars().items() if '/python/' in str(value)
       and not str(value).startswith('./') and '/layers/' not in str(value) and '/envs/' not in str(value)][:3])";
    assert_eq!(probe().python(code).run().printed(), "[]\nTrue\n[]");
}

#[test]
fn no_variable_of_ours_reaches_other_programs() {
    let code = "import os, ssl, subprocess, zoneinfo
ssl.create_default_context(), zoneinfo.ZoneInfo('Europe/Berlin')
print(subprocess.check_output(['/usr/bin/env'], text=True))";
    let said = probe().start().env("COIL_RUN", "do").arg(code).run().printed();
    let names: Vec<&str> = said.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    let known = ["PATH", "VIRTUAL_ENV", "COIL_BUNDLE", "COIL_CACHE", "LC_CTYPE"];
    assert!(names.iter().all(|name| known.contains(name)) && names.len() >= 4, "{names:?}");
}

/// A path that tells where something was made is in no file of the runtime but in programs, which are as they were
/// linked.
#[test]
fn no_path_of_the_machine_that_packed_is_in_a_text_or_in_byte_code() {
    let told =
        "import sys, sysconfig; print(sys.base_prefix, sysconfig.get_config_var('abs_builddir'), sep='\\n')";
    let ran = std::process::Command::new("python3").args(["-I", "-c", told]).output().unwrap();
    let mut strange: Vec<String> =
        String::from_utf8(ran.stdout).unwrap().lines().map(str::to_owned).collect();
    strange.extend(std::env::var("HOME"));
    strange.push(env!("CARGO_MANIFEST_DIR").into());
    strange.retain(|path| !["", "/", "None", "/usr", "/usr/local"].contains(&path.as_str()));
    let layer = layer(probe());
    let mut pending = vec![layer];
    let (mut files, mut found) = (0, Vec::new());
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
            if kind.is_dir() {
                pending.push(path);
                continue;
            }
            let bytes = if kind.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            files += 1;
            let has = |text: &String| memchr::memmem::find(&bytes, text.as_bytes()).is_some();
            if !bytes.starts_with(b"\x7fELF") && strange.iter().any(has) {
                found.push(path);
            }
        }
    }
    assert!(files > 500 && !strange.is_empty(), "{files} {strange:?}");
    assert_eq!(found, Vec::<PathBuf>::new(), "{strange:?}");
}

/// The runtime's layer, unpacked.
fn layer(bundle: &Packed) -> PathBuf {
    let prefix = bundle.python("import sys; print(sys.base_prefix)").run().printed();
    Path::new(&prefix).parent().unwrap().to_owned()
}
