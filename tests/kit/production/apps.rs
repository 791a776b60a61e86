//! What is deployed: apps in two versions that say which one answers.
//!
//! They are packed with wheels from the index, once for all tests of a program; before there is a [`super::Lan`],
//! from where no index is reached.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::kit::{self, Bench, Packed, QUICK, skip};

/// Whether tests with these apps are wanted: on hosts, and with wheels from the index. Says so if not.
pub fn wanted() -> bool {
    let online = std::env::var("COIL_TEST_ONLINE").as_deref() == Ok("1");
    if !online {
        skip("this needs a package index; set COIL_TEST_ONLINE=1");
    }
    online && super::lan::wanted()
}

/// An app, packed in two versions.
pub struct Versions {
    /// Its name, and that of its units.
    pub name: &'static str,
    /// Answers `release 1`.
    pub one: Packed,
    /// Answers `release 2`.
    pub two: Packed,
}

/// Where all of them are packed.
pub fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| Bench::standing("production").with_network())
}

/// The Django example as it is.
pub fn example() -> Packed {
    pack("site", "example", &place_of_example(), None)
}

/// Two versions of it that answer at `/release`: gunicorn, a unix socket.
pub fn site() -> &'static Versions {
    static SITE: OnceLock<Versions> = OnceLock::new();
    SITE.get_or_init(|| Versions::of("site", |release| site_with(&format!("site-{release}"), release, None)))
}

/// The same at port 8000, with workers that load the app themselves, after gunicorn has said that it is ready.
pub fn site_unloaded() -> &'static Versions {
    static SITE: OnceLock<Versions> = OnceLock::new();
    SITE.get_or_init(|| {
        Versions::of("site", |release| site_with(&format!("unloaded-{release}"), release, Some("8000")))
    })
}

/// A version of the Django example; at a port without `--preload`, or as it is.
fn site_with(file: &str, release: &str, port: Option<&str>) -> Packed {
    let source = bench().path(&format!("{file}.src"));
    let copied = Command::new("cp").arg("-r").args([&place_of_example(), &source]).status();
    assert!(copied.is_ok_and(|status| status.success()), "the example cannot be copied");
    let urls = format!(
        "from django.contrib import admin
from django.http import HttpResponse
from django.urls import include, path

urlpatterns = [
    path('release', lambda request: HttpResponse('release {release}\\n')),
    path('', include('guestbook.urls')),
    path('admin/', admin.site.urls),
]
"
    );
    std::fs::write(source.join("mysite/urls.py"), urls).expect("a bench can be written");
    if let Some(port) = port {
        let edit = |name: &str, from: &str, to: &str| {
            let text = std::fs::read_to_string(source.join(name)).expect("the example has it");
            assert!(text.contains(from), "{name} has no {from}");
            std::fs::write(source.join(name), text.replace(from, to)).expect("a bench can be written");
        };
        edit("mysite/gunicorn_conf.py", "preload_app = True", "preload_app = False");
        edit("pyproject.toml", "probe = ", &format!("listen = \"{port}\"\nprobe = "));
    }
    pack("site", file, &source, None)
}

/// An app of nothing but a socket: uvicorn, port 8000, ready when it listens. It answers everywhere.
pub fn asgi() -> &'static Versions {
    static ASGI: OnceLock<Versions> = OnceLock::new();
    ASGI.get_or_init(|| {
        Versions::of("asgi", |release| {
            asgi_with(&format!("asgi-{release}"), Asgi { release, ..Asgi::default() })
        })
    })
}

/// The same at a socket file.
pub fn asgi_at_a_file() -> &'static Versions {
    static ASGI: OnceLock<Versions> = OnceLock::new();
    ASGI.get_or_init(|| {
        Versions::of("asgi", |release| {
            let asgi = Asgi { release, listen: "/run/asgi/asgi.sock", ..Asgi::default() };
            asgi_with(&format!("asgi-file-{release}"), asgi)
        })
    })
}

/// A version of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asgi<'a> {
    /// What it answers after `release `.
    pub release: &'a str,
    /// Where it listens; at port 8000 if that is empty.
    pub listen: &'a str,
    /// Python that runs when it is loaded. `STATUS = 500` makes that its status.
    pub code: &'a str,
    /// More of `[tool.coil.commands]`.
    pub commands: &'a str,
    /// More of `[tool.coil.services.web]`, and tables after that.
    pub web: &'a str,
    /// The program `release.py`.
    pub step: &'a str,
    /// More requirements than uvicorn.
    pub requirements: &'a str,
    /// A file of so many bytes that do not compress.
    pub noise: usize,
    /// The runtime, as a file; that of this machine if there is none.
    pub runtime: Option<&'a Path>,
}

/// Packs it.
pub fn asgi_with(file: &str, asgi: Asgi<'_>) -> Packed {
    let Asgi { release, listen, code, commands, web, step, requirements, noise, runtime } = asgi;
    let listen = if listen.is_empty() { "8000" } else { listen };
    let main = format!(
        r#"STATUS = 200
{code}
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({{"type": message["type"] + ".complete"}})
            if message["type"] == "lifespan.shutdown":
                return
    body = b"release {release}\n"
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({{"type": "http.response.start", "status": STATUS, "headers": headers}})
    await send({{"type": "http.response.body", "body": body}})
"#
    );
    let project = format!(
        "[tool.coil]
default = \"web\"
[tool.coil.commands]
web = \"uvicorn --fd 3 --no-access-log main:app\"
{commands}
[tool.coil.services.web]
listen = \"{listen}\"
{web}"
    );
    let place = |name: &str| bench().path(&format!("{file}.src/{name}"));
    std::fs::create_dir_all(place("")).expect("a bench can be written");
    let files = [
        ("main.py", &*main),
        ("pyproject.toml", &project),
        ("requirements.txt", &format!("uvicorn\n{requirements}\n")),
        ("release.py", step),
    ];
    for (name, text) in files {
        std::fs::write(place(name), text).expect("a bench can be written");
    }
    if noise > 0 {
        std::fs::write(place("noise"), kit::noise(1, noise)).expect("a bench can be written");
    }
    pack("asgi", file, &place(""), runtime)
}

fn place_of_example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/django-site")
}

impl Versions {
    fn of(name: &'static str, version: impl Fn(&str) -> Packed) -> Versions {
        Versions { name, one: version("1"), two: version("2") }
    }
}

fn pack(name: &str, file: &str, source: &Path, runtime: Option<&Path>) -> Packed {
    let mut words: Vec<PathBuf> = vec![source.into(), "--name".into(), name.into(), QUICK.into()];
    words.extend(runtime.into_iter().flat_map(|runtime| ["--runtime".into(), runtime.to_owned()]));
    bench().pack_to(file, &words)
}
